// Texts on which neurons are most and least active, against brute force.
#include "engram/intervention/top_texts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "engram/error.h"
#include "support/packed.h"
#include "support/tiny_texts.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

using TopTextsOf = testing::TinyTexts;

/// A text with a neuron's extremes on it.
struct Plain {
  std::string text;
  int64_t line;
  double high, low;
};

TEST_F(TopTextsOf, StreamingKeepsWhatBruteForceFinds) {
  Random random(4);
  std::vector<std::string> lines;
  for (size_t i = 0; i < 480; ++i) {
    lines.push_back(sentence(random, 2 + random.below(10)));
    if (i % 50 == 7) lines.push_back(std::string(lines[random.below(lines.size())]));
    if (i % 90 == 3) lines.emplace_back("");
  }
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  const fs::path file = write("corpus.txt", text);
  const std::vector<NeuronId> neurons = {{2, 9}, {0, 4}, {2, 1}};
  TopTextsOptions options;
  options.top = 6;
  options.measure = {1, 0};
  const TopTexts found = top_texts(model(), tokenizer(), file, neurons, options);
  EXPECT_EQ(found.lines, static_cast<int64_t>(lines.size()));
  EXPECT_EQ(found.texts, static_cast<int64_t>(lines.size() - std::ranges::count(lines, "")));

  std::vector<std::vector<Plain>> all(neurons.size());
  std::set<std::string> seen;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].empty() || !seen.insert(lines[i]).second) continue;
    const std::vector<int64_t> ids = tokenizer().encode(lines[i]);
    const std::vector<at::Tensor> layers = plain(ids);
    for (size_t n = 0; n < neurons.size(); ++n) {
      const at::Tensor a = layers[static_cast<size_t>(neurons[n].layer)]
                               .select(1, neurons[n].neuron)
                               .narrow(0, 1, static_cast<int64_t>(ids.size()) - 2);
      all[n].push_back(
          {lines[i], static_cast<int64_t>(i) + 1, a.max().item<double>(), a.min().item<double>()});
    }
  }
  for (size_t n = 0; n < neurons.size(); ++n) {
    EXPECT_EQ(found.neurons[n].neuron, neurons[n]);
    for (const bool lowest : {false, true}) {
      const auto value = [&](const Plain& one) { return lowest ? one.low : -one.high; };
      std::ranges::stable_sort(all[n], {}, value);
      const auto& kept = lowest ? found.neurons[n].lowest : found.neurons[n].highest;
      ASSERT_EQ(kept.size(), 6U);
      for (size_t i = 0; i < kept.size(); ++i) {
        EXPECT_NEAR(kept[i].activation, lowest ? all[n][i].low : all[n][i].high, 1e-5);
        // Which text it is, where the next ones are not within rounding of it.
        const double gap = std::min(i > 0 ? value(all[n][i]) - value(all[n][i - 1]) : 1.0,
                                    value(all[n][i + 1]) - value(all[n][i]));
        if (gap > 1e-5) {
          EXPECT_EQ(kept[i].text, all[n][i].text);
          EXPECT_EQ(kept[i].line, all[n][i].line);
        }
        const auto extreme = lowest
                                 ? std::ranges::min_element(kept[i].tokens, {},
                                                            &std::pair<std::string, float>::second)
                                 : std::ranges::max_element(kept[i].tokens, {},
                                                            &std::pair<std::string, float>::second);
        EXPECT_EQ(static_cast<double>(extreme->second), kept[i].activation);
        EXPECT_EQ(kept[i].tokens.size(), tokenizer().encode(kept[i].text, false).size());
      }
    }
  }
}

void expect_same(const TopTexts& a, const TopTexts& b) {
  ASSERT_EQ(a.neurons.size(), b.neurons.size());
  EXPECT_EQ(a.words, b.words);
  EXPECT_EQ(a.tokens, b.tokens);
  for (size_t n = 0; n < a.neurons.size(); ++n) {
    for (const auto list : {&NeuronTexts::highest, &NeuronTexts::lowest}) {
      ASSERT_EQ((a.neurons[n].*list).size(), (b.neurons[n].*list).size());
      for (size_t i = 0; i < (a.neurons[n].*list).size(); ++i) {
        const TextExample& one = (a.neurons[n].*list)[i];
        const TextExample& other = (b.neurons[n].*list)[i];
        EXPECT_EQ(one.activation, other.activation);  // bit for bit
        EXPECT_EQ(one.text, other.text);
        EXPECT_EQ(one.line, other.line);
        EXPECT_EQ(one.tokens, other.tokens);
      }
    }
  }
}

