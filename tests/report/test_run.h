#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engram/store/run_store.h"

namespace engram::testing {

/// Rows by column name, to be written as one run; what is not named is NULL.
class TestRun {
 public:
  using Named = std::map<std::string_view, Value>;

  TestRun& add(std::string_view table, const Named& values);
  TestRun& fact(int64_t id, const std::string& relation, const std::string& subject,
                const std::string& object, int64_t prompts, int64_t held_out);
  /// The neurons of a fact.
  TestRun& neurons(const std::string& source, int64_t fact,
                   const std::vector<std::pair<int64_t, int64_t>>& ids);
  TestRun& identity(const std::string& name, const std::string& value);
  /// Of its session, as typed.
  TestRun& command(const std::string& text);
  TestRun& skip(const std::string& experiment, const std::string& reason);

  /// Writes everything to a new file in a folder of its own, which goes with the object, and opens
  /// it.
  RunStore write();

  TestRun();
  ~TestRun();
  TestRun(const TestRun&) = delete;
  TestRun& operator=(const TestRun&) = delete;

 private:
  std::filesystem::path folder_;
  RunIdentity identity_;
  std::string command_ = "engram reproduce models/engram-base --facts facts.jsonl";
  std::map<std::string, std::string> skipped_;
  std::map<std::string, std::vector<Row>> rows_;
};

/// Fills every table of a run with seeded numbers of likely sizes: two relations of the paper and
/// some others, a hostile subject among the facts.
void fill_demo(TestRun& run);

}  // namespace engram::testing
