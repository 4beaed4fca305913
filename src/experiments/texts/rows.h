#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// How active a fact's neurons are on texts.
namespace engram::experiments::texts {

struct TextActivationRow {
  static constexpr const char* kTable = "text_activation";
  static constexpr const char* kMeaning =
      "activation of neuron sets at the mask of texts, sums over texts; of facts with neurons";
  static constexpr size_t kKey = 5;
  int64_t fact = 0;
  std::string source;
  std::string kind;
  std::string mask;
  int64_t draw = 0;
  int64_t texts = 0;
  double sum = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &TextActivationRow::fact, "", "fact"},
        Field{"source", &TextActivationRow::source,
              "ig, activation, random-layer (matched with ig)"},
        Field{"kind", &TextActivationRow::kind, "both (head and tail), head, tail, random"},
        Field{"mask", &TextActivationRow::mask,
              "released (as the paper's code: both: the object; else a random word), name (of the "
              "answer's type), word (both: a random word), object (tail: the object)"},
        Field{"draw", &TextActivationRow::draw, "of random sets, from 0"},
        Field{"texts", &TextActivationRow::texts, ""},
        Field{"sum", &TextActivationRow::sum, "of the mean activation of the set's neurons"}};
  }
};

struct TextOddsRow {
  static constexpr const char* kTable = "text_odds";
  static constexpr const char* kMeaning =
      "sums over the texts of text_activation that ask for the object, for the regression of the "
      "activation on the object's log-odds at the mask";
  static constexpr size_t kKey = 5;
  int64_t fact = 0;
  std::string source;
  std::string kind;
  std::string mask;
  int64_t draw = 0;
  int64_t texts = 0;
  double log_odds = 0;
  double activation = 0;
  double log_odds_squared = 0;
  double product = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &TextOddsRow::fact, "", "fact"},
        Field{"source", &TextOddsRow::source, "as in text_activation"},
        Field{"kind", &TextOddsRow::kind, ""},
        Field{"mask", &TextOddsRow::mask, ""},
        Field{"draw", &TextOddsRow::draw, ""},
        Field{"texts", &TextOddsRow::texts, "with as many masks as the object has tokens"},
        Field{"log_odds", &TextOddsRow::log_odds, "sum"},
        Field{"activation", &TextOddsRow::activation, "sum of the mean over the set's neurons"},
        Field{"log_odds_squared", &TextOddsRow::log_odds_squared, "sum"},
        Field{"product", &TextOddsRow::product, "sum of log-odds times activation"}};
  }
};

struct TextCountRow {
  static constexpr const char* kTable = "text_count";
  static constexpr const char* kMeaning =
      "what became of the texts of facts that have texts of both and of head";
  static constexpr size_t kKey = 3;
  int64_t fact = 0;
  std::string kind;
  std::string mask;
  int64_t texts = 0;
  int64_t too_long = 0;
  int64_t unfit = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"fact", &TextCountRow::fact, "", "fact"},
                      Field{"kind", &TextCountRow::kind, "as in text_activation"},
                      Field{"mask", &TextCountRow::mask, ""},
                      Field{"texts", &TextCountRow::texts, "used"},
                      Field{"too_long", &TextCountRow::too_long, "longer than the model takes"},
                      Field{"unfit", &TextCountRow::unfit,
                            "no such word to mask, or not what the kind promises"}};
  }
};

struct TextProblemRow {
  static constexpr const char* kTable = "text_problem";
  static constexpr const char* kMeaning = "lines of the texts' files that cannot be used";
  static constexpr size_t kKey = 2;
  std::string relation;
  int64_t line = 0;
  std::string message;
  static constexpr auto fields() {
    return std::tuple{
        Field{"relation", &TextProblemRow::relation, "that the file is named by", "relation"},
        Field{"line", &TextProblemRow::line, "of the file"},
        Field{"message", &TextProblemRow::message, "got and expected"}};
  }
};

}  // namespace engram::experiments::texts
