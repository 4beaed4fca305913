#include "experiments/erase/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::erase {

ExperimentTables tables() {
  using enum ColumnType;
  return {{table_of<EraseRow>(), table_of<LensRow>()},
          {{"table_erase",
            "erasing relations",
            "SELECT relation, source, mode, neurons, scope, count(*) AS draws, "
            "exp(-sum(log_p_before) / sum(prompts)) AS perplexity_before, "
            "exp(-sum(log_p_after) / sum(prompts)) AS perplexity_after, "
            "1.0 * sum(top_before) / sum(prompts) AS accuracy_before, "
            "1.0 * sum(top_after) / sum(prompts) AS accuracy_after "
            "FROM erase GROUP BY relation, source, mode, neurons, scope "
            "ORDER BY relation, source, mode, neurons, scope",
            {{"relation", kText, "that is to go"},
             {"source", kText, "as in erase"},
             {"mode", kText, "zero, unk, mean, token"},
             {"neurons", kInteger, "erased"},
             {"scope", kText, "as in erase"},
             {"draws", kInteger, ""},
             {"perplexity_before", kReal, "exp of the mean -log P of the answer"},
             {"perplexity_after", kReal, ""},
             {"accuracy_before", kReal, "share of prompts whose answer is the top one"},
             {"accuracy_after", kReal, ""}}}}};
}

}  // namespace engram::experiments::erase
