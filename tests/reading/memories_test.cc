// Triggers against a search through every place of a small corpus with the model's own forward, and
// what is computed from them against plain loops.
#include "engram/reading/memories.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/reading/values.h"
#include "reading/directions.h"
#include "reading/small_corpus.h"
#include "reading/triggers.h"
#include "reading/windows.h"
#include "support/oracle.h"
#include "support/temporary.h"

namespace engram {
namespace {

using testing::TemporaryFolder;

constexpr float kNearby = 5e-5F;

at::Tensor plain_norm(const ModelConfig& config, const at::Tensor& x, const at::Tensor& weight,
                      const at::Tensor& bias) {
  const at::Tensor centred = config.norm_kind == NormKind::kLayer ? x - x.mean(-1, true) : x;
  const at::Tensor scaled =
      centred * (centred.square().mean(-1, true) + config.norm_epsilon).rsqrt() * weight;
  return bias.defined() ? scaled + bias : scaled;
}

/// What every layer's FFN reads: [layers] of [tokens, d_model].
std::vector<at::Tensor> plain_inputs(const Model& model, const std::vector<int64_t>& ids) {
  const ModelConfig& config = model.config();
  at::Tensor x = model.embed(at::tensor(ids, at::kLong).unsqueeze(0));
  std::vector<at::Tensor> inputs;
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const LayerWeights& w = model.weights().layers[static_cast<size_t>(layer)];
    const at::Tensor attended = model.attend(layer, x);
    const at::Tensor read = config.parallel_residual ? x : attended;
    inputs.push_back((config.norm == NormPlacement::kPre
                          ? plain_norm(config, read, w.ffn_norm_weight, w.ffn_norm_bias)
                          : attended)[0]);
    x = model.feed(layer, x, attended);
  }
  return inputs;
}

/// A place of the corpus as the search sees it.
struct Place {
  size_t window = 0;
  int64_t line = 0;
  std::vector<int64_t> text;  ///< all that the model sees
  int64_t next = 0;
  std::vector<int64_t> before, behind;
  std::vector<float> keys, directions;  ///< activations, of the sampled ones
};

class EveryMemory : public ::testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  MemoriesOptions options(const std::vector<std::string>& lines) const {
    MemoriesOptions made;
    made.corpus.file = folder_.file("corpus.txt");
    made.corpus.window = 16;
    made.keys = 6;
    made.masks = 100;  // every token
    made.seed = 3;
    testing::write_corpus(made.corpus.file, testing::joined_lines(lines));
    return made;
  }
  /// Keys 1, 4, 9 of layer 0 and 2, 3 of the others.
  std::vector<std::vector<int64_t>> some_keys() const {
    std::vector<std::vector<int64_t>> keys(static_cast<size_t>(model_.config().layers), {2, 3});
    keys[0] = {1, 4, 9};
    return keys;
  }

  std::vector<Place> search(const MemoriesOptions& how,
                            const std::vector<std::vector<int64_t>>& keys) const {
    WindowReader reader(tokenizer_, model_.config(), how.corpus);
    const std::vector<Window> windows = reader.next(1'000'000);
    std::vector<Place> places;
    for (size_t w = 0; w < windows.size(); ++w) {
      const Window& window = windows[w];
      for (int64_t at = window.first; at < window.first + window.count; ++at) {
        Place place;
        place.window = w;
        place.line = window.line;
        if (model_.config().causal() ? look(window, at, place) : mask(window, at, place)) {
          measure(keys, how.seed, causal_ids(window, at), at, place);
          places.push_back(std::move(place));
        }
      }
    }
    return places;
  }

  const std::filesystem::path path_ = testing::stored_oracle(GetParam());
  const Model model_ = Model::load(path_);
  const Tokenizer tokenizer_ = Tokenizer::load(path_);
  const TemporaryFolder folder_;

