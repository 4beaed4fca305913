#include "engram/intervention/intervention.h"

#include <charconv>
#include <cmath>

#include "engram/error.h"

namespace engram {

Intervention parse_intervention(std::string_view text) {
  if (text == "zero") return {InterventionKind::kZero, 0.0};
  if (text == "mean") return {InterventionKind::kMean, 0.0};
  if (text == "resample") return {InterventionKind::kResample, 0.0};
  if (text == "double") return {InterventionKind::kDouble, 2.0};
  constexpr std::string_view kPrefix = "scale:";
  if (text.starts_with(kPrefix)) {
    const std::string_view number = text.substr(kPrefix.size());
    double factor = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), factor);
    if (error == std::errc() && end == number.data() + number.size() &&
        std::isfinite(static_cast<float>(factor))) {
      return {InterventionKind::kScale, factor};
    }
    throw UsageError("'" + std::string(text) + "': scale: takes a finite number, as in scale:0.5");
  }
  throw UsageError("'" + std::string(text) +
                   "' is no intervention; expected zero, mean, resample, double or scale:X");
}

std::string intervention_name(const Intervention& intervention) {
  switch (intervention.kind) {
    case InterventionKind::kZero:
      return "zero";
    case InterventionKind::kMean:
      return "mean";
    case InterventionKind::kResample:
      return "resample";
    case InterventionKind::kDouble:
      return "double";
    case InterventionKind::kScale: {
      char buffer[32];
      const auto result = std::to_chars(buffer, buffer + sizeof buffer, intervention.factor);
      return "scale:" + std::string(buffer, result.ptr);
    }
  }
  throw InternalError("intervention_name: unknown kind");
}

bool needs_reference(const Intervention& intervention) {
  return intervention.kind == InterventionKind::kMean ||
         intervention.kind == InterventionKind::kResample;
}

std::vector<NeuronChange> changes_of(const Intervention& intervention,
                                     std::span<const NeuronId> neurons, const at::Tensor& values) {
  std::vector<NeuronChange> changes;
  changes.reserve(neurons.size());
  const bool reference = needs_reference(intervention);
  if (reference && (!values.defined() || values.dim() != 2 || !values.is_contiguous() ||
                    values.scalar_type() != at::kFloat)) {
    throw InternalError("changes_of: the reference must be float32 [layers, d_ff]");
  }
  for (const NeuronId id : neurons) {
    switch (intervention.kind) {
      case InterventionKind::kZero:
        changes.push_back({id, 0.0F, 0.0F});
        break;
      case InterventionKind::kMean:
      case InterventionKind::kResample:
        changes.push_back(
            {id, 0.0F, values.const_data_ptr<float>()[id.layer * values.size(1) + id.neuron]});
        break;
      case InterventionKind::kDouble:
        changes.push_back({id, 2.0F, 0.0F});
        break;
      case InterventionKind::kScale:
        // By one: nothing to run, and no rounding that looks like an effect.
        if (intervention.factor == 1.0) break;
        changes.push_back({id, static_cast<float>(intervention.factor), 0.0F});
        break;
    }
  }
  return changes;
}

}  // namespace engram
