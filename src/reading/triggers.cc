#include "reading/triggers.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/random.h"
#include "engram/error.h"
#include "reading/directions.h"
#include "reading/seeds.h"
#include "reading/windows.h"

namespace engram {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
constexpr int64_t kMostTokens = 16384;  // of a block
constexpr int64_t kLeastTokens = 1024;
constexpr int64_t kBlockFloats = int64_t{1} << 26U;  // keys times tokens of a block, about

/// A window as it is run, and the places in it that count: those of a causal model's window, the
/// one mask of a copy of a masked model's.
struct Asked {
  size_t window = 0;            ///< of the block
  std::vector<int64_t> places;  ///< in the window's ids, ascending
};

/// Whether a token can be the next one, or be masked.
bool can_follow(const Tokenizer& tokenizer, int64_t id) {
  return id >= 0 && !tokenizer.is_special(id);
}

/// The token behind place `at` of a causal model's window; -1: the line ends.
int64_t next_token(const Window& window, int64_t at) {
  const bool inside = at + 1 < window.first + window.count;
  return inside ? window.ids[static_cast<size_t>(at) + 1] : window.next;
}

/// Prefixes of at least kPatternTail tokens that something follows.
std::vector<int64_t> prefix_ends(const Tokenizer& tokenizer, const Window& window) {
  std::vector<int64_t> places;
  for (int64_t t = kPatternTail - 1; t < window.count; ++t) {
    const int64_t at = window.first + t;
    if (!is_text(tokenizer, window.ids[static_cast<size_t>(at)])) continue;
    if (can_follow(tokenizer, next_token(window, at))) places.push_back(at);
  }
  return places;
}

/// Tokens of a masked model's window that may be masked.
std::vector<int64_t> maskable(const Tokenizer& tokenizer, const Window& window) {
  std::vector<int64_t> places;
  for (int64_t at = window.first; at < window.first + window.count; ++at) {
    if (can_follow(tokenizer, window.ids[static_cast<size_t>(at)])) places.push_back(at);
  }
  return places;
}

Context context_at(const Window& window, int64_t at, bool causal) {
  const int64_t end = causal ? at + 1 : at;
  const auto ids = window.ids.begin();
  Context context;
  context.before.assign(ids + std::max(window.first, end - kPatternTail), ids + end);
  if (!causal) {
    const int64_t last = window.first + window.count;
    context.behind.assign(ids + at + 1, ids + std::min(last, at + 1 + kPatternTail));
  }
  return context;
}

/// Of the text that the model sees when it is asked at `at`.
uint64_t hash_of(const Window& window, int64_t at, bool causal) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  const int64_t end = causal ? at + 1 : window.first + window.count;
  for (int64_t i = window.first; i < end; ++i) {
    const auto id =
        static_cast<uint64_t>(i == at && !causal ? -1 : window.ids[static_cast<size_t>(i)]);
    hash = (hash ^ id) * 0x100000001B3ULL;
  }
  return hash;
}

/// The most active places of one key.
class Heap {
 public:
  [[nodiscard]] bool open(float value) const {
    return std::isfinite(value) && (kept_.size() < kTriggers || value > kept_.back().activation);
  }
  /// Triggers come in the order of the file.
  void add(FoundTrigger&& trigger) {
    const auto same = std::ranges::find(kept_, trigger.text, &FoundTrigger::text);
    if (same != kept_.end()) return;
    const auto place = std::ranges::find_if(
        kept_, [&](const FoundTrigger& kept) { return trigger.activation > kept.activation; });
    kept_.insert(place, std::move(trigger));
    if (kept_.size() > kTriggers) kept_.pop_back();
  }
  [[nodiscard]] std::vector<FoundTrigger> take() { return std::move(kept_); }

 private:
  std::vector<FoundTrigger> kept_;
};

/// A seeded sample of things that come one after the other (Vitter 1985, algorithm R).
class Reservoir {
 public:
  explicit Reservoir(uint64_t seed) : random_(seed) {}
  void offer(Context&& context) {
    ++seen_;
    if (kept_.size() < kPatternSample) {
      kept_.push_back(std::move(context));
    } else if (const uint64_t place = random_.below(seen_); place < kPatternSample) {
      kept_[place] = std::move(context);
    }
  }
  [[nodiscard]] const std::vector<Context>& kept() const { return kept_; }
  [[nodiscard]] uint64_t below(uint64_t count) { return random_.below(count); }

 private:
  Random random_;
  uint64_t seen_ = 0;
  std::vector<Context> kept_;
};

/// What is read of a layer: its sampled keys, and behind them the directions.
struct LayerProbe {
  at::Tensor keys;  ///< [n] int64 on the model's device
  Directions directions;
  at::Tensor in_bias, gate_bias;  ///< [n] of the keys, undefined without a bias
};

