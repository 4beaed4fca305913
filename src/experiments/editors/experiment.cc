// Does location guide an edit? The audit's facts are edited in located neurons, in others that
// write as much, by fine-tuning, by ROME, and layer by layer (docs/method.md, "The audit").
#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "edit/fine_tune.h"
#include "engram/attribution/scorer.h"
#include "engram/edit/moments.h"
#include "engram/edit/rome.h"
#include "engram/error.h"
#include "engram/text/prompt.h"
#include "engram/text/subject.h"
#include "experiments/editors/rows.h"
#include "experiments/update/experiment.h"
#include "model/parallel.h"
#include "run/parts.h"
#include "run/sets.h"

namespace engram::experiments::editors {
namespace {

using update::UpdateSample;
using update::UpdateSubject;
using update::UpdateVariant;

constexpr int64_t kLayerNeurons = 5;  ///< that are edited in one layer

/// The edits of one fact that are not those of located neurons.
class FactEdits {
 public:
  FactEdits(const RunContext& run, const UpdateSubject& one, size_t place,
            const std::vector<NeuronId>& located)
      : run_(run), one_(one), place_(place), located_(located) {
    const PreparedFact fact = run.facts.prepared(one.id);
    own_ = fact.prompts;
    activations_ = mask_activations(run.model, own_, run.measure).mean(0);
  }

  UpdateVariant fine_tuned() const {
    std::map<int32_t, int64_t> count;
    for (const NeuronId id : located_) ++count[id.layer];
    const int32_t layer =
        std::ranges::max_element(count, {}, &std::pair<const int32_t, int64_t>::second)->first;
    ValueEdit edit;  // the last bits hang on the number of threads
    run_tasks(1, 1, [&](size_t) {
      edit = fine_tuned_values(run_.model, layer, update::target_prompts(run_, one_));
    });
    return trained(variant::kFineTuned, edit);
  }

  /// Nothing where a prompt does not hold the subject as the fact spells it.
  std::optional<UpdateVariant> rome(const KeyMoments& moments) const {
    const Fact& fact = run_.facts.fact(one_.id);
    const PromptForm form = prompt_form(run_.model.config());
    const auto place = [&](Cloze cloze, const std::string& text) {
      return at_subject(std::move(cloze), run_.tokenizer, text, fact.subject, form, fact.origin);
    };
    RomeRequest request;
    const std::string essence = fact.subject + (form.causal ? " is a" : " is a [MASK].");
    try {
      request.prompts = update::target_prompts(run_, one_);
      for (size_t i = 0; i < request.prompts.size(); ++i) {
        request.prompts[i] = place(std::move(request.prompts[i]), prompt_text(run_, one_.own[i]));
      }
      request.essence = place(encode_open(run_.tokenizer, essence, form, fact.origin), essence);
    } catch (const InputError&) {
      return {};
    }
    return trained(variant::kRome, rome_edit(run_.model, moments, request).edit);
  }

  /// An update in every layer, and what the layers hold of the scores.
  std::vector<UpdateVariant> by_layer(std::vector<LayerShareRow>& shares) const {
    AttributionOptions options = run_.options.locate.attribution;
    options.score = Score::kGradientXActivation;
    options.gap = false;
    const at::Tensor scores = Scorer(run_.model, options).bags({&own_, 1}).front();
    const at::Tensor held = scores.clamp_min(0).sum(1, false, at::kDouble);  // [layers]
    const double all = held.sum().item<double>();
    const update::UpdateTokens tokens = update::update_tokens(run_, one_);
    std::vector<UpdateVariant> made;
    for (int64_t layer = 0; layer < scores.size(0); ++layer) {
      shares.push_back({one_.id, layer, all > 0 ? held[layer].item<double>() / all : 0.0});
      std::vector<NeuronId> neurons = largest_neurons(scores.narrow(0, layer, 1), kLayerNeurons);
      for (NeuronId& id : neurons) id.layer = static_cast<int32_t>(layer);
      made.push_back(variant_of(variant::kLayer + std::to_string(layer),
                                update_values(run_.model, neurons, tokens.old, tokens.target,
                                              update::kUpdateLambda1, update::kUpdateLambda2)));
      made.back().aside = false;
    }
    return made;
  }

