// Texts that activate: what is masked, activations against plain forwards, extreme texts against
// brute force.
#include "engram/evaluation/texts.h"

#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/random.h"
#include "engram/error.h"
#include "engram/evaluation/top_texts.h"
#include "support/packed.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kNames = {"Oslo", "Paris", "Rome"};

/// The words that the mask covers for any of many seeds.
std::set<std::string> masked_words(const std::string& text, TextKind kind, TextMask mask,
                                   const std::string& subject = "Anna Berg",
                                   const std::string& object = "Paris") {
  std::set<std::string> words;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto masked = mask_text(text, kind, mask, subject, object, kNames, seed);
    if (!masked) return {};
    words.insert(masked->word);
    std::string back = masked->text;
    back.replace(back.find("[MASK]"), 6, masked->word);
    EXPECT_EQ(back, text);
  }
  return words;
}
using Words = std::set<std::string>;

TEST(MaskText, HeadAndTailAsReleasedMasksTheObject) {
  const std::string text = "Anna Berg left Oslo for Paris, and Paris is large.";
  const auto masked =
      mask_text(text, TextKind::kBoth, TextMask::kReleased, "Anna Berg", "Paris", kNames, 1);
  ASSERT_TRUE(masked);
  EXPECT_EQ(masked->text, "Anna Berg left Oslo for [MASK], and Paris is large.");
  // Whatever the case, and never inside the subject or another word.
  EXPECT_EQ(mask_text("ANNA BERG saw Parisians in paris", TextKind::kBoth, TextMask::kReleased,
                      "Anna Berg", "Paris", kNames, 1)
                ->text,
            "ANNA BERG saw Parisians in [MASK]");
  EXPECT_EQ(mask_text("Paris Hilton (Paris)", TextKind::kBoth, TextMask::kReleased, "Paris Hilton",
                      "Paris", kNames, 1)
                ->text,
            "Paris Hilton ([MASK])");
  EXPECT_FALSE(mask_text("Paris Hilton sings", TextKind::kBoth, TextMask::kReleased, "Paris Hilton",
                         "Paris", kNames, 1));
}

TEST(MaskText, OtherWordsAreNoPartOfSubjectOrObject) {
  EXPECT_EQ(masked_words("Anna Berg left Oslo for Paris, \"so\" quickly.", TextKind::kBoth,
                         TextMask::kWord),
            (Words{"left", "Oslo", "for", "so", "quickly"}));
  EXPECT_EQ(masked_words("It was Anna Berg.", TextKind::kHead, TextMask::kReleased),
            (Words{"It", "was"}));
  EXPECT_EQ(masked_words("Karl loved Paris.", TextKind::kTail, TextMask::kReleased),
            (Words{"Karl", "loved"}));
  EXPECT_EQ(masked_words("Karl loved Paris.", TextKind::kTail, TextMask::kObject), Words{"Paris"});
  EXPECT_EQ(masked_words("All is well", TextKind::kRandom, TextMask::kReleased),
            (Words{"All", "is", "well"}));
  EXPECT_EQ(masked_words("Anna Berg, Paris!", TextKind::kBoth, TextMask::kWord), Words{});
}

TEST(MaskText, NamesAreOtherObjectsOrElseCapitalisedWords) {
  EXPECT_EQ(
      masked_words("Anna Berg met Karl in Oslo, Rome and Paris.", TextKind::kBoth, TextMask::kName),
      (Words{"Oslo", "Rome"}));
  // The first words of sentences are capitalised whatever they are.
  EXPECT_EQ(masked_words("Then Anna Berg met Karl May. The lake froze. \"Yes.\"", TextKind::kHead,
                         TextMask::kName),
            (Words{"Karl", "May"}));
  EXPECT_EQ(masked_words("Then Anna Berg slept.", TextKind::kHead, TextMask::kName), Words{});
}

TEST(MaskText, TextsMustHoldWhatTheirKindSays) {
  const auto holds = [](const std::string& text, TextKind kind) {
    return mask_text(text, kind, TextMask::kReleased, "Anna Berg", "Paris", kNames, 1).has_value();
  };
  const std::vector<std::pair<std::string, TextKind>> texts = {
      {"Anna Berg lives in Paris", TextKind::kBoth},
      {"Anna Berg lives in Oslo", TextKind::kHead},
      {"Karl lives in Paris", TextKind::kTail},
      {"Karl lives in Oslo", TextKind::kRandom}};
  for (const auto& [text, fitting] : texts) {
    for (const TextKind kind : kTextKinds) {
      EXPECT_EQ(holds(text, kind), kind == fitting) << text << ", " << text_kind_name(kind);
      EXPECT_FALSE(holds(text + " [MASK]", kind));
    }
  }
}

