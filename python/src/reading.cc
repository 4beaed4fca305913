// The logit lens, and single neurons.
#include <cmath>
#include <string>
#include <vector>

#include "call.h"
#include "cli/common.h"
#include "engram/reading/activity.h"
#include "engram/reading/lens.h"
#include "engram/reading/values.h"
#include "options.h"
#include "parts.h"
#include "prompts.h"
#include "tensor.h"

namespace nb = nanobind;

namespace engram::python {
namespace {

using cli::LoadedModel;

const char* place_name(LensPlace place) {
  if (place == LensPlace::kEmbedding) return "embedding";
  return place == LensPlace::kAttention ? "attention" : "ffn";
}

nb::dict lens(const LoadedModel& loaded, const PromptTuple& prompt, int64_t top) {
  const Cloze cloze = cloze_of(prompt);
  const Lens found = call([&] {
    return logit_lens(loaded.model, cloze, top,
                      [&](int64_t id) { return loaded.tokenizer.has_token(id); });
  });
  nb::list stages;
  for (const LensStage& stage : found.stages) {
    nb::list tokens;
    for (const LensToken& token : stage.top) {
      tokens.append(nb::make_tuple(loaded.tokenizer.token_of(token.id), token.id, token.p));
    }
    nb::dict one;
    one["layer"] = stage.layer;
    one["after"] = place_name(stage.place);
    one["rank"] = stage.rank;
    one["p"] = stage.p;
    one["logit"] = stage.logit;
    one["change"] = stage.change;
    one["share"] = stage.share;
    one["top"] = tokens;
    stages.append(one);
  }
  nb::dict out;
  out["stages"] = stages;
  out["bias_share"] = found.bias_share;
  return out;
}

std::vector<std::tuple<int32_t, int32_t, double>> tuples_of(
    const std::vector<Neighbour>& neighbours) {
  std::vector<std::tuple<int32_t, int32_t, double>> out;
  for (const Neighbour& one : neighbours) {
    out.emplace_back(one.neuron.layer, one.neuron.neuron, one.cosine);
  }
  return out;
}

nb::dict neuron(const LoadedModel& loaded, int32_t layer, int32_t index, int64_t top) {
  const NeuronId id{layer, index};
  NeuronNorms norms;
  at::Tensor logits;
  Neighbours near;
  call([&] {
    check_neuron(loaded.model.config(), id);
    norms = neuron_norms(loaded.model, id);
    logits =
        read_vectors(loaded.model, value_vectors(loaded.model, layer, {index}))[0].to(at::kCPU);
    near = nearest_neurons(loaded.model, id, top);
  });
  nb::dict out;
  out["key_norm"] = norms.key;
  out["gate_norm"] = norms.gate;
  out["value_norm"] = norms.value;
  out["logits"] = plain(logits);
  out["near_by_key"] = tuples_of(near.by_key);
  out["near_by_value"] = tuples_of(near.by_value);
  return out;
}

nb::list triggers_of(const LoadedModel& loaded, const std::vector<Trigger>& triggers) {
  nb::list out;
  for (const Trigger& one : triggers) {
    nb::list tokens;
    for (size_t i = 0; i < one.ids.size(); ++i) {
      tokens.append(nb::make_tuple(loaded.tokenizer.token_of(one.ids[i]), one.values[i]));
    }
    nb::dict text;
    text["activation"] = one.activation;
    text["line"] = one.line;
    text["tokens"] = tokens;
    text["at"] = one.at;
    text["text"] = loaded.tokenizer.decode(one.ids, false);
    out.append(text);
  }
  return out;
}

nb::dict activity(const LoadedModel& loaded, int32_t layer, int32_t index, int64_t top,
                  const nb::dict& given, const nb::object& progress) {
  CorpusOptions corpus;
  std::string file;
  Options options(given);
  options.take("file", file);
  options.take("limit", corpus.limit);
  options.take("window", corpus.window);
  options.take("threads", corpus.threads);
  options.take("memory_bytes", corpus.memory_bytes);
  options.done();
  corpus.file = file;
  const std::function<void(int64_t)> advance = progress_of(progress);
  int64_t shown = 0;
  const Activity found = call([&] {
    return neuron_activity(loaded.model, loaded.tokenizer, {layer, index}, top, corpus,
                           [&](const CorpusCounts& so_far) {
                             if (advance) advance(so_far.lines - shown);
                             shown = so_far.lines;
                           });
  });
  nb::dict out;
  out["most"] = triggers_of(loaded, found.most);
  out["least"] = triggers_of(loaded, found.least);
  out["lines"] = found.counts.lines;
  out["words"] = found.counts.words;
  out["tokens"] = found.counts.tokens;
  return out;
}

}  // namespace

void add_reading(nb::module_& module) {
  module.def("lens", lens, nb::arg("model"), nb::arg("prompt"), nb::arg("top"));
  module.def("neuron", neuron, nb::arg("model"), nb::arg("layer"), nb::arg("neuron"),
             nb::arg("top"));
  module.def("activity", activity, nb::arg("model"), nb::arg("layer"), nb::arg("neuron"),
             nb::arg("top"), nb::arg("options"), nb::arg("progress").none());
}

}  // namespace engram::python
