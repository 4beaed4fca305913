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

  // Effects of switching neurons off or doubling them: sums over the prompts of a scope.
  add("effect", 4, "suppress and amplify: one fact's neurons, sums over the prompts of a scope",
      {{"operation", kText, "zero (suppress) or double (amplify)"},
       {"source", kText,
        "ig, activation (baseline); compared with ig: random-layer, random-activation, "
        "random-gradient (matched, by signed activation x gradient), next (the next by activation "
        "x gradient), other-fact (of the relation, with another object), activation-same-k (the "
        "most active ones)"},
       {"fact", kInt, "whose neurons are manipulated", "fact"},
       {"scope", kText,
        "own, held-out, same-relation-same-object, same-relation-other-object, "
        "other-relations-same-object, other-relations-other-object, text"},
       {"neurons", kInt, "in the fact's own set, located or the baseline's"},
       {"prompts", kInt, ""},
       {"log_odds", kReal, "log-odds of the answer before: log(P / (1 - P))"},
       {"p", kReal, "P before"},
       {"log_p", kReal, "log P before"},
       {"top", kReal, "prompts whose answer is the top one before"},
       {"log_rank", kReal, "natural log of the rank before"},
       {"known", kInt, "prompts known before (P and rank as in identity)"},
       {"known_p", kReal, "P before, of those"},
       {"change_log_odds", kReal, "change of the log-odds, mean over draws"},
       {"change_p", kReal, ""},
       {"change_log_p", kReal, ""},
       {"change_top", kReal, ""},
       {"change_log_rank", kReal, ""},
       {"change_known_p", kReal, ""},
       {"pairs", kBlob,
        "other facts and text: 12 bytes a prompt, little-endian: int32 fact (text: the sentence), "
        "float32 change of the log-odds, float32 change of top; NULL: own and held-out prompts"}});
  add("effect_set", 3, "the sets that stand beside a fact's located neurons",
      {{"operation", kText, ""},
       {"source", kText, "as in effect, but for ig and activation"},
       {"fact", kInt, "", "fact"},
       {"sets", kInt, "that were drawn; 0: there is none"},
       {"neurons", kReal, "in a set, mean"},
       {"overlap", kReal, "located neurons of the fact in a set, mean"},
       {"missing", kInt, "located neurons for which the layer has no neuron left"},
       {"difference_activation", kReal,
        "mean of (located - in the set) / standard deviation of the layer: signed activation; "
        "NULL: not matched neuron by neuron"},
       {"difference_value", kReal, "the same of the value vector's norm"},
       {"difference_product", kReal, "the same of signed activation x gradient"}});
  add("effect_draw", 6,
      "change of the log-odds by draw of the random sets, for the rank of the located ones",
      {{"operation", kText, ""},
       {"source", kText, "random-layer, random-activation, random-gradient"},
       {"relation", kText, "", "relation"},
       {"part", kInt, "of the experiment"},
       {"scope", kText, "own or held-out"},
       {"draw", kInt, "from 0"},
       {"change_log_odds", kReal, "mean over a fact's prompts, summed over the part's facts"}});

  add("effect_prompt", 5, "suppress and amplify: one own or held-out prompt",
      {{"operation", kText, ""},
       {"source", kText, "as in effect"},
       {"fact", kInt, "whose neurons are manipulated", "fact"},
       {"held_out", kInt, "as in prompt"},
       {"prompt", kInt, "as in prompt"},
       {"log_odds", kReal, "log-odds of the answer before"},
       {"p", kReal, "P before"},
       {"top", kReal, "1: the answer is the top one before"},
       {"log_rank", kReal, "natural log of the rank before"},
       {"change_log_odds", kReal, "mean over draws"},
       {"change_p", kReal, ""},
       {"change_top", kReal, ""},
       {"change_log_rank", kReal, ""}});

  // Update o -> o'.
  add("edit", 2, "a fact update",
      {{"fact", kInt, "", "fact"},
       {"variant", kText,
        "what is edited: knowledge (the located neurons but those of many other facts), "
        "knowledge-unfiltered (all of them), knowledge-released (as the paper's code chooses), "
        "activation, activation-unfiltered (the baseline's), random and random-activated (as many "
        "of the same layers), random-equal-write/D (draw D of random-activated, rescaled by layer "
        "to write what knowledge writes), output (the layers' output bias by knowledge's mean "
        "change), other-fact and other-fact-equal-write (another fact's neurons, as they are and "
        "rescaled); "
        "sweep/l1=X,l2=Y,n=Z (knowledge, on facts of its own)"},
       {"old", kText, "o, which is to go"},
       {"target", kText, "o'"},
       {"target_p", kReal, "P of o' before, mean over own prompts"},
       {"target_rank", kReal, "rank of o' before, geometric mean over own prompts"},
       {"right", kInt,
        "1: o is the fact's object, the model's most frequent answer to own prompts; 0: o is "
        "its most frequent answer, a wrong one, and o' the fact's object"},
       {"neurons", kInt, "whose value vectors change; 0: counted, not edited"},
       {"lambda1", kReal, ""},
       {"lambda2", kReal, ""},
       {"written", kReal,
        "length of what is added at the mask of own prompts on the average, all layers together; "
        "NULL: not edited, or the sweep"},
       {"redraws", kInt, "sets drawn again since theirs wrote next to nothing or the other way"}});
  add("edit_effect", 3, "what a fact update does, sums over prompts",
      {{"fact", kInt, "", "fact"},
       {"variant", kText, ""},
       {"scope", kText,
        "own, held-out, same-relation (facts whose object is not o'), other-relations, text; "
        "one-own (one of own, as published)"},
       {"prompts", kInt, ""},
       {"right", kInt, "prompts whose top answer was o, elsewhere their own one, before"},
       {"changed", kInt, "of those: the top answer is another one now"},
       {"success", kInt, "of those: the top answer is o' now; NULL: not asked"},
       {"wrong_success", kInt, "of the others: the top answer is o' now; NULL: not asked"},
       {"wrong_target_before", kInt, "of the others: it was o' before; NULL: not asked"},
       {"log_p_before", kReal, "log P of o, elsewhere of the prompts' own answers"},
       {"log_p_after", kReal, ""},
       {"target_log_p_before", kReal, "log P of o'; NULL: not asked"},
       {"target_log_p_after", kReal, ""}});

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
      {"table_effects",
       "suppress and amplify by relation: change of log-odds, ratio of means",
       "SELECT e.operation, e.source, f.relation, e.scope, count(*) AS facts, "
       "sum(e.prompts) AS prompts, avg(e.change_log_odds / e.prompts) AS change_log_odds, "
       "sum(e.p) / sum(e.prompts) AS p, "
       "sum(e.change_p) / sum(e.p) AS ratio_of_means, "
       "sum(e.change_top) / sum(e.prompts) AS change_accuracy "
       "FROM effect e JOIN fact f USING (fact) "
       "GROUP BY e.operation, e.source, f.relation, e.scope "
       "ORDER BY e.operation, e.source, f.relation, e.scope",
       {{"operation", kText, "zero (suppress) or double (amplify)"},
        {"source", kText, "as in effect"},
        {"relation", kText, ""},
        {"scope", kText, "as in effect"},
        {"facts", kInt, ""},
        {"prompts", kInt, ""},
        {"change_log_odds", kReal, "mean over a fact's prompts, then over facts"},
        {"p", kReal, "mean P before"},
        {"ratio_of_means", kReal, "mean change of P over mean P"},
        {"change_accuracy", kReal, "change of the share of prompts whose answer is the top one"}}},
      {"table_update",
       "updates of facts that were answered rightly, by variant and scope; prompts of all draws",
       "SELECT CASE WHEN e.variant LIKE 'random-equal-write/%' THEN 'random-equal-write' "
       "ELSE e.variant END AS variant, e.scope, count(DISTINCT e.fact) AS facts, sum(e.prompts) AS "
       "prompts, "
       "1.0 * sum(e.changed) / nullif(sum(e.right), 0) AS change_rate, "
       "1.0 * sum(e.success) / nullif(sum(e.right), 0) AS success_rate, "
       "exp(-sum(e.log_p_before) / sum(e.prompts)) AS perplexity_before, "
       "exp(-sum(e.log_p_after) / sum(e.prompts)) AS perplexity_after "
       "FROM edit_effect e JOIN edit d USING (fact, variant) WHERE d.right = 1 "
       "GROUP BY 1, 2 ORDER BY 1, 2",
       {{"variant", kText, "as in edit"},
        {"scope", kText, "as in edit_effect"},
        {"facts", kInt, ""},
        {"prompts", kInt, ""},
        {"change_rate", kReal, "of prompts answered rightly before: the top answer is no longer o"},
        {"success_rate", kReal, "of those: the top answer is o' now"},
        {"perplexity_before", kReal, "exp of the mean -log P of the right answer"},
        {"perplexity_after", kReal, ""}}},
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
