// Value vectors rewritten, and the files that hold such edits.
#include <optional>
#include <string>
#include <vector>

#include "call.h"
#include "cli/common.h"
#include "engram/edit/delta.h"
#include "engram/edit/values.h"
#include "engram/edit/working_copy.h"
#include "options.h"
#include "parts.h"
#include "prompts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

using cli::LoadedModel;

std::vector<NeuronTuple> tuples_of(const std::vector<NeuronId>& neurons) {
  std::vector<NeuronTuple> out;
  for (const NeuronId id : neurons) out.emplace_back(id.layer, id.neuron);
  return out;
}

nb::dict dict_of(const Delta& delta) {
  const EditReason& why = delta.why;
  nb::dict out;
  out["base"] = delta.base;
  out["kind"] = edit_kind_name(why.kind);
  out["relation"] = why.relation;
  out["subject"] = why.subject;
  out["object"] = why.object;
  out["target"] = why.target;
  out["lambda1"] = why.lambda1;
  out["lambda2"] = why.lambda2;
  out["mode"] = erase_mode_name(why.mode);
  out["score"] = why.score;
  out["rule"] = why.rule;
  out["selection"] = why.selection;
  out["version"] = why.version;
  nb::list effects;
  for (const SideEffect& one : why.side_effects) {
    effects.append(
        nb::make_tuple(one.scope, one.facts, one.right_before, one.right_after, one.lost));
  }
  out["side_effects"] = effects;
  const ValueEdit edit = delta.values();
  out["neurons"] = tuples_of(edit.neurons);
  out["values"] = plain(edit.values);
  return out;
}

/// A delta of value vectors that Python gives: `what` is dict_of() without what the files know.
void save_delta(const std::string& file, const std::string& model,
                const std::vector<NeuronTuple>& neurons, const at::Tensor& values,
                const nb::dict& what) {
  EditReason why;
  Options options(what);
  options.text("kind", [&](const std::string& kind) {
    why.kind = kind == "erase" ? EditKind::kErase : EditKind::kUpdate;
  });
  options.take("relation", why.relation);
  options.take("subject", why.subject);
  options.take("object", why.object);
  options.take("target", why.target);
  options.take("lambda1", why.lambda1);
  options.take("lambda2", why.lambda2);
  options.text("mode", [&](const std::string& mode) { why.mode = parse_erase_mode(mode); });
  options.take("score", why.score);
  options.take("rule", why.rule);
  options.take("selection", why.selection);
  options.done();
  why.version = ENGRAM_VERSION;
  const ValueEdit edit{neurons_from(neurons), values.to(at::kCPU, at::kFloat).contiguous()};
  call([&] { write_delta(file, make_delta(model, edit_base(model), edit, why)); });
}

}  // namespace

void add_edits(nb::module_& module) {
  module.def(
      "value_vectors",
      [](const LoadedModel& loaded, const std::vector<NeuronTuple>& neurons) {
        return plain(call([&] { return value_vectors(loaded.model, neurons_from(neurons)); }));
      },
      nb::arg("model"), nb::arg("neurons"));
  module.def(
      "update_values",
      [](const LoadedModel& loaded, const std::vector<NeuronTuple>& neurons,
         const std::vector<int64_t>& old_answer, const std::vector<int64_t>& new_answer,
         double lambda1, double lambda2, const std::optional<std::string>& embedding) {
        std::optional<AnswerEmbedding> which;
        if (embedding) which = parse_answer_embedding(*embedding);
        return plain(call([&] {
          return update_values(loaded.model, neurons_from(neurons), old_answer, new_answer, lambda1,
                               lambda2, which)
              .values;
        }));
      },
      nb::arg("model"), nb::arg("neurons"), nb::arg("old_answer"), nb::arg("new_answer"),
      nb::arg("lambda1"), nb::arg("lambda2"), nb::arg("embedding").none());
  module.def(
      "erase_values",
      [](const LoadedModel& loaded, const std::vector<NeuronTuple>& neurons,
         const std::string& mode) {
        return plain(call([&] {
          return erase_values(loaded.model, neurons_from(neurons), parse_erase_mode(mode),
                              loaded.tokenizer.unknown_id())
              .values;
        }));
      },
      nb::arg("model"), nb::arg("neurons"), nb::arg("mode"));
  module.def("read_delta", [](const std::string& file) {
    return dict_of(call([&] { return read_delta(file); }));
  });
  module.def("save_delta", save_delta, nb::arg("file"), nb::arg("model"), nb::arg("neurons"),
             nb::arg("values"), nb::arg("what"));
  module.def("edit_base",
             [](const std::string& folder) { return call([&] { return edit_base(folder); }); });
}

}  // namespace engram::python
