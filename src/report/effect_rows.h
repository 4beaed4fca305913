#pragma once

// Effects of one intervention, read from a run as the library sums them.

#include <array>
#include <string>
#include <vector>

#include "report/sections.h"
#include "statistics/effect_sums.h"

namespace engram {

/// What is changed, in the order of the tables' columns. From kLayerSet on: source 1 and so on.
enum EffectKind : size_t {
  kKnowledgeSet,
  kBaselineSet,  ///< the paper's, with its own thresholds
  kLayerSet,
  kActivationSet,
  kGradientSet,
  kNextSet,
  kOtherFactSet,
  kSameNumberSet,
  kEffectKinds
};
constexpr size_t control_source(EffectKind kind) {
  return kind == kKnowledgeSet ? size_t{kLocated} : kind - kBaselineSet;
}

struct EffectRows {
  EffectSums controls;      ///< sources as in effects.h; per place of the fact
  EffectSums baseline;      ///< source 0: located, 1: the baseline
  std::vector<bool> there;  ///< [facts] has a row
  std::vector<bool> empty;  ///< [facts] nothing was located
  int64_t draw_count = 0;
  bool any = false, text = false;

  [[nodiscard]] const Sums::Change& change(size_t fact, size_t scope, EffectKind kind) const {
    return kind == kBaselineSet ? baseline.facts[fact][scope].change[1]
                                : controls.facts[fact][scope].change[control_source(kind)];
  }
};

/// All rows of an intervention (column `operation`). Throws InputError where the run is damaged.
EffectRows read_effect_rows(const ReportInput& input, const std::string& operation);

}  // namespace engram
