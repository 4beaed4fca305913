#include "engram/edit/rome.h"

#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "engram/error.h"
#include "support/oracle.h"

namespace engram {
namespace {

/// The last layer whose writing at the subject other tokens read.
int64_t layer_of(const Model& model) { return model.config().layers - 2; }

Cloze prompt_of(const Model& model, Random& random, int64_t tokens, int64_t masks = 1) {
  const auto draw = [&] {
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(model.config().vocabulary)));
  };
  Cloze cloze;
  for (int64_t t = 0; t < tokens; ++t) cloze.ids.push_back(draw());
  for (int64_t k = 0; k < masks; ++k) {
    cloze.positions.push_back(tokens - masks + k);
    cloze.answer.push_back(draw());
  }
  cloze.neurons_at = tokens / 2;
  return cloze;
}

RomeRequest request_of(const Model& model, uint64_t seed) {
  Random random(seed);
  RomeRequest request;
  for (const int64_t tokens : {7, 9, 12})
    request.prompts.push_back(prompt_of(model, random, tokens));
  request.essence = prompt_of(model, random, 5);
  return request;
}

/// Keys of random text, by which C has an inverse.
KeyMoments moments_of(const Model& model, int64_t layer) {
  const int64_t d_ff = model.config().d_ff;
  auto generator = at::detail::createCPUGenerator(5);
  const at::Tensor keys = at::randn({4 * d_ff, d_ff}, generator);
  at::Tensor c = keys.t().mm(keys) / static_cast<double>(keys.size(0));
  return {"", "random", layer, keys.size(0), (c + c.t()) / 2, {}};
}

/// Log-probabilities [vocabulary] at position `at` with `delta` added to what the layer's FFN
/// writes at the subject: rows of a model whose bias is longer by it, in the place of the others'.
at::Tensor plain_log_p(const Model& model, const Cloze& cloze, const at::Tensor& delta,
                       int64_t at) {
  const at::NoGradGuard no_grad;
  Model shifted = model;
  at::Tensor& bias =
      shifted.mutable_weights().layers[static_cast<size_t>(layer_of(model))].ffn_out_bias;
  bias = bias.defined() ? bias + delta : delta.clone();
  at::Tensor x = model.embed(at::tensor(cloze.ids, at::kLong).unsqueeze(0));
  for (int64_t l = 0; l < model.config().layers; ++l) {
    const at::Tensor attended = model.attend(l, x);
    at::Tensor next = model.feed(l, x, attended);
    if (l == layer_of(model)) {
      next = next.clone();
      next[0][*cloze.neurons_at] = shifted.feed(l, x, attended)[0][*cloze.neurons_at];
    }
    x = next;
  }
  return model.logits(x[0][at].unsqueeze(0))[0].log_softmax(-1);
}

double plain_loss(const Model& model, const RomeRequest& request, const RomeOptions& options,
                  const at::Tensor& delta, double value_length) {
  double nll = 0;
  for (const Cloze& cloze : request.prompts) {
    for (size_t k = 0; k < cloze.positions.size(); ++k) {
      nll -= plain_log_p(model, cloze, delta, cloze.positions[k])[cloze.answer[k]].item<double>() /
             static_cast<double>(cloze.positions.size() * request.prompts.size());
    }
  }
  double kl = 0;
  if (request.essence) {
    const int64_t at = request.essence->positions.front();
    const at::Tensor before = plain_log_p(model, *request.essence, at::zeros_like(delta), at);
    const at::Tensor after = plain_log_p(model, *request.essence, delta, at);
    kl = (after.exp() * (after - before)).sum().item<double>();
  }
  return nll + options.kl_factor * kl +
         options.weight_decay * delta.norm().item<double>() / (value_length * value_length);
}

/// What the layer's neurons are at the subject.
at::Tensor key_of(const Model& model, const Cloze& cloze) {
  const at::NoGradGuard no_grad;
  RecordingHook hook;
  (void)model.encode(at::tensor(cloze.ids, at::kLong).unsqueeze(0), {}, &hook);
  return hook.activations()[static_cast<size_t>(layer_of(model))][0][*cloze.neurons_at].clone();
}

class Rome : public ::testing::TestWithParam<std::string> {
 protected:
  const Model model_ = Model::load(testing::stored_oracle(GetParam()));
  const RomeRequest request_ = request_of(model_, 11);
  const KeyMoments moments_ = moments_of(model_, layer_of(model_));
  const at::Tensor weight_ =
      model_.weights().layers[static_cast<size_t>(layer_of(model_))].ffn_out_weight;
};

TEST_P(Rome, ItsLossIsThatOfThePlainForward) {
  RomeOptions options;
  options.steps = 3;
  options.rate = 0.05;
  options.kl_factor = 0.7;
  const RomeEdit made = rome_edit(model_, moments_, request_, options);
  ASSERT_EQ(made.steps.size(), 4U);
  EXPECT_EQ(made.steps.front().length, 0);
  EXPECT_NEAR(made.steps.front().kl, 0, 1e-6);
  const at::Tensor none = at::zeros_like(made.delta);
  EXPECT_NEAR(made.steps.front().loss,
              plain_loss(model_, request_, options, none, made.value_length), 2e-5);
  EXPECT_NEAR(made.steps.back().loss,
              plain_loss(model_, request_, options, made.delta, made.value_length), 2e-5);
  EXPECT_NEAR(made.steps.back().length, made.delta.norm().item<double>(), 1e-6);
}

