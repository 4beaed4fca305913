#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cli/common.h"
#include "engram/text/facts.h"

namespace engram::cli {

/// Adds --facts, required.
void add_facts_option(CLI::App& command, std::string& facts);

/// The facts for a model's folder, as read_facts() reads them: for a causal model the prompts that
/// end with the answer, with a note of how many others there are. Throws as read_facts() and
/// read_config().
FactSet facts_for_model(const std::string& model, const std::string& facts, FactSetOptions reading,
                        const CommonOptions& common);

/// Adds --relations, --per-relation, --limit and --limit-order; `verb` is what is done with the
/// facts chosen ("Take"). `choice` must outlive `command`.
void add_choice_options(CLI::App& command, FactChoice& choice, const std::string& verb);

/// The choice as members of a JSON report.
void add_choice(const FactChoice& choice, nlohmann::ordered_json& out);

}  // namespace engram::cli