at::Tensor product_with(const at::Tensor& input, const at::Tensor& rows, const at::Tensor& bias) {
  const at::Tensor out = input.matmul(rows.t());
  return bias.defined() ? out + bias : out;
}

class TriggerSearch {
 public:
  TriggerSearch(const Model& model, const Tokenizer& tokenizer,
                const std::vector<std::vector<int64_t>>& keys, const MemoriesOptions& options)
      : model_(model),
        tokenizer_(tokenizer),
        options_(options),
        causal_(model.config().causal()),
        random_(seed_of(options.seed, "random places", 0)),
        masked_(seed_of(options.seed, "masked tokens", 0)) {
    int64_t at = 0;
    for (size_t layer = 0; layer < keys.size(); ++layer) {
      begin_.push_back(at);
      const auto l = static_cast<int64_t>(layer);
      LayerProbe& probe = probes_.emplace_back();
      probe.keys = at::tensor(keys[layer], at::kLong).to(model.device());
      probe.directions = random_directions(model, l, keys[layer], options.seed);
      const LayerWeights& w = model.weights().layers[layer];
      if (w.ffn_in_bias.defined()) probe.in_bias = w.ffn_in_bias.index_select(0, probe.keys);
      if (w.ffn_gate_bias.defined()) probe.gate_bias = w.ffn_gate_bias.index_select(0, probe.keys);
      at += 2 * static_cast<int64_t>(keys[layer].size());
    }
    begin_.push_back(at);
    heaps_.resize(static_cast<size_t>(at));
  }

  [[nodiscard]] int64_t columns() const { return begin_.back(); }

  /// Tokens of the next block: what is held of it is bounded.
  [[nodiscard]] int64_t block_tokens() const {
    const int64_t fitting =
        std::clamp(kBlockFloats / std::max<int64_t>(columns(), 1), kLeastTokens, kMostTokens);
    return causal_ ? fitting : std::max<int64_t>(1, fitting / options_.masks);
  }

  void search(const std::vector<Window>& windows, WindowRunner& runner) {
    std::vector<Asked> asked;
    std::vector<Window> run;
    for (size_t i = 0; i < windows.size(); ++i) ask(windows, i, asked, run);
    // [asked, columns] the largest activation at the places, and the place.
    const auto rows = static_cast<int64_t>(asked.size());
    const at::Tensor values = at::full({rows, columns()}, kNone, at::kFloat);
    const at::Tensor places = at::zeros({rows, columns()}, at::kLong);
    runner.run(run, [&](const std::vector<size_t>& members, const Chunk& chunk, Passes& passes) {
      read(asked, members, chunk, passes, values, places);
    });
    collect(windows, asked, values, places);
  }

  [[nodiscard]] FoundTriggers take() {
    FoundTriggers found;
    for (size_t layer = 0; layer + 1 < begin_.size(); ++layer) {
      const int64_t n = (begin_[layer + 1] - begin_[layer]) / 2;
      for (int64_t i = 0; i < 2 * n; ++i) {
        (i < n ? found.keys : found.directions)
            .push_back(heaps_[static_cast<size_t>(begin_[layer] + i)].take());
      }
    }
    for (const Context& context : random_.kept()) found.random.add(context);
    found.places = places_;
    return found;
  }

 private:
  /// Adds what is run of a window, and offers a random place of it to the sample.
  void ask(const std::vector<Window>& windows, size_t i, std::vector<Asked>& asked,
           std::vector<Window>& run) {
    const Window& window = windows[i];
    std::vector<int64_t> places =
        causal_ ? prefix_ends(tokenizer_, window) : maskable(tokenizer_, window);
    if (places.empty()) return;
    random_.offer(context_at(window, places[random_.below(places.size())], causal_));
    if (causal_) {
      places_ += static_cast<int64_t>(places.size());
      asked.push_back({i, std::move(places)});
      run.push_back(window);
      return;
    }
    std::vector<uint64_t> chosen =
        masked_.sample(places.size(), static_cast<uint64_t>(options_.masks));
    std::ranges::sort(chosen);
    for (const uint64_t place : chosen) {
      Window copy = window;
      copy.ids[static_cast<size_t>(places[place])] = tokenizer_.mask_id();
      asked.push_back({i, {places[place]}});
      run.push_back(std::move(copy));
      ++places_;
    }
  }

