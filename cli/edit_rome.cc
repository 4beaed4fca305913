#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/edit_fact.h"
#include "cli/paths.h"
#include "engram/base/utf8.h"
#include "engram/edit/moments.h"
#include "engram/edit/rome.h"
#include "engram/edit/working_copy.h"
#include "engram/text/subject.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kRomeHelp =
    R"(Rank-One Model Editing (ROME, Meng et al. 2022): makes the model answer O instead of
the fact's object by a change of rank one in the second FFN matrix of one layer,

  W' = W + delta u^T / (k u),   u = C^-1 k*

k* is the mean key (the layer's neurons) at the last token of the subject, over a prompt
of the fact and the same prompt behind other texts; delta is found by gradient, so that
the new answer becomes likely while "S is a" goes on as before; C is the second moment
of the layer's keys on ordinary text. Settings are the published ones for GPT-2. Where
the paper lets the model write the texts before the prompt, ours are beginnings of the
corpus's lines.

C is kept in --moments: where that file is there it is read, else it is made from
--corpus and written. It is of one model and one layer, and serves every fact. By
default the layer is as deep as in the paper, 17/48 of the way up.

All columns of the matrix change: the delta holds the layer whole. It is applied,
listed, undone and exported as any other. What it does is measured as for `edit update`:
on the fact's prompts, held-out ones, its neighbours and samples of other facts.

Example:
  engram edit rome models/engram-base --relation P36 --subject France --to Rome \
                   --corpus models/engram-base/corpus.txt --moments moments.safetensors \
                   --out rome.safetensors
)";

struct RomeCommandOptions : FactEditOptions {
  std::optional<int64_t> layer;
  std::string moments;
  std::string corpus;  ///< empty: `moments` must be there
  int64_t tokens = 100'000;
  int64_t prompts = 1;    ///< of the fact that are rewritten; 0: all
  int64_t prefixes = 20;  ///< texts before each
  RomeOptions rome;
};

/// What --moments holds or is to hold.
KeyMoments moments_for(const RomeCommandOptions& options, const LoadedModel& loaded,
                       const std::string& base) {
  if (std::filesystem::exists(options.moments)) {
    KeyMoments moments = read_key_moments(options.moments);
    if (moments.base != base) {
      throw InputError(options.moments + ": is of the model " + moments.base + ", expected " +
                       base + ", which " + options.model + " is or was made from");
    }
    if (options.layer && *options.layer != moments.layer) {
      throw InputError(options.moments + ": is of layer " + std::to_string(moments.layer) +
                       ", expected the --layer " + std::to_string(*options.layer));
    }
    return moments;
  }
  if (options.corpus.empty()) {
    throw UsageError("--corpus is required: " + options.moments +
                     " is not there yet, and is made from a text");
  }
  MomentsOptions how;
  how.corpus.file = options.corpus;
  how.corpus.threads = options.common.threads;
  how.corpus.memory_bytes = options.common.memory_bytes;
  how.tokens = options.tokens;
  how.texts = std::max<int64_t>(how.texts, options.prefixes);
  how.seed = options.common.seed;
  Progress progress(options.common.quiet, "reading", how.tokens, "tokens");
  int64_t before = 0;
  KeyMoments moments =
      key_moments(loaded.model, loaded.tokenizer, base,
                  options.layer.value_or(usual_rome_layer(loaded.model.config())), how,
                  [&](const CorpusCounts& so_far) {
                    progress.advance(so_far.tokens - std::exchange(before, so_far.tokens));
                  });
  write_key_moments(options.moments, moments);
  note(options.common, "wrote " + options.moments);
  return moments;
}

RomeRequest request_for(const RomeCommandOptions& options, const LoadedModel& loaded,
                        const Fact& fact, const KeyMoments& moments) {
  const PromptForm form = prompt_form(loaded.model.config());
  const auto encode = [&](const std::string& prompt) {
    return at_subject(encode_cloze(loaded.tokenizer, prompt, options.target, form, "--to"),
                      loaded.tokenizer, prompt, fact.subject, form, fact.origin);
  };
  if (std::cmp_less(moments.texts.size(), options.prefixes)) {
    throw InputError(options.moments + ": holds " + format_count(moments.texts.size(), "text") +
                     ", expected at least the --prefixes " + std::to_string(options.prefixes));
  }
  const size_t count = options.prompts == 0
                           ? fact.prompts.size()
                           : std::min(fact.prompts.size(), static_cast<size_t>(options.prompts));
  RomeRequest request;
  for (size_t i = 0; i < count; ++i) request.prompts.push_back(encode(fact.prompts[i]));
  for (size_t i = 0; i < count; ++i) {
    for (int64_t j = 0; j < options.prefixes; ++j) {
      request.prompts.push_back(
          encode(moments.texts[static_cast<size_t>(j)] + ". " + fact.prompts[i]));
    }
  }
  const std::string essence = fact.subject + (form.causal ? " is a" : " is a [MASK].");
  request.essence = at_subject(encode_open(loaded.tokenizer, essence, form, fact.origin),
                               loaded.tokenizer, essence, fact.subject, form, fact.origin);
  return request;
}

EditReason reason_for(const RomeCommandOptions& options, const Fact& fact,
                      const KeyMoments& moments, const RomeEdit& made) {
  EditReason why;
  why.kind = EditKind::kRome;
  why.relation = options.relation;
  why.subject = fact.subject;
  why.object = fact.object;
  why.target = options.target;
  why.selection = "ROME in layer " + std::to_string(moments.layer) + ", " +
                  format_count(static_cast<int64_t>(made.steps.size()) - 1, "step") +
                  "; second moment of " + format_count(moments.tokens, "token") + " of " +
                  moments.corpus;
  why.version = ENGRAM_VERSION;
  return why;
}

