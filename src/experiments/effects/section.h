#pragma once

// What the section's files share.

#include <array>
#include <string>

#include "report/effect_rows.h"

namespace engram::experiments::effects {

constexpr std::array<const char*, kEffectKinds> kKindTitles = {
    "knowledge neurons",  "activation baseline",
    "random: same layer", "random: + activation, value",
    "random: + gradient", "next neurons",
    "another fact's",     "activation, same number"};

/// The table and the two charts by relation; `id` begins their ids.
void add_relations(const ReportInput& input, const EffectRows& rows, const std::string& id,
                   ReportSection& section);

/// Of suppressing: whether answers are lost, where the run has known facts.
void add_accuracy(const ReportInput& input, const EffectRows& rows, ReportSection& section);

}  // namespace engram::experiments::effects