  void read(const std::vector<Asked>& asked, const std::vector<size_t>& members, const Chunk& chunk,
            Passes& passes, const at::Tensor& values, const at::Tensor& places) const {
    std::vector<int64_t> rows;  // of the chunk, window after window
    for (size_t m = 0; m < members.size(); ++m) {
      for (const int64_t place : asked[members[m]].places) rows.push_back(chunk.begin[m] + place);
    }
    const at::Tensor index = at::tensor(rows, at::kLong).to(model_.device());
    const int64_t last = model_.config().layers - 1;
    passes.read_layers(
        chunk, last, [&](int64_t layer, const at::Tensor& input, const at::Tensor& a) {
          const auto l = static_cast<size_t>(layer);
          const at::Tensor of_layer = activations(layer, input.index_select(0, index), a, index);
          int64_t at = 0;
          for (const size_t member : members) {
            const auto count = static_cast<int64_t>(asked[member].places.size());
            const auto [value, place] = of_layer.narrow(0, at, count).max(0);
            const auto row = static_cast<int64_t>(member);
            const int64_t width = begin_[l + 1] - begin_[l];
            values[row].narrow(0, begin_[l], width).copy_(value);
            places[row].narrow(0, begin_[l], width).copy_(place);
            at += count;
          }
        });
  }

  /// [rows, 2n] of the sampled keys and of the directions, at the rows `index` of a chunk, of which
  /// `input` [rows, d_model] is what the FFN reads and `a` [all rows, d_ff] what it makes.
  [[nodiscard]] at::Tensor activations(int64_t layer, const at::Tensor& input, const at::Tensor& a,
                                       const at::Tensor& index) const {
    const LayerProbe& probe = probes_[static_cast<size_t>(layer)];
    const ModelConfig& config = model_.config();
    const at::Tensor up = product_with(input, probe.directions.in, probe.in_bias);
    const at::Tensor other =
        config.gated_ffn
            ? up * apply_activation(config.activation,
                                    product_with(input, probe.directions.gate, probe.gate_bias))
            : apply_activation(config.activation, up);
    return at::cat({a.index_select(1, probe.keys).index_select(0, index), other}, 1);
  }

  /// Puts the best place of each window into the heaps, in the order of the file.
  void collect(const std::vector<Window>& windows, const std::vector<Asked>& asked,
               const at::Tensor& values, const at::Tensor& places) {
    const float* value = values.const_data_ptr<float>();
    const int64_t* place = places.const_data_ptr<int64_t>();
    const int64_t width = columns();
    for (size_t begin = 0; begin < asked.size();) {
      size_t end = begin + 1;  // copies of one window stand together
      while (end < asked.size() && asked[end].window == asked[begin].window) ++end;
      const Window& window = windows[asked[begin].window];
      for (int64_t c = 0; c < width; ++c) {
        size_t best = begin;
        for (size_t i = begin + 1; i < end; ++i) {
          const auto row = static_cast<int64_t>(i);
          if (value[row * width + c] > value[static_cast<int64_t>(best) * width + c]) best = i;
        }
        const int64_t at = static_cast<int64_t>(best) * width + c;
        Heap& heap = heaps_[static_cast<size_t>(c)];
        if (!heap.open(value[at])) continue;
        heap.add(trigger(window, asked[best].places[static_cast<size_t>(place[at])], value[at]));
      }
      begin = end;
    }
  }

  [[nodiscard]] FoundTrigger trigger(const Window& window, int64_t at, float activation) const {
    FoundTrigger made;
    made.activation = activation;
    made.line = window.line;
    made.text = hash_of(window, at, causal_);
    made.context = context_at(window, at, causal_);
    made.next = causal_ ? next_token(window, at) : window.ids[static_cast<size_t>(at)];
    return made;
  }

  const Model& model_;
  const Tokenizer& tokenizer_;
  const MemoriesOptions& options_;
  bool causal_;
  Reservoir random_;
  Random masked_;
  std::vector<LayerProbe> probes_;  ///< [layers]
  std::vector<int64_t> begin_;      ///< [layers + 1] columns of each layer: keys, then directions
  std::vector<Heap> heaps_;         ///< [columns]
  int64_t places_ = 0;
};

}  // namespace

FoundTriggers find_triggers(const Model& model, const Tokenizer& tokenizer,
                            const std::vector<std::vector<int64_t>>& keys,
                            const MemoriesOptions& options, const CorpusProgress& progress) {
  WindowReader reader(tokenizer, model.config(), options.corpus);
  WindowRunner runner(model, options.corpus.threads, options.corpus.memory_bytes);
  TriggerSearch search(model, tokenizer, keys, options);
  for (;;) {
    const std::vector<Window> windows = reader.next(search.block_tokens());
    if (windows.empty()) break;
    search.search(windows, runner);
    if (progress) progress(reader.counts());
  }
  FoundTriggers found = search.take();
  found.counts = reader.counts();
  if (found.places == 0) {
    throw InputError(options.corpus.file.string() + ": got no text of more than " +
                     std::to_string(model.config().causal() ? kPatternTail : 0) + " tokens in " +
                     std::to_string(found.counts.lines) +
                     " lines, expected one sentence or paragraph per line");
  }
  return found;
}

}  // namespace engram
