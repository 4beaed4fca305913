// The closed form of docs/performance.md against what the passes count while they run.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <optional>

#include "attribution/methods.h"
#include "engram/attribution/cost.h"
#include "engram/model/tensor_table.h"

namespace engram {
namespace {

ModelConfig small(Family family) {
  ModelConfig config;
  config.family = family;
  config.layers = 5;
  config.d_model = 24;
  config.d_ff = 60;
  config.heads = 2;
  config.head_size = 12;
  config.vocabulary = 50;
  config.positions = 20;
  return config;
}

Model random_model(const ModelConfig& config) {
  at::manual_seed(1);
  ModelWeights weights;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const std::vector<int64_t> shape = spec.shape(config);
    *spec.destination = at::randn(shape) * 0.2;
  }
  return {config, weights};
}

/// What the passes count for one prompt, less what the closed form gives, over that.
double excess(const Model& model, const Cloze& cloze, const AttributionOptions& options) {
  const at::NoGradGuard no_grad;
  const ModelConfig& config = model.config();
  const auto targets = static_cast<int64_t>(cloze.positions.size());
  const Chunk chunk = make_chunk({&cloze, 1}, {0});
  Passes passes(model, options.target);
  const std::vector<Attribution> results =
      integrate({passes, model, chunk, options, int64_t{1} << 30, /*workers=*/1});
  const double closed = attribution_flops(config, static_cast<int64_t>(cloze.ids.size()), targets,
                                          results.front().layers);
  // The passes do not count the products between the FFN sum and the neurons that follow them.
  const auto values =
      static_cast<double>(config.layers * targets * 2 * config.d_model * config.d_ff);
  return (passes.flops() - (closed - values)) / closed;
}

TEST(Cost, ClosedFormIsWhatThePassesDo) {
  ModelConfig config = small(Family::kBert);
  config.token_types = 2;
  const Model model = random_model(config);
  AttributionOptions options;
  options.integration.steps = 2;
  const Cloze one{{5, 41, 0, 12, 12, 30, 7, 8, 49}, {3}, {7}};
  EXPECT_NEAR(excess(model, one, options), 0, 1e-9);
  EXPECT_NEAR(excess(model, {one.ids, {3, 4}, {7, 8}}, options), 0, 1e-9);
}

/// Targets last, a gated FFN, grouped keys, queries wider than the stream, no transform at the
/// head; and a family whose layers are as BERT's.
TEST(Cost, ClosedFormOfCausalModels) {
  ModelConfig llama = small(Family::kLlama);
  llama.norm = NormPlacement::kPre;
  llama.norm_kind = NormKind::kRms;
  llama.attention = AttentionKind::kCausal;
  llama.activation = Activation::kSilu;
  llama.gated_ffn = true;
  llama.heads = 6;
  llama.head_size = 10;
  llama.key_heads = 2;
  llama.rotary_size = 10;
  llama.query_bias = llama.attention_out_bias = llama.ffn_bias = false;
  ModelConfig gpt2 = small(Family::kGpt2);
  gpt2.norm = NormPlacement::kPre;
  gpt2.attention = AttentionKind::kCausal;
  const Cloze one{{5, 41, 0, 12, 12, 30, 7, 8, 49}, {8}, {7}};
  for (const ModelConfig& config : {llama, gpt2}) {
    SCOPED_TRACE(family_name(config.family));
    const Model model = random_model(config);
    for (const std::optional<int64_t> steps : {std::optional<int64_t>(2), {}}) {
      AttributionOptions options;
      options.integration.steps = steps;
      EXPECT_NEAR(excess(model, one, options), 0, 1e-9);
      EXPECT_NEAR(excess(model, {one.ids, {7, 8}, {7, 8}}, options), 0, 1e-9);
    }
  }
}

}  // namespace
}  // namespace engram
