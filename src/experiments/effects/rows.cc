#include "experiments/effects/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::effects {

ExperimentTables tables() {
  using enum ColumnType;
  return {{table_of<EffectSumsRow>(), table_of<EffectSetRow>(), table_of<EffectDrawRow>(),
           table_of<EffectPromptRow>()},
          {{"table_effects",
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
             {"facts", kInteger, ""},
             {"prompts", kInteger, ""},
             {"change_log_odds", kReal, "mean over a fact's prompts, then over facts"},
             {"p", kReal, "mean P before"},
             {"ratio_of_means", kReal, "mean change of P over mean P"},
             {"change_accuracy", kReal,
              "change of the share of prompts whose answer is the top one"}}}}};
}

}  // namespace engram::experiments::effects
