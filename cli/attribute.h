#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/common.h"
#include "engram/attribution/attribution.h"

namespace engram::cli {

struct AttributeOptions {
  CommonOptions common;
  std::string model;
  std::string prompt;
  std::string answer;      ///< given unless `predicted`
  bool predicted = false;  ///< the model's own top answer
  AttributionOptions attribution;
  std::string contrast;             ///< WORD of --target logit-diff:WORD
  std::optional<int64_t> top = 20;  ///< neurons to print; unset: all
  std::string picture;              ///< file to write, empty: none
};

void add_attribute_command(CLI::App& app);

/// Adds --score, --rule, --steps, --max-steps and --tolerance: what every command that attributes
/// takes. `options` must outlive `command`.
void add_attribution_options(CLI::App& command, AttributionOptions& options);

}  // namespace engram::cli
