// The logit lens against the forward with autograd, stage by stage, and against transformers.
#include "engram/reading/lens.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engram/error.h"
#include "support/oracle.h"

namespace engram {
namespace {

using testing::Oracle;
using testing::OracleCase;

constexpr double kTolerance = 2e-5;  // of the largest logit, as in parity_test.cc

Cloze cloze_of(const OracleCase& one) { return {one.ids, one.positions, one.answer}; }

/// The stream at one position by the encoder's own steps: [1 + 2 layers, d_model].
at::Tensor plain_stream(const Model& model, const Cloze& cloze) {
  const int64_t position = cloze.positions.front();
  at::Tensor x = model.embed(at::tensor(cloze.ids, at::kLong).unsqueeze(0));
  std::vector<at::Tensor> stages{x[0][position]};
  for (int64_t layer = 0; layer < model.config().layers; ++layer) {
    const at::Tensor attended = model.attend(layer, x);
    x = model.feed(layer, x, attended);
    stages.push_back(attended[0][position]);
    stages.push_back(x[0][position]);
  }
  return at::stack(stages);
}

/// The answer's logit of any row [d_model], in float64, when the final norm divides by `divisor`.
double held_logit(const Model& model, const at::Tensor& row, double divisor, int64_t answer) {
  const ModelWeights& w = model.weights();
  at::Tensor x = row.to(at::kDouble);
  if (model.config().norm_kind == NormKind::kLayer) x = x - x.mean();
  x = x / divisor * w.final_norm_weight.to(at::kDouble);
  if (w.final_norm_bias.defined()) x = x + w.final_norm_bias.to(at::kDouble);
  double logit = x.dot(w.decoder_weight[answer].to(at::kDouble)).item<double>();
  if (w.decoder_bias.defined()) logit += w.decoder_bias[answer].item<double>();
  return logit;
}

double divisor_of(const Model& model, const at::Tensor& last) {
  at::Tensor x = last.to(at::kDouble);
  if (model.config().norm_kind == NormKind::kLayer) x = x - x.mean();
  return std::sqrt(x.square().mean().item<double>() + model.config().norm_epsilon);
}

class EveryStoredLens : public ::testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }
  const Oracle oracle_ = testing::read_oracle(testing::stored_oracle(GetParam()));
  const Model model_ = Model::load(oracle_.folder);
};

TEST_P(EveryStoredLens, StagesAreThoseOfTheEncoder) {
  const c10::InferenceMode guard;
  for (const OracleCase& one : oracle_.cases) {
    SCOPED_TRACE(one.prompt);
    const Cloze cloze = cloze_of(one);
    const Lens lens = logit_lens(model_, cloze, 3);
    const at::Tensor logits = model_.logits(plain_stream(model_, cloze)).to(at::kDouble);
    ASSERT_EQ(static_cast<int64_t>(lens.stages.size()), 1 + 2 * model_.config().layers);
    ASSERT_EQ(static_cast<int64_t>(lens.stages.size()), logits.size(0));
    const double size = logits.abs().max().item<double>();
    for (size_t i = 0; i < lens.stages.size(); ++i) {
      SCOPED_TRACE("stage " + std::to_string(i));
      const LensStage& stage = lens.stages[i];
      const at::Tensor row = logits[static_cast<int64_t>(i)];
      const at::Tensor p = row.softmax(0);
      const double own = row[cloze.answer[0]].item<double>();
      EXPECT_EQ(stage.layer, i == 0 ? -1 : static_cast<int64_t>((i - 1) / 2));
      EXPECT_NEAR(stage.logit, own, kTolerance * size);
      EXPECT_NEAR(stage.p, p[cloze.answer[0]].item<double>(), kTolerance * size);
      // A rank may differ by as many tokens as lie within rounding of the answer.
      const double near = 2 * kTolerance * size;
      EXPECT_GT(stage.rank, row.gt(own + near).sum().item<int64_t>());
      EXPECT_LE(stage.rank, 1 + row.gt(own - near).sum().item<int64_t>());
      ASSERT_EQ(stage.top.size(), 3U);
      EXPECT_NEAR(stage.top[0].p, p.max().item<double>(), kTolerance * size);
      EXPECT_GE(stage.top[0].p, stage.top[1].p);
      EXPECT_GE(stage.top[1].p, stage.top[2].p);
      for (const LensToken& token : stage.top) {
        EXPECT_NEAR(token.p, p[token.id].item<double>(), kTolerance * size);
      }
    }
  }
}

