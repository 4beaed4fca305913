#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/edit_fact.h"
#include "cli/edit_neurons.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/edit/working_copy.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kUpdateHelp =
    R"(Makes the model answer O instead of the fact's object: the value vectors of the
fact's knowledge neurons move away from the old answer's embedding and towards the
new one's,

  value += -lambda1 |value|/|e(o)| e(o) + lambda2 |value|/|e(o')| e(o')

The neurons are located on the fact's own prompts. Those that are in more than 10 % of
the relation's other facts, and in at least 2 of them, are left alone: hence a sample of
these is located too (--filter-facts), unless --neurons or --run holds them already.
Values are rounded to the type in which the model is stored, and measured as rounded:
before and after, on the prompts that located and on held-out ones, and on one prompt
each of other facts. A warning says how many of these changed; the delta keeps the
numbers, and `engram edit list` shows them.

e(.) is the input embedding of a masked model and the output embedding of a causal one;
--embedding takes the other, where they are not tied. A fact set that says what the new
answer is (CounterFact, EasyEdit) makes --to needless; its neighbours, prompts about
other subjects with the same answer, are asked before and after, too.

The model must answer the fact rightly on most of its prompts; --force edits anyway.

Example:
  engram edit update models/engram-base --relation P36 --subject France --to Rome \
                     --out rome.safetensors
)";

struct UpdateOptions : FactEditOptions {
  double lambda1 = 1;
  double lambda2 = 8;
  std::optional<AnswerEmbedding> embedding;
  NeuronOptions from;
};

void print_update(const UpdateOptions& options, const Fact& fact, const Delta& delta,
                  const std::vector<Asked>& scopes, const std::vector<PromptAnswers>& prompts) {
  if (options.common.json) {
    Json out = fact_edit_json("update", options, delta, scopes, prompts);
    out["lambda1"] = options.lambda1;
    out["lambda2"] = options.lambda2;
    out["embedding"] = answer_embedding_name(options.embedding.value());
    print_json(out);
    return;
  }
  print(
      printable(fact.relation + " " + fact.subject + ": " + fact.object + " → " + options.target) +
      "\nneurons:" + neuron_list(delta) + "\nfrom: " + printable(delta.why.selection) + "\n\n" +
      asked_table(scopes));
  print_answers(prompts);
}

void run_update(UpdateOptions options) {
  check_paths(options, {{"--neurons", options.from.neurons}, {"--run", options.from.run}});
  const Relation relation = read_relation(options);
  Fact fact = fact_to_edit(relation.facts, options);
  const LoadedModel loaded = load_model(options.model, options.common);
  if (!options.embedding) options.embedding = usual_embedding(loaded.model.config());
  const std::string base = edit_base(options.model);
  std::optional<RelationSets> found = stored_sets(options.from, fact, loaded, base);
  if (found && !found->prompts.empty()) {
    // Another split of the same prompts would test on what has located.
    fact.prompts = found->prompts;
    fact.held_out = found->held_out;
  }
  const PreparedFact old = prepare_fact(fact, loaded.tokenizer, prompt_form(loaded.model.config()));
  const PreparedFact target = prepare_target(fact, loaded, options.target);
  check_known(options, fact, ask(loaded.model, old.prompts, options.common),
              top_answer(loaded, loaded.model, old.prompts.front()));

  if (!found) found = located_sets(options.from, options, relation.facts, fact, loaded);
  const std::vector<NeuronId> neurons = neurons_to_update(*found, fact, options);
  EditReason why = found->why;
  why.kind = EditKind::kUpdate;
  why.relation = options.relation;
  why.version = ENGRAM_VERSION;
  why.subject = fact.subject;
  why.object = fact.object;
  why.target = options.target;
  why.lambda1 = options.lambda1;
  why.lambda2 = options.lambda2;
  const ValueEdit edit = update_values(loaded.model, neurons, old.prompts.front().answer,
                                       target.prompts.front().answer, options.lambda1,
                                       options.lambda2, options.embedding);
  Delta delta = make_delta(options.model, base, edit, why);
  const Model edited = with_values(loaded.model, delta.values());  // as rounded
  const std::vector<Asked> scopes =
      measure_update(options, loaded, edited, relation, fact, old, target);
  delta.why.side_effects = side_effects(scopes);
  const std::vector<PromptAnswers> prompts = prompt_answers(loaded, edited, fact, old);
  write_delta(options.out, delta);
  print_update(options, fact, delta, scopes, prompts);
  note(options.common, "wrote " + options.out);
  warn_of_side_effects(delta.why.side_effects);
}

}  // namespace

void add_edit_update_command(CLI::App& edit) {
  auto options = std::make_shared<UpdateOptions>();
  CLI::App* command = add_command(edit, "update", "change one fact's answer", kUpdateHelp);
  add_fact_edit_options(*command, *options);
  add_number(*command, "--lambda1", options->lambda1, 0, 1e6,
             "How far values move away from the old answer. Default: 1.");
  add_number(*command, "--lambda2", options->lambda2, 0, 1e6,
             "How far they move towards the new one. Default: 8.");
  command
      ->add_option_function<std::string>(
          "--embedding",
          [options](const std::string& name) { options->embedding = parse_answer_embedding(name); },
          "e(.): input or output embedding. Default: input of masked models, output of causal "
          "ones.")
      ->type_name("NAME");
  add_integer(*command, "--filter-facts", options->from.filter_facts, 0, 1'000'000'000,
              "Other facts of the relation to locate, a seeded sample; 0: no filter. Default: 20.");
  CLI::Option* neurons =
      add_path(*command, "--neurons", options->from.neurons,
               "Located neurons of the relation, as `engram locate --out` writes them.")
          ->type_name("FILE");
  add_path(*command, "--run", options->from.run,
           "The same out of a run of `engram reproduce` or `engram locate --run`.")
      ->type_name("RUN")
      ->excludes(neurons);
  add_make_options(*command, *options);
  add_locating_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run_update(*options); });
}

}  // namespace engram::cli
