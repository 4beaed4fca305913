#include "engram/reading/activity.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engram/error.h"
#include "reading/windows.h"

namespace engram {
namespace {

constexpr int64_t kBlockTokens = 16384;  // read, run and gone through at once

/// The extreme windows of one end.
class Extremes {
 public:
  Extremes(int64_t top, bool lowest) : top_(static_cast<size_t>(top)), lowest_(lowest) {}

  [[nodiscard]] bool better(float a, float b) const { return lowest_ ? a < b : a > b; }
  /// May a text with this activation still get in?
  [[nodiscard]] bool open(float value) const {
    return kept_.size() < top_ || better(value, kept_.back().activation);
  }
  /// Texts come in the order of the file.
  void add(Trigger&& trigger) {
    if (std::ranges::find(kept_, trigger.ids, &Trigger::ids) != kept_.end()) return;
    const auto place = std::ranges::find_if(
        kept_, [&](const Trigger& kept) { return better(trigger.activation, kept.activation); });
    kept_.insert(place, std::move(trigger));
    if (kept_.size() > top_) kept_.pop_back();
  }
  [[nodiscard]] std::vector<Trigger> take() { return std::move(kept_); }

 private:
  size_t top_;
  bool lowest_;
  std::vector<Trigger> kept_;
};

/// `values` [tokens] of a window's text.
void offer(const Tokenizer& tokenizer, const Window& window, const std::vector<float>& values,
           bool prefix, Extremes& extremes) {
  int64_t at = -1;
  for (int64_t t = 0; t < window.count; ++t) {
    const int64_t id = window.ids[static_cast<size_t>(window.first + t)];
    if (!is_text(tokenizer, id)) continue;
    const auto value = values[static_cast<size_t>(t)];
    if (at < 0 || extremes.better(value, values[static_cast<size_t>(at)])) at = t;
  }
  if (at < 0 || !extremes.open(values[static_cast<size_t>(at)])) return;
  Trigger trigger;
  trigger.activation = values[static_cast<size_t>(at)];
  trigger.line = window.line;
  for (int64_t t = 0; t < (prefix ? at + 1 : window.count); ++t) {
    const int64_t id = window.ids[static_cast<size_t>(window.first + t)];
    if (!is_text(tokenizer, id)) continue;
    if (t == at) trigger.at = static_cast<int64_t>(trigger.ids.size());
    trigger.ids.push_back(id);
    trigger.values.push_back(values[static_cast<size_t>(t)]);
  }
  extremes.add(std::move(trigger));
}

}  // namespace

void check_neuron(const ModelConfig& config, NeuronId neuron) {
  if (neuron.layer >= 0 && neuron.layer < config.layers && neuron.neuron >= 0 &&
      neuron.neuron < config.d_ff) {
    return;
  }
  throw InputError("neuron " + neuron_name(neuron) + " does not exist: the model has layers 0.." +
                   std::to_string(config.layers - 1) + " of neurons 0.." +
                   std::to_string(config.d_ff - 1));
}

Activity neuron_activity(const Model& model, const Tokenizer& tokenizer, NeuronId neuron,
                         int64_t top, const CorpusOptions& options,
                         const CorpusProgress& progress) {
  if (top < 1) {
    throw UsageError("got " + std::to_string(top) + " texts to keep, expected 1 or more");
  }
  check_neuron(model.config(), neuron);
  WindowReader reader(tokenizer, model.config(), options);
  WindowRunner runner(model, options.threads, options.memory_bytes);
  Extremes most(top, false);
  Extremes least(top, true);
  Activity activity;
  const bool prefix = model.config().causal();
  for (;;) {
    const std::vector<Window> windows = reader.next(kBlockTokens);
    if (windows.empty()) break;
    std::vector<std::vector<float>> values(windows.size());
    runner.run(
        windows, [&](const std::vector<size_t>& members, const Chunk& chunk, Passes& passes) {
          passes.read_activations(chunk, neuron.layer, [&](int64_t layer, const at::Tensor& a) {
            if (layer != neuron.layer) return;
            const at::Tensor column = a.select(1, neuron.neuron).to(at::kCPU).contiguous();
            const float* of = column.const_data_ptr<float>();
            for (size_t m = 0; m < members.size(); ++m) {
              const Window& window = windows[members[m]];
              const float* begin = of + chunk.begin[m] + window.first;
              values[members[m]].assign(begin, begin + window.count);
            }
          });
        });
    for (size_t i = 0; i < windows.size(); ++i) {
      const Window& window = windows[i];
      for (int64_t t = 0; t < window.count; ++t) {
        if (!is_text(tokenizer, window.ids[static_cast<size_t>(window.first + t)])) continue;
        activity.distribution.add(values[i][static_cast<size_t>(t)]);
      }
      offer(tokenizer, window, values[i], prefix, most);
      offer(tokenizer, window, values[i], prefix, least);
    }
    if (progress) progress(reader.counts());
  }
  activity.counts = reader.counts();
  if (activity.distribution.count() == 0) {
    throw InputError(options.file.string() + ": got no text in " +
                     std::to_string(activity.counts.lines) +
                     " lines, expected one sentence or paragraph per line");
  }
  activity.most = most.take();
  activity.least = least.take();
  return activity;
}

}  // namespace engram
