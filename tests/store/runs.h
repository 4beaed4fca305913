#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engram/store/run_store.h"

// Runs with made-up content.
namespace engram::testing {

/// A folder that goes with the object: in memory where the system has a place for that, since
/// these tests would mostly wait for fsync. A large one is on the disk.
class Folder {
 public:
  explicit Folder(bool large = false);
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return path_ / name; }
  /// Names of everything in it, ascending.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::filesystem::path path_;
};

inline const RunIdentity kIdentity = {{"model", "sha256:abc"}, {"seed", "0"}};

/// Relations and facts, which all other units refer to.
Unit facts_unit();
/// Units of `relations` relations with two parts each, after facts_unit().
std::vector<Unit> made_up_units(int relations);
/// Rows of the unit: a function of the unit alone, of all column types, with whatever is hard about
/// them (NULL, NaN, infinities, -0, quotes, line breaks, NUL, empty texts and blobs).
std::vector<TableRows> made_up_rows(const Unit& unit);

/// Opens `path` for writing, writes the units that are not done, and closes it.
void write_units(const std::filesystem::path& path, const std::vector<Unit>& units,
                 const RunIdentity& identity = kIdentity);

/// What a run should hold: rows by table, in the order of the key, as SQLite gives them back.
using Content = std::map<std::string, std::vector<Row>>;
Content expected_content(const std::vector<Unit>& units);
/// The same tables read out of a run.
Content actual_content(RunStore& run);

/// The message of the error of type E that `work` throws; a failed test when it throws none.
template <typename E>
std::string error_of(const std::function<void()>& work);

/// Every one of `words` is in `message`.
void expect_words(const std::string& message, const std::vector<std::string>& words);

}  // namespace engram::testing

#include <gtest/gtest.h>

template <typename E>
std::string engram::testing::error_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another error: " << error.what();
    return {};
  }
  ADD_FAILURE() << "no error";
  return {};
}
