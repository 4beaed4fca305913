#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engram/neurons/locate.h"

namespace engram {

/// The lines of engram.locate/1 (docs/formats.md): JSON without a newline.
std::string located_fact_line(const LocatedFact& fact);
std::string located_relation_line(const LocatedRelation& relation);
std::string located_problem_line(const FactProblem& problem);
std::string located_summary_line(const LocateSummary& summary);

/// A fact's neurons out of such a file, and the prompts that they come from.
struct LocatedSet {
  std::string relation, subject, object;
  std::string uuid = {};              ///< the fact set's own name; empty: it has none
  std::vector<std::string> prompts;   ///< on which they were located
  std::vector<std::string> held_out;  ///< that were not looked at
  std::vector<NeuronId> neurons;      ///< sorted
  std::vector<NeuronId> near = {};    ///< RelationSelection::near, sorted
  bool refined = true;
  std::vector<NeuronId> unrefined = {};  ///< of a fact that was not: all that passed, sorted
};

/// What `engram locate --out` wrote.
struct LocatedFile {
  std::string path;
  std::string model;                    ///< as the run's header names it
  std::optional<int64_t> layers, d_ff;  ///< sizes of that model
  std::vector<LocatedSet> facts;
  NeuronPlace neurons_at = NeuronPlace::kAnswer;  ///< of its prompts
  bool has_near = false;                          ///< it says which neurons are near a threshold
};

/// Reads a file of engram.locate/1; lines of other records are skipped. Throws FileError;
/// InputError with file and line when a line is malformed or no fact is in it.
LocatedFile read_located(const std::filesystem::path& path);

/// The same for comparing, where neither prompts nor names are needed: also lines
/// {"uuid": "...", "neurons": [[layer, neuron], ...]}, as EleutherAI's published neurons come.
LocatedFile read_neuron_sets(const std::filesystem::path& path);

/// "3:17,5:201" as neurons, each once, sorted. Throws UsageError.
std::vector<NeuronId> parse_neurons(std::string_view text);

}  // namespace engram
