#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "engram/text/prompt.h"

namespace engram::cli {

struct PredictOptions {
  CommonOptions common;
  std::string model;
  std::string text;
  int64_t top = 10;
  std::optional<std::string> answer;  ///< whose P is wanted, too
  int64_t tokens = 0;                 ///< a causal model goes on so far; 0: it does not
};

void add_predict_command(CLI::App& app);

/// One possible answer.
struct Prediction {
  int64_t id = 0;
  double p = 0;
};

/// P of every row of the decoder at the first position of `prompt` that is asked: [vocabulary]
/// float64, CPU. A row need not have a token.
at::Tensor answer_probabilities(const Model& model, const Cloze& prompt);

/// The `top` likeliest rows, largest P first, equals by id.
std::vector<Prediction> top_predictions(const at::Tensor& probabilities, int64_t top);

}  // namespace engram::cli
