// Every kind of layer that the pieces know, with random small weights, against the forward with
// autograd: what a family would bring is tested before there is one. Both are float32, and the
// weights are rough: rounding shows up to 3e-4 of the largest score, a wrong formula a tenth and
// more.
#include "model/block.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "engram/attribution/attribution.h"
#include "intervention/random_model.h"
#include "passes/passes.h"
#include "support/fake_device.h"

namespace engram {
namespace {

using testing::random_cloze;

/// A kind of layer.
struct Kind {
  std::string name;
  ModelConfig config;
  bool biases = true;
};

ModelConfig small() {
  ModelConfig config;
  config.layers = 4;
  config.d_model = 16;
  config.d_ff = 24;
  config.heads = 4;
  config.head_size = 4;
  config.vocabulary = 50;
  config.positions = 80;
  return config;
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  const auto add = [&](const std::string& name, bool biases, auto change) {
    Kind kind{name, small(), biases};
    change(kind.config);
    all.push_back(kind);
  };
  add("post", true, [](ModelConfig&) {});
  add("post, causal", true, [](ModelConfig& c) { c.attention = AttentionKind::kCausal; });
  add("post, narrow embeddings", true, [](ModelConfig& c) { c.embedding_size = 8; });
  add("pre", true, [](ModelConfig& c) { c.norm = NormPlacement::kPre; });
  const auto gpt2 = [](ModelConfig& c) {
    c.norm = NormPlacement::kPre;
    c.attention = AttentionKind::kCausal;
    c.activation = Activation::kGeluTanh;
  };
  add("pre, causal, as GPT-2", true, gpt2);
  add("parallel residual and part of a head rotary, as GPT-NeoX", true, [&](ModelConfig& c) {
    gpt2(c);
    c.activation = Activation::kGelu;
    c.parallel_residual = true;
    c.rotary_size = 2;
  });
  const auto llama = [](ModelConfig& c) {
    c.norm = NormPlacement::kPre;
    c.norm_kind = NormKind::kRms;
    c.attention = AttentionKind::kCausal;
    c.activation = Activation::kSilu;
    c.gated_ffn = true;
    c.key_heads = 2;
    c.rotary_size = 4;
  };
  add("RMS norm, gate, grouped keys, rotary, as Llama", false, llama);
  add("the same with biases and heads wider than the model", true, [&](ModelConfig& c) {
    llama(c);
    c.head_size = 6;
    c.rotary_size = 6;
    c.key_heads = 1;
  });
  add("norms of queries and keys, as Qwen3", false, [&](ModelConfig& c) {
    llama(c);
    c.query_key_norm = true;
    c.head_size = 6;
    c.rotary_size = 6;
  });
  add("scaled embeddings, one key head and heads of five, as Gemma", false, [&](ModelConfig& c) {
    llama(c);
    c.activation = Activation::kGeluTanh;
    c.heads = 5;
    c.key_heads = 1;
    c.head_size = 10;
    c.rotary_size = 10;
    c.embedding_scale = 4;
  });
  add("stretched angles, as Llama 3", false, [&](ModelConfig& c) {
    llama(c);
    c.head_size = 8;
    c.rotary_size = 8;
    c.rotary_base = 100;
    c.rotary_scaling = {RotaryScaling::Kind::kLlama3, 8, 1, 4, 40};
  });
  add("rotary positions and a sequential residual, as GPT-NeoX may be", true, [&](ModelConfig& c) {
    gpt2(c);
    c.rotary_size = 2;
    c.rotary_scaling = {RotaryScaling::Kind::kLinear, 2};
  });
  add("gate in a post-norm layer", true, [](ModelConfig& c) {
    c.gated_ffn = true;
    c.activation = Activation::kRelu;
    c.key_heads = 2;
  });
  return all;
}

Model make(const Kind& kind, uint64_t seed, at::Device device = at::kCPU) {
  const ModelConfig& c = kind.config;
  auto generator = at::detail::createCPUGenerator(seed);
  const auto random = [&](const std::vector<int64_t>& shape, double scale, double mean = 0) {
    return (at::randn(shape, generator) * scale + mean).to(device);
  };
  const bool pre = c.norm == NormPlacement::kPre;
  const auto bias = [&](int64_t width) {
    return kind.biases ? random({width}, 0.3) : at::Tensor();
  };
  const int64_t e = c.embedding_width();
  ModelWeights w;
  w.token_embedding = random({c.vocabulary, e}, 0.7);
  if (c.rotary_size == 0) w.position_embedding = random({c.positions, e}, 0.5);
  if (!pre) {
    w.embedding_norm_weight = random({e}, 0.3, 1);
    w.embedding_norm_bias = bias(e);
  }
  if (e != c.d_model) {
    w.embedding_project_weight = random({c.d_model, e}, 0.5);
    w.embedding_project_bias = bias(c.d_model);
  }
  for (int64_t i = 0; i < c.layers; ++i) {
    LayerWeights l;
    l.query_weight = random({c.query_width(), c.d_model}, 0.5);
    l.query_bias = bias(c.query_width());
    l.key_weight = random({c.key_width(), c.d_model}, 0.5);
    l.key_bias = bias(c.key_width());
    l.value_weight = random({c.key_width(), c.d_model}, 0.5);
    l.value_bias = bias(c.key_width());
    if (c.query_key_norm) {
      l.query_norm_weight = random({c.head_size}, 0.3, 1);
      l.key_norm_weight = random({c.head_size}, 0.3, 1);
    }
    l.attention_out_weight = random({c.d_model, c.query_width()}, 0.5);
    l.attention_out_bias = bias(c.d_model);
    l.attention_norm_weight = random({c.d_model}, 0.3, 1);
    l.attention_norm_bias = bias(c.d_model);
    l.ffn_in_weight = random({c.d_ff, c.d_model}, 0.5);
    l.ffn_in_bias = bias(c.d_ff);
    if (c.gated_ffn) {
      l.ffn_gate_weight = random({c.d_ff, c.d_model}, 0.5);
      l.ffn_gate_bias = bias(c.d_ff);
    }
    l.ffn_out_weight = random({c.d_model, c.d_ff}, 0.5);
    l.ffn_out_bias = bias(c.d_model);
    l.ffn_norm_weight = random({c.d_model}, 0.3, 1);
    l.ffn_norm_bias = bias(c.d_model);
    w.layers.push_back(l);
  }
  if (pre) {
    w.final_norm_weight = random({c.d_model}, 0.3, 1);
    w.final_norm_bias = bias(c.d_model);
  } else {
    w.head_weight = random({e, c.d_model}, 0.5);
    w.head_bias = bias(e);
    w.head_norm_weight = random({e}, 0.3, 1);
    w.head_norm_bias = bias(e);
  }
  w.decoder_weight = random({c.vocabulary, e}, 0.4);
  w.decoder_bias = bias(c.vocabulary);
  return Model::unchecked(c, std::move(w));
}

std::vector<Cloze> some_prompts() {
  // Different lengths go together; one with two targets does not.
  return {random_cloze(1, 7), random_cloze(2, 11), random_cloze(3, 5), random_cloze(4, 9, 2)};
}

/// Of the largest magnitude of `b`.
double difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

std::vector<Attribution> attribute_all(const Model& model, std::span<const Cloze> prompts,
                                       const AttributionOptions& options) {
  std::vector<Attribution> found(prompts.size());
  attribute(model, prompts, options,
            [&](size_t i, Attribution&& fast) { found[i] = std::move(fast); });
  return found;
}

void compare(const Model& model, const AttributionOptions& options, double tolerance) {
  const std::vector<Cloze> prompts = some_prompts();
  const std::vector<Attribution> found = attribute_all(model, prompts, options);
  for (size_t i = 0; i < prompts.size(); ++i) {
    SCOPED_TRACE("prompt " + std::to_string(i));
    const Attribution& fast = found[i];
    const Attribution plain = attribute_naive(model, prompts[i], options);
    EXPECT_NEAR(fast.f, plain.f, 1e-4 * std::abs(plain.f));
    EXPECT_LE(difference(fast.activations, plain.activations), 2e-4);
    for (int64_t layer = 0; layer < model.config().layers; ++layer) {
      EXPECT_LE(difference(fast.scores.select(0, layer), plain.scores.select(0, layer)), tolerance)
          << "layer " << layer;
      const auto l = static_cast<size_t>(layer);
      EXPECT_NEAR(fast.layers[l].delta, plain.layers[l].delta,
                  1e-3 * std::abs(plain.layers[l].delta) + 1e-4);
    }
  }
}

// First, since the device has to be known before autograd runs.
TEST(Block, AnotherDeviceGivesTheSameForEveryKindOfLayer) {
  const std::vector<Cloze> prompts = some_prompts();
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    for (const Score score : {Score::kIntegratedGradients, Score::kRelevance}) {
      AttributionOptions options;
      options.target = Target::kLogProbability;
      options.score = score;
      options.integration.steps = 2;
      const auto other = attribute_all(make(kind, 6, testing::fake_device()), prompts, options);
      const auto own = attribute_all(make(kind, 6), prompts, options);
      for (size_t i = 0; i < prompts.size(); ++i) {
        EXPECT_LE(difference(other[i].scores, own[i].scores), 1e-3) << "prompt " << i;
      }
    }
  }
}

TEST(Block, GradientsOfEveryKindOfLayerAreThoseOfAutograd) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    const Model model = make(kind, 7);
    AttributionOptions options;
    options.score = Score::kGradientXActivation;
    options.target = Target::kLogProbability;
    compare(model, options, 1e-3);
  }
}

