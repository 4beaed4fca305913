// Models: loading, weights, tokens, and the logits at a prompt's places.
#include <c10/core/InferenceMode.h>
#include <nanobind/stl/map.h>

#include <memory>
#include <string>
#include <utility>

#include "call.h"
#include "cli/common.h"
#include "edit/value_tensors.h"
#include "engram/base/interrupt.h"
#include "engram/edit/working_copy.h"
#include "engram/model/fingerprint.h"
#include "engram/model/hub.h"
#include "engram/model/tensor_source.h"
#include "engram/model/tensor_table.h"
#include "engram/text/prompt.h"
#include "parts.h"
#include "prompts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

using cli::LoadedModel;
using Tensors = std::map<std::string, at::Tensor>;

/// A model over tensors that belong to someone else, who may change them. Unless `fast`, nothing is
/// derived from them that would have to be made anew.
Model live_model(const std::string& config, const Tensors& tensors, bool fast) {
  Model model =
      Model::load(parse_config(config, "the module's config"), memory_source(tensors), at::kCPU);
  if (!fast) static_cast<void>(model.mutable_weights());
  return model;
}

LoadedModel from_memory(const std::string& config, const Tensors& tensors,
                        const std::string& tokenizer, bool fast) {
  return call([&] {
    LoadedModel loaded{live_model(config, tensors, fast), Tokenizer::load(tokenizer)};
    if (loaded.tokenizer.vocabulary() > loaded.model.config().vocabulary) {
      throw InputError("the tokenizer has " + std::to_string(loaded.tokenizer.vocabulary()) +
                       " tokens, expected at most the " +
                       std::to_string(loaded.model.config().vocabulary) +
                       " of the module's vocab_size: they belong to different models");
    }
    return loaded;
  });
}

nb::dict config_of(const LoadedModel& loaded) {
  const ModelConfig& config = loaded.model.config();
  nb::dict out;
  out["family"] = std::string(family_name(config.family));
  out["causal"] = config.causal();
  out["gated"] = config.gated_ffn;
  out["layers"] = config.layers;
  out["d_model"] = config.d_model;
  out["d_ff"] = config.d_ff;
  out["heads"] = config.heads;
  out["vocabulary"] = config.vocabulary;
  out["max_tokens"] = config.max_tokens();
  out["activation"] = std::string(activation_name(config.activation));
  return out;
}

nb::dict report_of(const LoadedModel& loaded) {
  const LoadReport& report = loaded.model.report();
  nb::dict out;
  out["unexpected"] = report.unexpected;
  out["missing"] = report.missing;
  out["parameters"] = report.parameters;
  out["mapped_bytes"] = report.mapped_bytes;
  out["copied_bytes"] = report.copied_bytes;
  return out;
}

/// Every weight under each name that a checkpoint may have for it, and why it may be no view of
/// the tensor of that name: "" or how that lies.
nb::list weights_of(const LoadedModel& loaded) {
  ModelWeights weights = loaded.model.weights();  // shares storage; the table needs a home
  nb::list out;
  for (const TensorSpec& spec : tensor_table(loaded.model.config(), weights)) {
    if (!spec.destination->defined()) continue;
    std::string layout;
    if (spec.layout.rows > 0) layout = "a part of a fused matrix";
    if (spec.layout.transposed) {
      layout += std::string(layout.empty() ? "" : ", ") + "stored transposed";
    }
    if (spec.shift != 0) layout += std::string(layout.empty() ? "" : ", ") + "stored shifted";
    out.append(nb::make_tuple(spec.names, *spec.destination, layout));
  }
  return out;
}

/// Logits [positions, vocabulary] of one prompt, its neurons at `places` changed.
at::Tensor answer_logits(const LoadedModel& loaded, const PromptTuple& given,
                         const std::vector<ChangeTuple>& changes) {
  const at::Tensor found = call([&] {
    const c10::InferenceMode guard;
    const Model& model = loaded.model;
    const Cloze prompt = cloze_of(given);
    std::vector<ActivationChange> asked;
    const std::vector<int64_t> places =
        prompt.neurons_at ? std::vector<int64_t>{*prompt.neurons_at} : prompt.positions;
    for (const NeuronChange& change : changes_from(changes)) {
      for (const int64_t place : places) {
        ActivationChange one;
        one.layer = change.id.layer;
        one.neuron = change.id.neuron;
        one.token = place;
        if (change.factor == 0) {
          one.kind = ActivationChange::Kind::kSet;
          one.value = change.summand;
        } else {
          one.kind = ActivationChange::Kind::kScale;
          one.value = change.factor;
        }
        asked.push_back(one);
      }
    }
    std::unique_ptr<InterventionHook> hook;
    if (!asked.empty()) {
      hook = std::make_unique<InterventionHook>(asked, model.config().layers, model.config().d_ff);
    }
    const at::Tensor ids = at::tensor(prompt.ids, at::kLong).unsqueeze(0).to(model.device());
    const at::Tensor rows = at::tensor(prompt.positions, at::kLong).to(model.device());
    at::Tensor logits;
    if (prompt.positions.size() == 1) {
      logits = model.logits_at(ids, rows, hook.get());
    } else {
      logits = model.logits(model.encode(ids, {}, hook.get())[0].index_select(0, rows));
    }
    Interrupt::check();
    return logits.to(at::kCPU);
  });
  return plain(found);
}

