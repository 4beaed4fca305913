#include "engram/edit/working_copy.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/json.h"
#include "edit/files.h"
#include "edit/value_tensors.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/model/fingerprint.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// A history: engram-edits/copy.json (what it is a copy of, never changed), 0001.safetensors and so
// on (the edits in force), and pending.safetensors (one that is being applied or taken back).
constexpr const char* kHistory = "engram-edits";
constexpr const char* kCopy = "copy.json";
constexpr const char* kPending = "pending.safetensors";
constexpr const char* kWorkingCopySchema = "engram.working-copy/1";

std::string edit_name(size_t number) {
  std::string digits = std::to_string(number);
  return std::string(digits.size() < 4 ? 4 - digits.size() : 0, '0') + digits + ".safetensors";
}

/// What tells whether a file has changed, without reading it.
json state_of(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return nullptr;
  return {{"name", path.filename().string()},
          {"device", static_cast<uint64_t>(status.st_dev)},
          {"inode", static_cast<uint64_t>(status.st_ino)},
          {"size", static_cast<int64_t>(status.st_size)},
          {"seconds", static_cast<int64_t>(status.st_mtim.tv_sec)},
          {"nanoseconds", static_cast<int64_t>(status.st_mtim.tv_nsec)}};
}

std::vector<std::string> file_names(const fs::path& folder) {
  std::error_code failed;
  std::vector<std::string> names;
  for (auto entry = fs::directory_iterator(folder, failed);
       !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    std::error_code ignored;
    if (entry->is_regular_file(ignored)) names.push_back(entry->path().filename().string());
  }
  if (failed) throw FileError(folder.string() + ": " + failed.message());
  std::ranges::sort(names);
  return names;
}

json states_of(const fs::path& folder) {
  json states = json::array();
  for (const std::string& name : file_names(folder)) states.push_back(state_of(folder / name));
  return states;
}

/// Other weights, which would stay as they were beside the edited ones, and checksums, which would
/// be wrong.
bool left_behind(const std::string& name) {
  static constexpr std::array<std::string_view, 16> kEndings = {
      ".bin", ".h5",  ".msgpack", ".ot",   ".onnx",   ".onnx_data",   ".pt",     ".pth",
      ".pkl", ".npz", ".ckpt",    ".gguf", ".tflite", ".safetensors", ".sha256", ".md5"};
  if (name.starts_with(".") || name.starts_with("model.ckpt") || name == "checkpoint") return true;
  if (name == "SHA256SUMS" || name == "MD5SUMS" || name == "model.safetensors.index.json") {
    return true;
  }
  if (name.find(".bin.index.json") != std::string::npos) return true;
  return std::ranges::any_of(kEndings, [&](std::string_view end) { return name.ends_with(end); });
}

/// The files that hold the weights in use.
std::set<std::string> weight_files(const fs::path& model) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : open_checkpoint(model)) {
    names.insert(tensor.file->path().filename().string());
  }
  if (!names.contains("model.safetensors")) names.insert("model.safetensors.index.json");
  return names;
}

void check_delta_base(const Delta& delta, const fs::path& model, const std::string& base) {
  if (delta.base == base) return;
  throw InputError((delta.origin.empty() ? "" : delta.origin + ": ") +
                   "an edit of another model: got " + delta.base + ", expected " + base +
                   ", which is " + model.string());
}

/// Does the delta fit the weights?
void check_fit(const Delta& delta, const std::vector<ValueMatrix>& matrices,
               const fs::path& directory) {
  for (const DeltaLayer& layer : delta.layers) {
    const std::string where =
        directory.string() + ": layer " + std::to_string(layer.layer) + " of the edit: ";
    if (std::cmp_greater_equal(layer.layer, matrices.size())) {
      throw InputError(where + "got a model of " + std::to_string(matrices.size()) + " layers");
    }
    const ValueMatrix& matrix = matrices[static_cast<size_t>(layer.layer)];
    if (matrix.tensor.storage != layer.storage || matrix.d_model() != delta.d_model ||
        matrix.d_ff() <= layer.neurons.back()) {
      throw InputError(where + "got values of " + std::to_string(delta.d_model) + " numbers in " +
                       storage_text(layer.storage) + " for neurons up to " +
                       std::to_string(layer.neurons.back()) + ", expected " +
                       std::to_string(matrix.d_model()) + " in " +
                       storage_text(matrix.tensor.storage) + " and neurons below " +
                       std::to_string(matrix.d_ff()));
    }
  }
}

