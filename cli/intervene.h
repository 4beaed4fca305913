#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/common.h"
#include "engram/intervention/effects.h"

namespace engram::cli {

struct InterveneCommandOptions {
  CommonOptions common;
  std::string model;
  std::string facts;      ///< fact set: a .jsonl file or a ParaRel folder
  std::string neurons;    ///< what locate wrote, or a list "3:17,5:201" for every fact
  std::string run;        ///< file of a run, empty: none
  std::string operation;  ///< zero, mean, resample, double, scale:X
  std::string corpus;     ///< plain text for mean and resample, empty: prompts of other facts
  int64_t corpus_lines = 1000;
  std::string text;  ///< plain text to see the effect on, empty: none
  std::optional<int64_t> text_lines;
  std::optional<double> held_out_share;  ///< of a ParaRel folder, with a list of neurons
  EffectOptions effects;
  FactChoice choice;  ///< of the facts whose neurons are changed
  bool strict = false;
  std::string random_from = "unlocated";
  bool full = false;  ///< print every table, not the verdict alone
  std::string out;    ///< JSON file, empty: none
};

void add_intervene_command(CLI::App& app);

/// What the report says in a few lines: the change on the prompts that count, and how the located
/// neurons compare with each control.
std::string effect_verdict(const EffectReport& report, const EffectOptions& options);
/// The report as tables, and as the object of engram.intervene/1.
std::string effect_tables(const EffectReport& report, const EffectOptions& options);
nlohmann::ordered_json effect_json(const EffectReport& report, const EffectOptions& options);

/// What a fact of EffectReport::details or prompts is called.
struct FactName {
  std::string relation, subject, object;
  std::vector<std::string> prompts, held_out;  ///< texts; empty: not known here
};
/// Every fact's and every prompt's effect, as an array of facts.
nlohmann::ordered_json fact_effects_json(const EffectReport& report,
                                         const std::vector<FactName>& names);

}  // namespace engram::cli
