// The audit's experiment "editors": its edits made one by one on copies of the model.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "edit/fine_tune.h"
#include "engram/edit/values.h"
#include "engram/sources.h"
#include "engram/text/prompt.h"
#include "experiments/editors/rows.h"
#include "experiments/update/rows.h"
#include "prepared_run.h"
#include "run/sets.h"

namespace engram::testing {
namespace {

using experiments::editors::LayerShareRow;
using experiments::update::EditEffectRow;
using experiments::update::EditRow;

class Editors : public ::testing::Test {
 protected:
  struct Made {
    Made() : prepared(first_facts({"P36", "P19"}, 5), "editors") {
      prepared.options.audit = AuditSample{6, 6};
      prepared.options.update_facts = 4;
      prepared.options.same_relation = 2;
      prepared.options.other_relations = 2;
      prepared.locate({0});  // fact 0 has no neurons
      for (const std::string& relation : prepared.facts.relations()) {
        const auto all = run_all(make_experiment("editors"), prepared.context(), relation);
        for (const Row& row : rows_of(all, EditRow::kTable)) {
          const auto one = from_row<EditRow>(row);
          edits[one.fact].push_back(one);
        }
        for (const Row& row : rows_of(all, EditEffectRow::kTable)) {
          const auto one = from_row<EditEffectRow>(row);
          effects[{one.fact, one.variant, one.scope}] = one;
        }
        for (const Row& row : rows_of(all, LayerShareRow::kTable)) {
          const auto one = from_row<LayerShareRow>(row);
          shares[one.fact].push_back(one.share);
        }
      }
    }
    PreparedRun prepared;
    std::map<int64_t, std::vector<EditRow>> edits;
    std::map<std::tuple<int64_t, std::string, std::string>, EditEffectRow> effects;
    std::map<int64_t, std::vector<double>> shares;
  };
  static void SetUpTestSuite() { made_ = std::make_unique<Made>(); }
  static void TearDownTestSuite() { made_.reset(); }
  static std::unique_ptr<Made> made_;

