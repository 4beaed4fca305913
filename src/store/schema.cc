#include "engram/store/schema.h"

#include "engram/error.h"
#include "store/experiment_tables.h"
#include "store/run_rows.h"

namespace engram {
namespace {

constexpr ColumnType kInt = ColumnType::kInteger;
constexpr ColumnType kReal = ColumnType::kReal;
constexpr ColumnType kText = ColumnType::kText;
constexpr ColumnType kBlob = ColumnType::kBlob;

std::vector<Table> make_tables() {
  std::vector<Table> tables;
  const auto add = [&](const char* name, size_t key, const char* meaning,
                       std::vector<Column> columns, TableKind kind = TableKind::kContent) {
    tables.push_back({name, meaning, kind, key, std::move(columns)});
  };
  add("identity", 1, "what the run is: everything that changes its content",
      {{"name", kText, "option"}, {"value", kText, "its value"}});
  add("unit", 3, "the pieces of work that are done",
      {{"experiment", kText, "name as in --only"},
       {"relation", kText, "empty: all relations together"},
       {"part", kInt, "from 0"},
       {"rows", kInt, "that it wrote, in all tables"},
       {"sha256", kText, "of those rows, so that runs can be compared unit by unit"}});

  tables.push_back(table_of<ModelRow>());
  tables.push_back(table_of<RelationRow>());
  tables.push_back(table_of<FactRow>());
  tables.push_back(table_of<PromptRow>());
  tables.push_back(table_of<ProblemRow>());

  // Locating. `method` names how scores were made: "ig", "activation", "ig-riemann-left".
  add("attribution", 3, "one prompt's attribution",
      {{"method", kText, "ig, activation, ig-riemann-left"},
       {"fact", kInt, "", "fact"},
       {"prompt", kInt, ""},
       {"p", kReal, "P of the answer; exp of the mean log P for several tokens"},
       {"answer_rank", kInt, "of the answer, 1: the top one; NULL where not measured"},
       {"largest", kReal, "largest score"},
       {"relative_gap", kReal,
        "largest of the layers' |sum - delta| / max(|delta|, 1e-3 P); NULL: no IG"},
       {"nodes", kReal, "exact nodes per layer, mean; NULL: no IG"},
       {"converged", kInt, "1: every layer met the tolerance"}});
  add("score", 5, "scores that reach the selection's share of the prompt's largest one",
      {{"method", kText, ""},
       {"fact", kInt, "", "fact"},
       {"prompt", kInt, ""},
       {"layer", kInt, "from 0"},
       {"neuron", kInt, "from 0"},
       {"score", kReal, ""}});
  add("score_near", 5,
      "scores within 1e-3 of the prompt's largest one from the threshold, on either side",
      {{"method", kText, ""},
       {"fact", kInt, "", "fact"},
       {"prompt", kInt, ""},
       {"layer", kInt, "from 0"},
       {"neuron", kInt, "from 0"},
       {"score", kReal, ""}});
  add("score_blob", 3, "all scores of a prompt, with --keep-scores",
      {{"method", kText, ""},
       {"fact", kInt, "", "fact"},
       {"prompt", kInt, ""},
       {"scores", kBlob, "float32, little-endian, [layers, d_ff]"}});
  // `source` names a kind of neuron set: "ig", "activation" (the baseline), "ig-half-0",
  // "ig-half-1" (from disjoint halves of the prompts), "ig-riemann-left".
  add("selection", 2, "how one relation's sets were chosen",
      {{"source", kText, "ig, activation, ig-half-0, ig-half-1, ig-riemann-left"},
       {"relation", kText, "", "relation"},
       {"facts", kInt, "with or without neurons"},
       {"share", kReal, "p of the pass that stands"},
       {"passes", kInt, ""},
       {"mean", kReal, "neurons per fact"},
       {"within", kInt, "1: the mean is in the wanted range"},
       {"too_few", kInt, "facts with too few prompts to be refined"},
       {"negative", kInt, "prompts whose largest score is not positive"}});
  add("neuron", 4, "knowledge neurons of the facts",
      {{"source", kText, "as in selection"},
       {"fact", kInt, "", "fact"},
       {"layer", kInt, ""},
       {"neuron", kInt, ""},
       {"prompts", kInt, "in which it passed"},
       {"score", kReal, "mean over those"}});
  add("relation_neuron", 3, "the most frequent neurons of a relation's facts",
      {{"source", kText, "as in selection"},
       {"relation", kText, "", "relation"},
       {"place", kInt, "from 0, the most frequent first"},
       {"layer", kInt, ""},
       {"neuron", kInt, ""},
       {"facts", kInt, "whose set it is in"}});

  for (Table& table : experiment_tables().tables) tables.push_back(std::move(table));

  add("session", 1, "the processes that worked on this file",
      {{"session", kInt, "from 1"},
       {"command", kText, "as typed"},
       {"version", kText, "of the program"},
       {"host", kText, "host:process"},
       {"started", kText, "UTC"},
       {"last", kText, "last write, UTC"},
       {"ended", kText, "UTC; NULL: running, or killed"},
       {"interrupted", kInt, "1: ended by Ctrl-C or SIGTERM before all was done"},
       {"stage", kText, "experiment at work"},
       {"done", kInt, "facts of the stage that are done"},
       {"total", kInt, "facts of the stage"},
       {"stage_from", kInt, "of those done before this session came to the stage"},
       {"stage_seconds", kReal, "in the stage"},
       {"seconds", kReal, "from started to last"}},
      TableKind::kLedger);
  add("skipped", 1, "experiments that could not run in the last session",
      {{"experiment", kText, ""}, {"reason", kText, ""}}, TableKind::kLedger);
  return tables;
}

std::vector<View> make_views() {
  std::vector<View> views = {
      {"table_neurons",
       "neurons per fact, by relation and source",
       "SELECT s.source, s.relation, s.facts, s.share, s.mean AS neurons_per_fact, s.within, "
       "s.too_few FROM selection s ORDER BY s.source, s.relation",
       {{"source", kText, "as in selection"},
        {"relation", kText, ""},
        {"facts", kInt, "with or without neurons"},
        {"share", kReal, "p of the pass that stands"},
        {"neurons_per_fact", kReal, "mean"},
        {"within", kInt, "1: the mean is in the wanted range"},
        {"too_few", kInt, "facts with too few prompts to be refined"}}},
      {"table_layers",
       "how often a layer's neurons are in a fact's set",
       "SELECT source, layer, count(*) AS neurons FROM neuron GROUP BY source, layer "
       "ORDER BY source, layer",
       {{"source", kText, "as in selection"},
        {"layer", kInt, ""},
        {"neurons", kInt, "in the sets of all facts, each as often as it occurs"}}},
      {"table_hubs",
       "neurons by the number of facts that hold them",
       "SELECT source, layer, neuron, count(*) AS facts FROM neuron "
       "GROUP BY source, layer, neuron HAVING count(*) > 1 "
       "ORDER BY source, facts DESC, layer, neuron",
       {{"source", kText, "as in selection"},
        {"layer", kInt, ""},
        {"neuron", kInt, ""},
        {"facts", kInt, "whose set it is in, at least 2"}}},
  };
  for (View& view : experiment_tables().views) views.push_back(std::move(view));
  return views;
}

}  // namespace

size_t Table::column(std::string_view wanted) const {
  for (size_t i = 0; i < columns.size(); ++i) {
    if (wanted == columns[i].name) return i;
  }
  throw InternalError("table " + std::string(name) + " has no column " + std::string(wanted));
}

std::span<const Table> run_tables() {
  static const std::vector<Table> tables = make_tables();
  return tables;
}

std::span<const View> run_views() {
  static const std::vector<View> views = make_views();
  return views;
}

const Table& run_table(std::string_view name) {
  for (const Table& table : run_tables()) {
    if (name == table.name) return table;
  }
  throw InternalError("there is no table " + std::string(name));
}

}  // namespace engram
