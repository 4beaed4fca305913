#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/picture.h"
#include "cli/ranking.h"
#include "engram/attribution/attribution.h"
#include "engram/text/prompt.h"

namespace engram::cli {

struct AttributeOptions {
  CommonOptions common;
  std::string model;
  std::vector<std::string> prompts;
  std::vector<std::string> answers;  ///< one for each prompt or one for all
  std::string prompts_file;          ///< instead of `prompts`; "-": stdin
  bool predicted = false;            ///< the model's own top answers
  NeuronPlace at = NeuronPlace::kAnswer;
  std::vector<std::string> subjects;  ///< with kSubject: one for each prompt or one for all
  AttributionOptions attribution;
  std::string contrast;             ///< WORD of --target logit-diff:WORD
  std::optional<int64_t> top = 20;  ///< neurons to print; unset: all
  RankBy by = RankBy::kScore;       ///< what they are printed by
  std::string scores;               ///< file to write, empty: none
  std::string picture;              ///< file to write, empty: none
  Theme theme = Theme::kAuto;       ///< of the picture
};

void add_attribute_command(CLI::App& app);

/// Adds --score, --rule, --steps, --max-steps and --tolerance: what every command that attributes
/// takes. `options` must outlive `command`.
void add_attribution_options(CLI::App& command, AttributionOptions& options);

/// Adds --at. `place` must outlive `command`.
void add_neuron_place(CLI::App& command, NeuronPlace& place);

/// The name of the rule, null of a score that has none.
nlohmann::ordered_json rule_json(const AttributionOptions& options);

}  // namespace engram::cli
