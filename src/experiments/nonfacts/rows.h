#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>

#include "store/typed_rows.h"

// Facts, or any association? (docs/method.md, "Facts, or any association?")
namespace engram::experiments::nonfacts {

inline constexpr std::string_view kFacts = "facts";  ///< the group of the audit's own
inline constexpr std::string_view kLocatedSet = "located";
inline constexpr std::string_view kRandomSet = "random";

struct NonFactRow {
  static constexpr const char* kTable = "nonfact_effect";
  static constexpr const char* kMeaning =
      "audit, facts or any association: five neurons at zero, on prompts that did not locate";
  static constexpr size_t kKey = 3;
  std::string group;
  int64_t item = 0;
  std::string source;
  std::string relation, answer, foil;
  int64_t located_by = 0;
  int64_t prompts = 0;
  double log_odds = 0;
  double change_log_odds = 0;
  double change_margin = 0;
  int64_t preferred = 0;
  double flipped = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"group", &NonFactRow::group, "facts, or the name of the non-facts' file or folder"},
        Field{"item", &NonFactRow::item, "of facts: the fact; else the place in the group"},
        Field{"source", &NonFactRow::source, "located, or random (matched, mean over draws)"},
        Field{"relation", &NonFactRow::relation, ""},
        Field{"answer", &NonFactRow::answer, ""},
        Field{"foil", &NonFactRow::foil, "the word that the answer is held against"},
        Field{"located_by", &NonFactRow::located_by, "prompts that located"},
        Field{"prompts", &NonFactRow::prompts, "that test"},
        Field{"log_odds", &NonFactRow::log_odds, "of the answer before, sum over the prompts"},
        Field{"change_log_odds", &NonFactRow::change_log_odds, "sum over the prompts"},
        Field{"change_margin", &NonFactRow::change_margin,
              "of log P(answer) - log P(foil), sum over the prompts"},
        Field{"preferred", &NonFactRow::preferred,
              "prompts on which the answer is likelier than the foil before"},
        Field{"flipped", &NonFactRow::flipped, "those of them on which the foil is after"}};
  }
};

struct NonFactNeuronRow {
  static constexpr const char* kTable = "nonfact_neuron";
  static constexpr const char* kMeaning = "the five neurons";
  static constexpr size_t kKey = 3;
  std::string group;
  int64_t item = 0;
  int64_t place = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"group", &NonFactNeuronRow::group, "as in nonfact_effect"},
                      Field{"item", &NonFactNeuronRow::item, "as in nonfact_effect"},
                      Field{"place", &NonFactNeuronRow::place, "by layer and neuron"},
                      Field{"layer", &NonFactNeuronRow::layer, ""},
                      Field{"neuron", &NonFactNeuronRow::neuron, ""}};
  }
};

}  // namespace engram::experiments::nonfacts
