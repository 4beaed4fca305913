#pragma once

#include "engram/intervention/effects.h"
#include "intervention/random_model.h"

namespace engram::testing {

/// Six facts in each of three relations, two objects per relation, one of them shared by all.
inline std::vector<EffectFact> make_facts(uint64_t seed) {
  std::vector<EffectFact> facts;
  for (uint64_t i = 0; i < 18; ++i) {
    EffectFact fact;
    fact.relation = "P" + std::to_string(i / 6);
    fact.subject = "subject " + std::to_string(i);
    fact.object = i % 2 == 0 ? "everywhere" : "only in " + fact.relation;
    for (uint64_t p = 0; p < 3 + i % 2; ++p) {
      fact.prompts.push_back(random_cloze(seed + 100 * i + p, 5 + static_cast<int64_t>(p % 3)));
    }
    if (i % 3 != 0) fact.held_out.push_back(random_cloze(seed + 100 * i + 50, 6));
    const auto n = static_cast<int32_t>(i);
    if (i % 6 != 5) fact.neurons = {{0, n}, {2, (n * 7) % 40}};
    facts.push_back(fact);
  }
  return facts;
}

inline EffectOptions quick(const char* what) {
  EffectOptions options;
  options.intervention = parse_intervention(what);
  options.draws = 4;
  options.side_draws = 2;
  options.same_relation = 3;
  options.other_relations = 7;
  options.bootstrap.draws = 50;
  options.known_p = 0;
  options.known_rank = 10;
  options.measure = {2, 1 << 28};
  return options;
}

inline const EffectRow& row(const EffectReport& report, Scope scope) {
  return report.rows.at(static_cast<size_t>(scope));
}
inline double change(const EffectRow& r, size_t source, Metric metric) {
  return r.change[source][static_cast<size_t>(metric)].value;
}

}  // namespace engram::testing