void print_rome(const RomeCommandOptions& options, const KeyMoments& moments, const RomeEdit& made,
                const Delta& delta, const std::vector<Asked>& scopes,
                const std::vector<PromptAnswers>& prompts) {
  const double length = made.delta.norm().item<double>();
  if (options.common.json) {
    Json out = fact_edit_json("rome", options, delta, scopes, prompts);
    out["layer"] = moments.layer;
    out["moments"] = {
        {"file", options.moments}, {"corpus", moments.corpus}, {"tokens", moments.tokens}};
    out["value_length"] = made.value_length;
    out["delta_length"] = length;
    auto& steps = out["steps"] = Json::array();
    for (const RomeStep& step : made.steps) {
      steps.push_back({{"loss", step.loss},
                       {"negative_log_p", step.negative_log_p},
                       {"kl", step.kl},
                       {"length", step.length}});
    }
    print_json(out);
    return;
  }
  const EditReason& why = delta.why;
  print(printable(why.relation + " " + why.subject + ": " + why.object + " → " + why.target) +
        "\n" + printable(why.selection) + "\n-log P of the new answer where it is written: " +
        format_number(made.steps.front().negative_log_p, 3) + " before, " +
        format_number(made.steps.back().negative_log_p, 3) + " after; the change is " +
        format_number(length / made.value_length, 3) + " times as long as the value\n\n" +
        asked_table(scopes));
  print_answers(prompts);
}

void run_rome(RomeCommandOptions options) {
  check_paths(options, {{"--corpus", options.corpus}});
  check_outputs({{"--moments", options.moments}, {"--out", options.out}},
                {{"MODEL", options.model}, {"--corpus", options.corpus}});
  const Relation relation = read_relation(options);
  const Fact fact = fact_to_edit(relation.facts, options);
  const LoadedModel loaded = load_model(options.model, options.common);
  const std::string base = edit_base(options.model);
  const PreparedFact old = prepare_fact(fact, loaded.tokenizer, prompt_form(loaded.model.config()));
  const PreparedFact target = prepare_target(fact, loaded, options.target);
  check_known(options, fact, ask(loaded.model, old.prompts, options.common),
              top_answer(loaded, loaded.model, old.prompts.front()));
  const KeyMoments moments = moments_for(options, loaded, base);
  const RomeRequest request = request_for(options, loaded, fact, moments);
  RomeEdit made;
  {
    Progress progress(options.common.quiet, "searching", options.rome.steps + 1, "steps");
    made = rome_edit(loaded.model, moments, request, options.rome,
                     [&](const RomeStep&) { progress.advance(1); });
  }
  Delta delta =
      make_delta(options.model, base, made.edit, reason_for(options, fact, moments, made));
  const Model edited = with_values(loaded.model, delta.values());  // as rounded
  const std::vector<Asked> scopes =
      measure_update(options, loaded, edited, relation, fact, old, target);
  delta.why.side_effects = side_effects(scopes);
  const std::vector<PromptAnswers> prompts = prompt_answers(loaded, edited, fact, old);
  write_delta(options.out, delta);
  print_rome(options, moments, made, delta, scopes, prompts);
  note(options.common, "wrote " + options.out);
  warn_of_side_effects(delta.why.side_effects);
}

}  // namespace

void add_edit_rome_command(CLI::App& edit) {
  auto options = std::make_shared<RomeCommandOptions>();
  CLI::App* command = add_command(edit, "rome", "change one fact's answer by ROME", kRomeHelp);
  add_fact_edit_options(*command, *options);
  add_path(*command, "--moments", options->moments,
           "Second moment of the layer's keys: read where it is there, else made. Required.")
      ->type_name("FILE")
      ->required();
  add_path(*command, "--corpus", options->corpus,
           "Text that it is made from, a sentence or paragraph per line, plain or packed.")
      ->type_name("FILE");
  add_integer(*command, "--corpus-tokens", options->tokens, 0, 1'000'000'000'000,
              "How much of the text is read; 0: all. Default: 100000.");
  add_integer(*command, "--layer", options->layer, 0, 1'000'000,
              "The layer to edit. Default: that of --moments, or 17/48 of the way up.");
  add_integer(*command, "--prompts", options->prompts, 0, 1'000'000,
              "How many of the fact's own prompts are rewritten; 0: all. Default: 1.");
  add_integer(*command, "--prefixes", options->prefixes, 0, 10'000,
              "Texts before each. Default: 20.");
  RomeOptions& rome = options->rome;
  add_integer(*command, "--steps", rome.steps, 0, 1'000'000, "Of Adam, at most. Default: 20.");
  add_number(*command, "--rate", rome.rate, above_zero(1e3), "Its learning rate. Default: 0.5.");
  add_number(*command, "--weight-decay", rome.weight_decay, 0, 1e6,
             "Weight of the change's length. Default: 0.5.");
  add_number(*command, "--kl", rome.kl_factor, 0, 1e6,
             "Weight of what \"S is a\" predicts. Default: 0.0625.");
  add_number(*command, "--clamp", rome.clamp, above_zero(1e6),
             "The change is at most so many times as long as the value. Default: 4.");
  add_make_options(*command, *options);
  add_common_options(*command, options->common);
  command->callback([options] { run_rome(*options); });
}

}  // namespace engram::cli