 private:
  [[nodiscard]] std::vector<int64_t> causal_ids(const Window& window, int64_t at) const {
    std::vector<int64_t> ids = window.ids;
    if (!model_.config().causal()) ids[static_cast<size_t>(at)] = tokenizer_.mask_id();
    return ids;
  }
  bool look(const Window& window, int64_t at, Place& place) const {
    const int64_t last = window.first + window.count - 1;
    place.next = at < last ? window.ids[static_cast<size_t>(at) + 1] : window.next;
    if (at - window.first < 4 || place.next < 0) return false;
    const auto ids = window.ids.begin();
    place.before.assign(ids + at - 4, ids + at + 1);
    place.text.assign(ids + window.first, ids + at + 1);
    return true;
  }
  bool mask(const Window& window, int64_t at, Place& place) const {
    place.next = window.ids[static_cast<size_t>(at)];
    if (tokenizer_.is_special(place.next)) return false;
    const auto ids = window.ids.begin();
    const int64_t end = window.first + window.count;
    place.before.assign(ids + std::max(window.first, at - 5), ids + at);
    place.behind.assign(ids + at + 1, ids + std::min(end, at + 6));
    place.text.assign(ids, window.ids.end());
    place.text[static_cast<size_t>(at)] = -1;
    return true;
  }
  void measure(const std::vector<std::vector<int64_t>>& keys, uint64_t seed,
               const std::vector<int64_t>& ids, int64_t at, Place& place) const {
    const ModelConfig& config = model_.config();
    const auto a = testing::plain_activations(model_, ids);
    const auto inputs = plain_inputs(model_, ids);
    for (size_t l = 0; l < keys.size(); ++l) {
      const LayerWeights& w = model_.weights().layers[l];
      const Directions random = random_directions(model_, static_cast<int64_t>(l), keys[l], seed);
      for (size_t i = 0; i < keys[l].size(); ++i) {
        place.keys.push_back(a[l][at][keys[l][i]].item<float>());
        const auto row = static_cast<int64_t>(i);
        const auto asked = [&](const at::Tensor& rows, const at::Tensor& bias) {
          const at::Tensor dot = inputs[l][at].dot(rows[row]);
          return bias.defined() ? dot + bias[keys[l][i]] : dot;
        };
        const at::Tensor up = asked(random.in, w.ffn_in_bias);
        place.directions.push_back(
            (config.gated_ffn
                 ? up * apply_activation(config.activation, asked(random.gate, w.ffn_gate_bias))
                 : apply_activation(config.activation, up))
                .item<float>());
      }
    }
  }
};

/// The best 25 of the best places of each window, a text once.
std::vector<const Place*> best_places(const std::vector<Place>& all,
                                      const std::function<float(const Place&)>& value) {
  std::map<size_t, const Place*> windows;
  for (const Place& place : all) {
    const Place*& best = windows[place.window];
    if (best == nullptr || value(place) > value(*best)) best = &place;
  }
  std::vector<const Place*> places;
  std::set<std::vector<int64_t>> seen;
  for (const auto& [window, place] : windows) {
    if (seen.insert(place->text).second) places.push_back(place);
  }
  std::ranges::stable_sort(places,
                           [&](const Place* x, const Place* y) { return value(*x) > value(*y); });
  if (places.size() > kTriggers) places.resize(kTriggers);
  return places;
}

void expect_same(const std::vector<FoundTrigger>& found, const std::vector<Place>& all,
                 const std::function<float(const Place&)>& value) {
  const std::vector<const Place*> expected = best_places(all, value);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].activation, value(*expected[i]), kNearby) << i;
    if (i > 0) {
      EXPECT_GE(found[i - 1].activation, found[i].activation);
    }
    // The place itself, unless rounding has made two change places.
    const bool there = std::ranges::any_of(all, [&](const Place& place) {
      return place.line == found[i].line && place.next == found[i].next &&
             place.before == found[i].context.before && place.behind == found[i].context.behind &&
             std::abs(value(place) - found[i].activation) < kNearby;
    });
    EXPECT_TRUE(there) << i;
  }
}

TEST_P(EveryMemory, TriggersAreThoseOfASearchThroughAll) {
  const std::vector<std::string> lines = testing::made_up_lines(40, 25, 21);
  const MemoriesOptions how = options(lines);
  const std::vector<std::vector<int64_t>> keys = some_keys();
  const FoundTriggers found = find_triggers(model_, tokenizer_, keys, how, {});
  const std::vector<Place> all = search(how, keys);
  EXPECT_EQ(found.places, static_cast<int64_t>(all.size()));
  EXPECT_GT(found.random.contexts(), 0);
  const size_t columns = all.front().keys.size();
  ASSERT_EQ(found.keys.size(), columns);
  ASSERT_EQ(found.directions.size(), columns);
  for (size_t c = 0; c < columns; ++c) {
    SCOPED_TRACE(c);
    expect_same(found.keys[c], all, [&](const Place& place) { return place.keys[c]; });
    expect_same(found.directions[c], all, [&](const Place& place) { return place.directions[c]; });
  }
}

