#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// Texts of a corpus on which neurons are most and least active.
namespace engram::experiments::examples {

struct CandidateRow {
  static constexpr const char* kTable = "text_candidate";
  static constexpr const char* kMeaning =
      "the same for every stretch of the corpus; text_example is chosen from it";
  static constexpr size_t kKey = 5;
  int64_t part = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  bool lowest = false;
  int64_t place = 0;
  double activation = 0;
  std::string text;
  std::string tokens;
  static constexpr auto fields() {
    return std::tuple{
        Field{"part", &CandidateRow::part, "stretch of lines, from 0"},
        Field{"layer", &CandidateRow::layer, ""},
        Field{"neuron", &CandidateRow::neuron, ""},
        Field{"lowest", &CandidateRow::lowest, "0: the most active ones, 1: the least active ones"},
        Field{"place", &CandidateRow::place, "from 0, the extreme one first"},
        Field{"activation", &CandidateRow::activation, "the extreme one over the text's tokens"},
        Field{"text", &CandidateRow::text, ""},
        Field{"tokens", &CandidateRow::tokens, "JSON: [[token, activation], ...], four decimals"}};
  }
};

struct ExampleRow {
  static constexpr const char* kTable = "text_example";
  static constexpr const char* kMeaning =
      "texts on which a relation's frequent neuron is most and least active";
  static constexpr size_t kKey = 5;
  std::string relation;
  int64_t layer = 0;
  int64_t neuron = 0;
  bool lowest = false;
  int64_t place = 0;
  double activation = 0;
  std::string text;
  std::string tokens;
  static constexpr auto fields() {
    return std::tuple{
        Field{"relation", &ExampleRow::relation, "", "relation"},
        Field{"layer", &ExampleRow::layer, ""},
        Field{"neuron", &ExampleRow::neuron, ""},
        Field{"lowest", &ExampleRow::lowest, "0: the most active ones, 1: the least active ones"},
        Field{"place", &ExampleRow::place, "from 0, the extreme one first"},
        Field{"activation", &ExampleRow::activation, "the extreme one over the text's tokens"},
        Field{"text", &ExampleRow::text, ""},
        Field{"tokens", &ExampleRow::tokens, "JSON: [[token, activation], ...], four decimals"}};
  }
};

}  // namespace engram::experiments::examples