/// Neurons whose values differ between two equally ordered blocks.
int64_t different(const DeltaLayer& layer, const std::vector<std::byte>& a,
                  const std::vector<std::byte>& b) {
  const size_t bytes = a.size() / layer.neurons.size();
  int64_t count = 0;
  for (size_t i = 0; i < layer.neurons.size(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i * bytes);
    const auto end = at + static_cast<std::ptrdiff_t>(bytes);
    if (!std::equal(a.begin() + at, a.begin() + end, b.begin() + at)) ++count;
  }
  return count;
}

/// The place of a new folder without links and dots, refused where it is taken or inside `from`.
fs::path place_for(const fs::path& directory, const fs::path& from) {
  std::error_code failed;
  fs::path place = fs::weakly_canonical(fs::absolute(directory, failed), failed);
  if (failed) throw FileError(directory.string() + ": " + failed.message());
  if (!place.has_filename()) place = place.parent_path();  // a slash at the end
  for (fs::path part = place; !part.empty(); part = part.parent_path()) {
    std::error_code absent;
    if (fs::equivalent(part, from, absent) && !absent) {
      throw UsageError(directory.string() + ": is " +
                       (part == place ? "the folder " : "inside the folder ") + from.string() +
                       ", expected a place outside it");
    }
    if (part == part.root_path()) break;
  }
  std::error_code absent;
  const bool taken = fs::exists(fs::symlink_status(place, absent));
  if (taken && !(fs::is_directory(place, absent) && fs::is_empty(place, absent))) {
    throw UsageError(directory.string() +
                     ": is there already, expected a new place or an empty folder");
  }
  return place;
}

}  // namespace

std::vector<std::string> checkpoint_files(const fs::path& model) {
  const std::set<std::string> weights = weight_files(model);
  std::vector<std::string> names;
  for (const std::string& name : file_names(model)) {
    if (weights.contains(name) || !left_behind(name)) names.push_back(name);
  }
  return names;
}

struct WorkingCopy::Impl {
  fs::path directory;
  Handle lock;
  std::string base;
  json states;                     ///< of the model's files when the copy was made
  std::vector<std::string> files;  ///< the checkpoint's
  std::vector<Delta> edits;
  bool repaired = false;

  [[nodiscard]] fs::path history() const { return directory / kHistory; }
  [[nodiscard]] fs::path edit_file(size_t number) const { return history() / edit_name(number); }

  void read_copy() {
    const fs::path path = history() / kCopy;
    const json copy = read_json_file(path, 64 << 20);
    const auto wrong = [&](const char* expected) {
      throw InputError(path.string() + ": the history of this working copy is damaged: expected " +
                       expected);
    };
    if (!copy.is_object()) wrong("a JSON object");
    if (copy.value("schema", json()) != kWorkingCopySchema)
      wrong("the schema \"engram.working-copy/1\"");
    const auto field = copy.find("base");
    if (field == copy.end() || !field->is_string()) wrong("\"base\", a fingerprint");
    base = field->get<std::string>();
    const auto list = copy.find("files");
    if (list == copy.end() || !list->is_array() || list->empty()) wrong("\"files\", a list");
    for (const json& name : *list) {
      // Names come back as paths: nothing outside the folder may be meant.
      if (!name.is_string() || fs::path(name.get<std::string>()).has_parent_path() ||
          name.get<std::string>().empty()) {
        wrong("names of files in \"files\"");
      }
      files.push_back(name.get<std::string>());
    }
    states = copy.value("model_files", json());
  }

