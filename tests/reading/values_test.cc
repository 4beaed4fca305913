// What value vectors say, and which neurons are alike, against plain loops.
#include "engram/reading/values.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "engram/error.h"
#include "support/oracle.h"

namespace engram {
namespace {

class EveryValue : public ::testing::TestWithParam<std::string> {
 protected:
  const Model model_ = Model::load(testing::stored_oracle(GetParam()));
};

std::vector<double> numbers(const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

double cosine(const at::Tensor& a, const at::Tensor& b) {
  const std::vector<double> x = numbers(a);
  const std::vector<double> y = numbers(b);
  return dot(x, y) / std::sqrt(dot(x, x) * dot(y, y));
}

/// x -> norm(x) weight + bias in float64, as the model's norms are.
at::Tensor normed(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight,
                  const at::Tensor& bias) {
  const at::Tensor centred = config.norm_kind == NormKind::kLayer ? x - x.mean() : x;
  at::Tensor out =
      centred / (centred.square().mean() + config.norm_epsilon).sqrt() * weight.to(at::kDouble);
  return bias.defined() ? out + bias.to(at::kDouble) : out;
}

/// The LM head of one row [d_model], in float64.
at::Tensor plain_head(const Model& model, const at::Tensor& row) {
  const ModelConfig& config = model.config();
  const ModelWeights& w = model.weights();
  at::Tensor x = row.to(at::kDouble);
  if (w.final_norm_weight.defined()) {
    x = normed(config, x, w.final_norm_weight, w.final_norm_bias);
  }
  if (w.head_weight.defined()) {
    x = w.head_weight.to(at::kDouble).mv(x) + w.head_bias.to(at::kDouble);
    x = normed(config, apply_activation(config.head_activation, x), w.head_norm_weight,
               w.head_norm_bias);
  }
  x = w.decoder_weight.to(at::kDouble).mv(x);
  return w.decoder_bias.defined() ? x + w.decoder_bias.to(at::kDouble) : x;
}

TEST_P(EveryValue, LogitsAreThoseOfTheHeadAgainstThoseOfNothing) {
  const at::Tensor vectors = value_vectors(model_, 1, {4, 0});
  ASSERT_EQ(vectors.size(0), 2);
  const at::Tensor matrix = model_.weights().layers[1].ffn_out_weight;
  EXPECT_TRUE(at::equal(vectors[0], matrix.select(1, 4)));
  EXPECT_TRUE(at::equal(vectors[1], matrix.select(1, 0)));
  const at::Tensor logits = read_vectors(model_, vectors);
  const at::Tensor nothing = plain_head(model_, at::zeros_like(vectors[0]));
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_LE(testing::relative_error(logits[i], plain_head(model_, vectors[i]) - nothing), 2e-5);
  }
}

TEST_P(EveryValue, TheOrderIsThatOfWhatTheNeuronAdds) {
  if (model_.config().norm != NormPlacement::kPre) {
    EXPECT_FALSE(model_.weights().final_norm_weight.defined()) << "nothing to hold fixed";
    return;
  }
  // Whatever the norm divides by, the reading and the added logits differ by one factor.
  const ModelConfig& config = model_.config();
  const at::Tensor v = value_vectors(model_, 0, {7})[0];
  at::Tensor centred = v.to(at::kDouble);
  if (config.norm_kind == NormKind::kLayer) centred = centred - centred.mean();
  const at::Tensor added =
      model_.weights()
          .decoder_weight.to(at::kDouble)
          .mv(centred / 123.0 * model_.weights().final_norm_weight.to(at::kDouble));
  const at::Tensor read = read_vectors(model_, v.unsqueeze(0))[0].to(at::kDouble);
  const double factor = (read.dot(added) / added.dot(added)).item<double>();
  EXPECT_GT(factor, 0);
  EXPECT_LE(testing::relative_error(read, added * factor), 1e-5);
}

TEST_P(EveryValue, NeighboursAreThoseOfEveryPair) {
  const ModelConfig& config = model_.config();
  const NeuronId self{1, 9};
  const Neighbours found = nearest_neurons(model_, self, 5);
  for (const bool by_key : {true, false}) {
    std::vector<std::tuple<double, NeuronId>> all;
    for (int32_t layer = 0; layer < config.layers; ++layer) {
      const LayerWeights& own = model_.weights().layers[1];
      const LayerWeights& w = model_.weights().layers[static_cast<size_t>(layer)];
      for (int32_t i = 0; i < config.d_ff; ++i) {
        if (NeuronId{layer, i} == self) continue;
        double near = 0;
        if (!by_key) {
          near = cosine(own.ffn_out_weight.select(1, 9), w.ffn_out_weight.select(1, i));
        } else if (config.gated_ffn) {
          near = (cosine(own.ffn_in_weight[9], w.ffn_in_weight[i]) +
                  cosine(own.ffn_gate_weight[9], w.ffn_gate_weight[i])) /
                 2;
        } else {
          near = cosine(own.ffn_in_weight[9], w.ffn_in_weight[i]);
        }
        all.emplace_back(-near, NeuronId{layer, i});
      }
    }
    std::ranges::sort(all);
    const std::vector<Neighbour>& got = by_key ? found.by_key : found.by_value;
    ASSERT_EQ(got.size(), 5U);
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].neuron, std::get<1>(all[i])) << i;
      EXPECT_NEAR(got[i].cosine, -std::get<0>(all[i]), 1e-6);
    }
  }
  EXPECT_EQ(static_cast<int64_t>(nearest_neurons(model_, self, 1'000'000).by_key.size()),
            config.neurons() - 1);
}

TEST_P(EveryValue, NormsAreLengths) {
  const NeuronNorms norms = neuron_norms(model_, {1, 3});
  const LayerWeights& w = model_.weights().layers[1];
  const auto length = [](const at::Tensor& x) { return std::sqrt(dot(numbers(x), numbers(x))); };
  EXPECT_NEAR(norms.key, length(w.ffn_in_weight[3]), 1e-9);
  EXPECT_NEAR(norms.value, length(w.ffn_out_weight.select(1, 3)), 1e-9);
  EXPECT_EQ(std::isnan(norms.gate), !model_.config().gated_ffn);
  if (model_.config().gated_ffn) {
    EXPECT_NEAR(norms.gate, length(w.ffn_gate_weight[3]), 1e-9);
  }
  EXPECT_THROW(neuron_norms(model_, {100, 0}), InputError);
  EXPECT_THROW(nearest_neurons(model_, {0, -1}, 1), InputError);
}

INSTANTIATE_TEST_SUITE_P(, EveryValue, ::testing::ValuesIn(testing::stored_oracles()),
                         testing::test_name);

}  // namespace
}  // namespace engram
