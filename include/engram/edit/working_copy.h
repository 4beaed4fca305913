#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engram/edit/delta.h"

namespace engram {

/// What an apply() did.
struct AppliedEdit {
  int64_t number = 0;    ///< of the edit in the copy, from 1
  int64_t neurons = 0;   ///< whose value vectors it holds
  int64_t changed = 0;   ///< of them: value vectors that were not so already
  int64_t replaced = 0;  ///< of them: did not hold what the edit was made from, so that an earlier
                         ///< edit of these neurons is overwritten
};

/// A copy of a checkpoint that is edited in place and knows its history: a complete Hugging Face
/// folder with one more folder in it, engram-edits/. Weights keep their types and files; an edit
/// rewrites only the columns of its neurons.
///
/// Safe against being killed at any moment: an edit is written to the history with the bytes that
/// it replaces first, marked as pending; then the weights are changed; then the mark goes. Where a
/// process died in between, the next open() puts the bytes back. Until then the weights may be half
/// edited: check_whole() says so.
///
/// One process at a time: objects hold a lock. Not thread-safe.
class WorkingCopy {
 public:
  /// Is there a history in the folder?
  static bool is_one(const std::filesystem::path& directory);
  /// Throws InputError when an edit of the copy was cut off and not yet put right by an open().
  /// For whoever loads a folder as a model; does nothing for folders that are no working copies.
  static void check_whole(const std::filesystem::path& directory);

  /// Throws InputError (no working copy, a damaged history), FileError (unreadable, or another
  /// process has it open).
  static WorkingCopy open(const std::filesystem::path& directory);
  /// Makes a new one out of the checkpoint `model`, with `deltas` applied in order, beside its
  /// place and renamed: all or nothing. `directory` must not exist, or be empty. The copy has the
  /// files of checkpoint_files() and shares none of them. Throws UsageError for a place that is
  /// `model` or inside it; InputError for a delta of another model (both fingerprints are named),
  /// and where `model` is a working copy itself; FileError; Interrupted. `done`, if
  /// given, gets what apply() returns for each.
  static WorkingCopy create(const std::filesystem::path& model,
                            const std::filesystem::path& directory, std::span<const Delta> deltas,
                            std::vector<AppliedEdit>* done = nullptr);

  WorkingCopy(WorkingCopy&&) noexcept;
  WorkingCopy& operator=(WorkingCopy&&) noexcept;
  ~WorkingCopy();

  [[nodiscard]] const std::filesystem::path& directory() const;
  /// Fingerprint of the model that it was made from.
  [[nodiscard]] const std::string& base() const;
  /// The edits in force, oldest first; their `before` is what the copy held.
  [[nodiscard]] const std::vector<Delta>& edits() const;
  /// Did open() find an edit that was cut off and put the weights back?
  [[nodiscard]] bool repaired() const;

  /// Is `model` what the copy was made from? Reads it only where its files look changed (size, time
  /// or inode). Throws InputError with both fingerprints when not; FileError, Interrupted.
  void check_base(const std::filesystem::path& model) const;

  /// Does the edit belong to this model and fit its weights? Throws as apply().
  void check(const Delta& delta) const;
  /// Applies an edit on top. Of neurons that earlier edits changed, the newest values hold. Throws
  /// InputError: an edit of another model, or one that does not fit the weights; FileError.
  AppliedEdit apply(const Delta& delta);
  /// Takes edit `number` back, 0: the newest. Throws UsageError for another one than the newest,
  /// InputError when there is none, or when its value vectors no longer hold what it wrote.
  void undo(int64_t number = 0);
  /// Writes a plain checkpoint, beside its place and renamed. Throws as create().
  void export_to(const std::filesystem::path& directory) const;

 private:
  struct Impl;
  explicit WorkingCopy(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Fingerprint of the model that edits of `model` are for: of the original where it is a working
/// copy, else model_fingerprint(). Throws as model_fingerprint() and WorkingCopy::open().
std::string edit_base(const std::filesystem::path& model);

/// The names of the files that make a copy of a checkpoint: those of the folder itself, without
/// hidden ones, weights in other formats or unused shards (which would be another model than the
/// edited one) and lists of checksums. Throws FileError; InputError without weights.
std::vector<std::string> checkpoint_files(const std::filesystem::path& model);

}  // namespace engram
