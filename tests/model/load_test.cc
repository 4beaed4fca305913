// Checkpoints that do not fit their config.json.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/safetensors.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Loading : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = "engram_load_" + std::to_string(::getpid()) + "_" + test->name();
    std::ranges::replace(name, '/', '_');
    folder_ = fs::temp_directory_path() / name;
    fs::remove_all(folder_);
    fs::copy(fs::path(ENGRAM_SOURCE_DIR "/tests/data/oracle") / GetParam(), folder_,
             fs::copy_options::recursive);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void set_layers(int64_t layers) const {
    json config = json::parse(read_file(folder_ / "config.json"));
    config[config.contains("n_layers") ? "n_layers" : "num_hidden_layers"] = layers;
    std::ofstream(folder_ / "config.json") << config.dump();
  }
  fs::path folder_;
};

TEST_P(Loading, MoreLayersThanConfigJsonSaysAreRefused) {
  const int64_t layers = read_config(folder_).layers;
  ASSERT_GT(layers, 1);
  for (int64_t fewer = 1; fewer < layers; ++fewer) {
    SCOPED_TRACE(fewer);
    set_layers(fewer);
    try {
      Model::load(folder_);
      ADD_FAILURE() << "loaded";
    } catch (const InputError& error) {
      const std::string message = error.what();
      for (const std::string& part :
           {".layer." + std::to_string(fewer) + ".", "got " + std::to_string(layers) + " layers",
            "expected the " + std::to_string(fewer) + " of config.json's", std::string("layers")}) {
        EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
      }
    }
  }
  set_layers(layers);
  EXPECT_NO_THROW(Model::load(folder_));
}

TEST_P(Loading, OtherTensorsStayFine) {
  const float one = 1;
  std::vector<TensorToWrite> tensors;
  const auto stored = open_checkpoint(folder_);
  for (const auto& [name, tensor] : stored) {
    tensors.push_back({name, tensor.storage, tensor.shape, {tensor.data, tensor.bytes}});
  }
  for (const char* name : {"bert.pooler.dense.weight", "bert.embeddings.position_ids",
                           "cls.seq_relationship.bias", "bert.encoder.layer.0.adapter.weight",
                           "bert.encoder.layer.norm.weight", "other.layer.99"}) {
    tensors.push_back({name, Storage::kF32, {1}, std::as_bytes(std::span(&one, 1))});
  }
  write_safetensors(folder_ / "new.safetensors", tensors, {});
  fs::rename(folder_ / "new.safetensors", folder_ / "model.safetensors");
  EXPECT_NO_THROW(Model::load(folder_));
}

INSTANTIATE_TEST_SUITE_P(Families, Loading,
                         ::testing::Values("bert-tiny", "roberta-tiny", "distilbert-tiny",
                                           "bert-bf16-sharded-untied", "electra-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace engram
