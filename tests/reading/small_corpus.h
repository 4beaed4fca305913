#pragma once

#include <c10/core/InferenceMode.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/random.h"
#include "engram/model/interventions.h"
#include "engram/model/model.h"

// Made-up text, and the plain forward that the streamed one is compared with.
namespace engram::testing {

/// Lines of made-up sentences of 1 to `words` words.
inline std::vector<std::string> made_up_lines(size_t count, size_t words, uint64_t seed) {
  static const std::vector<std::string> kWords = {"the", "sea",   "Rome",     "is",   "of",
                                                  "and", "old",   "king",     "Oslo", "born",
                                                  "in",  "music", "caf\u00E9"};
  Random random(seed);
  std::vector<std::string> lines;
  for (size_t i = 0; i < count; ++i) {
    std::string line = "A";
    const size_t more = 1 + random.below(words);
    for (size_t w = 1; w < more; ++w) line += " " + kWords[random.below(kWords.size())];
    lines.push_back(line + ".");
  }
  return lines;
}

inline std::string joined_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

inline void write_corpus(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// Every layer's activations of ids by the model's own forward: [layers] of [tokens, d_ff].
inline std::vector<at::Tensor> plain_activations(const Model& model,
                                                 const std::vector<int64_t>& ids) {
  const c10::InferenceMode guard;
  RecordingHook hook;
  (void)model.encode(at::tensor(ids, at::kLong).unsqueeze(0), {}, &hook);
  std::vector<at::Tensor> layers;
  for (const at::Tensor& a : hook.activations()) layers.push_back(a.squeeze(0));
  return layers;
}

}  // namespace engram::testing
