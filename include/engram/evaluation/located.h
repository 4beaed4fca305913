#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engram/evaluation/locate.h"

namespace engram {

/// The lines of engram.locate/1 (docs/formats.md): JSON without a newline.
std::string located_fact_line(const LocatedFact& fact);
std::string located_relation_line(const LocatedRelation& relation);
std::string located_problem_line(const FactProblem& problem);
std::string located_summary_line(const LocateSummary& summary);

/// A fact's neurons out of such a file, and the prompts that they come from.
struct LocatedSet {
  std::string relation, subject, object;
  std::vector<std::string> prompts;   ///< on which they were located
  std::vector<std::string> held_out;  ///< that were not looked at
  std::vector<NeuronId> neurons;
  bool refined = true;
};

/// What `engram locate --out` wrote.
struct LocatedFile {
  std::string model;                    ///< as the run's header names it
  std::optional<int64_t> layers, d_ff;  ///< sizes of that model
  std::vector<LocatedSet> facts;
};

/// Reads a file of engram.locate/1; lines of other records are skipped. Throws FileError;
/// InputError with file and line when a line is malformed or no fact is in it.
LocatedFile read_located(const std::filesystem::path& path);

/// "3:17,5:201" as neurons, each once, sorted. Throws UsageError.
std::vector<NeuronId> parse_neurons(std::string_view text);

}  // namespace engram
