#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "engram/sources.h"
#include "store/typed_rows.h"

// Do located neurons carry a fact, or its answer's word? (docs/method.md, "Knowledge, or a word?")
namespace engram::experiments::words {

inline constexpr std::string_view kHeldOut = "held-out";
inline constexpr std::string_view kOtherSubject = "other-subject";
inline constexpr std::string_view kTheirOwn = "their-own-answer";
inline constexpr std::string_view kSameObject = "same-object";
inline constexpr std::string_view kMaskedSubject = "subject-masked";
inline constexpr std::array<std::string_view, 5> kConditions = {kHeldOut, kOtherSubject, kTheirOwn,
                                                                kSameObject, kMaskedSubject};

inline constexpr std::array<std::string_view, 3> kSets = {sources::kIg, sources::kRandomGradient,
                                                          sources::kNext};

struct WordRow {
  static constexpr const char* kTable = "word_effect";
  static constexpr const char* kMeaning =
      "audit, knowledge or a word: a fact's neurons set to zero, on its own and on other prompts";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string condition;
  std::string source;
  int64_t neurons = 0;
  int64_t prompts = 0;
  double log_odds = 0;
  double top = 0;
  double change_log_odds = 0;
  double top_after = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &WordRow::fact, "whose neurons are set to zero", "fact"},
        Field{"condition", &WordRow::condition,
              "held-out; other-subject: prompts of facts with another object, for the fact's "
              "answer; their-own-answer: the same for theirs; same-object: prompts of other facts "
              "with the same object; subject-masked: held-out prompts without the subject"},
        Field{"source", &WordRow::source,
              "ig; random-gradient (matched, mean over draws); next (by activation x gradient)"},
        Field{"neurons", &WordRow::neurons, "in the fact's located set"},
        Field{"prompts", &WordRow::prompts, ""},
        Field{"log_odds", &WordRow::log_odds, "before, sum over the prompts"},
        Field{"top", &WordRow::top, "prompts whose answer is the top one before"},
        Field{"change_log_odds", &WordRow::change_log_odds, "sum over the prompts"},
        Field{"top_after", &WordRow::top_after, "prompts whose answer is the top one after"}};
  }
};

}  // namespace engram::experiments::words
