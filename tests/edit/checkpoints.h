#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "engram/base/file.h"
#include "engram/edit/working_copy.h"
#include "engram/model/model.h"
#include "support/oracle.h"

namespace engram::testing {

namespace fs = std::filesystem;

/// A folder that goes with the object.
class Scratch {
 public:
  Scratch() {
    std::string name = (fs::temp_directory_path() / "engram-edit-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write_text(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// All files of a folder with their bytes, but those of the history.
inline std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = fs::relative(entry.path(), folder).string();
    if (entry.is_directory() || name.starts_with("engram-edits/")) continue;
    files[name] = read_file(entry.path());
  }
  return files;
}

/// The checkpoints of tests/data/oracle, and bert-tiny in float16.
inline std::vector<std::string> checkpoint_names() {
  return {"bert-tiny",
          "bert-bf16-sharded-untied",
          "distilbert-tiny",
          "electra-tiny",
          "half",
          "gpt2-tiny",
          "gpt-neox-tiny",
          "llama-tiny",
          "gemma-tiny"};
}

/// A copy of one in `folder`, without the expected results.
inline fs::path make_checkpoint(const fs::path& folder, const std::string& name) {
  const fs::path place = folder / ("model-" + name);
  const fs::path stored = stored_oracle(name == "half" ? "bert-tiny" : name);
  fs::copy(stored, place);
  fs::remove(place / "expected.json");
  fs::remove(place / "expected.safetensors");
  if (name == "half") {
    const std::string config = read_file(place / "config.json");
    save_model(Model::load(stored), place, /*half=*/true);
    write_text(place / "config.json", config);
  }
  return place;
}

/// A random edit of up to `most` neurons.
inline Delta random_delta(const fs::path& model, const std::string& base, std::mt19937& random,
                          int most = 6, double scale = 1.0) {
  const ModelConfig config = read_config(model);
  std::set<NeuronId> chosen;
  const auto below = [&](int64_t limit) {
    return std::uniform_int_distribution<int32_t>(0, static_cast<int32_t>(limit) - 1)(random);
  };
  const int count = 1 + below(most);
  for (int i = 0; i < count; ++i) chosen.insert({below(config.layers), below(config.d_ff)});
  ValueEdit edit{{chosen.begin(), chosen.end()}, {}};
  std::vector<float> values(chosen.size() * static_cast<size_t>(config.d_model));
  for (float& value : values) {
    value = static_cast<float>(std::normal_distribution<double>(0, scale)(random));
  }
  edit.values = at::tensor(values).view({static_cast<int64_t>(chosen.size()), config.d_model});
  EditReason why;
  why.relation = "P36";
  why.subject = "France";
  why.object = "Paris";
  why.target = "Rome";
  why.lambda1 = 1;
  why.lambda2 = 8;
  why.score = "ig";
  why.rule = "control-variate";
  why.selection = "dai2022";
  why.version = "0";
  return make_delta(model, base, edit, why);
}

}  // namespace engram::testing
