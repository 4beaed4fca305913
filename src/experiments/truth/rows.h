#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "store/typed_rows.h"

// Which score is near what every neuron does? (docs/method.md, "Complete truth")
namespace engram::experiments::truth {

/// What stands beside the scores: the effects on the fact's other prompt.
inline constexpr std::string_view kCeiling = "other-prompt";
/// Names of scores are those of the command line.
inline constexpr std::array<std::string_view, 7> kMethods = {
    "ig", "gradient-x-activation", "relp", "activation", "activation-norm", "value-norm", kCeiling};

struct TruthRow {
  static constexpr const char* kTable = "truth";
  static constexpr const char* kMeaning =
      "audit, complete truth: what every neuron of the model does to P of the answer, alone";
  static constexpr size_t kKey = 2;
  int64_t fact = 0;
  int64_t prompt = 0;
  std::string text;
  double p = 0;
  std::vector<std::byte> zero, mean, activation;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &TruthRow::fact, "", "fact"},
        Field{"prompt", &TruthRow::prompt, "place among the prompts that locate"},
        Field{"text", &TruthRow::text, "the prompt as the fact set writes it"},
        Field{"p", &TruthRow::p, "P of the answer with all neurons in place"},
        Field{"zero", &TruthRow::zero,
              "P less P with one neuron at zero: float32, little-endian, layers x d_ff"},
        Field{"mean", &TruthRow::mean, "the same with it at its mean activation over facts"},
        Field{"activation", &TruthRow::activation, "its activation, in the same layout"}};
  }
};

struct TruthScoreRow {
  static constexpr const char* kTable = "truth_score";
  static constexpr const char* kMeaning = "how near a score is to these effects";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  int64_t prompt = 0;
  std::string method;
  double zero_correlation = 0;
  double zero_top = 0;
  double mean_correlation = 0;
  double mean_top = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &TruthScoreRow::fact, "", "fact"},
        Field{"prompt", &TruthScoreRow::prompt, "as in truth"},
        Field{"method", &TruthScoreRow::method,
              "the score; other-prompt: the effects on the fact's other prompt"},
        Field{"zero_correlation", &TruthScoreRow::zero_correlation,
              "Spearman's, over all neurons, with the effects at zero"},
        Field{"zero_top", &TruthScoreRow::zero_top, "share of the ten largest in common"},
        Field{"mean_correlation", &TruthScoreRow::mean_correlation,
              "the same with the effects at the mean"},
        Field{"mean_top", &TruthScoreRow::mean_top, ""}};
  }
};

}  // namespace engram::experiments::truth
