#pragma once

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/model/tensor_table.h"

namespace engram::testing {

/// A small model with random weights, rough enough for neurons to matter.
inline Model random_model(uint64_t seed, int64_t layers = 3, int64_t d_model = 16,
                          int64_t d_ff = 40) {
  ModelConfig config;
  config.layers = layers;
  config.d_model = d_model;
  config.d_ff = d_ff;
  config.heads = 2;
  config.head_size = d_model / 2;
  config.vocabulary = 50;
  config.positions = 24;
  config.token_types = 2;
  ModelWeights weights;
  auto generator = at::detail::createCPUGenerator(seed);
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const std::vector<int64_t> shape = spec.shape(config);
    *spec.destination = at::randn(shape, generator) * (shape.size() == 1 ? 0.3 : 0.5);
  }
  weights.decoder_weight = weights.token_embedding;
  const auto centre_at_one = [](at::Tensor& norm) { norm += 1; };
  centre_at_one(weights.embedding_norm_weight);
  centre_at_one(weights.head_norm_weight);
  for (LayerWeights& layer : weights.layers) {
    centre_at_one(layer.attention_norm_weight);
    centre_at_one(layer.ffn_norm_weight);
  }
  return Model(config, std::move(weights));
}

/// A prompt of random tokens with `masks` masks.
inline Cloze random_cloze(uint64_t seed, int64_t tokens, int64_t masks = 1) {
  auto generator = at::detail::createCPUGenerator(seed);
  const auto draw = [&](int64_t count, int64_t below) {
    const at::Tensor t = at::randint(below, {count}, generator, at::kLong);
    return std::vector<int64_t>(t.const_data_ptr<int64_t>(), t.const_data_ptr<int64_t>() + count);
  };
  Cloze cloze;
  cloze.ids = draw(tokens, 50);
  cloze.answer = draw(masks, 50);
  const at::Tensor order =
      std::get<0>(at::randperm(tokens, generator, at::kLong).narrow(0, 0, masks).sort());
  for (int64_t k = 0; k < masks; ++k) cloze.positions.push_back(order[k].item<int64_t>());
  return cloze;
}

}  // namespace engram::testing