/// A prompt with its answer, or without one ("").
PromptTuple encode(const LoadedModel& loaded, const std::string& text, const std::string& answer,
                   const std::string& origin) {
  const PromptForm form = prompt_form(loaded.model.config());
  return tuple_of(answer.empty() ? encode_open(loaded.tokenizer, text, form, origin)
                                 : encode_cloze(loaded.tokenizer, text, answer, form, origin));
}

/// [vocabulary] whether a row of the decoder is a token's.
at::Tensor named_tokens(const LoadedModel& loaded) {
  const int64_t rows = loaded.model.config().vocabulary;
  at::Tensor out = at::zeros({rows}, at::kBool);
  bool* named = out.data_ptr<bool>();
  for (int64_t id = 0; id < rows; ++id) named[id] = loaded.tokenizer.has_token(id);
  return out;
}

}  // namespace

void add_model(nb::module_& module) {
  nb::class_<LoadedModel>(module, "Model")
      .def_static(
          "load",
          [](const std::string& folder, const std::string& device) {
            return call([&] {
              cli::CommonOptions common;
              common.device = device;
              common.quiet = true;
              return cli::load_model(folder, common);
            });
          },
          nb::arg("folder"), nb::arg("device"))
      .def_static("from_memory", from_memory, nb::arg("config"), nb::arg("tensors"),
                  nb::arg("tokenizer"), nb::arg("fast"))
      .def(
          "reload",
          [](LoadedModel& loaded, const std::string& config, const Tensors& tensors, bool fast) {
            call([&] { loaded.model = live_model(config, tensors, fast); });
          },
          nb::arg("config"), nb::arg("tensors"), nb::arg("fast"))
      .def("config", config_of)
      .def("report", report_of)
      .def("weights", weights_of)
      .def(
          "replace_values",
          [](LoadedModel& loaded, int64_t layer, const at::Tensor& weight) {
            loaded.model.replace_values(layer, weight);
          },
          nb::arg("layer"), nb::arg("weight"))
      .def(
          "values",
          [](const LoadedModel& loaded, int64_t layer) {
            return loaded.model.weights().layers.at(static_cast<size_t>(layer)).ffn_out_weight;
          },
          nb::arg("layer"))
      .def("value_names",
           [](const LoadedModel& loaded) {
             nb::list out;
             for (const ValueNames& one : value_tensor_names(loaded.model.config())) {
               out.append(nb::make_tuple(one.names, one.by_rows));
             }
             return out;
           })
      .def("answer_logits", answer_logits, nb::arg("prompt"), nb::arg("changes"))
      .def("encode", encode, nb::arg("text"), nb::arg("answer"), nb::arg("origin"))
      .def("named_tokens", named_tokens)
      .def("has_token",
           [](const LoadedModel& loaded, int64_t id) { return loaded.tokenizer.has_token(id); })
      .def("token_of",
           [](const LoadedModel& loaded, int64_t id) { return loaded.tokenizer.token_of(id); })
      .def("is_special",
           [](const LoadedModel& loaded, int64_t id) { return loaded.tokenizer.is_special(id); })
      .def("decode",
           [](const LoadedModel& loaded, const std::vector<int64_t>& ids) {
             return loaded.tokenizer.decode(ids, /*skip_special=*/false);
           })
      .def("unknown_id", [](const LoadedModel& loaded) { return loaded.tokenizer.unknown_id(); });

  module.def("find_checkpoint",
             [](const std::string& name) { return find_checkpoint(name).string(); });
  module.def("fingerprint", [](const std::string& folder) {
    return call([&] { return model_fingerprint(folder); });
  });
}

}  // namespace engram::python
