// Phrasings, text files, training batches.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "engram/error.h"
#include "pretrain/corpus.h"
#include "pretrain/random.h"
#include "pretrain/sampler.h"
#include "support/packed.h"
#include "tiny_data.h"

namespace engram::pretrain {
namespace {

namespace fs = std::filesystem;

std::string letters(const std::string& text) {
  std::string kept;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalpha(u) != 0 || c == '[' || c == ']') kept += static_cast<char>(std::tolower(u));
  }
  return kept;
}

TEST(Phrasings, EveryRelationHasEnoughAndTheyAreVaried) {
  const PhrasingFile file = read_phrasings(fs::path(ENGRAM_SOURCE_DIR) / "pretrain/phrasings.json");
  EXPECT_GE(file.relations.size(), 24U);
  for (const auto& [relation, phrasings] : file.relations) {
    EXPECT_GE(phrasings.trained.size() + phrasings.held_out.size(), 8U) << relation;
    EXPECT_GE(phrasings.held_out.size(), 2U) << relation;
    std::set<bool> answer_first;  // the mask stands before the subject in some, behind it in others
    for (const std::string& p : phrasings.trained)
      answer_first.insert(p.find("[Y]") < p.find("[X]"));
    EXPECT_EQ(answer_first.size(), 2U) << relation;
  }
}

TEST(Phrasings, NoneIsAPatternOfParaRel) {
  const fs::path patterns =
      fs::path(ENGRAM_SOURCE_DIR).parent_path() / "shared/data/pararel/patterns";
  if (!fs::is_directory(patterns)) GTEST_SKIP() << patterns << " is not there";
  std::set<std::string> theirs;
  for (const fs::path& file : files_of(patterns, "P")) {
    for_each_line(file, [&](std::string_view line) {
      theirs.insert(letters(nlohmann::json::parse(line).at("pattern").get<std::string>()));
      return true;
    });
  }
  ASSERT_GT(theirs.size(), 100U);
  const PhrasingFile file = read_phrasings(fs::path(ENGRAM_SOURCE_DIR) / "pretrain/phrasings.json");
  for (const auto& [relation, phrasings] : file.relations) {
    for (const auto* list : {&phrasings.trained, &phrasings.held_out}) {
      for (const std::string& p : *list) {
        EXPECT_FALSE(theirs.contains(letters(p))) << relation << ": " << p;
      }
    }
  }
}

TEST(Phrasings, MalformedFilesAreRefused) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "phrasings.json";
  const auto refuse = [&](const std::string& trained) {
    std::ofstream(file) << R"({"openers": [], "closers": [], "relations": {"P1": {"label": "l",)"
                        << R"("trained": )" << trained << R"(, "held_out": ["[Y] of [X]."]}}})";
    EXPECT_THROW(read_phrasings(file), InputError) << trained;
  };
  refuse(R"(["[X] without an object."])");
  refuse(R"(["[X] is [Y] and [Y]."])");
  refuse(R"(["[Y] of [X]."])");  // also held out
  refuse("[]");
  refuse("7");
}

TEST(Phrasings, FillingPutsTheMaskWhereTheObjectWas) {
  EXPECT_EQ(fill_phrasing("[Y] made [X].", "The [Y] Show"), "[MASK] made The [Y] Show.");
}

class XzFile : public ::testing::Test {
 protected:
  std::vector<std::string> read(const std::string& bytes) {
    std::ofstream(folder_.path() / "f.xz", std::ios::binary) << bytes;
    std::vector<std::string> lines;
    for_each_line(folder_.path() / "f.xz", [&](std::string_view line) {
      lines.emplace_back(line);
      return lines.size() < 1000000;
    });
    return lines;
  }
  TemporaryFolder folder_;
};

TEST_F(XzFile, LinesComeOutWhateverTheirLength) {
  std::string text;
  std::vector<std::string> expected;
  for (size_t i = 0; i < 300; ++i) {
    expected.push_back(std::string(hash(1, i) % 3000, static_cast<char>('a' + i % 26)));
    text += expected.back() + "\n";
  }
  EXPECT_EQ(read(testing::xz_packed(text)), expected);
  // Two streams behind one another are one text.
  EXPECT_EQ(read(testing::xz_packed("one\ntw") + testing::xz_packed("o\nthree")),
            (std::vector<std::string>{"one", "two", "three"}));
}

TEST_F(XzFile, DamagedFilesAreRefused) {
  std::string text;
  for (size_t i = 0; i < 5000; ++i) text += std::to_string(hash(2, i)) + "\n";
  const std::string whole = testing::xz_packed(text);
  EXPECT_THROW(read(whole.substr(0, whole.size() / 2)), InputError);
  std::string flipped = whole;
  flipped[whole.size() / 2] = static_cast<char>(~flipped[whole.size() / 2]);
  EXPECT_THROW(read(flipped), InputError);
  EXPECT_THROW(for_each_line(folder_.path(), [](std::string_view) { return true; }), FileError);
}

