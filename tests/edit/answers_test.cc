// Many edits at once against one edited model and one prompt at a time.
#include "edit/answers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engram/error.h"
#include "intervention/random_model.h"
#include "support/oracle.h"

namespace engram {
namespace {

using testing::random_cloze;
using testing::random_model;

constexpr double kClose = 3e-5;  // float32 in batches of other shapes

/// Mean log P over the masks and the worst rank, by the model's plain forward.
Answered plain(const Model& model, const Cloze& cloze, const std::vector<int64_t>& answer) {
  const at::Tensor ids = at::tensor(cloze.ids, at::kLong).unsqueeze(0);
  Answered found{0, 0, 1};
  for (size_t k = 0; k < answer.size(); ++k) {
    const at::Tensor logits =
        model.logits_at(ids, at::tensor({cloze.positions[k]}, at::kLong)).select(0, 0);
    const at::Tensor log_p = logits.to(at::kDouble).log_softmax(0);
    found.log_p += log_p[answer[k]].item<double>() / static_cast<double>(answer.size());
    found.rank =
        std::max<int64_t>(found.rank, 1 + logits.gt(logits[answer[k]]).sum().item<int64_t>());
  }
  found.p = std::exp(found.log_p);
  return found;
}

void expect_equal(const Answered& got, const Answered& expected) {
  EXPECT_NEAR(got.log_p, expected.log_p, kClose * std::max(1.0, std::abs(expected.log_p)));
  EXPECT_NEAR(got.p, expected.p, kClose);
  EXPECT_EQ(got.rank, expected.rank);
}

/// New value vectors for some neurons of several layers.
ValueEdit random_edit(const Model& model, std::vector<NeuronId> neurons, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  ValueEdit edit{std::move(neurons), {}};
  edit.values =
      at::randn({static_cast<int64_t>(edit.neurons.size()), model.config().d_model}, generator);
  return edit;
}

class Answers : public ::testing::Test {
 protected:
  Answers() : model_(random_model(3)) {
    for (uint64_t i = 0; i < 12; ++i) {
      clozes_.push_back(random_cloze(i, 5 + static_cast<int64_t>(i % 3), 1 + i % 2));
    }
    values_ = {random_edit(model_, {{2, 7}, {2, 30}}, 1), random_edit(model_, {{0, 3}}, 2),
               random_edit(model_, {{1, 3}, {2, 9}, {0, 39}}, 3), random_edit(model_, {{1, 0}}, 4)};
    for (const ValueEdit& edit : values_) edits_.push_back(output_edit(model_, edit));
    others_ = {{4}, {17, 30}};
    for (uint32_t p = 0; p < clozes_.size(); ++p) {
      for (uint32_t e = 0; e < edits_.size(); ++e) trials_.push_back({p, e, (p + e) % 2});
      trials_.push_back({p, kNoIndex, 0});
    }
  }

