#include "engram/statistics/effect_report.h"

#include "engram/sources.h"

namespace engram {

const char* scope_name(Scope scope) {
  constexpr std::array<const char*, kScopes> kNames = {"own",
                                                       "held-out",
                                                       "same-relation",
                                                       "same-relation-same-object",
                                                       "same-relation-other-object",
                                                       "other-relations",
                                                       "other-relations-same-object",
                                                       "other-relations-other-object",
                                                       "text"};
  return kNames.at(static_cast<size_t>(scope));
}

const char* source_name(size_t source) {
  constexpr std::array<const char*, kSources> kNames = {"located",
                                                        sources::kRandomLayer.data(),
                                                        sources::kRandomActivation.data(),
                                                        sources::kRandomGradient.data(),
                                                        sources::kNext.data(),
                                                        sources::kOtherFact.data(),
                                                        sources::kActivationSameK.data()};
  return kNames.at(source);
}

const char* group_name(FactGroup group) {
  constexpr std::array<const char*, kFactGroups> kNames = {"all", "known", "never"};
  return kNames.at(static_cast<size_t>(group));
}

const EffectRow* EffectReport::row(Scope scope, FactGroup group) const {
  for (const EffectRow& one : rows) {
    if (one.scope == scope && one.group == group) return &one;
  }
  return nullptr;
}

const char* metric_name(Metric metric) {
  constexpr std::array<const char*, kMetrics> kNames = {
      "log_odds", "ratio_of_means", "mean_of_ratios", "log_p", "accuracy", "log_rank"};
  return kNames.at(static_cast<size_t>(metric));
}

}  // namespace engram
