#pragma once

#include <map>
#include <string>
#include <tuple>
#include <unordered_set>
#include <vector>

#include "cli/intervene.h"
#include "engram/neurons/located.h"
#include "engram/text/facts.h"

// Which facts `engram intervene` takes, with which neurons, on which prompts.
namespace engram::cli {

using FactKey = std::tuple<std::string, std::string, std::string>;

/// What --neurons names.
struct NeuronSource {
  bool list = false;                    ///< given by hand, for every fact
  std::vector<NeuronId> everywhere;     ///< of a list
  LocatedFile file;                     ///< of a file, without its facts
  std::map<FactKey, LocatedSet> facts;  ///< of a file
  std::unordered_set<NeuronId> all;     ///< each neuron that is named for any fact
};

/// True for a list given by hand rather than a file: what is written like one, or could only be
/// meant as one.
bool is_list(const std::string& text);

/// Reads --neurons. Throws UsageError, FileError, InputError.
NeuronSource read_neurons(const InterveneCommandOptions& options);

/// Throws InputError when the neurons are not of this model, and remarks on another model's name.
void check_neurons(const NeuronSource& source, const ModelConfig& config,
                   const InterveneCommandOptions& options);

/// The facts as they go into the evaluation, and what was left out.
struct Selection {
  std::vector<EffectFact> facts;
  std::vector<FactName> names;  ///< of `facts`
  std::vector<FactProblem> problems;
  std::vector<std::string> unsplit;  ///< relations of treated facts, none with a held-out prompt
  bool from_file = false;            ///< the neurons, and so the held-out prompts
  int64_t copies = 0;                ///< subject holds object
  int64_t without = 0;               ///< no line in the neurons file; side effects only
  int64_t missing = 0;               ///< in the neurons file, but not in the fact set
};

Selection select_facts(std::vector<Fact> all, const NeuronSource& source, const LoadedModel& loaded,
                       const InterveneCommandOptions& options);

}  // namespace engram::cli