  Model model_;
  std::vector<Cloze> clozes_;
  std::vector<ValueEdit> values_;
  std::vector<OutputEdit> edits_;
  std::vector<std::vector<int64_t>> others_;
  std::vector<EditTrial> trials_;
};

TEST_F(Answers, EveryTrialIsTheEditedModelsOwnAnswer) {
  const EditMeasured found = measure_edits(model_, clozes_, edits_, others_, trials_);
  for (size_t p = 0; p < clozes_.size(); ++p) {
    expect_equal(found.before[p], plain(model_, clozes_[p], clozes_[p].answer));
    EXPECT_EQ(plain(model_, {clozes_[p].ids, {clozes_[p].positions[0]}, {}}, {found.top[p]}).rank,
              1);
  }
  for (size_t t = 0; t < trials_.size(); ++t) {
    const EditTrial& trial = trials_[t];
    const Cloze& cloze = clozes_[trial.cloze];
    const Model edited = trial.edit == kNoIndex ? model_ : with_values(model_, values_[trial.edit]);
    expect_equal(found.after[t], plain(edited, cloze, cloze.answer));
    const std::vector<int64_t>& other = others_[trial.other];
    if (other.size() == cloze.positions.size()) {
      expect_equal(found.other_before[t], plain(model_, cloze, other));
      expect_equal(found.other_after[t], plain(edited, cloze, other));
    } else {
      EXPECT_TRUE(std::isnan(found.other_after[t].log_p));
      EXPECT_EQ(found.other_before[t].rank, 0);
    }
  }
}

class DecoderAnswers : public ::testing::TestWithParam<const char*> {};

TEST_P(DecoderAnswers, EveryTrialIsTheEditedModelsOwnAnswer) {
  const Model model = Model::load(testing::stored_oracle(GetParam()));
  const int64_t vocabulary = model.config().vocabulary;
  std::vector<Cloze> clozes;
  for (int64_t i = 0; i < 6; ++i) {
    Cloze& cloze = clozes.emplace_back();
    for (int64_t j = 0; j < 5 + i % 3; ++j) cloze.ids.push_back((37 * i + 11 * j + 1) % vocabulary);
    const auto last = static_cast<int64_t>(cloze.ids.size()) - 1;
    cloze.positions = i % 2 == 0 ? std::vector{last} : std::vector{last - 1, last};
    for (size_t k = 0; k < cloze.positions.size(); ++k) cloze.answer.push_back(3 + i);
  }
  const auto top = static_cast<int32_t>(model.config().layers - 1);
  const std::vector<ValueEdit> values = {random_edit(model, {{top, 7}, {top, 3}}, 1),
                                         random_edit(model, {{0, 3}}, 2),
                                         random_edit(model, {{1, 3}, {top, 9}, {0, 5}}, 3)};
  std::vector<OutputEdit> edits;
  for (const ValueEdit& edit : values) edits.push_back(output_edit(model, edit));
  const std::vector<std::vector<int64_t>> others = {{4}};
  std::vector<EditTrial> trials;
  for (uint32_t p = 0; p < clozes.size(); ++p) {
    for (uint32_t e = 0; e < edits.size(); ++e) trials.push_back({p, e, 0});
  }
  const EditMeasured found = measure_edits(model, clozes, edits, others, trials);
  for (size_t t = 0; t < trials.size(); ++t) {
    SCOPED_TRACE(t);
    const Cloze& cloze = clozes[trials[t].cloze];
    const Model edited = with_values(model, values[trials[t].edit]);
    expect_equal(found.after[t], plain(edited, cloze, cloze.answer));
    if (cloze.positions.size() != 1) continue;
    expect_equal(found.other_after[t], plain(edited, cloze, others[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(, DecoderAnswers,
                         ::testing::Values("gpt2-tiny", "gpt-neox-tiny", "llama-tiny",
                                           "gemma-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_F(Answers, AConstantIsTheOutputBias) {
  for (const int64_t layer : {0, 2}) {
    const at::Tensor constant = at::linspace(-1, 1, model_.config().d_model);
    const OutputEdit edit{{}, {}, {{layer, constant}}};
    Model biased = model_;
    LayerWeights& weights = biased.mutable_weights().layers[static_cast<size_t>(layer)];
    weights.ffn_out_bias = weights.ffn_out_bias + constant;
    for (uint32_t p = 0; p < clozes_.size(); ++p) {
      const EditTrial trial{p, 0, kNoIndex};
      const EditMeasured found =
          measure_edits(model_, clozes_, {&edit, 1}, {}, std::span(&trial, 1));
      expect_equal(found.after[0], plain(biased, clozes_[p], clozes_[p].answer));
    }
  }
}

TEST_F(Answers, ThreadsAndMemoryDoNotChangeABit) {
  const EditMeasured one = measure_edits(model_, clozes_, edits_, others_, trials_, {1, 0});
  for (const MeasureOptions& options : {MeasureOptions{3, 0}, MeasureOptions{2, 1}}) {
    const EditMeasured again = measure_edits(model_, clozes_, edits_, others_, trials_, options);
    for (size_t t = 0; t < trials_.size(); ++t) {
      EXPECT_EQ(one.after[t].log_p, again.after[t].log_p);
      EXPECT_EQ(one.after[t].rank, again.after[t].rank);
    }
  }
}

TEST_F(Answers, AnEditOfNothingChangesNothing) {
  const OutputEdit nothing;
  const EditTrial trial{1, 0, kNoIndex};
  const EditMeasured found =
      measure_edits(model_, clozes_, {&nothing, 1}, {}, std::span(&trial, 1));
  EXPECT_EQ(found.after[0].log_p, found.before[1].log_p);
}

TEST_F(Answers, WhatTheModelDoesNotHaveIsRefused) {
  const EditTrial trial{0, 0, kNoIndex};
  const auto measured = [&](const OutputEdit& edit) {
    return measure_edits(model_, clozes_, {&edit, 1}, {}, std::span(&trial, 1));
  };
  const at::Tensor one = at::ones({1, model_.config().d_model});
  EXPECT_THROW(measured({{{3, 0}}, one, {}}), InputError);
  EXPECT_THROW(measured({{{0, 40}}, one, {}}), InputError);
  EXPECT_THROW(measured({{{0, 4}, {0, 4}}, at::cat({one, one}), {}}), InputError);
  EXPECT_THROW(measured({{}, {}, {{3, one[0]}}}), InputError);
  const std::vector<int64_t> unknown = {50};
  EXPECT_THROW(measure_edits(model_, clozes_, {}, {&unknown, 1}, {}), InputError);
}

}  // namespace
}  // namespace engram
