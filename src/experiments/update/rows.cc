#include "experiments/update/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::update {

ExperimentTables tables() {
  using enum ColumnType;
  return {
      {table_of<EditRow>(), table_of<EditEffectRow>()},
      {{"table_update",
        "updates of facts that were answered rightly, by variant and scope; prompts of all draws",
        "SELECT CASE WHEN e.variant LIKE 'random-equal-write/%' THEN 'random-equal-write' "
        "ELSE e.variant END AS variant, e.scope, count(DISTINCT e.fact) AS facts, sum(e.prompts) "
        "AS "
        "prompts, "
        "1.0 * sum(e.changed) / nullif(sum(e.right), 0) AS change_rate, "
        "1.0 * sum(e.success) / nullif(sum(e.right), 0) AS success_rate, "
        "exp(-sum(e.log_p_before) / sum(e.prompts)) AS perplexity_before, "
        "exp(-sum(e.log_p_after) / sum(e.prompts)) AS perplexity_after "
        "FROM edit_effect e JOIN edit d USING (fact, variant) WHERE d.right = 1 "
        "GROUP BY 1, 2 ORDER BY 1, 2",
        {{"variant", kText, "as in edit"},
         {"scope", kText, "as in edit_effect"},
         {"facts", kInteger, ""},
         {"prompts", kInteger, ""},
         {"change_rate", kReal,
          "of prompts answered rightly before: the top answer is no longer o"},
         {"success_rate", kReal, "of those: the top answer is o' now"},
         {"perplexity_before", kReal, "exp of the mean -log P of the right answer"},
         {"perplexity_after", kReal, ""}}}}};
}

}  // namespace engram::experiments::update
