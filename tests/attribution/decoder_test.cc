// Integrated gradients of causal models, in which nothing but the targets moves.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engram/attribution/attribution.h"
#include "engram/model/model.h"
#include "engram/model/tensor_table.h"

namespace engram {
namespace {

ModelConfig llama() {
  ModelConfig config;
  config.family = Family::kLlama;
  config.norm = NormPlacement::kPre;
  config.norm_kind = NormKind::kRms;
  config.attention = AttentionKind::kCausal;
  config.activation = Activation::kSilu;
  config.gated_ffn = true;
  config.query_bias = config.attention_out_bias = config.ffn_bias = false;
  config.layers = 4;
  config.d_model = 36;
  config.d_ff = 100;
  config.heads = 4;
  config.head_size = 8;
  config.key_heads = 2;
  config.rotary_size = 8;
  config.vocabulary = 97;
  config.positions = 40;
  config.norm_epsilon = 1e-5;
  return config;
}

/// Random weights; what the layers write is `first` times as much in the lowest one, and the stream
/// before it `rest` times as much.
Model random_llama(double rest, double first) {
  const ModelConfig config = llama();
  at::manual_seed(3);
  ModelWeights weights;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const std::vector<int64_t> shape = spec.shape(config);
    *spec.destination = at::randn(shape) * (shape.size() == 2 ? 0.25 : 0.1);
    if (shape.size() == 1) spec.destination->add_(1.0);
  }
  weights.decoder_weight = weights.token_embedding.clone();
  weights.token_embedding.mul_(rest);
  weights.layers.front().attention_out_weight.mul_(rest);
  weights.layers.front().ffn_out_weight.mul_(first);
  ModelConfig untied = config;
  untied.tied_decoder = false;
  return {untied, weights};
}

std::vector<Cloze> clozes() {
  std::vector<Cloze> all;
  for (int64_t i = 0; i < 6; ++i) {
    Cloze cloze;
    for (int64_t j = 0; j < 4 + i % 3; ++j) cloze.ids.push_back((7 * i + 13 * j) % 97);
    cloze.positions = {static_cast<int64_t>(cloze.ids.size()) - 1};
    cloze.answer = {(31 * i + 5) % 97};
    all.push_back(cloze);
  }
  return all;
}

std::vector<Attribution> run(const Model& model, const AttributionOptions& options) {
  const std::vector<Cloze> all = clozes();
  std::vector<Attribution> results(all.size());
  attribute(model, all, options,
            [&](size_t index, Attribution&& result) { results[index] = std::move(result); });
  return results;
}

AttributionOptions steps(Rule rule, int64_t count) {
  AttributionOptions options;
  options.integration.rule = rule;
  options.integration.steps = count;
  return options;
}

double largest(const at::Tensor& scores) { return scores.abs().max().item<double>(); }

/// A stream that is tiny beside what the lowest layer adds: F turns within the first hundredths of
/// that layer's path, and panels find where.
TEST(Decoder, LowestLayerOfATinyStream) {
  const Model model = random_llama(/*rest=*/0.1, /*first=*/2);
  const std::vector<Attribution> truth = run(model, steps(Rule::kGaussLegendre, 600));
  const std::vector<Attribution> got = run(model, {});
  int64_t many = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    SCOPED_TRACE(i);
    for (size_t l = 0; l < got[i].layers.size(); ++l) {
      const LayerReport& report = got[i].layers[l];
      EXPECT_TRUE(report.converged) << "layer " << l;
      EXPECT_LT(report.gap, 0.01 * std::max(std::fabs(report.delta), 1e-3 * got[i].p));
      EXPECT_LE(report.nodes, 64);
      EXPECT_EQ(report.cheap_nodes, 0);
    }
    EXPECT_LT(largest(got[i].scores - truth[i].scores), 0.02 * largest(truth[i].scores));
    many += got[i].layers.front().nodes > 8 ? 1 : 0;
  }
  EXPECT_GE(many, 4) << "this model no longer asks for panels";
}

/// The cap holds in panels, too, and what it cuts short is said not to have converged.
TEST(Decoder, PanelsStayUnderTheCap) {
  const Model model = random_llama(0.1, 2);
  AttributionOptions options;
  options.integration.max_steps = 10;
  int64_t open = 0;
  for (const Attribution& result : run(model, options)) {
    for (const LayerReport& report : result.layers) {
      EXPECT_LE(report.nodes, 10);
      if (report.converged) continue;
      ++open;
      EXPECT_GT(report.nodes, 5) << "nodes were left";
    }
  }
  EXPECT_GT(open, 0);
}

/// Where nothing turns fast two nodes do in many layers, and the scores are as near as they should
/// be.
TEST(Decoder, SmoothLayersTakeFewNodes) {
  const Model model = random_llama(4, 1);
  const std::vector<Attribution> truth = run(model, steps(Rule::kGaussLegendre, 64));
  const std::vector<Attribution> got = run(model, {});
  int64_t few = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    for (const LayerReport& report : got[i].layers) few += report.nodes == 2 ? 1 : 0;
    EXPECT_LT(largest(got[i].scores - truth[i].scores), 0.01 * largest(truth[i].scores));
  }
  EXPECT_GE(3 * few, static_cast<int64_t>(got.size()) * model.config().layers);
}

/// A fixed number of nodes means them and their extension, each once, since F is G.
TEST(Decoder, FixedNodesAreExtendedOnce) {
  const Model model = random_llama(1, 1);
  for (const int64_t count : {1, 3}) {
    const AttributionOptions options = steps(Rule::kControlVariate, count);
    const std::vector<Attribution> got = run(model, options);
    for (size_t i = 0; i < got.size(); ++i) {
      const Attribution plain = attribute_naive(model, clozes()[i], options);
      EXPECT_LT(largest(got[i].scores - plain.scores), 1e-5 * largest(plain.scores));
      for (const LayerReport& report : got[i].layers) {
        EXPECT_EQ(report.nodes, 2 * count);
        EXPECT_EQ(report.cheap_nodes, 0);
      }
    }
  }
}

}  // namespace
}  // namespace engram