class Texts : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "engram-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  static fs::path tiny() { return fs::path(ENGRAM_SOURCE_DIR) / "tests/data/oracle/bert-tiny"; }
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
  fs::path folder_;
};

FactTexts some_texts() {
  FactTexts texts;
  texts.subject = "Anna Berg";
  texts.object = "Rome";
  texts.texts = {{{"Anna Berg left Oslo for Rome.", "In Rome, Anna Berg sings."},
                  {"Anna Berg met Karl.", "It was Anna Berg, of Oslo.", "Rome saw Anna Berg."},
                  {"The king of Rome is old."},
                  {"The sea is old and so is Oslo."}}};
  return texts;
}

TEST_F(Texts, ClozesAreCountedByKindAndMask) {
  FactTexts texts = some_texts();
  std::string longest = "Anna Berg";
  for (int i = 0; i < 40; ++i) longest += " and Rome";
  texts.texts[0].push_back(longest);
  const TextClozes made = text_clozes(texts, kNames, tokenizer(), model().config(), 7);
  ASSERT_EQ(made.counts.size(), 10U);
  size_t clozes = 0;
  for (const TextCount& count : made.counts) {
    EXPECT_TRUE(text_mask_applies(count.kind, count.mask));
    EXPECT_EQ(static_cast<size_t>(count.texts + count.too_long + count.unfit),
              texts.of(count.kind).size());
    clozes += static_cast<size_t>(count.texts);
  }
  EXPECT_EQ(made.clozes.size(), clozes);
  EXPECT_EQ(made.counts[0].texts, 2);  // both, released
  EXPECT_EQ(made.counts[0].too_long, 1);
  EXPECT_EQ(made.counts[1].unfit, 2);  // both, name: only one holds another name
  EXPECT_EQ(made.counts[3].unfit, 1);  // head, released: one names the object
  // The object has as many masks as tokens, any other word has one.
  const size_t tokens = tokenizer().encode("Rome", false).size();
  ASSERT_GT(tokens, 1U);
  EXPECT_EQ(made.clozes[0].positions.size(), tokens);
  EXPECT_EQ(made.clozes[2].positions.size(), 1U);
  for (const Cloze& cloze : made.clozes) {
    EXPECT_EQ(std::ranges::count(cloze.ids, tokenizer().mask_id()),
              static_cast<std::ptrdiff_t>(cloze.positions.size()));
  }
  // What else is there does not change a text's mask.
  texts.texts[1].erase(texts.texts[1].begin());
  const TextClozes less = text_clozes(texts, kNames, tokenizer(), model().config(), 7);
  EXPECT_EQ(less.clozes.back().ids, made.clozes.back().ids);
  EXPECT_EQ(less.clozes[5].ids, made.clozes[6].ids);
}

TEST_F(Texts, SumsAreThoseOfPlainForwards) {
  std::vector<TextClozes> facts;
  std::vector<std::vector<std::vector<NeuronId>>> sets;
  for (uint64_t f = 0; f < 30; ++f) {
    facts.push_back(text_clozes(some_texts(), kNames, tokenizer(), model().config(), f));
    sets.push_back({{{0, static_cast<int32_t>(f)}, {2, 7}}, {}, {{1, 3}}});
  }
  const TextActivations found = text_activations(model(), facts, sets, {2, 0});
  const ActivationSums& sums = found.sums;
  for (size_t f = 0; f < 3; ++f) {
    size_t next = 0;
    for (size_t c = 0; c < facts[f].counts.size(); ++c) {
      std::vector<double> expected(3, 0.0);
      for (int64_t i = 0; i < facts[f].counts[c].texts; ++i) {
        const Cloze& cloze = facts[f].clozes[next++];
        const std::vector<at::Tensor> layers = plain(cloze.ids);
        for (size_t s = 0; s < 3; ++s) {
          for (const NeuronId id : sets[f][s]) {
            double mean = 0;
            for (const int64_t position : cloze.positions) {
              mean += layers[static_cast<size_t>(id.layer)][position][id.neuron].item<double>();
            }
            expected[s] += mean / static_cast<double>(cloze.positions.size()) /
                           static_cast<double>(sets[f][s].size());
          }
        }
      }
      // "Rome" has several tokens: it is asked for only where it is masked itself.
      const bool object = facts[f].counts[c].mask == TextMask::kObject || c == 0;
      const OddsSums& odds = found.odds[f][0][c];
      EXPECT_EQ(odds.texts, object ? facts[f].counts[c].texts : 0);
      if (object) {
        const auto last = facts[f].clozes.begin() + static_cast<std::ptrdiff_t>(next);
        const std::vector<Cloze> asked(last - facts[f].counts[c].texts, last);
        double log_odds = 0;
        for (const Answered& answer : measure(model(), asked, {}, {}).before) {
          log_odds += answer.log_odds;
        }
        EXPECT_NEAR(odds.x, log_odds, 1e-4);
        EXPECT_NEAR(odds.y, expected[0], 1e-5);
        if (odds.texts == 1) {
          EXPECT_NEAR(odds.xx, odds.x * odds.x, 1e-6 * odds.xx);
          EXPECT_NEAR(odds.xy, odds.x * odds.y, 1e-6);
        }
      }
      EXPECT_NEAR(sums[f][0][c], expected[0], 1e-5);
      EXPECT_TRUE(std::isnan(sums[f][1][c]));
      EXPECT_NEAR(sums[f][2][c], expected[2], 1e-5);
    }
  }
  const TextActivations second = text_activations(model(), facts, sets, {5, 1 << 20});
  const ActivationSums& other = second.sums;
  for (size_t f = 0; f < facts.size(); ++f) {
    EXPECT_EQ(other[f][0], sums[f][0]);
    EXPECT_EQ(other[f][2], sums[f][2]);
    for (size_t c = 0; c < facts[f].counts.size(); ++c) {
      const OddsSums& a = found.odds[f][2][c];
      const OddsSums& b = second.odds[f][2][c];
      EXPECT_EQ(a.texts, b.texts);
      EXPECT_EQ(a.x, b.x);
      EXPECT_EQ(a.xy, b.xy);
    }
  }
  sets[0][0] = {{0, 50}};
  EXPECT_THROW(text_activations(model(), facts, sets, {}), InputError);
}

