#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/edit_make.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/edit/working_copy.h"
#include "engram/text/prepare.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kEraseHelp =
    R"(Makes the model forget a relation: the value vectors of its most frequent knowledge
neurons are set to zero, to the embedding of the unknown token (unk), or to the mean
value vector of the layer (mean). Accuracy and answer perplexity, exp(mean -log P), are
measured before and after, inside the relation and on one prompt each of a seeded
sample of other facts.

Example:
  engram edit erase models/engram-base --relation P36 --neurons 10 --out forget.safetensors
)";

struct EraseOptions : MakeOptions {
  int64_t limit = 0;  ///< facts of the relation to locate; 0: all
  EraseMode mode = EraseMode::kZero;
  int64_t neurons = 20;
};

std::vector<Asked> measure_erasure(const EraseOptions& options, const LoadedModel& loaded,
                                   const Model& edited, const std::vector<Fact>& facts,
                                   const Relation& relation) {
  std::vector<Cloze> own;
  std::vector<Cloze> held_out;
  std::vector<FactProblem> problems;
  for (const Fact& fact : facts) {
    const auto prepared =
        prepare_fact(fact, loaded.tokenizer, prompt_form(loaded.model.config()), problems);
    if (!prepared) continue;
    own.insert(own.end(), prepared->prompts.begin(), prepared->prompts.end());
    held_out.insert(held_out.end(), prepared->held_out.begin(), prepared->held_out.end());
  }
  std::vector<Asked> scopes;
  for (const auto& [scope, clozes] :
       {std::pair("own", std::move(own)), std::pair("held out", std::move(held_out)),
        std::pair(kOtherRelationsScope, side_clozes(relation.others, loaded, options))}) {
    if (!clozes.empty()) {
      scopes.push_back(ask_both(scope, loaded, edited, clozes, options.common));
    }
  }
  return scopes;
}

void print_erasure(const EraseOptions& options, const Delta& delta,
                   const std::vector<Asked>& scopes) {
  if (options.common.json) {
    Json out = delta_json("erase", options, delta);
    out["mode"] = erase_mode_name(options.mode);
    out["scopes"] = asked_json(scopes);
    out["side_effects"] = side_effects_json(delta.why.side_effects);
    print_json(out);
    return;
  }
  print(printable(options.relation) + ": value vectors of " +
        format_count(delta.neurons().size(), "neuron") + " set to " +
        erase_mode_name(options.mode) + "\nneurons:" + neuron_list(delta) + "\n\n" +
        asked_table(scopes));
}

void run_erase(const EraseOptions& options) {
  check_paths(options);
  const Relation relation = read_relation(options);
  const LoadedModel loaded = load_model(options.model, options.common);
  const std::string base = edit_base(options.model);
  const std::vector<Fact> facts = options.limit == 0
                                      ? relation.facts
                                      : sample(relation.facts, options.limit, options.common.seed);
  const LocatedNeurons located = locate_relation(facts, loaded, options, options.neurons);
  std::vector<NeuronId> neurons;
  for (const NeuronFacts& one : located.relation.neurons.most_frequent) neurons.push_back(one.id);
  if (neurons.empty()) {
    throw InputError(facts_path(options) + ": no fact of relation " + options.relation +
                     " has knowledge neurons (" +
                     format_count(static_cast<size_t>(located.relation.facts), "fact") +
                     " located); facts need at least " + std::to_string(kLocatingPrompts) +
                     " prompts");
  }
  if (std::cmp_less(neurons.size(), options.neurons)) {
    note(options.common, "the relation has " + format_count(neurons.size(), "neuron") +
                             " in all, fewer than --neurons");
  }
  EditReason why = reason_of(options, EditKind::kErase, located.relation);
  why.mode = options.mode;
  const ValueEdit edit =
      erase_values(loaded.model, neurons, options.mode, loaded.tokenizer.unknown_id());
  Delta delta = make_delta(options.model, base, edit, why);
  const Model edited = with_values(loaded.model, delta.values());
  const std::vector<Asked> scopes = measure_erasure(options, loaded, edited, facts, relation);
  delta.why.side_effects = side_effects(scopes);
  write_delta(options.out, delta);
  print_erasure(options, delta, scopes);
  note(options.common, "wrote " + options.out);
  warn_of_side_effects(delta.why.side_effects);
}

}  // namespace

void add_edit_erase_command(CLI::App& edit) {
  auto options = std::make_shared<EraseOptions>();
  CLI::App* command = add_command(edit, "erase", "make a relation forgotten", kEraseHelp);
  add_model(*command, options->model, "Folder of the model, or a working copy.")->required();
  command->add_option("--relation", options->relation, "To erase, like P36. Required.")
      ->type_name("R")
      ->required();
  command
      ->add_option_function<std::string>(
          "--mode",
          [options](const std::string& text) {
            try {
              options->mode = parse_erase_mode(text);
            } catch (const UsageError& error) {
              throw CLI::ValidationError("--mode: " + std::string(error.what()));
            }
          },
          "zero (default), unk or mean.")
      ->type_name("zero|unk|mean");
  add_integer(*command, "--neurons", options->neurons, 1, 1'000'000,
              "How many of the relation's most frequent neurons. Default: 20.");
  add_integer(*command, "--limit", options->limit, 1, 1'000'000'000,
              "Locate N facts of the relation at most, a seeded sample. Default: all.");
  add_make_options(*command, *options);
  add_locating_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run_erase(*options); });
}

}  // namespace engram::cli
