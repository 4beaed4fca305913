#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "engram/sources.h"
#include "store/typed_rows.h"

// Does doubling located neurons raise the answer more than any push of its length that the gradient
// chooses? (docs/method.md, "How to push: amplification")
namespace engram::experiments::amplify {

inline constexpr std::string_view kGradient = "gradient";
inline constexpr std::array<std::string_view, 3> kPushes = {sources::kIg, kGradient,
                                                            sources::kRandomGradient};

struct PushRow {
  static constexpr const char* kTable = "push_effect";
  static constexpr const char* kMeaning =
      "audit, amplification: located neurons doubled, and pushes of the same length in the same "
      "layers, on held-out prompts";
  static constexpr size_t kKey = 2;
  int64_t fact = 0;
  std::string source;
  int64_t neurons = 0;
  int64_t prompts = 0;
  double length = 0;
  double log_odds = 0;
  double top = 0;
  double change_log_odds = 0;
  double top_after = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &PushRow::fact, "", "fact"},
        Field{"source", &PushRow::source,
              "ig: doubled; gradient: moved by its sign; random-gradient (matched, mean over "
              "draws): moved along their activations"},
        Field{"neurons", &PushRow::neurons, "in the fact's located set"},
        Field{"prompts", &PushRow::prompts, ""},
        Field{"length", &PushRow::length,
              "of the change of all layers' FFN outputs together, mean over the prompts"},
        Field{"log_odds", &PushRow::log_odds, "before, sum over the prompts"},
        Field{"top", &PushRow::top, "prompts whose answer is the top one before"},
        Field{"change_log_odds", &PushRow::change_log_odds, "sum over the prompts"},
        Field{"top_after", &PushRow::top_after, "prompts whose answer is the top one after"}};
  }
};

}  // namespace engram::experiments::amplify
