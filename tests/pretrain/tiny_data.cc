#include "tiny_data.h"

#include <stdlib.h>

#include <stdexcept>
#include <vector>

namespace engram::pretrain {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "engram-pretrain-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Dataset tiny_dataset() {
  Dataset data;
  data.vocabulary = 40;
  data.facts = 6;
  data.pad = 0;
  data.unknown = 1;
  data.cls = 2;
  data.sep = 3;
  data.mask = 4;
  data.first_ordinary = 5;
  const auto add = [](Sequences& to, std::vector<uint16_t> tokens, size_t answer, uint32_t fact) {
    std::vector<uint8_t> answers(tokens.size(), 0);
    if (answer < answers.size()) answers[answer] = 1;
    to.add(tokens, answers, fact);
  };
  constexpr size_t kNone = 100;
  const auto no_fact = static_cast<uint32_t>(Dataset::kNoFact);
  for (uint16_t f = 0; f < 6; ++f) {
    const auto subject = static_cast<uint16_t>(10 + f);
    const auto object = static_cast<uint16_t>(20 + f);
    add(data.sentences, {subject, 5, 6, object, 7}, 3, f);
    add(data.sentences, {8, object, 6, subject, 5, 9, 7}, 1, f);
    add(data.prompts, {subject, 30, object}, 2, f);
    add(data.prompts, {object, 31, 32, subject, 7}, 0, f);
  }
  for (uint16_t t = 0; t < 5; ++t) {
    std::vector<uint16_t> text;
    for (uint16_t k = 0; k < 8 + t; ++k) text.push_back(static_cast<uint16_t>(33 + (k + t) % 5));
    add(data.texts, text, kNone, no_fact);
  }
  add(data.openers, {38, 39}, kNone, no_fact);
  add(data.closers, {39}, kNone, no_fact);
  return data;
}

SamplerOptions tiny_sampler() {
  SamplerOptions options;
  options.sequences_per_step = 16;
  options.batch_tokens = 64;
  options.max_tokens = 32;
  options.seed = 1;
  return options;
}

TrainOptions tiny_training(const std::filesystem::path& data, const std::filesystem::path& out) {
  TrainOptions options;
  options.data = data;
  options.out = out;
  options.layers = 2;
  options.d_model = 16;
  options.d_ff = 32;
  options.heads = 2;
  options.positions = 32;
  options.steps = 30;
  options.learning_rate = 0.01;
  options.sampler = tiny_sampler();
  options.threads = 1;
  return options;
}

}  // namespace engram::pretrain
