#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/handle.h"
#include "edit/value_tensors.h"
#include "engram/edit/delta.h"

// What an edit does to files, each step flushed to the disk.
namespace engram {

/// Locks `path` (a file or folder) for this process until the handle goes. Throws FileError where
/// another process has it, naming `what` it holds.
Handle lock_path(const std::filesystem::path& path, const std::string& what);

/// Renames, and flushes the folder of `to`. Throws FileError.
void rename_file(const std::filesystem::path& from, const std::filesystem::path& to);
/// A file that is not there is no error.
void remove_file(const std::filesystem::path& path);

/// A folder that is made beside its place, as .NAME.engram-partial, and renamed when it is whole.
/// What a killed process left under that name is replaced.
class FolderInMaking {
 public:
  /// Throws FileError: the place is taken, cannot be written, or another process makes it.
  explicit FolderInMaking(const std::filesystem::path& place);
  ~FolderInMaking();
  FolderInMaking(const FolderInMaking&) = delete;
  FolderInMaking& operator=(const FolderInMaking&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return partial_; }
  void commit();

 private:
  std::filesystem::path place_;
  std::filesystem::path partial_;
  Handle lock_;
  bool committed_ = false;
};

/// Copies these files of one folder into another, contents only (no links), and flushes them.
/// Throws FileError, Interrupted.
void copy_files(const std::filesystem::path& from, const std::filesystem::path& to,
                const std::vector<std::string>& names);

/// Which of a delta's values.
enum class Side { kBefore, kAfter };

/// Writes value vectors of a delta into the weights' files, in place, and flushes them; nothing
/// else in the files changes. REQUIRES: the delta fits `matrices`. Throws FileError; InputError for
/// a file that has a second name (a link), which would change with it.
void write_values(const std::vector<ValueMatrix>& matrices, const Delta& delta, Side side);

}  // namespace engram
