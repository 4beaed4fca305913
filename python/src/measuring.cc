// Prompts measured with neurons changed.
#include "engram/intervention/measure.h"

#include <string>
#include <vector>

#include "call.h"
#include "cli/common.h"
#include "engram/intervention/intervention.h"
#include "engram/neurons/located.h"
#include "options.h"
#include "parts.h"
#include "prompts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

using cli::LoadedModel;

MeasureOptions measure_options(const nb::dict& given) {
  MeasureOptions how;
  Options options(given);
  options.take("threads", how.threads);
  options.take("memory_bytes", how.memory_bytes);
  options.done();
  return how;
}

/// log P, P, rank, log-odds.
using AnsweredTuple = std::tuple<double, double, int64_t, double>;

std::vector<AnsweredTuple> tuples_of(const std::vector<Answered>& answered) {
  std::vector<AnsweredTuple> out;
  out.reserve(answered.size());
  for (const Answered& one : answered) {
    out.emplace_back(one.log_p, one.p, one.rank, one.log_odds);
  }
  return out;
}

nb::tuple measure_prompts(const LoadedModel& loaded, const std::vector<PromptTuple>& prompts,
                          const std::vector<std::vector<ChangeTuple>>& sets,
                          const std::vector<std::tuple<uint32_t, uint32_t>>& given,
                          const nb::dict& options) {
  const std::vector<Cloze> clozes = clozes_of(prompts);
  std::vector<std::vector<NeuronChange>> changes;
  for (const std::vector<ChangeTuple>& set : sets) changes.push_back(changes_from(set));
  std::vector<Trial> trials;
  for (const auto& [cloze, set] : given) trials.push_back({cloze, set});
  const MeasureOptions how = measure_options(options);
  const Measured found = call([&] { return measure(loaded.model, clozes, changes, trials, how); });
  return nb::make_tuple(tuples_of(found.before), tuples_of(found.after));
}

std::vector<ChangeTuple> changes(const std::string& what, const std::vector<NeuronTuple>& neurons,
                                 const at::Tensor& values) {
  const Intervention intervention = parse_intervention(what);
  if (needs_reference(intervention) && !values.defined()) {
    throw UsageError("do=\"" + what + "\" needs values: a tensor [layers, d_ff] of activations");
  }
  std::vector<ChangeTuple> out;
  for (const NeuronChange& change : changes_of(intervention, neurons_from(neurons), values)) {
    out.emplace_back(change.id.layer, change.id.neuron, change.factor, change.summand);
  }
  return out;
}

}  // namespace

void add_measuring(nb::module_& module) {
  module.def("measure", measure_prompts, nb::arg("model"), nb::arg("prompts"), nb::arg("sets"),
             nb::arg("trials"), nb::arg("options"));
  module.def("changes", changes, nb::arg("do"), nb::arg("neurons"), nb::arg("values").none());
  module.def(
      "activations",
      [](const LoadedModel& loaded, const std::vector<PromptTuple>& prompts,
         const nb::dict& options) {
        const std::vector<Cloze> clozes = clozes_of(prompts);
        const MeasureOptions how = measure_options(options);
        return plain(call([&] { return mask_activations(loaded.model, clozes, how); }));
      },
      nb::arg("model"), nb::arg("prompts"), nb::arg("options"));
  module.def("parse_neurons", [](const std::string& text) {
    std::vector<NeuronTuple> out;
    for (const NeuronId id : parse_neurons(text)) out.emplace_back(id.layer, id.neuron);
    return out;
  });
}

}  // namespace engram::python
