#include "experiments/texts/rows.h"

#include "store/experiment_tables.h"

namespace engram::experiments::texts {

ExperimentTables tables() {
  using enum ColumnType;
  return {{table_of<TextActivationRow>(), table_of<TextOddsRow>(), table_of<TextCountRow>(),
           table_of<TextProblemRow>()},
          {{"table_texts",
            "mean activation on texts: over a fact's texts, then over facts",
            "SELECT source, kind, mask, count(*) AS facts, sum(texts) AS texts, "
            "avg(activation) AS activation FROM "
            "(SELECT source, kind, mask, max(texts) AS texts, sum(sum) / sum(texts) AS activation "
            "FROM text_activation GROUP BY source, kind, mask, fact) "
            "GROUP BY source, kind, mask ORDER BY source, kind, mask",
            {{"source", kText, "as in text_activation"},
             {"kind", kText, "both, head, tail, random"},
             {"mask", kText, "released, name, word, object"},
             {"facts", kInteger, ""},
             {"texts", kInteger, ""},
             {"activation", kReal, "of the sets' neurons"}}}}};
}

}  // namespace engram::experiments::texts
