#include "cli/edit_neurons.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engram/neurons/located.h"
#include "engram/run/stored.h"
#include "engram/sources.h"

namespace engram::cli {
namespace {

bool same_fact(const Fact& a, const Fact& b) {
  return a.subject == b.subject && a.object == b.object && a.relation == b.relation;
}

[[noreturn]] void not_there(const std::string& where, const Fact& fact) {
  throw InputError(where + ": has no fact " + fact.relation + " \"" + fact.subject + "\" of \"" +
                   fact.object + "\", expected a file in which it was located");
}

void check_size(const std::string& where, const char* what, std::optional<int64_t> got,
                int64_t expected) {
  if (!got || *got == expected) return;
  throw InputError(where + ": got neurons of a model with " + what + " " + std::to_string(*got) +
                   ", expected the model's " + std::to_string(expected));
}

/// Refuses neurons that the model does not have.
void check_sets(const std::string& where, const RelationSets& found, const ModelConfig& config) {
  for (const FactNeurons& set : found.sets) {
    for (const NeuronId id : set.neurons) {
      if (id.layer < config.layers && id.neuron < config.d_ff) continue;
      throw InputError(where + ": neuron " + neuron_name(id) + " does not exist in the model");
    }
  }
}

/// The sets of the fact's relation, out of `file`.
RelationSets sets_of(LocatedFile file, const Fact& fact) {
  RelationSets found;
  bool there = false;
  for (LocatedSet& set : file.facts) {
    if (set.relation != fact.relation) continue;
    if (set.subject == fact.subject && set.object == fact.object) {
      there = true;
      found.own = found.sets.size();
      found.refined = set.refined;
      found.prompts = set.prompts;
      found.held_out = set.held_out;
    }
    found.sets.push_back({set.relation, std::move(set.neurons)});
  }
  if (!there) not_there(file.path, fact);
  return found;
}

RelationSets sets_of_file(const std::string& path, const Fact& fact, const ModelConfig& config) {
  LocatedFile file = read_located(path);
  check_size(path, "layers", file.layers, config.layers);
  check_size(path, "d_ff", file.d_ff, config.d_ff);
  RelationSets found = sets_of(std::move(file), fact);
  found.why.score = "read from a file";
  return found;
}

RelationSets sets_of_run(const std::string& path, const Fact& fact, const std::string& base) {
  RunStore run = RunStore::open(path, RunStore::Mode::kRead);
  const RunIdentity identity = run.identity();
  const auto of = [&](const char* name) {
    const auto found = identity.find(name);
    return found == identity.end() ? std::string() : found->second;
  };
  if (of("model") != base) {
    throw InputError(path + ": got a run of another model (" + of("model") + "), expected " + base);
  }
  RelationSets found = sets_of(stored_located(run, fact.relation), fact);
  found.why.score = sources::kIg;
  found.why.rule = of("rule");
  return found;
}

std::string of_relation(size_t facts) { return format_count(facts, "fact") + " of the relation"; }

}  // namespace

std::optional<RelationSets> stored_sets(const NeuronOptions& options, const Fact& fact,
                                        const LoadedModel& loaded, const std::string& base) {
  if (options.neurons.empty() && options.run.empty()) return {};
  const std::string& path = options.neurons.empty() ? options.run : options.neurons;
  RelationSets found = options.neurons.empty() ? sets_of_run(path, fact, base)
                                               : sets_of_file(path, fact, loaded.model.config());
  check_sets(path, found, loaded.model.config());
  found.why.selection = path + ", " + of_relation(found.sets.size());
  return found;
}

RelationSets located_sets(const NeuronOptions& options, const MakeOptions& make,
                          const std::vector<Fact>& facts, const Fact& fact,
                          const LoadedModel& loaded) {
  std::vector<Fact> others;
  for (const Fact& one : facts) {
    if (!same_fact(one, fact)) others.push_back(one);
  }
  const size_t all = others.size();
  others = sample(std::move(others), options.filter_facts, make.common.seed);
  note(make.common, "locating the fact and " + std::to_string(others.size()) +
                        " of the relation's " + format_count(all, "other fact") +
                        (options.filter_facts == 0 ? "; no neuron is left alone for theirs"
                                                   : ", to leave neurons of many facts alone"));
  others.insert(others.begin(), fact);
  const LocatedNeurons located = locate_relation(others, loaded, make, 20);
  RelationSets found;
  bool there = false;
  for (const LocatedFact& one : located.facts) {
    if (one.subject == fact.subject && one.object == fact.object) {
      there = true;
      found.own = found.sets.size();
      found.refined = one.refined;
    }
    FactNeurons set{one.relation, {}};
    for (const CountedNeuron& neuron : one.neurons) set.neurons.push_back(neuron.id);
    found.sets.push_back(std::move(set));
  }
  if (!there) throw InternalError("the fact to update was not located");
  found.why = reason_of(make, EditKind::kUpdate, located.relation);
  return found;
}

std::vector<NeuronId> neurons_to_update(const RelationSets& found, const Fact& fact,
                                        const MakeOptions& make) {
  const std::vector<NeuronId>& all = found.sets[found.own].neurons;
  if (!found.refined) {
    throw InputError(fact.origin + ": got " + format_count(fact.prompts.size(), "prompt") +
                     ", expected at least " + std::to_string(kLocatingPrompts) +
                     " to locate the fact's neurons by");
  }
  if (all.empty()) {
    throw InputError(fact.origin + ": the fact has no knowledge neurons: its " +
                     format_count(fact.prompts.size(), "prompt") +
                     " agree on none (--preset and --score choose otherwise)");
  }
  std::vector<NeuronId> neurons = editable_neurons(found.sets, found.own);
  const std::string others =
      "more than 10 % of the " + format_count(found.sets.size() - 1, "other fact") +
      " of the relation that " + (found.sets.size() == 2 ? "was" : "were") + " looked at";
  if (neurons.empty()) {
    throw InputError(fact.origin + ": none of the fact's " +
                     format_count(all.size(), "knowledge neuron") + " can be edited: each is in " +
                     others);
  }
  if (neurons.size() < all.size()) {
    note(make.common, format_count(all.size() - neurons.size(), "knowledge neuron") +
                          " left alone, in " + others);
  }
  return neurons;
}

}  // namespace engram::cli
