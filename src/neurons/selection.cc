#include "engram/neurons/selection.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "engram/error.h"
#include "statistics/share.h"

namespace engram {
namespace {

/// Neurons of the bag that enough of its prompts agree on.
bool agreed(int64_t passed, int64_t prompts, double share, const SelectionOptions& options) {
  const bool enough = options.above_share ? above_share(passed, share, prompts)
                                          : reaches_share(passed, share, prompts);
  return enough && passed >= options.min_prompts;
}

std::vector<CountedNeuron> refine(const Bag& bag, double share, const SelectionOptions& options) {
  std::vector<CountedNeuron> kept;
  for (const CountedNeuron& neuron : bag.neurons) {
    if (agreed(neuron.prompts, bag.prompts, share, options)) kept.push_back(neuron);
  }
  return kept;
}

/// Neurons of the bag whose place in the set hangs on scores near the threshold.
std::vector<NeuronId> refine_near(const Bag& bag, double share, const SelectionOptions& options) {
  std::vector<NeuronId> found;
  for (const NearNeuron& neuron : bag.near) {
    if (agreed(neuron.fewest, bag.prompts, share, options) !=
        agreed(neuron.most, bag.prompts, share, options)) {
      found.push_back(neuron.id);
    }
  }
  return found;
}

/// The neurons that are near the threshold on some of a fact's prompts, with how often they pass.
std::vector<NearNeuron> near_neurons(std::span<const PromptNeurons> prompts,
                                     std::span<const CountedNeuron> passing) {
  std::map<NeuronId, NearNeuron> near;
  for (const PromptNeurons& prompt : prompts) {
    for (const ScoredNeuron& one : prompt.near) {
      NearNeuron& neuron = near.try_emplace(one.id, NearNeuron{one.id, 0, 0}).first->second;
      const bool passes = std::ranges::binary_search(prompt.neurons, one.id, {}, &ScoredNeuron::id);
      if (passes) {
        --neuron.fewest;
      } else {
        ++neuron.most;
      }
    }
  }
  std::vector<NearNeuron> list;
  for (auto& [id, neuron] : near) {
    const auto at = std::ranges::lower_bound(passing, id, {}, &CountedNeuron::id);
    const int32_t passed = at != passing.end() && at->id == id ? at->prompts : 0;
    neuron.fewest += passed;
    neuron.most += passed;
    list.push_back(neuron);
  }
  return list;
}

}  // namespace

SelectionOptions selection_preset(std::string_view name, Score score) {
  SelectionOptions options;
  if (name == "dai2022") {
    options.ratio = score_method(score).ratio;
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
  const double margin = kNearThreshold * static_cast<double>(result.largest);
  const int64_t d_ff = contiguous.size(1);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    if (value < threshold - margin) continue;
    const ScoredNeuron neuron{{static_cast<int32_t>(static_cast<int64_t>(i) / d_ff),
                               static_cast<int32_t>(static_cast<int64_t>(i) % d_ff)},
                              values[i]};
    if (options.above_ratio ? value > threshold : value >= threshold) {
      result.neurons.push_back(neuron);
    }
    if (value <= threshold + margin) result.near.push_back(neuron);
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
  bag.near = near_neurons(prompts, bag.neurons);
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
  result.near.resize(bags.size());
  for (size_t i = 0; i < bags.size(); ++i) {
    if (bags[i].prompts >= options.min_bag) {
      result.near[i] = refine_near(bags[i], result.share, options);
      continue;
    }
    // What was not refined holds whatever passes anywhere.
    for (const NearNeuron& neuron : bags[i].near) {
      if ((neuron.fewest > 0) != (neuron.most > 0)) result.near[i].push_back(neuron.id);
    }
  }
  return result;
}

}  // namespace engram
