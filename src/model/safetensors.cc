#include "engram/model/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram_hf.h"

namespace engram {
namespace {

using nlohmann::json;

/// A string of the Rust library, freed with it.
std::string take_text(char* text) {
  if (text == nullptr) return "unknown error";
  std::string copy(text);
  engram_hf_free_text(text);
  return copy;
}

Storage storage_of(const std::string& name) {
  if (name == "F32") return Storage::kF32;
  if (name == "F16") return Storage::kF16;
  if (name == "BF16") return Storage::kBF16;
  return Storage::kOther;
}

std::string_view storage_text(Storage storage) {
  switch (storage) {
    case Storage::kF32: return "F32";
    case Storage::kF16: return "F16";
    case Storage::kBF16: return "BF16";
    case Storage::kOther: break;
  }
  throw InternalError("write_safetensors: a tensor of another type than F32, F16, BF16");
}

/// The shards that an index names, with the tensors that each must hold.
std::map<std::string, std::vector<std::string>> read_index(const std::filesystem::path& path) {
  json index;
  try {
    index = json::parse(read_file(path, 64 << 20));
  } catch (const json::exception& error) {
    throw InputError(path.string() + ": not valid JSON: " + error.what());
  }
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    throw InputError(path.string() + ": expected an object with \"weight_map\"");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) {
      throw InputError(path.string() + ": weight_map[\"" + tensor + "\"]: expected a file name");
    }
    const std::filesystem::path name = file.get<std::string>();
    if (name.empty() || name.has_parent_path() || name == "..") {
      throw InputError(path.string() + ": weight_map[\"" + tensor + "\"]: got \"" + name.string() +
                       "\", expected the name of a file in the same folder");
    }
    shards[name.string()].push_back(tensor);
  }
  if (shards.empty()) throw InputError(path.string() + ": weight_map names no tensor");
  return shards;
}

}  // namespace

std::map<std::string, StoredTensor> open_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  char* error = nullptr;
  char* text = engram_hf_safetensors_tensors(reinterpret_cast<const uint8_t*>(file->data()),
                                             file->size(), &error);
  if (text == nullptr) {
    throw InputError(path.string() + ": not a valid safetensors file (" +
                     std::to_string(file->size()) + " bytes): " + take_text(error));
  }
  std::map<std::string, StoredTensor> tensors;
  for (const json& entry : json::parse(take_text(text))) {
    StoredTensor tensor;
    tensor.name = entry["name"].get<std::string>();
    tensor.storage_name = entry["dtype"].get<std::string>();
    tensor.storage = storage_of(tensor.storage_name);
    tensor.shape = entry["shape"].get<std::vector<int64_t>>();
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
  if (std::filesystem::exists(single)) return open_safetensors(single);
  if (!std::filesystem::exists(index)) {
    const bool pickled = std::filesystem::exists(directory / "pytorch_model.bin");
    throw FileError(directory.string() +
                    ": no weights: expected model.safetensors or model.safetensors.index.json" +
                    (pickled ? "; pytorch_model.bin is not read, save it as safetensors with "
                               "transformers (save_pretrained)"
                             : ""));
  }
  std::map<std::string, StoredTensor> tensors;
  for (const auto& [name, wanted] : read_index(index)) {
    const std::filesystem::path shard = directory / name;
    std::map<std::string, StoredTensor> found = open_safetensors(shard);
    for (const std::string& tensor : wanted) {
      if (!found.contains(tensor)) {
        throw InputError(shard.string() + ": tensor \"" + tensor + "\" is missing, which " +
                         index.string() + " says is there");
      }
    }
    for (auto& [tensor, stored] : found) {
      if (!tensors.emplace(tensor, std::move(stored)).second) {
        throw InputError(shard.string() + ": tensor \"" + tensor + "\" is in another shard too");
      }
    }
  }
  return tensors;
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata) {
  // Layout: little-endian length of the header, the header as JSON padded with spaces to 8 bytes,
  // the tensors' bytes one after the other in the order of their offsets.
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  size_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    nlohmann::ordered_json& entry = header[tensor.name];
    entry["dtype"] = storage_text(tensor.storage);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, offset + tensor.bytes.size()};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xFF);

  AtomicFile file(path);
  file.write(length);
  file.write(text);
  for (const TensorToWrite& tensor : tensors) {
    file.write({reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size()});
  }
  file.commit();
}

}  // namespace engram
