#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// How many neurons does it take? A fact's neurons are suppressed k at a time, the best scored ones
// first, and the answer is looked at on held-out prompts.
namespace engram::experiments::sizes {

/// k. Up to 200, where the paper's sets have 2 to 5.
constexpr std::array<int64_t, 21> kSizes = {1,  2,  3,  4,  5,  6,  8,   10,  12,  16, 20,
                                            25, 32, 40, 50, 64, 80, 100, 128, 160, 200};
constexpr int64_t kLargest = kSizes.back();

// Which k neurons.
constexpr const char* kByScore = "score";         ///< the k best
constexpr const char* kNextOnes = "next";         ///< the k behind them
constexpr const char* kOtherFact = "other-fact";  ///< the k best of another fact of the relation
constexpr std::array<const char*, 3> kOrders = {kByScore, kNextOnes, kOtherFact};

/// A neuron's place among all of the model by a fact's score.
struct Ranked {
  static constexpr const char* kTable = "size_rank";
  static constexpr const char* kMeaning =
      "the neurons of a fact by score, the best first; of the facts that sizes are tried on";
  static constexpr size_t kKey = 2;
  int64_t fact = 0;
  int64_t place = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  double score = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &Ranked::fact, "", "fact"},
        Field{"place", &Ranked::place, "from 0; twice the largest k are kept"},
        Field{"layer", &Ranked::layer, ""}, Field{"neuron", &Ranked::neuron, ""},
        Field{"score", &Ranked::score, "integrated gradients, mean over the prompts that locate"}};
  }
};

/// What suppressing k neurons does: sums over the fact's held-out prompts.
struct Effect {
  static constexpr const char* kTable = "size_effect";
  static constexpr const char* kMeaning =
      "k neurons suppressed, for many k: sums over a fact's held-out prompts";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string order;
  int64_t k = 0;
  int64_t prompts = 0;
  double log_odds = 0;
  int64_t top = 0;
  double change_log_odds = 0;
  double change_p = 0;
  int64_t top_after = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &Effect::fact, "whose prompts are looked at", "fact"},
        Field{"order", &Effect::order,
              "which neurons: score (the k best of the fact), next (the k behind those), "
              "other-fact (the k best of another fact of the relation, with another object)"},
        Field{"k", &Effect::k, "neurons that are set to zero"},
        Field{"prompts", &Effect::prompts, ""},
        Field{"log_odds", &Effect::log_odds, "log-odds of the answer before"},
        Field{"top", &Effect::top, "prompts whose answer is the top one before"},
        Field{"change_log_odds", &Effect::change_log_odds, ""},
        Field{"change_p", &Effect::change_p, ""},
        Field{"top_after", &Effect::top_after, "prompts whose answer is the top one then"}};
  }
};

}  // namespace engram::experiments::sizes
