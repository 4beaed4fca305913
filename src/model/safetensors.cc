#include "engram/model/safetensors.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "engram_crates.h"
#include "safetensors_fault.h"

namespace engram {
namespace {

using nlohmann::json;

/// `text` for a one-line message: names in a hostile file can hold line ends and terminal codes.
std::string one_line(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text;
}

/// A string of the Rust library, freed with it.
std::string take_text(char* text) {
  if (text == nullptr) return "unknown error";
  std::string copy(text);
  engram_crates_free_text(text);
  return copy;
}

Storage storage_of(const std::string& name) {
  if (name == "F32") return Storage::kF32;
  if (name == "F16") return Storage::kF16;
  if (name == "BF16") return Storage::kBF16;
  return Storage::kOther;
}

/// Bytes of one element.
size_t width_of(Storage storage) { return storage == Storage::kF32 ? 4 : 2; }

/// Whether there is something at `path`; a folder that cannot be entered is an error.
bool is_there(const std::filesystem::path& path) {
  std::error_code failed;
  const bool found = std::filesystem::exists(path, failed);
  if (failed) throw FileError(path.string() + ": cannot open: " + failed.message());
  return found;
}

/// What the crate would refuse with fewer words: a file that ends before its header does.
void check_header_length(const MappedFile& file) {
  constexpr size_t kLengthBytes = 8;
  const std::string who = file.path().string() + ": not a valid safetensors file: ";
  if (file.size() < kLengthBytes) {
    throw InputError(who + "got " + std::to_string(file.size()) +
                     " bytes, expected at least the 8 of the header's length");
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::to_integer<uint64_t>(file.data()[i]) << (8 * i);
  }
  if (length > file.size() - kLengthBytes) {
    throw InputError(who + "got " + std::to_string(file.size()) + " bytes, expected a header of " +
                     std::to_string(length) + " bytes after the first 8");
  }
}

std::vector<int64_t> shape_of(const json& entry, const std::filesystem::path& path) {
  std::vector<int64_t> shape;
  for (const json& dimension : entry["shape"]) {
    const auto size = dimension.get<uint64_t>();
    if (size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      throw InputError(path.string() + ": tensor \"" + one_line(entry["name"].get<std::string>()) +
                       "\": got a dimension of " + std::to_string(size) +
                       ", expected at most 2^63 - 1");
    }
    shape.push_back(static_cast<int64_t>(size));
  }
  return shape;
}

/// Refuses a tensor whose bytes are not its shape's before anything is written.
void check_bytes(const TensorToWrite& tensor) {
  size_t expected = width_of(tensor.storage);
  for (const int64_t size : tensor.shape) expected *= static_cast<size_t>(size);
  if (tensor.bytes.size() != expected) {
    throw InternalError("write_safetensors: " + tensor.name + ": got " +
                        std::to_string(tensor.bytes.size()) + " bytes, its shape has " +
                        std::to_string(expected));
  }
}

/// The shards that an index names, with the tensors that each must hold.
std::map<std::string, std::vector<std::string>> read_index(const std::filesystem::path& path) {
  const json index = read_json_file(path, 64 << 20);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw InputError(path.string() + ": expected an object with \"weight_map\"");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) {
      throw InputError(path.string() + ": weight_map[\"" + one_line(tensor) +
                       "\"]: expected a file name");
    }
    const std::filesystem::path name = file.get<std::string>();
    if (name.empty() || name.has_parent_path() || name == "..") {
      throw InputError(path.string() + ": weight_map[\"" + one_line(tensor) + "\"]: got \"" +
                       one_line(name.string()) +
                       "\", expected the name of a file in the same folder");
    }
    shards[name.string()].push_back(tensor);
  }
  if (shards.empty()) throw InputError(path.string() + ": weight_map names no tensor");
  return shards;
}

/// The command that turns a pickled checkpoint into one that is read.
std::string converter(const std::filesystem::path& directory) {
  return "python3 -c 'import sys; from transformers import AutoModelForMaskedLM as M; "
         "M.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])' " +
         one_line(directory.string()) + " (of a causal model with AutoModelForCausalLM)";
}

}  // namespace

