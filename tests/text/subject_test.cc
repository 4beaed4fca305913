// The token at which a subject ends.
#include "engram/text/subject.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "engram/error.h"

namespace engram {
namespace {

struct Case {
  const char* tokenizer;
  bool causal;
};

class SubjectToken : public ::testing::TestWithParam<Case> {
 protected:
  const Tokenizer tokenizer_ = Tokenizer::load(std::filesystem::path(ENGRAM_SOURCE_DIR) /
                                               "tests/data/tokenizers" / GetParam().tokenizer);
  const PromptForm form_{64, GetParam().causal, NeuronPlace::kSubject};

  [[nodiscard]] Cloze at(const std::string& prompt, const std::string& answer,
                         const std::string& subject) const {
    return at_subject(encode_cloze(tokenizer_, prompt, answer, form_, "here"), tokenizer_, prompt,
                      subject, form_, "here");
  }
  /// The text up to and with the token, as the tokenizer reads it back.
  [[nodiscard]] std::string read_up_to(const Cloze& cloze) const {
    const auto end = cloze.ids.begin() + *cloze.neurons_at + 1;
    return tokenizer_.decode({cloze.ids.begin(), end}, true);
  }
  void expect_end(const std::string& prompt, const std::string& subject,
                  const std::string& text) const {
    for (const char* answer : {"the", "the city of the"}) {  // of one token, and of several
      const Cloze cloze = at(prompt, answer, subject);
      ASSERT_TRUE(cloze.neurons_at.has_value());
      const std::string got = read_up_to(cloze);
      EXPECT_TRUE(got.ends_with(text)) << prompt << ": " << subject << ": " << got;
      // And not one token later or earlier.
      Cloze before = cloze;
      --*before.neurons_at;
      EXPECT_FALSE(read_up_to(before).ends_with(text)) << prompt;
    }
  }
};

TEST_P(SubjectToken, IsTheLastOneOfTheSubject) {
  expect_end("the city of man is [MASK].", "man", "man");
  expect_end("the city of man is [MASK].", "the city", "city");
  expect_end("the city of man is [MASK].", " the city of ", "of");
}

TEST_P(SubjectToken, TheLastOfSeveralPlacesCountsAndWholeWordsCountMore) {
  EXPECT_TRUE(read_up_to(at("man of the man of [MASK]", "the", "man")).ends_with("the man"));
  // Inside "human" only where there is no "man".
  const std::string word = read_up_to(at("man of the human of [MASK]", "the", "man"));
  EXPECT_TRUE(word.ends_with("man")) << word;
  EXPECT_EQ(word.find("of"), std::string::npos) << word;
  EXPECT_TRUE(read_up_to(at("of the human of [MASK]", "the", "man")).ends_with("human"));
}

class SubjectBehindTheMask : public SubjectToken {};

TEST_P(SubjectBehindTheMask, MovesWithTheMasks) {
  const std::string prompt = "[MASK] is the city of man .";
  const Cloze one = at(prompt, "the", "man");
  const Cloze four = at(prompt, "the city of the", "man");
  ASSERT_GT(four.positions.size(), one.positions.size());
  EXPECT_EQ(one.ids[static_cast<size_t>(*one.neurons_at)],
            four.ids[static_cast<size_t>(*four.neurons_at)]);
  EXPECT_EQ(*four.neurons_at - *one.neurons_at,
            static_cast<int64_t>(four.positions.size() - one.positions.size()));
}

TEST_P(SubjectToken, WhatDoesNotStandThereIsRefused) {
  const std::string prompt = "the city of man is [MASK].";
  for (const char* subject : {"", "  ", "woman", "The"}) {
    try {
      (void)at(prompt, "the", subject);
      ADD_FAILURE() << "took the subject \"" << subject << "\"";
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("here: ", 0), 0U) << error.what();
    }
  }
}

std::string name_of(const ::testing::TestParamInfo<Case>& parameter) {
  std::string name = parameter.param.tokenizer;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

const auto kMasked = ::testing::Values(Case{"wordpiece-json", false}, Case{"bpe-json", false});
const auto kCausal =
    ::testing::Values(Case{"llama-json", true}, Case{"llama3-json", true}, Case{"gpt2-files", true},
                      Case{"neox-json", true}, Case{"gemma-json", true});
TEST_P(SubjectBehindTheMask, CanBeMasked) {
  for (const char* prompt : {"the city of man is [MASK].", "[MASK] is the city of man ."}) {
    for (const char* answer : {"the", "the city of the"}) {
      const Cloze plain = encode_cloze(tokenizer_, prompt, answer, form_, "here");
      const auto masked = without_subject(plain, tokenizer_, prompt, "city of man", form_);
      ASSERT_TRUE(masked.has_value());
      EXPECT_EQ(masked->positions, plain.positions);
      EXPECT_EQ(masked->answer, plain.answer);
      // Nothing else has changed, and nothing of it is left.
      const int64_t mask = tokenizer_.mask_id();
      std::vector<int64_t> gone;
      ASSERT_EQ(masked->ids.size(), plain.ids.size());
      for (size_t i = 0; i < plain.ids.size(); ++i) {
        if (masked->ids[i] == plain.ids[i]) continue;
        EXPECT_EQ(masked->ids[i], mask);
        gone.push_back(plain.ids[i]);
      }
      const std::string text = tokenizer_.decode(gone, false);
      EXPECT_NE(text.find("city of man"), std::string::npos) << text;
      EXPECT_EQ(text.find("is"), std::string::npos) << text;
    }
    EXPECT_FALSE(without_subject(encode_cloze(tokenizer_, prompt, "the", form_, "here"), tokenizer_,
                                 prompt, "woman", form_));
  }
}

INSTANTIATE_TEST_SUITE_P(Masked, SubjectToken, kMasked, name_of);
INSTANTIATE_TEST_SUITE_P(Causal, SubjectToken, kCausal, name_of);
INSTANTIATE_TEST_SUITE_P(, SubjectBehindTheMask, kMasked, name_of);

TEST(NeuronPlaces, HaveTheNamesOfTheOption) {
  EXPECT_EQ(parse_neuron_place("subject"), NeuronPlace::kSubject);
  EXPECT_EQ(neuron_place_name(NeuronPlace::kAnswer), "answer");
  EXPECT_THROW(parse_neuron_place("mask"), UsageError);
}

}  // namespace
}  // namespace engram
