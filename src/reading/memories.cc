#include "engram/reading/memories.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/reading/values.h"
#include "reading/patterns.h"
#include "reading/seeds.h"
#include "reading/triggers.h"

namespace engram {
namespace {

constexpr int64_t kValueRows = 64;  // bounds the logits

std::vector<std::vector<int64_t>> sampled_keys(const ModelConfig& config,
                                               const MemoriesOptions& options) {
  std::vector<std::vector<int64_t>> keys;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    Random random(seed_of(options.seed, "keys", layer));
    const std::vector<uint64_t> drawn =
        random.sample(static_cast<uint64_t>(config.d_ff), static_cast<uint64_t>(options.keys));
    std::vector<int64_t>& of_layer = keys.emplace_back(drawn.begin(), drawn.end());
    std::ranges::sort(of_layer);
  }
  return keys;
}

std::vector<Context> contexts_of(std::span<const FoundTrigger> triggers) {
  std::vector<Context> contexts;
  for (const FoundTrigger& one : triggers) contexts.push_back(one.context);
  return contexts;
}

/// The triggers of all keys of a layer, shuffled and dealt to the keys again, to each as many as it
/// has. A text that a key gets twice counts once.
std::vector<std::vector<Context>> dealt_again(std::span<const std::vector<FoundTrigger>> keys,
                                              uint64_t seed) {
  std::vector<const FoundTrigger*> all;
  for (const std::vector<FoundTrigger>& key : keys) {
    for (const FoundTrigger& one : key) all.push_back(&one);
  }
  Random(seed).shuffle(all);
  std::vector<std::vector<Context>> dealt;
  size_t at = 0;
  for (const std::vector<FoundTrigger>& key : keys) {
    std::vector<uint64_t> texts;
    std::vector<Context>& hand = dealt.emplace_back();
    for (size_t i = 0; i < key.size(); ++i, ++at) {
      if (std::ranges::find(texts, all[at]->text) != texts.end()) continue;
      texts.push_back(all[at]->text);
      hand.push_back(all[at]->context);
    }
  }
  return dealt;
}

/// For each of `count` keys the other whose value it gets: a random order as one circle.
std::vector<size_t> circle(size_t count, uint64_t seed) {
  std::vector<size_t> order(count);
  for (size_t i = 0; i < count; ++i) order[i] = i;
  Random(seed).shuffle(order);
  std::vector<size_t> other(count);
  for (size_t i = 0; i < count; ++i) other[order[i]] = order[(i + 1) % count];
  return other;
}

int64_t rank_in(const at::Tensor& logits, int64_t id) {
  return 1 + logits.gt(logits[id]).sum().item<int64_t>();
}

/// What the values of one layer's keys say, and whether it is what follows their triggers.
void read_layer_values(const Model& model, std::span<MemoryKey> keys, uint64_t seed) {
  const c10::InferenceMode guard;
  const std::vector<size_t> other = circle(keys.size(), seed);
  std::vector<size_t> asker(keys.size());  // the key that gets this one's value
  std::vector<int64_t> index;
  for (size_t i = 0; i < keys.size(); ++i) {
    asker[other[i]] = i;
    index.push_back(keys[i].neuron.neuron);
  }
  const at::Tensor vectors = value_vectors(model, keys.front().neuron.layer, index);
  for (int64_t begin = 0; begin < vectors.size(0); begin += kValueRows) {
    Interrupt::check();
    const int64_t size = std::min(kValueRows, vectors.size(0) - begin);
    const at::Tensor logits = read_vectors(model, vectors.narrow(0, begin, size));
    const at::Tensor top = logits.argmax(1).to(at::kCPU);
    const at::Tensor p = logits.to(at::kDouble).softmax(1).amax(1).to(at::kCPU);
    for (int64_t row = 0; row < size; ++row) {
      const auto i = static_cast<size_t>(begin + row);
      keys[i].top_token = top[row].item<int64_t>();
      keys[i].top_p = p[row].item<double>();
      if (!keys[i].triggers.empty()) {
        keys[i].rank = rank_in(logits[row], keys[i].triggers.front().next);
      }
      MemoryKey& asks = keys[asker[i]];
      if (!asks.triggers.empty()) {
        asks.chance_rank = rank_in(logits[row], asks.triggers.front().next);
      }
    }
  }
  for (MemoryKey& key : keys) {
    if (key.triggers.empty()) continue;
    const int64_t next = key.triggers.front().next;
    key.agrees = key.top_token == next;
    const auto same = std::ranges::count(keys, next, &MemoryKey::top_token) - (key.agrees ? 1 : 0);
    key.chance = static_cast<double>(same) / static_cast<double>(keys.size() - 1);
  }
}

/// The keys of one layer; `found` and `directions` are theirs.
std::vector<MemoryKey> layer_keys(const Model& model, int64_t layer,
                                  const std::vector<int64_t>& sampled,
                                  std::span<const std::vector<FoundTrigger>> found,
                                  std::span<const std::vector<FoundTrigger>> directions,
                                  const GramCounts& random, uint64_t seed) {
  const std::vector<std::vector<Context>> dealt =
      dealt_again(found, seed_of(seed, "shuffled triggers", layer));
  std::vector<MemoryKey> keys;
  for (size_t i = 0; i < sampled.size(); ++i) {
    MemoryKey& key = keys.emplace_back();
    key.neuron = {static_cast<int32_t>(layer), static_cast<int32_t>(sampled[i])};
    for (const FoundTrigger& one : found[i]) {
      key.triggers.push_back(
          {one.activation, one.line, one.context.before, one.context.behind, one.next});
    }
    key.triggered = !key.triggers.empty();
    const Pattern pattern = shared_pattern(contexts_of(found[i]), random);
    key.pattern = pattern.gram;
    key.shared = pattern.shared;
    key.has_pattern = pattern.found();
    key.direction_pattern = shared_pattern(contexts_of(directions[i]), random).found();
    key.shuffled_pattern = shared_pattern(dealt[i], random).found();
  }
  read_layer_values(model, keys, seed_of(seed, "shuffled values", layer));
  return keys;
}

std::vector<MemoryOutcome> outcomes_of(std::span<const MemoryKey> keys) {
  return {keys.begin(), keys.end()};
}

void check_options(const ModelConfig& config, const MemoriesOptions& options) {
  if (options.keys < 2) {
    throw UsageError("got " + std::to_string(options.keys) +
                     " keys of each layer, expected 2 or more: values are shuffled between them");
  }
  if (!config.causal() && options.masks < 1) {
    throw UsageError("got " + std::to_string(options.masks) +
                     " masked tokens of each window, expected 1 or more");
  }
}

}  // namespace