  void read_edits() {
    std::set<std::string> names;
    for (const std::string& name : file_names(history())) {
      if (name.starts_with(".")) {
        remove_file(history() / name);  // a file that a killed process was writing
      } else if (name != kCopy) {
        names.insert(name);
      }
    }
    for (size_t number = 1; number <= names.size(); ++number) {
      if (!names.contains(edit_name(number))) {
        throw InputError(history().string() + ": the history of this working copy is damaged: " +
                         "expected " + edit_name(number) + " among its files");
      }
      edits.push_back(read_delta(edit_file(number)));
    }
  }

  /// Puts the weights back under an edit that is pending, and forgets it.
  void drop_pending() {
    const Delta delta = read_delta(history() / kPending);
    const std::vector<ValueMatrix> matrices = value_tensors(directory);
    check_fit(delta, matrices, directory);
    write_values(matrices, delta, Side::kBefore);
    remove_file(history() / kPending);
  }

  void repair() {
    std::error_code failed;
    if (!fs::exists(history() / kPending, failed)) return;
    drop_pending();
    repaired = true;
  }

  /// After an error between two steps: the weights go back now, or when the copy is opened again.
  void recover() noexcept {
    try {
      repair();
    } catch (const std::exception&) {  // the first error is the one to report
      return;
    }
  }

  AppliedEdit apply(const Delta& delta) {
    check_delta_base(delta, directory, base);
    const std::vector<ValueMatrix> matrices = value_tensors(directory);
    check_fit(delta, matrices, directory);
    AppliedEdit done{static_cast<int64_t>(edits.size()) + 1, 0, 0, 0};
    Delta entry = delta;
    for (DeltaLayer& layer : entry.layers) {
      std::vector<std::byte> held =
          read_values(matrices[static_cast<size_t>(layer.layer)], layer.neurons);
      done.neurons += static_cast<int64_t>(layer.neurons.size());
      done.changed += different(layer, held, layer.after);
      done.replaced += different(layer, held, layer.before);
      layer.before = std::move(held);
    }
    write_delta(history() / kPending, entry);
    try {
      sync_folder(history());
      write_values(matrices, entry, Side::kAfter);
      rename_file(history() / kPending, edit_file(edits.size() + 1));
    } catch (const Error&) {
      recover();
      throw;
    }
    edits.push_back(std::move(entry));
    return done;
  }

  void undo(int64_t number) {
    const auto newest = static_cast<int64_t>(edits.size());
    if (newest == 0) throw InputError(directory.string() + ": has no edit to take back");
    if (number != 0 && number != newest) {
      if (number < 0 || number > newest) {
        throw UsageError(directory.string() + ": has no edit " + std::to_string(number) +
                         ", expected " + std::to_string(newest) + ", the newest");
      }
      throw UsageError("edit " + std::to_string(number) +
                       " is not the newest: those after it were applied to what it left, so take " +
                       "back " + std::to_string(newest) + " first (the newest)");
    }
    const Delta& delta = edits.back();
    const std::vector<ValueMatrix> matrices = value_tensors(directory);
    check_fit(delta, matrices, directory);
    for (const DeltaLayer& layer : delta.layers) {
      const std::vector<std::byte> held =
          read_values(matrices[static_cast<size_t>(layer.layer)], layer.neurons);
      if (different(layer, held, layer.after) == 0) continue;
      throw InputError(directory.string() + ": layer " + std::to_string(layer.layer) +
                       " no longer holds what edit " + std::to_string(newest) +
                       " wrote: something else has changed the weights, expected them as the " +
                       "history has them");
    }
    // From this rename on the edit counts as taken back.
    rename_file(edit_file(edits.size()), history() / kPending);
    edits.pop_back();
    drop_pending();
  }
};