  /// A fact's prompts with another answer.
  static std::vector<Cloze> asked(int64_t id, bool held_out, const std::string& answer) {
    const Fact& fact = made_->prepared.facts.fact(id);
    std::vector<Cloze> prompts;
    for (const std::string& text : held_out ? fact.held_out : fact.prompts) {
      prompts.push_back(encode_cloze(shipped().tokenizer, text, answer,
                                     prompt_form(shipped().model.config()), fact.origin));
    }
    return prompts;
  }
  static double log_p(const Model& model, const std::vector<Cloze>& prompts) {
    double sum = 0;
    for (const Answered& one : measure(model, prompts, {}, {}).before) sum += one.log_p;
    return sum;
  }
  static void expect_edit(const EditRow& row, const ValueEdit& edit) {
    const Model edited = with_values(shipped().model, edit);
    const EditEffectRow& effect = made_->effects.at({row.fact, row.variant, "held-out"});
    const std::vector<Cloze> old = asked(row.fact, true, row.old);
    const std::vector<Cloze> target = asked(row.fact, true, row.target);
    EXPECT_EQ(effect.prompts, std::ssize(old));
    EXPECT_NEAR(effect.log_p_after, log_p(edited, old), 2e-3) << row.variant;
    EXPECT_NEAR(effect.target_log_p_after, log_p(edited, target), 2e-3) << row.variant;
    EXPECT_NEAR(effect.log_p_before, log_p(shipped().model, old), 2e-3);
  }
  static ValueEdit update_of(const EditRow& row, const std::vector<NeuronId>& neurons) {
    const auto ids = [&](const std::string& answer) {
      return asked(row.fact, false, answer).front().answer;
    };
    return update_values(shipped().model, neurons, ids(row.old), ids(row.target), 1, 8);
  }
};
std::unique_ptr<Editors::Made> Editors::made_;

TEST_F(Editors, EveryFactWithNeuronsHasEveryEdit) {
  EXPECT_FALSE(made_->edits.contains(0));
  EXPECT_GE(made_->edits.size(), 4U);
  for (const auto& [id, rows] : made_->edits) {
    std::set<std::string> names;
    for (const EditRow& row : rows) names.insert(row.variant);
    EXPECT_EQ(names.size(), rows.size());
    for (const char* name : {"knowledge-unfiltered", "random-equal-write/0", "random-equal-write/4",
                             "other-fact-equal-write", "fine-tuned"}) {
      EXPECT_TRUE(names.contains(name)) << name;
    }
    EXPECT_FALSE(names.contains("rome"));  // there is no corpus
    const auto layers = shipped().model.config().layers;
    for (int64_t l = 0; l < layers; ++l) {
      EXPECT_EQ(names.contains("layer/" + std::to_string(l)), rows.front().right) << l;
    }
    // Only the first draw is looked at elsewhere.
    EXPECT_TRUE(made_->effects.contains({id, "random-equal-write/0", "same-relation"}));
    EXPECT_FALSE(made_->effects.contains({id, "random-equal-write/1", "same-relation"}));
    EXPECT_TRUE(made_->effects.contains({id, "random-equal-write/1", "held-out"}));
    EXPECT_FALSE(made_->effects.contains({id, "fine-tuned", "text"}));
  }
}

TEST_F(Editors, ControlsWriteAsMuchAsTheLocatedNeurons) {
  for (const auto& [id, rows] : made_->edits) {
    double written = 0;
    for (const EditRow& row : rows) {
      if (row.variant == "knowledge-unfiltered") written = row.written;
    }
    EXPECT_GT(written, 0);
    for (const EditRow& row : rows) {
      if (!row.variant.ends_with("equal-write") && !row.variant.starts_with("random")) continue;
      if (row.neurons == 0) continue;
      EXPECT_NEAR(row.written, written, 1e-3 * written) << row.variant;
    }
  }
}

TEST_F(Editors, EditsAreThoseOfACopyOfTheModel) {
  for (const auto& [id, rows] : made_->edits) {
    const std::vector<NeuronId> located = stored_neurons(*made_->prepared.store, sources::kIg, id);
    for (const EditRow& row : rows) {
      if (row.variant == "knowledge-unfiltered") expect_edit(row, update_of(row, located));
      if (row.variant != "fine-tuned") continue;
      std::map<int32_t, int64_t> count;
      for (const NeuronId neuron : located) ++count[neuron.layer];
      const auto most =
          std::ranges::max_element(count, {}, [](const auto& one) { return one.second; });
      expect_edit(row,
                  fine_tuned_values(shipped().model, most->first, asked(id, false, row.target)));
      EXPECT_TRUE(std::isnan(row.lambda1));
    }
  }
}

TEST_F(Editors, LayersAreEditedInTheirBestNeurons) {
  for (const auto& [id, rows] : made_->edits) {
    if (!rows.front().right) continue;
    const std::vector<double>& shares = made_->shares.at(id);
    ASSERT_EQ(std::ssize(shares), shipped().model.config().layers);
    double sum = 0;
    for (const double share : shares) {
      EXPECT_GE(share, 0);
      sum += share;
    }
    EXPECT_NEAR(sum, 1, 1e-6);
    // The gradient times the activation, from the profile.
    const PreparedFact fact = made_->prepared.facts.prepared(id);
    AttributionOptions options;
    options.score = Score::kGradientXActivation;
    at::Tensor mean = at::zeros({shipped().model.config().layers, shipped().model.config().d_ff});
    for (const Cloze& cloze : fact.prompts) {
      attribute(shipped().model, {&cloze, 1}, options, [&](size_t, Attribution&& one) {
        mean.add_(one.scores, 1.0 / static_cast<double>(fact.prompts.size()));
      });
    }
    const double all = mean.clamp_min(0).sum().item<double>();
    for (size_t l = 0; l < shares.size(); ++l) {
      const at::Tensor layer = mean[static_cast<int64_t>(l)];
      EXPECT_NEAR(shares[l], layer.clamp_min(0).sum().item<double>() / all, 1e-4);
      std::vector<NeuronId> best;
      const at::Tensor order = std::get<1>(layer.topk(5));
      for (int64_t i = 0; i < 5; ++i) {
        best.push_back({static_cast<int32_t>(l), order[i].item<int32_t>()});
      }
      for (const EditRow& row : rows) {
        if (row.variant == "layer/" + std::to_string(l)) expect_edit(row, update_of(row, best));
      }
    }
  }
}

TEST_F(Editors, WithACorpusThereIsRome) {
  PreparedRun prepared(first_facts({"P36"}, 3), "editors_rome");
  prepared.options.audit = AuditSample{3, 3};
  prepared.options.update_facts = 1;
  prepared.locate();
  prepared.options.corpus = (shipped().folder / "corpus.txt").string();
  const auto all = run_all(make_experiment("editors"), prepared.context(), "P36");
  int64_t found = 0;
  for (const Row& row : rows_of(all, EditRow::kTable)) {
    const auto one = from_row<EditRow>(row);
    if (one.variant != "rome") continue;
    ++found;
    EXPECT_EQ(one.neurons, shipped().model.config().d_ff);
  }
  EXPECT_EQ(found, 1);
  for (const Row& row : rows_of(all, EditEffectRow::kTable)) {
    const auto one = from_row<EditEffectRow>(row);
    if (one.variant != "rome" || one.scope != "own") continue;
    EXPECT_GT(one.target_log_p_after - one.target_log_p_before, 1);
  }
}

}  // namespace
}  // namespace engram::testing