TEST_P(EveryMemory, ValuesAreJudgedByWhatFollowsTheTopTrigger) {
  const MemoriesOptions how = options(testing::made_up_lines(40, 25, 22));
  const Memories found = measure_memories(model_, tokenizer_, how);
  ASSERT_EQ(static_cast<int64_t>(found.keys.size()), 6 * model_.config().layers);
  for (const MemoryKey& key : found.keys) {
    SCOPED_TRACE(neuron_name(key.neuron));
    ASSERT_FALSE(key.triggers.empty());
    const auto logits_of = [&](NeuronId id) {
      return read_vectors(model_, value_vectors(model_, id.layer, {id.neuron}))[0];
    };
    const int64_t next = key.triggers.front().next;
    const at::Tensor own = logits_of(key.neuron);
    EXPECT_EQ(key.top_token, own.argmax().item<int64_t>());
    EXPECT_NEAR(key.top_p, own.softmax(0).max().item<double>(), 1e-6);
    EXPECT_NEAR(static_cast<double>(key.rank), 1 + own.gt(own[next]).sum().item<double>(), 1);
    EXPECT_EQ(key.agrees, key.top_token == next);
    int64_t others = 0;
    int64_t same = 0;
    bool rank_of_another = false;
    for (const MemoryKey& other : found.keys) {
      if (other.neuron.layer != key.neuron.layer || other.neuron == key.neuron) continue;
      ++others;
      same += other.top_token == next ? 1 : 0;
      const at::Tensor theirs = logits_of(other.neuron);
      const auto rank = 1 + theirs.gt(theirs[next]).sum().item<int64_t>();
      rank_of_another = rank_of_another || std::abs(rank - key.chance_rank) <= 1;
    }
    EXPECT_EQ(others, 5);
    EXPECT_DOUBLE_EQ(key.chance, static_cast<double>(same) / 5);
    EXPECT_TRUE(rank_of_another);
    EXPECT_EQ(key.has_pattern, key.shared >= 3);
    EXPECT_LE(key.triggers.size(), kTriggers);
  }
}

TEST_P(EveryMemory, MeansAreThoseOfTheKeys) {
  const MemoriesOptions how = options(testing::made_up_lines(30, 20, 23));
  const Memories found = measure_memories(model_, tokenizer_, how);
  ASSERT_EQ(static_cast<int64_t>(found.layers.size()), model_.config().layers);
  std::vector<MemoryMeans> all = found.layers;
  all.push_back(found.all);
  for (const MemoryMeans& means : all) {
    double keys = 0;
    double patterns = 0;
    double directions = 0;
    double agreed = 0;
    double chance = 0;
    double rank = 0;
    for (const MemoryKey& key : found.keys) {
      if (means.layer >= 0 && key.neuron.layer != means.layer) continue;
      keys += 1;
      patterns += key.has_pattern ? 1 : 0;
      directions += key.direction_pattern ? 1 : 0;
      agreed += key.agrees ? 1 : 0;
      chance += key.chance;
      rank += static_cast<double>(key.rank);
    }
    EXPECT_EQ(means.keys, static_cast<int64_t>(keys));
    EXPECT_EQ(means.triggered, means.keys);
    EXPECT_DOUBLE_EQ(means.pattern.value, patterns / keys);
    EXPECT_DOUBLE_EQ(means.direction_pattern.value, directions / keys);
    EXPECT_DOUBLE_EQ(means.above_direction.value, (patterns - directions) / keys);
    EXPECT_DOUBLE_EQ(means.agreement.value, agreed / keys);
    EXPECT_NEAR(means.chance.value, chance / keys, 1e-12);
    EXPECT_NEAR(means.rank.value, rank / keys, 1e-9);
    EXPECT_LE(means.rank.low, means.rank.value);
    EXPECT_GE(means.rank.high, means.rank.value);
    EXPECT_LT(means.rank.low, means.rank.high);
  }
  int64_t held = 0;
  for (size_t b = 0; b < found.bins.size(); ++b) {
    held += found.bins[b].keys;
    EXPECT_LE(found.bins[b].low, found.bins[b].high);
    if (b > 0) {
      EXPECT_GE(found.bins[b].low, found.bins[b - 1].high);
    }
  }
  EXPECT_EQ(held, found.all.keys);
  EXPECT_EQ(found.bins.size(), 10U);
}