 private:
  [[nodiscard]] UpdateVariant variant_of(std::string name, const ValueEdit& edit) const {
    return update::edit_variant(run_, place_, std::move(name), output_edit(run_.model, edit),
                                activations_);
  }
  [[nodiscard]] UpdateVariant trained(std::string name, const ValueEdit& edit) const {
    UpdateVariant variant = variant_of(std::move(name), edit);
    variant.lambda1 = variant.lambda2 = std::nan("");
    return variant;
  }

  const RunContext& run_;
  const UpdateSubject& one_;
  size_t place_;
  const std::vector<NeuronId>& located_;
  std::vector<Cloze> own_;
  at::Tensor activations_;
};

/// A fact is a part: training takes seconds.
class EditorsExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "editors"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] bool of_audit() const override { return true; }
  [[nodiscard]] std::vector<std::string_view> needs() const override { return {"locate"}; }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    return not_all_located(run);
  }
  [[nodiscard]] int64_t parts(const RunContext& run, std::string_view relation) const override {
    return static_cast<int64_t>(sampled(run, relation).reported.size());
  }
  [[nodiscard]] int64_t facts(const RunContext&, std::string_view, int64_t) const override {
    return 1;
  }

  std::vector<TableRows> run(const RunContext& run, std::string_view relation,
                             int64_t part) override {
    UpdateSample one;
    one.reported = {sampled(run, relation).reported.at(static_cast<size_t>(part))};
    std::vector<LayerShareRow> shares;
    std::vector<TableRows> rows = update::update_rows(
        run, relation, one, 0, nullptr,
        [&](const auto& subjects) { return variants(run, relation, subjects, shares); });
    rows.push_back(to_rows(std::move(shares)));
    return rows;
  }

 private:
  std::vector<UpdateVariant> variants(const RunContext& run, std::string_view relation,
                                      const std::vector<UpdateSubject>& subjects,
                                      std::vector<LayerShareRow>& shares) {
    std::vector<UpdateVariant> made = update::located_variants(run, relation, subjects);
    if (made.empty()) return made;  // it has no located neurons
    const UpdateSubject& one = subjects.front();
    const std::vector<NeuronId> located = stored_neurons(run.store, sources::kIg, one.id);
    const FactEdits edits(run, one, 0, located);
    made.push_back(edits.fine_tuned());
    if (const KeyMoments* moments = moments_of(run)) {
      if (std::optional<UpdateVariant> rome = edits.rome(*moments)) {
        made.push_back(*std::move(rome));
      }
    }
    if (one.right) std::ranges::move(edits.by_layer(shares), std::back_inserter(made));
    return made;
  }

  /// ROME's second moment; null: there is no corpus, or no layer above the usual one.
  const KeyMoments* moments_of(const RunContext& run) {
    const int64_t layer = usual_rome_layer(run.model.config());
    if (run.options.corpus.empty() || layer + 1 >= run.model.config().layers) return nullptr;
    if (!moments_) {
      MomentsOptions options;
      options.corpus.file = run.options.corpus;
      options.corpus.threads = run.measure.threads;
      options.corpus.memory_bytes = run.measure.memory_bytes;
      options.seed = run.options.seed;
      moments_ = key_moments(run.model, run.tokenizer, "", layer, options);
    }
    return &*moments_;
  }

  /// The sample of the relation at work, which takes a while to draw.
  const UpdateSample& sampled(const RunContext& run, std::string_view relation) const {
    if (facts_ != &run.facts || relation_ != relation) {
      facts_ = &run.facts;
      relation_ = relation;
      sample_ = update::sample_updates(run, relation);
    }
    return sample_;
  }

  mutable const RunFacts* facts_ = nullptr;
  mutable std::string relation_;
  mutable UpdateSample sample_;
  std::optional<KeyMoments> moments_;
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<EditorsExperiment>(); }

}  // namespace engram::experiments::editors