TEST_F(TopTextsOf, NeitherThreadsNorMemoryNorPackingChangeABit) {
  Random random(5);
  std::string text;
  for (size_t i = 0; i < 700; ++i) text += sentence(random, 1 + random.below(14)) + "\n";
  const fs::path file = write("corpus.txt", text);
  const fs::path xz = write("corpus.txt.xz", testing::xz_packed(text));
  const std::vector<NeuronId> neurons = {{1, 2}, {2, 30}};
  TopTextsOptions options;
  options.measure = {1, 0};
  const TopTexts one = top_texts(model(), tokenizer(), file, neurons, options);
  options.measure = {4, 0};
  expect_same(one, top_texts(model(), tokenizer(), xz, neurons, options));
  options.measure = {4, 1};
  expect_same(one, top_texts(model(), tokenizer(), file, neurons, options));
}

TEST_F(TopTextsOf, LongLinesAreCutBetweenSentencesAndLimitsKept) {
  Random random(6);
  std::string line;
  for (int i = 0; i < 8; ++i) line += (i > 0 ? " " : "") + sentence(random, 5);
  std::string endless = "A";
  for (int i = 0; i < 60; ++i) endless += " sea";
  const fs::path file =
      write("corpus.txt", line + "\n\n" + endless + "\nThe \xFF sea.\nA sea.\nNot read.\n");
  TopTextsOptions options;
  options.limit = 5;
  options.top = 100;
  const std::vector<NeuronId> neurons = {{0, 0}};
  const TopTexts found = top_texts(model(), tokenizer(), file, neurons, options);
  EXPECT_EQ(found.lines, 5);
  EXPECT_EQ(found.cut, 2);
  EXPECT_EQ(found.skipped, 2);
  EXPECT_EQ(found.words, 8 * 6 + 2);
  std::set<std::string> pieces;
  for (const TextExample& example : found.neurons[0].highest) {
    EXPECT_TRUE(example.line == 1 || example.line == 5);
    if (example.line == 1) {
      EXPECT_NE(line.find(example.text), std::string::npos);
    }
    EXPECT_LE(tokenizer().encode(example.text).size(), 40U);
  }
}

TEST_F(TopTextsOf, ATextOfNoTokensHasNoActivation) {
  // A tokenizer that adds no special tokens leaves nothing of control characters.
  using nlohmann::json;
  json tokenizer_file = json::parse(std::ifstream(tiny() / "tokenizer.json"));
  tokenizer_file["post_processor"] = nullptr;
  write("tokenizer.json", tokenizer_file.dump());
  write("tokenizer_config.json",
        R"({"tokenizer_class":"PreTrainedTokenizerFast","mask_token":"[MASK]"})");
  const Tokenizer bare = Tokenizer::load(folder_);
  ASSERT_TRUE(bare.encode("\x01\x02").empty());
  const std::vector<NeuronId> neurons = {{0, 1}};
  const TopTexts found =
      top_texts(model(), bare, write("corpus.txt", "\x01\x02\nA sea.\n\x03\nThe king.\n"), neurons);
  EXPECT_EQ(found.lines, 4);
  ASSERT_EQ(found.neurons[0].highest.size(), 2U);
  EXPECT_EQ(found.neurons[0].highest[0].line + found.neurons[0].highest[1].line, 2 + 4);
}

TEST_F(TopTextsOf, WhatCannotBeMeantIsRefused) {
  const fs::path file = write("corpus.txt", "A sea.\n");
  const auto run = [&](const std::vector<NeuronId>& neurons, const TopTextsOptions& options = {}) {
    return top_texts(model(), tokenizer(), file, neurons, options);
  };
  EXPECT_THROW(run({{3, 0}}), InputError);
  EXPECT_THROW(run({{0, 50}}), InputError);
  EXPECT_THROW(run({{0, 1}, {0, 1}}), InputError);
  EXPECT_THROW(run({}), InputError);
  TopTextsOptions none;
  none.top = 0;
  EXPECT_THROW(run({{0, 1}}, none), UsageError);
  const std::vector<NeuronId> neurons = {{0, 1}};
  EXPECT_THROW(top_texts(model(), tokenizer(), folder_ / "nowhere", neurons), FileError);
  EXPECT_THROW(top_texts(model(), tokenizer(), write("empty.txt", "\n \n"), neurons), InputError);
}

}  // namespace
}  // namespace engram
