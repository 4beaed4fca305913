// Prompts of causal models: where they end, which tokens the answer has, and what is refused.
#include "engram/text/causal_prompt.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engram/error.h"

namespace engram {
namespace {

using Ids = std::vector<int64_t>;

Tokenizer decoder_tokenizer(const std::string& kind) {
  return Tokenizer::load(std::filesystem::path(ENGRAM_SOURCE_DIR) / "tests/data/tokenizers" / kind);
}

template <typename Work>
std::string refusal_of(const Work& work) {
  try {
    work();
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.rfind("here: ", 0), 0U) << "names its origin: " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  return "";
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "got: " << text;
}

class EveryDecoder : public ::testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] Cloze prompt(const std::string& text) const {
    return causal_prompt(tokenizer_, text, 64, "here");
  }
  [[nodiscard]] Cloze with_answer(const std::string& text, const std::string& answer) const {
    return causal_prompt(tokenizer_, text, answer, 64, "here");
  }
  const Tokenizer tokenizer_ = decoder_tokenizer(GetParam());
};

TEST_P(EveryDecoder, APromptIsTheTextAsTheTokenizerReadsIt) {
  for (const std::string text : {"The capital of France is", "  two spaces", "東京 é", "a\n"}) {
    const Cloze cloze = prompt(text);
    EXPECT_EQ(cloze.ids, tokenizer_.encode(text)) << text;
    EXPECT_EQ(cloze.positions, Ids{static_cast<int64_t>(cloze.ids.size()) - 1});
    EXPECT_TRUE(cloze.answer.empty());
  }
}

TEST_P(EveryDecoder, AMaskAtTheEndChangesNothing) {
  const Cloze plain = prompt("The capital of France is");
  for (const char* text :
       {"The capital of France is [MASK]", "The capital of France is [MASK].",
        "The capital of France is [Y] .", "The capital of France is [MASK]!?\u201D",
        "The capital of France is ", "The capital of France is  "}) {
    EXPECT_EQ(prompt(text).ids, plain.ids) << text;
    EXPECT_EQ(prompt(text).positions, plain.positions) << text;
  }
}

/// The model reads the prompt and the answer's tokens but the last; together they are the text.
TEST_P(EveryDecoder, AnAnswerHasTheTokensOfItsPlaceInTheText) {
  for (const char* answer : {"Paris", "Berlin and Tokyo", "Orl\u00e9ans", "42"}) {
    const Ids whole = tokenizer_.encode("The capital of France is " + std::string(answer));
    for (const char* text : {"The capital of France is", "The capital of France is [MASK]."}) {
      const Cloze cloze = with_answer(text, answer);
      Ids read = cloze.ids;
      read.push_back(cloze.answer.back());
      EXPECT_EQ(read, whole);
      const size_t k = cloze.answer.size();
      ASSERT_EQ(cloze.positions.size(), k);
      EXPECT_EQ(cloze.positions.back(), static_cast<int64_t>(cloze.ids.size()) - 1);
      for (size_t i = 0; i < k; ++i) {
        EXPECT_EQ(whole[static_cast<size_t>(cloze.positions[i]) + 1], cloze.answer[i]);
      }
    }
  }
}

TEST_P(EveryDecoder, TheWriterSaysWhetherASpaceStandsBeforeTheAnswer) {
  const auto read = [&](const std::string& text, const std::string& answer) {
    const Cloze cloze = with_answer(text, answer);
    Ids ids = cloze.ids;
    ids.push_back(cloze.answer.back());
    return ids;
  };
  EXPECT_EQ(read("France:\n", "Paris"), tokenizer_.encode("France:\nParis"));
  EXPECT_EQ(read("(see [MASK])", "Paris"), tokenizer_.encode("(see Paris"));
  EXPECT_EQ(read("France -[MASK]", "42"), tokenizer_.encode("France -42"));
  EXPECT_EQ(read("France -[MASK]", " 42"), tokenizer_.encode("France - 42"));
}

TEST_P(EveryDecoder, AnAnswerMayBeWrittenAsTheVocabularyWritesIt) {
  const std::string token = tokenizer_.word_mark() + "the";
  ASSERT_TRUE(tokenizer_.id_of(token).has_value());
  EXPECT_EQ(with_answer("Paris is", token).answer, Ids{*tokenizer_.id_of(token)});
}

TEST_P(EveryDecoder, RefusesByName) {
  expect_part(refusal_of([&] { (void)prompt("[MASK] is the capital of France."); }),
              "text behind the mask");
  expect_part(refusal_of([&] { (void)prompt("[MASK] and [Y]"); }), "two masks");
  expect_part(refusal_of([&] { (void)with_answer("France", " "); }), "empty answer");
  expect_part(refusal_of([&] { (void)with_answer("France", "[MASK]"); }), "holds a mask");
  expect_part(refusal_of([&] { causal_prompt(tokenizer_, "The capital of France is", 3, "here"); }),
              "expected at most 3");
  expect_part(refusal_of([&] {
                const auto tokens = static_cast<int64_t>(tokenizer_.encode("France is").size());
                causal_prompt(tokenizer_, "France is", "x y z w", tokens, "here");
              }),
              "expected at most");
  const Ids nothing = tokenizer_.encode("");
  if (nothing.empty()) {
    expect_part(refusal_of([&] { (void)prompt("[MASK]."); }), "without a begin token");
  } else {
    EXPECT_EQ(prompt("[MASK].").ids, nothing);
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, EveryDecoder,
                         ::testing::Values("gpt2-files", "neox-json", "qwen-json", "llama3-json",
                                           "llama-json", "gemma-json"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST_P(EveryDecoder, AnotherAnswerTakesItsOwnTokensAlong) {
  const PromptForm form{64, true};
  const std::string text = "The capital of France is";
  const Cloze berlin = encode_cloze(tokenizer_, text, "Berlin, Paris", form, "");
  const Cloze paris = encode_cloze(tokenizer_, text, "Paris", form, "");
  const Cloze changed = engram::with_answer(paris, berlin.answer, form);
  EXPECT_EQ(changed.ids, berlin.ids);
  EXPECT_EQ(changed.positions, berlin.positions);
  EXPECT_EQ(engram::with_answer(berlin, paris.answer, form).ids, paris.ids);
  EXPECT_THROW(engram::with_answer(paris, {}, form), InternalError);
  const PromptForm masked{form.max_tokens, false};
  EXPECT_THROW(
      engram::with_answer(berlin, std::vector<int64_t>(berlin.answer.size() + 1, 1), masked),
      InternalError);
}

TEST(CausalPrompt, AnAnswerThatMergesWithThePromptIsRefused) {
  const Tokenizer tokenizer = decoder_tokenizer("gpt2-files");
  const Ids whole = tokenizer.encode("capital");
  const Ids first = tokenizer.encode("capi");
  ASSERT_FALSE(std::equal(first.begin(), first.end(), whole.begin()));
  expect_part(refusal_of([&] { causal_prompt(tokenizer, "capi[MASK]", "tal", 64, "here"); }),
              "become one token");
}

TEST(CausalPrompt, ATokenBehindTheTextIsRefused) {
  const Tokenizer masked = decoder_tokenizer("wordpiece-json");
  expect_part(refusal_of([&] { causal_prompt(masked, "The capital", 64, "here"); }), "[SEP]");
}

}  // namespace
}  // namespace engram