int64_t memories_window(const ModelConfig& config) { return config.causal() ? 256 : 64; }

Memories measure_memories(const Model& model, const Tokenizer& tokenizer,
                          const MemoriesOptions& options, const CorpusProgress& progress) {
  check_options(model.config(), options);
  const std::vector<std::vector<int64_t>> sampled = sampled_keys(model.config(), options);
  const FoundTriggers found = find_triggers(model, tokenizer, sampled, options, progress);
  Memories memories;
  memories.counts = found.counts;
  memories.places = found.places;
  memories.random = found.random.contexts();
  size_t at = 0;
  for (size_t l = 0; l < sampled.size(); ++l) {
    const auto layer = static_cast<int64_t>(l);
    const auto part = [&](const std::vector<std::vector<FoundTrigger>>& of) {
      return std::span(of).subspan(at, sampled[l].size());
    };
    std::vector<MemoryKey> keys = layer_keys(model, layer, sampled[l], part(found.keys),
                                             part(found.directions), found.random, options.seed);
    memories.layers.push_back(memory_means(outcomes_of(keys), layer, options.bootstrap));
    at += sampled[l].size();
    std::ranges::move(keys, std::back_inserter(memories.keys));
  }
  const std::vector<MemoryOutcome> all = outcomes_of(memories.keys);
  memories.all = memory_means(all, -1, options.bootstrap);
  memories.bins = memory_bins(all, options.bootstrap);
  return memories;
}

}  // namespace engram