TEST(Shuffled, VisitsEachOnceInEveryRound) {
  for (const uint64_t n : {1U, 2U, 3U, 7U, 64U, 1000U}) {
    std::vector<std::vector<uint64_t>> rounds(3);
    for (uint64_t i = 0; i < 3 * n; ++i) rounds[i / n].push_back(shuffled(5, i, n));
    for (const auto& round : rounds) {
      EXPECT_EQ(std::set<uint64_t>(round.begin(), round.end()).size(), n);
      for (const uint64_t x : round) EXPECT_LT(x, n);
    }
    if (n >= 64) {
      EXPECT_NE(rounds[0], rounds[1]);
    }
  }
}

TEST(Sampler, AStepDependsOnNothingThatCameBefore) {
  const Dataset data = tiny_dataset();
  SamplerOptions options = tiny_sampler();
  Sampler forward(data, options);
  std::vector<std::vector<MicroBatch>> steps;
  for (int64_t s = 0; s < 20; ++s) steps.push_back(forward.step(s));
  Sampler backward(data, options);
  for (int64_t s = 20; s-- > 0;) {
    const auto again = backward.step(s);
    ASSERT_EQ(again.size(), steps[static_cast<size_t>(s)].size());
    for (size_t b = 0; b < again.size(); ++b) {
      EXPECT_EQ(again[b].ids, steps[static_cast<size_t>(s)][b].ids);
      EXPECT_EQ(again[b].targets, steps[static_cast<size_t>(s)][b].targets);
      EXPECT_EQ(again[b].expected, steps[static_cast<size_t>(s)][b].expected);
    }
  }
  options.seed = 2;
  EXPECT_NE(Sampler(data, options).step(0)[0].ids, steps[0][0].ids);
}

TEST(Sampler, PromptsAlwaysHideTheAnswerAndFactsComeEquallyOften) {
  const Dataset data = tiny_dataset();
  SamplerOptions options = tiny_sampler();
  options.sentence_share = 0;
  options.prompt_share = 1;
  options.prompt_paired = 0;
  Sampler sampler(data, options);
  std::map<int64_t, int64_t> answers;
  // Pools of 8 steps; 16 sequences a step; 6 facts: 3 pools are a whole number of rounds.
  for (int64_t s = 0; s < 24; ++s) {
    for (const MicroBatch& batch : sampler.step(s)) {
      EXPECT_EQ(batch.targets.size(), static_cast<size_t>(batch.rows));
      for (size_t t = 0; t < batch.targets.size(); ++t) {
        const auto at = static_cast<size_t>(batch.targets[t]);
        EXPECT_EQ(batch.ids[at], data.mask);
        EXPECT_EQ(batch.real[at], 1);
        ++answers[batch.expected[t]];
      }
    }
  }
  EXPECT_EQ(answers.size(), static_cast<size_t>(data.facts));
  for (const auto& [token, count] : answers)
    EXPECT_EQ(count, int64_t{24} * 16 / data.facts) << token;
}

TEST(Sampler, SharesThatCannotBeAreRefused) {
  const Dataset data = tiny_dataset();
  SamplerOptions options = tiny_sampler();
  options.sentence_share = 0.8;
  options.prompt_share = 0.3;
  EXPECT_THROW(Sampler(data, options), UsageError);
  Dataset empty = tiny_dataset();
  empty.texts = {};
  EXPECT_THROW(Sampler(empty, tiny_sampler()), InputError);
}

TEST(Dataset, ComesBackAsWrittenAndRefusesDamage) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "data.bin";
  const Dataset data = tiny_dataset();
  data.write(file);
  const Dataset back = Dataset::read(file);
  EXPECT_EQ(back.mask, data.mask);
  ASSERT_EQ(back.prompts.size(), data.prompts.size());
  for (size_t i = 0; i < data.prompts.size(); ++i) {
    EXPECT_TRUE(std::ranges::equal(back.prompts.tokens(i), data.prompts.tokens(i)));
    EXPECT_TRUE(std::ranges::equal(back.prompts.answers(i), data.prompts.answers(i)));
    EXPECT_EQ(back.prompts.fact(i), data.prompts.fact(i));
  }
  std::string bytes;
  {
    std::ifstream in(file, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  for (const size_t size : {size_t{0}, size_t{10}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes.substr(0, size);
    EXPECT_THROW(Dataset::read(file), InputError) << size;
  }
}

}  // namespace
}  // namespace engram::pretrain