TEST(Block, LongPromptsTakeProductsAndGiveTheSame) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    AttributionOptions options;
    options.score = Score::kGradientXActivation;
    options.target = Target::kLogProbability;
    options.gap = false;
    const Model model = make(kind, 11);
    const std::vector<Cloze> prompts = {random_cloze(5, 47), random_cloze(6, 48),
                                        random_cloze(7, 71)};
    const std::vector<Attribution> found = attribute_all(model, prompts, options);
    for (size_t i = 0; i < prompts.size(); ++i) {
      SCOPED_TRACE("prompt " + std::to_string(i));
      const Attribution plain = attribute_naive(model, prompts[i], options);
      EXPECT_LE(difference(found[i].scores, plain.scores), 1e-3);
    }
  }
}

TEST(Block, PerturbedRunsOfEveryKindOfLayerAreThoseOfAutograd) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    const Model model = make(kind, 8);
    AttributionOptions options;
    options.target = Target::kLogProbability;
    options.integration.rule = Rule::kGaussLegendre;
    options.integration.steps = 3;
    compare(model, options, 1e-3);
  }
}

TEST(Block, TheDefaultRuleHoldsForEveryKindOfLayer) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    const Model model = make(kind, 9);
    AttributionOptions options;
    options.target = Target::kLogProbability;
    options.integration.steps = 2;  // exact nodes, many cheap ones where other rows rest
    compare(model, options, 1e-3);
  }
}

