#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/common.h"
#include "engram/neuron.h"
#include "engram/reading/activity.h"
#include "engram/reading/values.h"

// `engram neuron`: one neuron opened.
namespace engram::cli {

struct NeuronCommandOptions {
  CommonOptions common;
  std::string model;
  std::string neuron;   ///< "3:17"
  std::string corpus;   ///< text file; empty: corpus.txt of the model's folder, where it is there
  std::string neurons;  ///< file of `engram locate`
  std::string run;      ///< run with located sets
  int64_t top = 10;
  int64_t limit = 0;     ///< lines, 0: all
  int64_t window = 256;  ///< tokens
  std::string html;      ///< file for the page; empty: none
};

void add_neuron_command(CLI::App& app);

/// A token and what the value vector says about it.
struct ValueToken {
  int64_t id = 0;
  double logit = 0;
  double p = 0;
};

/// A fact whose located set holds the neuron.
struct HeldFact {
  std::string relation, subject, object;
  bool refined = true;  ///< false: too few prompts to refine the set
};

/// A neuron near the opened one, and the first tokens that its value raises.
struct NeighbourRow {
  Neighbour neighbour;
  std::vector<int64_t> tokens;
};

/// Everything that is told about a neuron.
struct OpenedNeuron {
  NeuronId id;
  NeuronNorms norms;
  std::vector<ValueToken> raised;   ///< largest logit first
  std::vector<ValueToken> lowered;  ///< smallest first
  std::vector<NeighbourRow> by_key, by_value;
  std::string corpus;  ///< that was read; empty: none
  std::optional<Activity> activity;
  bool located = false;  ///< a file or a run with located sets was given
  int64_t facts = 0;     ///< in it
  std::vector<HeldFact> holds;
};

}  // namespace engram::cli
