#include "engram/text/prompt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engram/error.h"

namespace engram {
namespace {

using Ids = std::vector<int64_t>;

Tokenizer stored_tokenizer(const std::string& kind) {
  return Tokenizer::load(std::filesystem::path(ENGRAM_SOURCE_DIR) / "tests/data/tokenizers" / kind);
}

template <typename Work>
std::string refused(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.rfind("here: ", 0), 0U) << "names its origin: " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  ADD_FAILURE() << "not refused";
  return "";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class EveryTokenizer : public ::testing::TestWithParam<std::string> {
 protected:
  Tokenizer tokenizer_ = stored_tokenizer(GetParam());
};

/// With one mask, the ids are those of the text that the model's own users write.
TEST_P(EveryTokenizer, OneMaskIsTheTextItself) {
  for (const std::string place : {"The capital of France is @.", "@ is the capital of Germany.",
                                  "Paris, @; Berlin", "(@)", "@", "東京 é @"}) {
    const size_t at = place.find('@');
    const auto with = [&](const std::string& mask) {
      return place.substr(0, at) + mask + place.substr(at + 1);
    };
    const Ids expected = tokenizer_.encode(with(tokenizer_.mask_token()));
    for (const std::string& mask : {std::string("[MASK]"), tokenizer_.mask_token()}) {
      const Cloze prompt = encode_prompt(tokenizer_, with(mask), 1, 64, "here");
      EXPECT_EQ(prompt.ids, expected) << place;
      ASSERT_EQ(prompt.positions.size(), 1U);
      EXPECT_EQ(prompt.ids[static_cast<size_t>(prompt.positions[0])], tokenizer_.mask_id());
      EXPECT_TRUE(prompt.answer.empty());
    }
  }
}

TEST_P(EveryTokenizer, MoreMasksStandSideBySide) {
  const std::string text = "The capital of France is [MASK].";
  const Cloze one = encode_prompt(tokenizer_, text, 1, 64, "here");
  for (int64_t masks = 2; masks < 6; ++masks) {
    const Cloze many = encode_prompt(tokenizer_, text, masks, 64, "here");
    Ids expected = one.ids;
    expected.insert(expected.begin() + one.positions[0], static_cast<size_t>(masks - 1),
                    tokenizer_.mask_id());
    EXPECT_EQ(many.ids, expected);
    Ids positions;
    for (int64_t i = 0; i < masks; ++i) positions.push_back(one.positions[0] + i);
    EXPECT_EQ(many.positions, positions);
  }
}

/// Put into the masks, an answer gives the text with the answer in it.
TEST_P(EveryTokenizer, AnswersFillTheirMasks) {
  if (tokenizer_.word_mark() == "\u2581") {
    GTEST_SKIP() << "a sentencepiece tokenizer begins a word after every added token";
  }
  for (const std::string place : {"The capital of France is @.", "@ is the capital of Germany.",
                                  "the capital (@)", "France: @"}) {
    for (const std::string answer : {"Paris", "Berlin", "capital", "parisians", "the capital"}) {
      const size_t at = place.find('@');
      const std::string text = place.substr(0, at) + "[MASK]" + place.substr(at + 1);
      const Cloze prompt = encode_prompt(tokenizer_, text, answer, 64, "here");
      ASSERT_EQ(prompt.answer.size(), prompt.positions.size());
      Ids filled = prompt.ids;
      for (size_t i = 0; i < prompt.answer.size(); ++i) {
        filled[static_cast<size_t>(prompt.positions[i])] = prompt.answer[i];
      }
      const std::string whole = place.substr(0, at) + answer + place.substr(at + 1);
      EXPECT_EQ(filled, tokenizer_.encode(whole)) << whole;
      EXPECT_EQ(answer_ids(tokenizer_, text, answer + " \n", "here"), prompt.answer);
      if (!tokenizer_.byte_level()) {
        EXPECT_EQ(answer_ids(tokenizer_, text, "  " + answer + "\n", "here"), prompt.answer);
      }
    }
  }
}

TEST_P(EveryTokenizer, MasksAreCounted) {
  const std::string own = tokenizer_.mask_token();
  for (const std::string& text :
       {std::string(""), std::string("no mask"), std::string("[MASK] and [MASK]"),
        "[MASK] and " + own, own + own, std::string("[mask] [ MASK ]")}) {
    EXPECT_TRUE(
        holds(refused([&] { (void)encode_prompt(tokenizer_, text, 1, 64, "here"); }), "[MASK]"));
    EXPECT_TRUE(
        holds(refused([&] { (void)answer_ids(tokenizer_, text, "Paris", "here"); }), "[MASK]"));
  }
  refused([&] { (void)encode_prompt(tokenizer_, "[MASK]", 0, 64, "here"); });
  refused([&] { (void)encode_prompt(tokenizer_, "[MASK]", -3, 64, "here"); });
}

TEST_P(EveryTokenizer, PromptsFitExactlyOrAreRefused) {
  const std::string text = "The capital of France is [MASK].";
  const auto length =
      static_cast<int64_t>(encode_prompt(tokenizer_, text, 1, 64, "here").ids.size());
  EXPECT_EQ(encode_prompt(tokenizer_, text, 1, length, "here").ids.size(),
            static_cast<size_t>(length));
  for (const int64_t room : {length - 1, int64_t{1}, int64_t{0}}) {
    const std::string message =
        refused([&] { (void)encode_prompt(tokenizer_, text, 1, room, "here"); });
    EXPECT_TRUE(holds(message, "at most " + std::to_string(room))) << message;
  }
  refused([&] { (void)encode_prompt(tokenizer_, text, 2, length, "here"); });
  refused([&] { (void)encode_prompt(tokenizer_, text, INT64_MAX, length, "here"); });
}

TEST_P(EveryTokenizer, SpecialTokensAreNoAnswers) {
  std::vector<std::string> answers = {"[MASK]", "", " \t\n"};
  for (int64_t id = 0; id < tokenizer_.vocabulary(); ++id) {
    if (tokenizer_.is_special(id)) {
      answers.push_back(tokenizer_.token_of(id));
      answers.push_back("Paris " + tokenizer_.token_of(id));
    }
  }
  ASSERT_GE(answers.size(), 13U) << "five special tokens";
  for (const std::string& answer : answers) {
    SCOPED_TRACE(answer);
    refused([&] { (void)answer_ids(tokenizer_, "It is [MASK].", answer, "here"); });
  }
}

TEST_P(EveryTokenizer, BrokenTextIsRefusedWithItsOrigin) {
  refused([&] { (void)encode_prompt(tokenizer_, "\xff [MASK]", 1, 64, "here"); });
  refused([&] { (void)answer_ids(tokenizer_, "[MASK]", "\xff", "here"); });
}

INSTANTIATE_TEST_SUITE_P(Forms, EveryTokenizer,
                         ::testing::Values("wordpiece-json", "wordpiece-json-cased",
                                           "wordpiece-txt", "bpe-json", "bpe-files",
                                           "unigram-json"),
                         [](const auto& kind) {
                           std::string name = kind.param;
                           for (char& c : name) {
                             if (c == '-') c = '_';
                           }
                           return name;
                         });

TEST(Answers, UnknownWordsAreNamed) {
  const Tokenizer tokenizer = stored_tokenizer("wordpiece-json");
  const std::string message = refused(
      [&] { (void)answer_ids(tokenizer, "It is [MASK].", "Paris \xE2\x98\x83 France", "here"); });
  EXPECT_TRUE(holds(message, "\"Paris \xE2\x98\x83 France\"")) << message;
  EXPECT_TRUE(holds(message, "\"\xE2\x98\x83\"")) << message;
  EXPECT_TRUE(holds(message, "[UNK]")) << message;
}

TEST(Answers, ByteLevelOnesTakeTheSpaceOfTheirPlace) {
  const Tokenizer tokenizer = stored_tokenizer("bpe-json");
  const auto first = [&](const std::string& prompt) {
    return tokenizer.token_of(answer_ids(tokenizer, prompt, "Paris", "here").front());
  };
  EXPECT_EQ(first("It is [MASK].").rfind("\xC4\xA0", 0), 0U);
  EXPECT_EQ(first("It is <mask>.").rfind("\xC4\xA0", 0), 0U);
  EXPECT_NE(first("[MASK] it is.").rfind("\xC4\xA0", 0), 0U);
  EXPECT_NE(first("([MASK])").rfind("\xC4\xA0", 0), 0U);
}

TEST(Answers, ALeadingSpaceIsKeptInByteLevelVocabularies) {
  const Tokenizer tokenizer = stored_tokenizer("bpe-json");
  for (const std::string prompt : {"[MASK] it is.", "([MASK])", "It is [MASK]."}) {
    const Ids ids = answer_ids(tokenizer, prompt, " Paris", "here");
    ASSERT_EQ(ids.size(), 1U) << prompt;
    EXPECT_EQ(tokenizer.token_of(ids[0]), "\u0120Paris");
  }
  EXPECT_GT(answer_ids(tokenizer, "[MASK] it is.", "Paris", "here").size(), 1U);
}

TEST(Answers, TheVocabularysOwnSpellingIsOneToken) {
  for (const auto& [kind, mark] :
       {std::pair{"wordpiece-json", "##"}, {"bpe-json", "\u0120"}, {"unigram-json", "\u2581"}}) {
    const Tokenizer tokenizer = stored_tokenizer(kind);
    int spelled = 0;
    for (int64_t id = 0; id < tokenizer.vocabulary(); ++id) {
      const std::string token = tokenizer.token_of(id);
      if (!token.starts_with(mark) || token == mark) continue;
      for (const std::string prompt : {"It is [MASK].", "[MASK] it is."}) {
        EXPECT_EQ(answer_ids(tokenizer, prompt, token, "here"), Ids{id}) << kind << " " << token;
      }
      ++spelled;
    }
    EXPECT_GT(spelled, 20) << kind;
  }
  // What is no token is text: the marks are written out.
  const Tokenizer tokenizer = stored_tokenizer("wordpiece-json");
  refused([&] { (void)answer_ids(tokenizer, "It is [MASK].", "##nosuchpiece", "here"); });
}

/// A mask that leaves the space before it standing has that space as a token of its own; an answer
/// with a second one would make a text of two spaces.
TEST(Answers, AMaskThatLeavesTheSpaceTakesAnAnswerWithoutIt) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("engram_mask_" + std::to_string(::getpid()));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto stored = std::filesystem::path(ENGRAM_SOURCE_DIR) / "tests/data/tokenizers/bpe-files";
  for (const char* name : {"vocab.json", "merges.txt"}) {
    std::filesystem::copy_file(stored / name, folder / name);
  }
  const Tokenizer tokenizer = Tokenizer::load(folder);  // no settings: a mask without lstrip
  std::filesystem::remove_all(folder);
  ASSERT_FALSE(tokenizer.mask_takes_space());
  const std::string text = "It is [MASK].";
  const Cloze prompt = encode_prompt(tokenizer, text, "Paris", 64, "here");
  EXPECT_EQ(tokenizer.token_of(prompt.ids[static_cast<size_t>(prompt.positions[0]) - 1]), "\u0120");
  EXPECT_EQ(tokenizer.decode(prompt.answer, false), "Paris");
  EXPECT_EQ(answer_ids(tokenizer, text, "\u0120Paris", "here").size(), 1U) << "asked for by name";
}

TEST(Answers, AnotherCaseThatIsOneTokenIsSuggested) {
  const std::string prompt = "It is [MASK].";
  const Tokenizer cased = stored_tokenizer("wordpiece-json-cased");
  EXPECT_EQ(one_token_spelling(cased, prompt, "paris", "here"), "Paris");
  const std::string message = refused([&] { (void)answer_ids(cased, prompt, "PARIS", "here"); });
  EXPECT_TRUE(holds(message, "\"Paris\" is one token")) << message;
  EXPECT_EQ(one_token_spelling(cased, prompt, "Paris", "here"), "");
  EXPECT_EQ(one_token_spelling(cased, prompt, "the capital", "here"), "");
  const Tokenizer bytes = stored_tokenizer("bpe-json");
  EXPECT_EQ(one_token_spelling(bytes, prompt, "paris", "here"), "Paris");
  EXPECT_EQ(one_token_spelling(bytes, "[MASK] it is.", "Paris", "here"), " Paris");
}

}  // namespace
}  // namespace engram