TEST_P(EveryMemory, TheSeedChoosesAndNothingElse) {
  MemoriesOptions how = options(testing::made_up_lines(30, 20, 24));
  how.masks = 2;
  how.corpus.threads = 1;
  const Memories one = measure_memories(model_, tokenizer_, how);
  how.corpus.threads = 3;
  how.corpus.memory_bytes = 1;
  const Memories same = measure_memories(model_, tokenizer_, how);
  how.seed = 4;
  const Memories other = measure_memories(model_, tokenizer_, how);
  ASSERT_EQ(one.keys.size(), same.keys.size());
  bool differs = false;
  for (size_t i = 0; i < one.keys.size(); ++i) {
    EXPECT_EQ(one.keys[i].neuron, same.keys[i].neuron);
    EXPECT_EQ(one.keys[i].rank, same.keys[i].rank);
    EXPECT_EQ(one.keys[i].chance_rank, same.keys[i].chance_rank);
    EXPECT_EQ(one.keys[i].pattern, same.keys[i].pattern);
    EXPECT_EQ(one.keys[i].shuffled_pattern, same.keys[i].shuffled_pattern);
    ASSERT_EQ(one.keys[i].triggers.size(), same.keys[i].triggers.size());
    for (size_t t = 0; t < one.keys[i].triggers.size(); ++t) {
      EXPECT_EQ(one.keys[i].triggers[t].activation, same.keys[i].triggers[t].activation);
    }
    differs = differs || one.keys[i].neuron != other.keys[i].neuron;
  }
  EXPECT_TRUE(differs);
}

INSTANTIATE_TEST_SUITE_P(, EveryMemory,
                         ::testing::Values("bert-tiny", "electra-tiny", "gpt2-tiny",
                                           "gpt-neox-tiny", "llama-tiny", "gemma-tiny"),
                         testing::test_name);

TEST(Memories, DirectionsAreAsLongAsTheKeysAndNoMore) {
  for (const char* name : {"gpt2-tiny", "llama-tiny"}) {
    const Model model = Model::load(testing::stored_oracle(name));
    const std::vector<int64_t> keys{0, 5, 7};
    const LayerWeights& w = model.weights().layers[1];
    const Directions found = random_directions(model, 1, keys, 9);
    EXPECT_EQ(found.gate.defined(), model.config().gated_ffn);
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      EXPECT_NEAR(found.in[row].norm().item<float>(), w.ffn_in_weight[keys[i]].norm().item<float>(),
                  1e-5F);
    }
    EXPECT_TRUE(at::equal(found.in, random_directions(model, 1, keys, 9).in));
    EXPECT_FALSE(at::equal(found.in, random_directions(model, 1, keys, 8).in));
    EXPECT_FALSE(at::equal(found.in, random_directions(model, 0, keys, 9).in));
  }
}

TEST(Memories, RefusesWhatCannotBeMeant) {
  const auto path = testing::stored_oracle("bert-tiny");
  const Model model = Model::load(path);
  const Tokenizer tokenizer = Tokenizer::load(path);
  const TemporaryFolder folder;
  MemoriesOptions how;
  how.corpus.file = folder.file("corpus.txt");
  testing::write_corpus(how.corpus.file, "\n\n");
  EXPECT_THROW(measure_memories(model, tokenizer, how), InputError);
  how.keys = 1;
  EXPECT_THROW(measure_memories(model, tokenizer, how), UsageError);
  how.keys = 2;
  how.masks = 0;
  EXPECT_THROW(measure_memories(model, tokenizer, how), UsageError);
  how.masks = 1;
  how.corpus.file = folder.file("none.txt");
  EXPECT_THROW(measure_memories(model, tokenizer, how), FileError);
}

}  // namespace
}  // namespace engram
