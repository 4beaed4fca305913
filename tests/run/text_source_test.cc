// Texts that activate: what is masked, activations against plain forwards.
#include "experiments/texts/experiment_activations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "engram/error.h"
#include "support/tiny_texts.h"

namespace engram::experiments::texts {
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

using Texts = testing::TinyTexts;

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

}  // namespace
}  // namespace engram::experiments::texts