TEST_P(Rome, ItsFirstStepGoesDownhillInEveryCoordinate) {
  RomeOptions options;
  options.steps = 1;
  options.rate = 0.01;
  options.clamp = 1e6;
  const RomeEdit made = rome_edit(model_, moments_, request_, options);
  constexpr double kStep = 1e-2;
  int64_t clear = 0;
  for (int64_t i = 0; i < made.delta.size(0); ++i) {
    // Adam's first step is as long as the rate, whatever the gradient's size.
    EXPECT_NEAR(std::abs(made.delta[i].item<double>()), options.rate, 1e-4);
    at::Tensor there = at::zeros_like(made.delta);
    there[i] = kStep;
    RomeOptions without_length = options;
    without_length.weight_decay = 0;  // it has a kink at zero
    const double slope = (plain_loss(model_, request_, without_length, there, made.value_length) -
                          plain_loss(model_, request_, without_length, -there, made.value_length)) /
                         (2 * kStep);
    if (std::abs(slope) < 1e-3) continue;  // lost in float32
    ++clear;
    EXPECT_LT(slope * made.delta[i].item<double>(), 0) << "coordinate " << i << ", " << slope;
  }
  EXPECT_GT(clear, made.delta.size(0) / 4);
}

TEST_P(Rome, TheEditIsOfRankOneAndWritesTheNewValueAtItsKey) {
  const RomeEdit made = rome_edit(model_, moments_, request_);
  const int64_t d_ff = model_.config().d_ff;
  ASSERT_EQ(made.edit.values.sizes(), at::IntArrayRef({d_ff, model_.config().d_model}));
  ASSERT_EQ(std::ssize(made.edit.neurons), d_ff);
  const at::Tensor change = (made.edit.values.t() - weight_).to(at::kDouble);
  const at::Tensor sizes = at::linalg_svdvals(change);
  EXPECT_LT(sizes[1].item<double>(), 1e-5 * sizes[0].item<double>());
  const at::Tensor key = key_of(model_, request_.prompts.front()).to(at::kDouble);
  const at::Tensor written = change.mv(key);
  EXPECT_LT((written - made.delta).abs().max().item<double>(),
            1e-4 * made.delta.abs().max().item<double>());
  // Rows of the change go along C^-1 k*.
  at::Tensor mean = at::zeros({d_ff});
  for (const Cloze& cloze : request_.prompts) mean += key_of(model_, cloze);
  mean = (mean / static_cast<double>(request_.prompts.size())).to(at::kDouble);
  const at::Tensor row = moments_.moment.to(at::kDouble).mv(change.t().mv(written));
  const double cosine = (row.dot(mean) / (row.norm() * mean.norm())).item<double>();
  EXPECT_NEAR(std::abs(cosine), 1, 1e-4);
  EXPECT_TRUE(made.key.allclose(mean.to(at::kFloat), 1e-4, 1e-6));
}

TEST_P(Rome, TheNewAnswerBecomesLikely) {
  RomeRequest one = request_;
  one.prompts.resize(1);
  one.essence.reset();
  RomeOptions options;
  options.clamp = 20;
  options.steps = 60;
  options.enough = 0.2;
  const RomeEdit made = rome_edit(model_, moments_, one, options);
  EXPECT_LT(made.steps.back().negative_log_p, made.steps.front().negative_log_p - 0.5);
}

TEST_P(Rome, NoStepIsNoEdit) {
  RomeOptions options;
  options.steps = 0;
  const RomeEdit made = rome_edit(model_, moments_, request_, options);
  EXPECT_TRUE(made.edit.values.equal(weight_.t()));
}

TEST_P(Rome, TheChangeIsNoLongerThanAllowed) {
  RomeOptions options;
  options.clamp = 0.01;
  const RomeEdit made = rome_edit(model_, moments_, request_, options);
  EXPECT_LE(made.delta.norm().item<double>(), 0.01 * made.value_length * (1 + 1e-5));
  EXPECT_GT(made.delta.norm().item<double>(), 0.0);
}

TEST_P(Rome, RefusesWithTheReason) {
  const auto refused = [&](const KeyMoments& moments, const RomeRequest& request) {
    EXPECT_THROW((void)rome_edit(model_, moments, request), InputError);
  };
  refused(moments_, {});
  RomeRequest nowhere = request_;
  nowhere.prompts[1].neurons_at.reset();
  refused(moments_, nowhere);
  refused(moments_of(model_, 99), request_);
  // What the last layer writes at the subject nobody reads.
  refused(moments_of(model_, layer_of(model_) + 1), request_);
  KeyMoments narrow = moments_;
  narrow.moment = at::eye(3);
  refused(narrow, request_);
  KeyMoments indefinite = moments_;
  indefinite.moment = -moments_.moment;
  refused(indefinite, request_);
}

INSTANTIATE_TEST_SUITE_P(, Rome,
                         ::testing::Values("bert-tiny", "electra-tiny", "gpt2-tiny",
                                           "gpt-neox-tiny", "llama-tiny", "gemma-tiny"),
                         [](const auto& one) {
                           std::string name = one.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST(RomeLayer, IsAsDeepAsInThePaper) {
  ModelConfig config;
  for (const auto& [layers, expected] :
       std::vector<std::pair<int64_t, int64_t>>{{48, 17}, {12, 4}, {30, 11}, {1, 0}, {2, 1}}) {
    config.layers = layers;
    EXPECT_EQ(usual_rome_layer(config), expected) << layers;
  }
}

}  // namespace
}  // namespace engram