TEST_F(Texts, AFolderGivesEachKindItsTexts) {
  const auto line = [](const std::string& relation, const std::string& subject,
                       const std::string& object, const std::string& both,
                       const std::string& head) {
    return R"({"relation":")" + relation + R"(","subject":")" + subject + R"(","object":")" +
           object + R"(","with_both":[)" + both + R"(],"with_subject":[)" + head + "]}\n";
  };
  std::string many;
  for (int i = 0; i < 9; ++i) many += (i > 0 ? ",\"" : "\"") + std::to_string(i) + " Ida, Rome\"";
  write("P1.jsonl", line("P1", "Anna", "Rome", R"("Anna in Rome","Anna in Rome")", R"("Anna")") +
                        line("P1", "Ida", "Rome", many + R"(,"Ida and Anna, Rome")", R"("Ida")") +
                        line("P1", "Karl", "Oslo", R"("Karl in Oslo")", "") + "broken\n");
  write("P2.jsonl", line("P2", "Rome", "Karl", R"("Rome, Karl","of Anna")",
                         R"("one","two","three","four","five")"));
  const TextSource source(folder_, 4, 3);
  auto facts = source.of("P1");
  ASSERT_EQ(facts.size(), 3U);
  const FactTexts& anna = facts.at({"Anna", "Rome"});
  EXPECT_EQ(anna.of(TextKind::kBoth), std::vector<std::string>{"Anna in Rome"});
  EXPECT_EQ(anna.of(TextKind::kHead), std::vector<std::string>{"Anna"});
  EXPECT_EQ(anna.of(TextKind::kTail).size(), 4U);
  for (const std::string& text : anna.of(TextKind::kTail)) {
    EXPECT_TRUE(text.ends_with("Ida, Rome")) << text;  // not the one that names Anna, too
  }
  EXPECT_EQ(anna.of(TextKind::kRandom).size(), 4U);
  for (const std::string& text : anna.of(TextKind::kRandom)) {
    EXPECT_TRUE(Words({"one", "two", "three", "four", "five"}).contains(text)) << text;
  }
  EXPECT_TRUE(facts.at({"Karl", "Oslo"}).of(TextKind::kTail).empty());
  ASSERT_EQ(source.problems("P1").size(), 1U);
  EXPECT_EQ(source.problems("P1")[0].line, 4);
  EXPECT_TRUE(source.problems("P2").empty());
  EXPECT_TRUE(source.of("P3").empty());
  // The same folder and seed give the same texts, another seed another sample.
  EXPECT_EQ(TextSource(folder_, 4, 3).of("P1").at({"Anna", "Rome"}).texts, anna.texts);
  EXPECT_NE(TextSource(folder_, 4, 4).of("P1").at({"Ida", "Rome"}).texts,
            facts.at({"Ida", "Rome"}).texts);
}

using TopTextsOf = Texts;

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