// Where the targets stand last in a causal model no other row moves: exact runs are the cheap ones.
TEST(Block, ExactRunsOfLastTargetsMoveNothingElse) {
  for (const Kind& kind : kinds()) {
    if (kind.config.attention != AttentionKind::kCausal) continue;
    SCOPED_TRACE(kind.name);
    const Model model = make(kind, 12);
    std::vector<Cloze> prompts = {random_cloze(1, 7, 2), random_cloze(2, 11, 2)};
    for (Cloze& cloze : prompts) {
      const auto tokens = static_cast<int64_t>(cloze.ids.size());
      cloze.positions = {tokens - 2, tokens - 1};
    }
    const Chunk chunk = make_chunk(prompts, {0, 1});
    const at::NoGradGuard no_grad;
    Passes passes(model, Target::kLogProbability);
    const Base base = passes.run_base(chunk, Backward::kGradient);
    Items items;
    items.prompt = {0, 1, 0};
    items.layer = {0, 0, 1};
    items.sum = at::cat({base.layers[0].resting, base.layers[1].resting.narrow(0, 0, 2)});
    const double before = passes.flops();
    const Outcome exact = passes.run(base, items, Reach::kExact, true);
    const double exact_flops = passes.flops() - before;
    const Outcome cheap = passes.run(base, items, Reach::kTargetsOnly, true);
    EXPECT_EQ(passes.flops() - before, 2 * exact_flops);
    EXPECT_TRUE(exact.gradient.equal(cheap.gradient));
    EXPECT_EQ(exact.f, cheap.f);
    for (const Cloze& cloze : prompts) {
      AttributionOptions options;
      options.integration.rule = Rule::kGaussLegendre;
      options.integration.steps = 3;
      options.target = Target::kLogProbability;
      const Attribution fast = attribute_all(model, {&cloze, 1}, options).front();
      const Attribution plain = attribute_naive(model, cloze, options);
      EXPECT_LE(difference(fast.scores, plain.scores), 1e-3);
    }
    // One row behind the targets, and other rows move again.
    prompts[1].positions = {3, 4};
    EXPECT_FALSE(make_chunk(prompts, {0, 1}).targets_last());
    EXPECT_TRUE(make_chunk(prompts, {0}).targets_last());
  }
}

TEST(Block, ExactAblationHoldsForEveryKindOfLayer) {
  for (const Kind& kind : kinds()) {
    SCOPED_TRACE(kind.name);
    const Model model = make(kind, 10);
    AttributionOptions options;
    options.target = Target::kLogProbability;
    options.score = Score::kAblation;
    compare(model, options, 1e-3);
  }
}

}  // namespace
}  // namespace engram
