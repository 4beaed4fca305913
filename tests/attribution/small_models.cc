#include "attribution/small_models.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <utility>

#include "engram/model/tensor_table.h"

namespace engram::testing {

ModelConfig small_config(Activation activation, int64_t layers) {
  ModelConfig config;
  config.family = Family::kBert;
  config.layers = layers;
  config.heads = 3;
  config.head_size = 12;
  config.d_model = 36;
  config.d_ff = 100;
  config.vocabulary = 97;
  config.positions = 40;
  config.token_types = 2;
  config.activation = activation;
  config.head_activation = activation;
  return config;
}

Model random_model(const ModelConfig& config, uint64_t seed, at::Device device) {
  at::manual_seed(seed);
  ModelWeights weights;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const std::vector<int64_t> shape = spec.shape(config);
    const bool is_norm = spec.names.front().find("LayerNorm.weight") != std::string::npos;
    *spec.destination = at::randn(shape) * (shape.size() == 2 ? 0.25 : 0.1);
    if (is_norm) spec.destination->add_(1.0);
    *spec.destination = spec.destination->to(device);
  }
  return {config, weights};
}

std::vector<Cloze> random_clozes(const ModelConfig& config, size_t count, uint64_t seed,
                                 int64_t masks) {
  at::manual_seed(seed);
  const auto pick = [](int64_t below) { return at::randint(below, {1}).item<int64_t>(); };
  std::vector<Cloze> clozes;
  for (size_t i = 0; i < count; ++i) {
    Cloze cloze;
    const int64_t tokens = 5 + pick(4);
    for (int64_t j = 0; j < tokens; ++j) cloze.ids.push_back(pick(config.vocabulary));
    const int64_t first = pick(tokens - masks + 1);
    for (int64_t j = 0; j < masks; ++j) {
      cloze.positions.push_back(first + j);
      cloze.answer.push_back(pick(config.vocabulary));
    }
    clozes.push_back(cloze);
  }
  return clozes;
}

std::vector<Attribution> attributions(const Model& model, const std::vector<Cloze>& clozes,
                                      const AttributionOptions& options) {
  std::vector<Attribution> results(clozes.size());
  attribute(model, clozes, options, [&](size_t index, Attribution&& result) {
    EXPECT_FALSE(results[index].scores.defined()) << "a cloze was answered twice";
    results[index] = std::move(result);
  });
  return results;
}

}  // namespace engram::testing
