#pragma once

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "engram/model/interventions.h"
#include "engram/model/model.h"
#include "engram/text/tokenizer.h"

namespace engram::testing {

/// Files of made-up text for the tiny model.
class TinyTexts : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "engram-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  static std::filesystem::path tiny() {
    return std::filesystem::path(ENGRAM_SOURCE_DIR) / "tests/data/oracle/bert-tiny";
  }
  static const Model& model() {
    static const Model one = Model::load(tiny());
    return one;
  }
  static const Tokenizer& tokenizer() {
    static const Tokenizer one = Tokenizer::load(tiny());
    return one;
  }
  /// A sentence of made-up words.
  static std::string sentence(Random& random, size_t words) {
    static const std::vector<std::string> kWords = {"the", "sea",  "Rome", "is",   "of", "and",
                                                    "old", "king", "Oslo", "born", "in", "music"};
    std::string text = "A";
    for (size_t i = 0; i < words; ++i) text += " " + kWords[random.below(kWords.size())];
    return text + ".";
  }
  /// Every layer's activations of a text by a plain forward: [layers][tokens, d_ff].
  static std::vector<at::Tensor> plain(const std::vector<int64_t>& ids) {
    RecordingHook hook;
    const c10::InferenceMode guard;
    (void)model().encode(at::tensor(ids, at::kLong).unsqueeze(0), {}, &hook);
    std::vector<at::Tensor> layers;
    for (const at::Tensor& a : hook.activations()) layers.push_back(a.squeeze(0));
    return layers;
  }
  std::filesystem::path folder_;
};

}  // namespace engram::testing
