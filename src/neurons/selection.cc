#include "engram/neurons/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engram/error.h"
#include "neurons/share.h"

namespace engram {
namespace {

/// Neurons of the bag that enough of its prompts agree on.
std::vector<CountedNeuron> refine(const Bag& bag, double share, const SelectionOptions& options) {
  std::vector<CountedNeuron> kept;
  for (const CountedNeuron& neuron : bag.neurons) {
    const bool enough = options.above_share ? above_share(neuron.prompts, share, bag.prompts)
                                            : reaches_share(neuron.prompts, share, bag.prompts);
    if (enough && neuron.prompts >= options.min_prompts) kept.push_back(neuron);
  }
  return kept;
}

}  // namespace

SelectionOptions selection_preset(std::string_view name, Score score) {
  SelectionOptions options;
  if (name == "dai2022") {
    if (score == Score::kActivation) options.ratio = 0.5;
    return options;
  }
  if (name == "eleuther" || name == "eleuther-pararel") {
    options.ratio = 0.3;
    options.above_ratio = true;
    options.share = name == "eleuther" ? 0.5 : 0.3;
    options.above_share = true;
    options.min_prompts = 1;
    options.adapt = false;
    return options;
  }
  throw UsageError("'" + std::string(name) +
                   "' is no preset; expected dai2022, eleuther or eleuther-pararel");
}

void check_selection(const SelectionOptions& options) {
  const auto require = [](bool right, const std::string& what) {
    if (!right) throw UsageError(what);
  };
  require(options.ratio > 0 && options.ratio <= 1, "the ratio must lie in (0, 1]");
  require(options.share >= 0 && options.share <= 1, "the share of prompts must lie in [0, 1]");
  require(options.min_prompts >= 1, "the smallest number of prompts must be at least 1");
  require(options.min_bag >= 1, "the smallest bag must be at least 1");
  require(options.step > 0 && options.step <= 1, "the step of the share must lie in (0, 1]");
  require(options.fewest >= 0 && options.most >= options.fewest,
          "the wanted mean number of neurons must be a range from 0 up");
  require(options.passes >= 1, "at least one pass is needed");
}

PromptNeurons passing_neurons(const at::Tensor& scores, const SelectionOptions& options) {
  if (scores.dim() != 2 || scores.scalar_type() != at::kFloat || !scores.is_cpu()) {
    throw InternalError("passing_neurons: scores must be float32 [layers, d_ff] on the CPU");
  }
  const at::Tensor contiguous = scores.contiguous();
  const std::span<const float> values(contiguous.const_data_ptr<float>(),
                                      static_cast<size_t>(contiguous.numel()));
  PromptNeurons result;
  result.largest = -std::numeric_limits<float>::infinity();
  for (const float value : values) {
    if (!std::isfinite(value)) throw InputError("a score is not a finite number");
    result.largest = std::max(result.largest, value);
  }
  // A fraction of a negative number lies above it: nothing passes. Nor is a zero a reason.
  if (!(result.largest > 0)) return result;
  const double threshold = options.ratio * static_cast<double>(result.largest);
  const int64_t d_ff = contiguous.size(1);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    if (options.above_ratio ? value > threshold : value >= threshold) {
      result.neurons.push_back({{static_cast<int32_t>(static_cast<int64_t>(i) / d_ff),
                                 static_cast<int32_t>(static_cast<int64_t>(i) % d_ff)},
                                values[i]});
    }
  }
  return result;
}

Bag make_bag(std::span<const PromptNeurons> prompts) {
  Bag bag;
  bag.prompts = static_cast<int64_t>(prompts.size());
  std::vector<ScoredNeuron> all;
  for (const PromptNeurons& prompt : prompts) {
    all.insert(all.end(), prompt.neurons.begin(), prompt.neurons.end());
  }
  std::ranges::stable_sort(all, {}, &ScoredNeuron::id);
  for (size_t begin = 0; begin < all.size();) {
    double sum = 0;
    size_t end = begin;
    for (; end < all.size() && all[end].id == all[begin].id; ++end) {
      sum += static_cast<double>(all[end].score);
    }
    const auto count = end - begin;
    bag.neurons.push_back({all[begin].id, static_cast<int32_t>(count),
                           static_cast<float>(sum / static_cast<double>(count))});
    begin = end;
  }
  return bag;
}

RelationSelection select_neurons(std::span<const Bag> bags, const SelectionOptions& options) {
  check_selection(options);
  RelationSelection result;
  result.unrefined.resize(bags.size());
  for (size_t i = 0; i < bags.size(); ++i) {
    if (bags[i].prompts >= options.min_bag) continue;
    result.unrefined[i] = bags[i].neurons;
    ++result.too_few;
  }
  double share = options.share;
  const int64_t passes = options.adapt ? options.passes : 1;
  for (int64_t pass = 1; pass <= passes; ++pass) {
    result.neurons.assign(bags.size(), {});
    size_t total = 0;
    for (size_t i = 0; i < bags.size(); ++i) {
      if (bags[i].prompts < options.min_bag) continue;
      result.neurons[i] = refine(bags[i], share, options);
      total += result.neurons[i].size();
    }
    result.share = share;
    result.passes = pass;
    result.mean = bags.empty() ? 0 : static_cast<double>(total) / static_cast<double>(bags.size());
    result.within =
        !options.adapt || (result.mean >= options.fewest && result.mean <= options.most);
    if (result.within) break;
    if (result.mean < options.fewest) share -= options.step;
    if (result.mean > options.most) share += options.step;
  }
  return result;
}

}  // namespace engram
