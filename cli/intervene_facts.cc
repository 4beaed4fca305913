#include "cli/intervene_facts.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "engram/text/prepare.h"

namespace engram::cli {
namespace {

std::vector<NeuronId> read_list(const std::string& given) {
  std::string text;  // spaces are fine after a comma and around the whole
  for (const char c : given.substr(0, given.find_last_not_of(' ') + 1)) {
    if (c != ' ' || !(text.empty() || text.back() == ',')) text += c;
  }
  try {
    return parse_neurons(text);
  } catch (const UsageError& error) {
    throw UsageError("--neurons: " + std::string(error.what()));
  }
}

FactKey key_of(const Fact& fact) { return {fact.relation, fact.subject, fact.object}; }

/// The last part of a folder's name, whatever slashes end it.
std::string folder_name(const std::string& path) {
  const std::filesystem::path normal = (std::filesystem::path(path) / "").lexically_normal();
  return normal.parent_path().filename().string();
}

/// Repeated facts and those whose answer can be copied leave `all`; the others get the prompts that
/// their neurons come from.
std::vector<Fact> usable_facts(std::vector<Fact> all, const NeuronSource& source,
                               Selection& selection) {
  std::set<FactKey> seen;
  std::vector<Fact> usable;
  for (Fact& fact : all) {
    const FactKey key = key_of(fact);
    if (!seen.insert(key).second) continue;
    if (subject_holds_object(fact)) {
      ++selection.copies;
      continue;
    }
    const auto located = source.facts.find(key);
    if (located != source.facts.end()) {
      // Another split of the same prompts would test on what has located.
      fact.prompts = located->second.prompts;
      fact.held_out = located->second.held_out;
    } else if (!source.list) {
      ++selection.without;
    }
    usable.push_back(std::move(fact));
  }
  for (const auto& [key, located] : source.facts) {
    if (!seen.contains(key)) ++selection.missing;
  }
  return usable;
}

}  // namespace

bool is_list(const std::string& text) {
  if (text.find_first_not_of("0123456789:, ") == std::string::npos) return true;
  std::error_code failed;
  return text.find_first_of(":,") != std::string::npos && text.find('/') == std::string::npos &&
         !text.ends_with(".jsonl") && !std::filesystem::exists(text, failed);
}

NeuronSource read_neurons(const InterveneCommandOptions& options) {
  NeuronSource source;
  source.list = is_list(options.neurons);
  if (source.list) {
    source.everywhere = read_list(options.neurons);
    source.all.insert(source.everywhere.begin(), source.everywhere.end());
    return source;
  }
  source.file = read_located(options.neurons);
  for (LocatedSet& set : std::exchange(source.file.facts, {})) {
    source.all.insert(set.neurons.begin(), set.neurons.end());
    FactKey key{set.relation, set.subject, set.object};
    source.facts.insert_or_assign(std::move(key), std::move(set));
  }
  return source;
}

void check_neurons(const NeuronSource& source, const ModelConfig& config,
                   const InterveneCommandOptions& options) {
  const LocatedFile& file = source.file;
  const auto check_size = [&](const char* what, std::optional<int64_t> got, int64_t expected) {
    if (!got || *got == expected) return;
    throw InputError(options.neurons + ": got neurons of a model (" + file.model + ") with " +
                     what + " " + std::to_string(*got) + ", expected the " +
                     std::to_string(expected) + " of " + options.model);
  };
  check_size("layers", file.layers, config.layers);
  check_size("d_ff", file.d_ff, config.d_ff);
  for (const NeuronId id : source.all) {
    if (id.layer < config.layers && id.neuron < config.d_ff) continue;
    throw InputError("--neurons: " + neuron_name(id) + " does not exist, the model has layers 0.." +
                     std::to_string(config.layers - 1) + " of neurons 0.." +
                     std::to_string(config.d_ff - 1));
  }
  if (!file.model.empty() && folder_name(file.model) != folder_name(options.model)) {
    note(options.common, options.neurons + " was located on the model " + file.model +
                             ", this one is " + options.model);
  }
}

Selection select_facts(std::vector<Fact> all, const NeuronSource& source, const LoadedModel& loaded,
                       const InterveneCommandOptions& options) {
  Selection selection;
  selection.from_file = !source.list;
  const std::vector<Fact> usable = usable_facts(std::move(all), source, selection);
  std::vector<Fact> candidates;
  for (const Fact& fact : usable) {
    if (source.list || source.facts.contains(key_of(fact))) candidates.push_back(fact);
  }
  if (candidates.empty()) {
    throw InputError("--neurons: none of the " + format_count(static_cast<int64_t>(usable.size())) +
                     " usable facts of " + options.facts + " is in " + options.neurons);
  }
  std::set<FactKey> chosen;
  for (const Fact& fact :
       choose_facts(std::move(candidates), options.choice, options.common.seed, options.neurons)) {
    chosen.insert(key_of(fact));
  }
  std::vector<Fact> treated;
  for (const Fact& fact : usable) {
    const FactKey key = key_of(fact);
    const ModelConfig& config = loaded.model.config();
    std::optional<PreparedFact> prepared;
    if (options.strict) {
      prepared = prepare_fact(fact, loaded.tokenizer, prompt_form(config));
    } else {
      prepared = prepare_fact(fact, loaded.tokenizer, prompt_form(config), selection.problems);
    }
    if (!prepared) continue;
    EffectFact effect{fact.relation,
                      fact.subject,
                      fact.object,
                      std::move(prepared->prompts),
                      std::move(prepared->held_out),
                      chosen.contains(key),
                      {}};
    if (effect.evaluated) {
      effect.neurons = source.list ? source.everywhere : source.facts.at(key).neurons;
      treated.push_back(fact);
    }
    selection.facts.push_back(std::move(effect));
    selection.names.push_back(
        {fact.relation, fact.subject, fact.object, fact.prompts, fact.held_out});
  }
  if (treated.empty()) {
    std::string message = "no fact can be used";
    if (!selection.problems.empty()) {
      message += ", the first problem is " + problem_text(selection.problems.front());
    }
    throw InputError(message);
  }
  selection.unsplit = unsplit_relations(treated);
  return selection;
}

}  // namespace engram::cli
