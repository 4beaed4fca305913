#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "store/typed_rows.h"

// Would a search find better neurons than a score? (docs/method.md, "Would a search do better?")
namespace engram::experiments::methods {

inline constexpr int64_t kNeurons = 5;  ///< of a set

inline constexpr std::string_view kSingle = "single-search";
inline constexpr std::string_view kGreedy = "greedy-search";
inline constexpr std::string_view kRandom = "random";
/// Names of scores are those of the command line.
inline constexpr std::array<std::string_view, 8> kMethods = {
    "ig",    "relp", "gradient-x-activation", "activation", "activation-norm", kSingle,
    kGreedy, kRandom};

struct MethodRow {
  static constexpr const char* kTable = "method_effect";
  static constexpr const char* kMeaning =
      "audit, would a search do better: five neurons that a method found, set to zero";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string method;
  bool held_out = false;
  int64_t prompts = 0;
  double log_odds = 0;
  double top = 0;
  double change_log_odds = 0;
  double top_after = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &MethodRow::fact, "", "fact"},
        Field{"method", &MethodRow::method,
              "a score; single-search; greedy-search; random (matched with ig, mean over draws)"},
        Field{"held_out", &MethodRow::held_out, "0: the prompts that the neurons were chosen by"},
        Field{"prompts", &MethodRow::prompts, ""},
        Field{"log_odds", &MethodRow::log_odds, "before, sum over the prompts"},
        Field{"top", &MethodRow::top, "prompts whose answer is the top one before"},
        Field{"change_log_odds", &MethodRow::change_log_odds, "sum over the prompts"},
        Field{"top_after", &MethodRow::top_after, "prompts whose answer is the top one after"}};
  }
};

struct MethodNeuronRow {
  static constexpr const char* kTable = "method_neuron";
  static constexpr const char* kMeaning = "the neurons that a method found, random ones apart";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string method;
  int64_t place = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"fact", &MethodNeuronRow::fact, "", "fact"},
                      Field{"method", &MethodNeuronRow::method, "as in method_effect"},
                      Field{"place", &MethodNeuronRow::place, "0: the first that was taken"},
                      Field{"layer", &MethodNeuronRow::layer, ""},
                      Field{"neuron", &MethodNeuronRow::neuron, ""}};
  }
};

}  // namespace engram::experiments::methods
