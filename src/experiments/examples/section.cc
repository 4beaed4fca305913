// Texts of the corpus on which neurons are most and least active.
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "base/json.h"
#include "engram/error.h"
#include "engram/sources.h"
#include "experiments/examples/rows.h"
#include "experiments/locate/rows.h"
#include "report/sections.h"

namespace engram::experiments::examples {
namespace {

using locate::RelationNeuronRow;

/// The most frequent neuron of each relation, at most so many different ones.
std::vector<std::tuple<std::string, int64_t, int64_t>> shown_neurons(const ReportInput& input) {
  constexpr size_t kNeurons = 6;
  std::vector<std::tuple<std::string, int64_t, int64_t>> shown;
  std::set<std::pair<int64_t, int64_t>> seen;
  read_rows<RelationNeuronRow>(input.run, {is(&RelationNeuronRow::source, sources::kIg)},
                               [&](const RelationNeuronRow& row) {
                                 if (row.place != 0 || shown.size() == kNeurons) return;
                                 if (!seen.emplace(row.layer, row.neuron).second) return;
                                 shown.emplace_back(row.relation, row.layer, row.neuron);
                               });
  return shown;
}

/// The tokens of a row of `text_example`.
std::vector<std::pair<std::string, double>> parse_tokens(std::string_view json) {
  std::vector<std::pair<std::string, double>> tokens;
  try {
    const auto parsed = parse_json(json, "the run's table text_example");
    for (const auto& entry : parsed) {
      tokens.emplace_back(entry.at(0).get<std::string>(), entry.at(1).get<double>());
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError(std::string("the run's table text_example has tokens that are no list of "
                                 "[token, activation]: ") +
                     error.what());
  }
  return tokens;
}

ReportExamples marked_texts(const ReportInput& input) {
  constexpr int64_t kShown = 3;  // of each end
  ReportExamples out;
  out.id = "examples";
  out.title = "Texts that activate a neuron most and least";
  out.meaning =
      "The most frequent knowledge neurons of some relations over the lines of a corpus, "
      "whatever they are about; the shade of a token is its activation relative to the "
      "largest one shown for the neuron. All that were kept are in the run's table "
      "text_example.";
  for (const auto& [relation, layer, neuron] : shown_neurons(input)) {
    for (const ExampleRow& row : read_all<ExampleRow>(
             input.run, {is(&ExampleRow::relation, relation), is(&ExampleRow::layer, layer),
                         is(&ExampleRow::neuron, neuron)})) {
      if (row.place >= kShown) continue;
      MarkedText one;
      one.neuron =
          relation + ": layer " + std::to_string(layer) + ", neuron " + std::to_string(neuron);
      one.lowest = row.lowest;
      one.activation = row.activation;
      one.tokens = parse_tokens(row.tokens);
      out.examples.push_back(std::move(one));
    }
  }
  return out;
}

}  // namespace

/// Stands in the section of "texts".
std::vector<ReportSection> sections(const ReportInput& input) {
  ReportSection section{"texts", "", "", "", {}};
  ReportExamples found = marked_texts(input);
  if (found.examples.empty()) {
    section.blocks.emplace_back(skipped_table(input, "examples", "examples", found.title));
  } else {
    section.blocks.emplace_back(std::move(found));
  }
  return {std::move(section)};
}

}  // namespace engram::experiments::examples