WorkingCopy::WorkingCopy(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkingCopy::WorkingCopy(WorkingCopy&&) noexcept = default;
WorkingCopy& WorkingCopy::operator=(WorkingCopy&&) noexcept = default;
WorkingCopy::~WorkingCopy() = default;

bool WorkingCopy::is_one(const fs::path& directory) {
  std::error_code failed;
  return fs::exists(directory / kHistory / kCopy, failed);
}

void WorkingCopy::check_whole(const fs::path& directory) {
  std::error_code failed;
  if (!fs::exists(directory / kHistory / kPending, failed)) return;
  throw InputError(directory.string() +
                   ": an edit of this working copy was cut off, or is being made right now; " +
                   "`engram edit list` puts the weights back");
}

WorkingCopy WorkingCopy::open(const fs::path& directory) {
  std::error_code failed;
  if (!fs::is_directory(directory, failed)) {
    throw FileError(directory.string() + ": got no folder, expected a working copy");
  }
  if (!is_one(directory)) {
    throw InputError(directory.string() +
                     ": is no working copy (it has no engram-edits/copy.json), expected a folder "
                     "that `engram edit apply MODEL DELTA --to DIR` made");
  }
  auto impl = std::make_unique<Impl>();
  impl->directory = directory;
  impl->lock = lock_path(impl->history() / kCopy, directory.string());
  impl->read_copy();
  impl->repair();
  impl->read_edits();
  return WorkingCopy(std::move(impl));
}

WorkingCopy WorkingCopy::create(const fs::path& model, const fs::path& directory,
                                std::span<const Delta> deltas, std::vector<AppliedEdit>* done) {
  if (is_one(model)) {
    throw InputError(model.string() +
                     ": is a working copy; its edits go into itself (--to the same folder), or "
                     "export it first to have a plain model");
  }
  const fs::path place = place_for(directory, model);
  const std::vector<std::string> files = checkpoint_files(model);
  const json states = states_of(model);
  const std::string base = model_fingerprint(model);
  const std::vector<ValueMatrix> matrices = value_tensors(model);
  for (const Delta& delta : deltas) {
    check_delta_base(delta, model, base);
    check_fit(delta, matrices, model);
  }
  FolderInMaking folder(place);
  copy_files(model, folder.path(), files);
  std::error_code failed;
  fs::create_directory(folder.path() / kHistory, failed);
  if (failed) throw FileError(folder.path().string() + ": " + failed.message());
  AtomicFile copy(folder.path() / kHistory / kCopy);
  copy.write(
      json{
          {"schema", kWorkingCopySchema}, {"base", base}, {"files", files}, {"model_files", states}}
          .dump(2, ' ', false, json::error_handler_t::replace) +
      "\n");
  copy.commit();
  {
    WorkingCopy made = open(folder.path());
    for (const Delta& delta : deltas) {
      const AppliedEdit applied = made.apply(delta);
      if (done != nullptr) done->push_back(applied);
    }
  }
  folder.commit();
  return open(directory);
}

const fs::path& WorkingCopy::directory() const { return impl_->directory; }
const std::string& WorkingCopy::base() const { return impl_->base; }
const std::vector<Delta>& WorkingCopy::edits() const { return impl_->edits; }
bool WorkingCopy::repaired() const { return impl_->repaired; }
void WorkingCopy::check(const Delta& delta) const {
  check_delta_base(delta, impl_->directory, impl_->base);
  check_fit(delta, value_tensors(impl_->directory), impl_->directory);
}
AppliedEdit WorkingCopy::apply(const Delta& delta) { return impl_->apply(delta); }
void WorkingCopy::undo(int64_t number) { impl_->undo(number); }

void WorkingCopy::check_base(const fs::path& model) const {
  std::error_code failed;
  if (fs::equivalent(model, impl_->directory, failed) && !failed) return;
  if (states_of(model) == impl_->states) return;
  const std::string got = edit_base(model);
  if (got != impl_->base) {
    throw InputError(impl_->directory.string() + ": is a working copy of another model: got " +
                     got + " (" + model.string() + "), expected " + impl_->base);
  }
}

void WorkingCopy::export_to(const fs::path& directory) const {
  const fs::path place = place_for(directory, impl_->directory);
  FolderInMaking folder(place);
  copy_files(impl_->directory, folder.path(), impl_->files);
  folder.commit();
}

std::string edit_base(const fs::path& model) {
  return WorkingCopy::is_one(model) ? WorkingCopy::open(model).base() : model_fingerprint(model);
}

}  // namespace engram