const char* storage_text(Storage storage) {
  switch (storage) {
    case Storage::kF32:
      return "F32";
    case Storage::kF16:
      return "F16";
    case Storage::kBF16:
      return "BF16";
    case Storage::kOther:
      break;
  }
  return "another type";
}

std::map<std::string, StoredTensor> open_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  check_header_length(*file);
  char* error = nullptr;
  char* text = engram_crates_safetensors_tensors(reinterpret_cast<const uint8_t*>(file->data()),
                                                 file->size(), &error);
  if (text == nullptr) {
    const std::string reason = one_line(take_text(error));
    const std::string told = one_line(safetensors_fault({file->data(), file->size()}));
    throw InputError(path.string() + ": not a valid safetensors file: " +
                     (told.empty()
                          ? reason + " (the file has " + std::to_string(file->size()) + " bytes)"
                          : told));
  }
  std::map<std::string, StoredTensor> tensors;
  for (const json& entry : parse_json(take_text(text), path.string())) {
    StoredTensor tensor;
    tensor.name = entry["name"].get<std::string>();
    tensor.storage_name = entry["dtype"].get<std::string>();
    tensor.storage = storage_of(tensor.storage_name);
    tensor.shape = shape_of(entry, path);
    const auto begin = entry["begin"].get<size_t>();
    tensor.bytes = entry["end"].get<size_t>() - begin;
    tensor.data = file->data() + begin;
    tensor.file = file;
    std::string name = tensor.name;
    tensors.emplace(std::move(name), std::move(tensor));
  }
  return tensors;
}

std::map<std::string, StoredTensor> open_checkpoint(const std::filesystem::path& directory) {
  const std::filesystem::path single = directory / "model.safetensors";
  const std::filesystem::path index = directory / "model.safetensors.index.json";
  if (is_there(single)) return open_safetensors(single);
  if (!is_there(index)) {
    const bool pickled = is_there(directory / "pytorch_model.bin") ||
                         is_there(directory / "pytorch_model.bin.index.json");
    throw InputError(directory.string() +
                     ": no weights: expected model.safetensors or model.safetensors.index.json" +
                     (pickled
                          ? "; pytorch_model.bin is not read, this writes the file beside it: " +
                                converter(directory)
                          : ""));
  }
  std::map<std::string, StoredTensor> tensors;
  for (const auto& [name, wanted] : read_index(index)) {
    const std::filesystem::path shard = directory / name;
    std::map<std::string, StoredTensor> found = open_safetensors(shard);
    for (const std::string& tensor : wanted) {
      if (!found.contains(tensor)) {
        throw InputError(shard.string() + ": tensor \"" + one_line(tensor) +
                         "\" is missing, which " + index.string() + " says is there");
      }
    }
    for (auto& [tensor, stored] : found) {
      if (!tensors.emplace(tensor, std::move(stored)).second) {
        throw InputError(shard.string() + ": tensor \"" + one_line(tensor) +
                         "\" is in another shard too");
      }
    }
  }
  return tensors;
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Layout: little-endian length of the header, the header as JSON padded with spaces to 8 bytes,
  // the tensors' bytes one after the other. The wider types come first, so that every tensor is
  // aligned for its type in a memory map.
  std::vector<const TensorToWrite*> ordered;
  for (const TensorToWrite& tensor : tensors) {
    if (tensor.storage == Storage::kOther) {
      throw InternalError("write_safetensors: a tensor of another type than F32, F16, BF16");
    }
    check_bytes(tensor);
    ordered.push_back(&tensor);
  }
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto* a, const auto* b) {
    return width_of(a->storage) > width_of(b->storage);
  });
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const TensorToWrite* tensor : ordered) {
    nlohmann::ordered_json& entry = header[tensor->name];
    entry["dtype"] = storage_text(tensor->storage);
    entry["shape"] = tensor->shape;
    entry["data_offsets"] = {offset, offset + tensor->bytes.size()};
    offset += tensor->bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xFF);

  AtomicFile file(path);
  file.write(length);
  file.write(text);
  for (const TensorToWrite* tensor : ordered) {
    file.write({reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size()});
  }
  file.commit();
}

}  // namespace engram
