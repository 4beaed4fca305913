#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "store/typed_rows.h"

// Knowledge neurons of a run's facts. Scores have a `method`, the sets chosen from them a `source`
// (engram/sources.h). "stability" writes these tables, too.
namespace engram::experiments::locate {

struct AttributionRow {
  static constexpr const char* kTable = "attribution";
  static constexpr const char* kMeaning = "one prompt's attribution";
  static constexpr size_t kKey = 3;
  std::string method;
  int64_t fact = 0;
  int64_t prompt = 0;
  double p = 0;
  std::optional<int64_t> answer_rank;
  double largest = 0;
  double relative_gap = 0;
  double nodes = 0;
  bool converged = false;
  static constexpr auto fields() {
    return std::tuple{
        Field{"method", &AttributionRow::method, "ig, activation, ig-riemann-left"},
        Field{"fact", &AttributionRow::fact, "", "fact"},
        Field{"prompt", &AttributionRow::prompt, ""},
        Field{"p", &AttributionRow::p, "P of the answer; exp of the mean log P for several tokens"},
        Field{"answer_rank", &AttributionRow::answer_rank,
              "of the answer, 1: the top one; NULL where not measured"},
        Field{"largest", &AttributionRow::largest, "largest score"},
        Field{"relative_gap", &AttributionRow::relative_gap,
              "largest of the layers' |sum - delta| / max(|delta|, 1e-3 P); NULL: no IG"},
        Field{"nodes", &AttributionRow::nodes, "exact nodes per layer, mean; NULL: no IG"},
        Field{"converged", &AttributionRow::converged, "1: every layer met the tolerance"}};
  }
};

struct ScoreRow {
  static constexpr const char* kTable = "score";
  static constexpr const char* kMeaning =
      "scores that reach the selection's share of the prompt's largest one";
  static constexpr size_t kKey = 5;
  std::string method;
  int64_t fact = 0;
  int64_t prompt = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  double score = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"method", &ScoreRow::method, ""},       Field{"fact", &ScoreRow::fact, "", "fact"},
        Field{"prompt", &ScoreRow::prompt, ""},       Field{"layer", &ScoreRow::layer, "from 0"},
        Field{"neuron", &ScoreRow::neuron, "from 0"}, Field{"score", &ScoreRow::score, ""}};
  }
};

/// The same of the scores near the threshold.
struct NearRow : ScoreRow {
  static constexpr const char* kTable = "score_near";
  static constexpr const char* kMeaning =
      "scores within 1e-3 of the prompt's largest one from the threshold, on either side";
};

struct ScoresRow {
  static constexpr const char* kTable = "score_blob";
  static constexpr const char* kMeaning = "all scores of a prompt, with --keep-scores";
  static constexpr size_t kKey = 3;
  std::string method;
  int64_t fact = 0;
  int64_t prompt = 0;
  std::vector<std::byte> scores;
  static constexpr auto fields() {
    return std::tuple{
        Field{"method", &ScoresRow::method, ""}, Field{"fact", &ScoresRow::fact, "", "fact"},
        Field{"prompt", &ScoresRow::prompt, ""},
        Field{"scores", &ScoresRow::scores, "float32, little-endian, [layers, d_ff]"}};
  }
};

struct SelectionRow {
  static constexpr const char* kTable = "selection";
  static constexpr const char* kMeaning = "how one relation's sets were chosen";
  static constexpr size_t kKey = 2;
  std::string source;
  std::string relation;
  int64_t facts = 0;
  double share = 0;
  int64_t passes = 0;
  double mean = 0;
  bool within = false;
  int64_t too_few = 0;
  int64_t negative = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"source", &SelectionRow::source,
              "ig, activation, ig-half-0, ig-half-1, ig-riemann-left"},
        Field{"relation", &SelectionRow::relation, "", "relation"},
        Field{"facts", &SelectionRow::facts, "with or without neurons"},
        Field{"share", &SelectionRow::share, "p of the pass that stands"},
        Field{"passes", &SelectionRow::passes, ""},
        Field{"mean", &SelectionRow::mean, "neurons per fact"},
        Field{"within", &SelectionRow::within, "1: the mean is in the wanted range"},
        Field{"too_few", &SelectionRow::too_few, "facts with too few prompts to be refined"},
        Field{"negative", &SelectionRow::negative, "prompts whose largest score is not positive"}};
  }
};

struct NeuronRow {
  static constexpr const char* kTable = "neuron";
  static constexpr const char* kMeaning = "knowledge neurons of the facts";
  static constexpr size_t kKey = 4;
  std::string source;
  int64_t fact = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  int64_t prompts = 0;
  double score = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"source", &NeuronRow::source, "as in selection"},
                      Field{"fact", &NeuronRow::fact, "", "fact"},
                      Field{"layer", &NeuronRow::layer, ""},
                      Field{"neuron", &NeuronRow::neuron, ""},
                      Field{"prompts", &NeuronRow::prompts, "in which it passed"},
                      Field{"score", &NeuronRow::score, "mean over those"}};
  }
};

struct RelationNeuronRow {
  static constexpr const char* kTable = "relation_neuron";
  static constexpr const char* kMeaning = "the most frequent neurons of a relation's facts";
  static constexpr size_t kKey = 3;
  std::string source;
  std::string relation;
  int64_t place = 0;
  int64_t layer = 0;
  int64_t neuron = 0;
  int64_t facts = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"source", &RelationNeuronRow::source, "as in selection"},
                      Field{"relation", &RelationNeuronRow::relation, "", "relation"},
                      Field{"place", &RelationNeuronRow::place, "from 0, the most frequent first"},
                      Field{"layer", &RelationNeuronRow::layer, ""},
                      Field{"neuron", &RelationNeuronRow::neuron, ""},
                      Field{"facts", &RelationNeuronRow::facts, "whose set it is in"}};
  }
};

}  // namespace engram::experiments::locate
