#include "engram/intervention/operation.h"

#include <charconv>
#include <cmath>

#include "engram/error.h"

namespace engram {

Manipulation parse_manipulation(std::string_view text) {
  if (text == "zero") return {Operation::kZero, 0.0};
  if (text == "mean") return {Operation::kMean, 0.0};
  if (text == "resample") return {Operation::kResample, 0.0};
  if (text == "double") return {Operation::kDouble, 2.0};
  constexpr std::string_view kPrefix = "scale:";
  if (text.starts_with(kPrefix)) {
    const std::string_view number = text.substr(kPrefix.size());
    double factor = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), factor);
    if (error == std::errc() && end == number.data() + number.size() &&
        std::isfinite(static_cast<float>(factor))) {
      return {Operation::kScale, factor};
    }
    throw UsageError("'" + std::string(text) + "': scale: takes a finite number, as in scale:0.5");
  }
  throw UsageError("'" + std::string(text) +
                   "' is no operation; expected zero, mean, resample, double or scale:X");
}

std::string manipulation_name(const Manipulation& manipulation) {
  switch (manipulation.operation) {
    case Operation::kZero:
      return "zero";
    case Operation::kMean:
      return "mean";
    case Operation::kResample:
      return "resample";
    case Operation::kDouble:
      return "double";
    case Operation::kScale: {
      char buffer[32];
      const auto result = std::to_chars(buffer, buffer + sizeof buffer, manipulation.factor);
      return "scale:" + std::string(buffer, result.ptr);
    }
  }
  throw InternalError("manipulation_name: unknown operation");
}

bool needs_reference(const Manipulation& manipulation) {
  return manipulation.operation == Operation::kMean ||
         manipulation.operation == Operation::kResample;
}

std::vector<NeuronChange> changes_of(const Manipulation& manipulation,
                                     std::span<const NeuronId> neurons, const at::Tensor& values) {
  std::vector<NeuronChange> changes;
  changes.reserve(neurons.size());
  const bool reference = needs_reference(manipulation);
  if (reference && (!values.defined() || values.dim() != 2 || !values.is_contiguous() ||
                    values.scalar_type() != at::kFloat)) {
    throw InternalError("changes_of: the reference must be float32 [layers, d_ff]");
  }
  for (const NeuronId id : neurons) {
    switch (manipulation.operation) {
      case Operation::kZero:
        changes.push_back({id, 0.0F, 0.0F});
        break;
      case Operation::kMean:
      case Operation::kResample:
        changes.push_back(
            {id, 0.0F, values.const_data_ptr<float>()[id.layer * values.size(1) + id.neuron]});
        break;
      case Operation::kDouble:
        changes.push_back({id, 2.0F, 0.0F});
        break;
      case Operation::kScale:
        // By one: nothing to run, and no rounding that looks like an effect.
        if (manipulation.factor == 1.0) break;
        changes.push_back({id, static_cast<float>(manipulation.factor), 0.0F});
        break;
    }
  }
  return changes;
}

}  // namespace engram
