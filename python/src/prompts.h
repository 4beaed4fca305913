#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <tuple>
#include <vector>

#include "cli/common.h"
#include "engram/intervention/measure.h"
#include "engram/text/cloze.h"

namespace engram::python {

/// A prompt as Python has it: ids, positions, answer, and the token at which neurons count; -1:
/// where the answer is asked.
using PromptTuple =
    std::tuple<std::vector<int64_t>, std::vector<int64_t>, std::vector<int64_t>, int64_t>;

inline Cloze cloze_of(const PromptTuple& prompt) {
  Cloze cloze{std::get<0>(prompt), std::get<1>(prompt), std::get<2>(prompt)};
  if (std::get<3>(prompt) >= 0) cloze.neurons_at = std::get<3>(prompt);
  return cloze;
}

inline PromptTuple tuple_of(const Cloze& cloze) {
  return {cloze.ids, cloze.positions, cloze.answer, cloze.neurons_at.value_or(-1)};
}

inline std::vector<Cloze> clozes_of(const std::vector<PromptTuple>& prompts) {
  std::vector<Cloze> clozes;
  clozes.reserve(prompts.size());
  for (const PromptTuple& prompt : prompts) clozes.push_back(cloze_of(prompt));
  return clozes;
}

/// Layer, neuron, factor, summand: as NeuronChange.
using ChangeTuple = std::tuple<int32_t, int32_t, float, float>;

inline std::vector<NeuronChange> changes_from(const std::vector<ChangeTuple>& changes) {
  std::vector<NeuronChange> out;
  out.reserve(changes.size());
  for (const auto& [layer, neuron, factor, summand] : changes) {
    out.push_back({{layer, neuron}, factor, summand});
  }
  return out;
}

using NeuronTuple = std::tuple<int32_t, int32_t>;

inline std::vector<NeuronId> neurons_from(const std::vector<NeuronTuple>& neurons) {
  std::vector<NeuronId> out;
  out.reserve(neurons.size());
  for (const auto& [layer, neuron] : neurons) out.push_back({layer, neuron});
  return out;
}

}  // namespace engram::python