TEST_P(EveryStoredLens, TheLastStageIsWhatTransformersComputes) {
  int compared = 0;
  for (const OracleCase& one : oracle_.cases) {
    if (!one.parity) continue;
    SCOPED_TRACE(one.prompt);
    const Lens lens = logit_lens(model_, cloze_of(one), 1);
    const auto row = std::ranges::find(one.rows, one.positions[0]) - one.rows.begin();
    EXPECT_NEAR(lens.stages.back().p, one.p, 1e-4 * one.p);
    EXPECT_NEAR(lens.stages.back().logit, one.logits[row][one.answer[0]].item<double>(),
                kTolerance * one.logits.abs().max().item<double>());
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST_P(EveryStoredLens, ChangesAndSharesAddUpToTheLogit) {
  const bool pre = model_.config().norm == NormPlacement::kPre;
  for (const OracleCase& one : oracle_.cases) {
    SCOPED_TRACE(one.prompt);
    const Lens lens = logit_lens(model_, cloze_of(one), 0);
    const double logit = lens.stages.back().logit;
    double changes = 0;
    double shares = 0;
    double size = 0;
    for (const LensStage& stage : lens.stages) {
      changes += stage.change;
      shares += stage.share;
      size = std::max(size, std::abs(stage.share));
    }
    EXPECT_NEAR(changes, logit, 1e-9 * std::max(1.0, std::abs(logit)));
    ASSERT_EQ(lens.bias_share.has_value(), pre);
    if (!pre) {
      for (const LensStage& stage : lens.stages) EXPECT_TRUE(std::isnan(stage.share));
      continue;
    }
    EXPECT_NEAR(shares + *lens.bias_share, logit, kTolerance * std::max(size, std::abs(logit)));
  }
}

TEST_P(EveryStoredLens, AShareIsWhatTheLogitLosesWithoutTheSublayer) {
  if (model_.config().norm != NormPlacement::kPre) {
    EXPECT_FALSE(logit_lens(model_, cloze_of(oracle_.cases.front()), 0).bias_share.has_value());
    return;
  }
  const c10::InferenceMode guard;
  const OracleCase& one = oracle_.cases.front();
  const Cloze cloze = cloze_of(one);
  const Lens lens = logit_lens(model_, cloze, 0);
  const at::Tensor stream = plain_stream(model_, cloze);
  const at::Tensor last = stream[stream.size(0) - 1];
  const double divisor = divisor_of(model_, last);
  const auto logit = [&](const at::Tensor& row) {
    return held_logit(model_, row, divisor, cloze.answer[0]);
  };
  const double whole = logit(last);
  double largest = 0;
  for (const LensStage& stage : lens.stages) largest = std::max(largest, std::abs(stage.share));
  EXPECT_NEAR(lens.stages[0].share, whole - logit(last - stream[0]), kTolerance * largest);
  for (int64_t i = 1; i < stream.size(0); ++i) {
    const LayerWeights& w = model_.weights().layers[static_cast<size_t>((i - 1) / 2)];
    const at::Tensor& bias = i % 2 == 1 ? w.attention_out_bias : w.ffn_out_bias;
    at::Tensor written = stream[i] - stream[i - 1];
    if (bias.defined()) written = written - bias;
    EXPECT_NEAR(lens.stages[static_cast<size_t>(i)].share, whole - logit(last - written),
                10 * kTolerance * largest)
        << i;
  }
}

TEST_P(EveryStoredLens, OnlyNamedRowsAreAmongTheTop) {
  const Cloze cloze = cloze_of(oracle_.cases.front());
  const Lens all = logit_lens(model_, cloze, 4);
  const int64_t best = all.stages.back().top.front().id;
  const Lens some = logit_lens(model_, cloze, 3, [&](int64_t id) { return id != best; });
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(some.stages.back().top[i].id, all.stages.back().top[i + 1].id);
  }
  const int64_t rows = model_.config().vocabulary;
  EXPECT_EQ(static_cast<int64_t>(logit_lens(model_, cloze, rows + 5).stages[0].top.size()), rows);
}

INSTANTIATE_TEST_SUITE_P(, EveryStoredLens, ::testing::ValuesIn(testing::stored_oracles()),
                         testing::test_name);

TEST(LogitLens, RefusesWhatDoesNotFitTheModel) {
  const Model model = Model::load(testing::stored_oracle("gpt2-tiny"));
  EXPECT_THROW(logit_lens(model, {{1, 2}, {2}, {3}}, 1), InputError);
  EXPECT_THROW(logit_lens(model, {{1, 2}, {1}, {1'000'000}}, 1), InputError);
  EXPECT_THROW(logit_lens(model, {{1, 2}, {}, {}}, 1), InternalError);
}

}  // namespace
}  // namespace engram
