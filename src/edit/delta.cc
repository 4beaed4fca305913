#include "engram/edit/delta.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/json.h"
#include "edit/header.h"
#include "edit/value_tensors.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/model/fingerprint.h"

namespace engram {
namespace {

using nlohmann::json;

constexpr const char* kDeltaSchema = "engram.delta/1";

at::ScalarType scalar_type(Storage storage) {
  if (storage == Storage::kF16) return at::kHalf;
  return storage == Storage::kBF16 ? at::kBFloat16 : at::kFloat;
}

std::string tensor_name(int32_t layer, const char* what) {
  return "layer." + std::to_string(layer) + "." + what;
}

// ---- making one -------------------------------------------------------------------------------

[[noreturn]] void refuse_value(const ValueMatrix& matrix, NeuronId id, const at::Tensor& values) {
  const double largest = values.abs().max().item<double>();
  throw InputError("neuron " + neuron_name(id) + ": got a new value of size " +
                   std::to_string(largest) + ", expected finite ones in the type in which " +
                   matrix.tensor.file->path().string() + " stores them, " +
                   storage_text(matrix.tensor.storage) +
                   (matrix.tensor.storage == Storage::kF16 ? " (at most 65504)" : ""));
}

/// Rounds new values [d_model] to the matrix's type and adds them to the layer.
void add_vector(DeltaLayer& layer, const ValueMatrix& matrix, NeuronId id,
                const at::Tensor& values) {
  const at::Tensor rounded = values.detach().to(at::kCPU, scalar_type(layer.storage)).contiguous();
  const auto* bytes = static_cast<const std::byte*>(rounded.const_data_ptr());
  const std::span<const std::byte> column(bytes, static_cast<size_t>(rounded.nbytes()));
  if (!all_finite(layer.storage, column)) refuse_value(matrix, id, values);
  layer.neurons.push_back(id.neuron);
  layer.after.insert(layer.after.end(), column.begin(), column.end());
}

std::vector<size_t> order_of(const std::vector<NeuronId>& neurons) {
  std::vector<size_t> order(neurons.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return neurons[i]; });
  return order;
}

void check_neuron(const std::filesystem::path& directory, NeuronId id,
                  const std::vector<ValueMatrix>& matrices) {
  const auto layers = static_cast<int64_t>(matrices.size());
  const int64_t d_ff = matrices.front().d_ff();
  if (id.layer >= 0 && id.layer < layers && id.neuron >= 0 && id.neuron < d_ff) return;
  throw InputError("neuron " + neuron_name(id) + " does not exist, " + directory.string() +
                   " has layers 0.." + std::to_string(layers - 1) + " of neurons 0.." +
                   std::to_string(d_ff - 1));
}

// ---- as JSON ----------------------------------------------------------------------------------

json to_json(const Delta& delta) {
  const EditReason& why = delta.why;
  json out = {
      {"base", delta.base},
      {"kind", edit_kind_name(why.kind)},
      {"relation", why.relation},
      {"neurons_by", {{"score", why.score}, {"rule", why.rule}, {"selection", why.selection}}},
      {"version", why.version}};
  if (why.kind == EditKind::kErase) {
    out["mode"] = erase_mode_name(why.mode);
  } else {
    out["subject"] = why.subject;
    out["object"] = why.object;
    out["target"] = why.target;
  }
  if (why.kind == EditKind::kUpdate) {
    out["lambda1"] = why.lambda1;
    out["lambda2"] = why.lambda2;
  }
  json& effects = out["side_effects"] = json::array();
  for (const SideEffect& one : why.side_effects) {
    effects.push_back({{"scope", one.scope},
                       {"facts", one.facts},
                       {"right_before", one.right_before},
                       {"right_after", one.right_after},
                       {"lost", one.lost}});
  }
  json& layers = out["layers"] = json::array();
  for (const DeltaLayer& layer : delta.layers) {
    layers.push_back({{"layer", layer.layer}, {"neurons", layer.neurons}});
  }
  return out;
}

/// Reads a delta's file part by part; every message names the file.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path)
      : path_(path),
        where_(path.string() + ": not a valid edit: "),
        tensors_(open_safetensors(path)) {}

  Delta read() {
    const json edit = description();
    Delta delta;
    delta.origin = path_.string();
    delta.base = text(edit, "base");
    if (!is_fingerprint(delta.base)) {
      fail("\"base\" is no fingerprint, expected \"sha256:\" and 64 hexadecimal digits");
    }
    delta.why = reason(edit);
    const json& layers = field(edit, "layers");
    if (!layers.is_array() || layers.empty()) fail("\"layers\": expected a list of layers");
    for (const json& layer : layers) delta.layers.push_back(read_layer(layer, delta));
    if (tensors_.size() != 2 * delta.layers.size()) {
      fail("got " + std::to_string(tensors_.size()) + " tensors, expected the " +
           std::to_string(2 * delta.layers.size()) + " of its " +
           std::to_string(delta.layers.size()) + " layers");
    }
    return delta;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw InputError(where_ + what); }

  /// What `read` gives; `what` names it where it is no JSON.
  template <class Read>
  [[nodiscard]] json bounded(const std::string& what, const Read& read) const {
    try {
      return read();
    } catch (const JsonFault& fault) {
      fail(what + ": " + fault.message);
    }
  }

  [[nodiscard]] const MappedFile& file() const { return *tensors_.begin()->second.file; }

  /// The JSON in the header's metadata. The header itself is valid, the crate has read it.
  [[nodiscard]] json description() const {
    if (tensors_.empty()) fail("got no tensor, expected the value vectors of at least one neuron");
    const json metadata = bounded("its header", [&] { return file_metadata(file()); });
    if (metadata.is_null()) {
      fail("it has no __metadata__, expected one with the schema \"engram.delta/1\"");
    }
    const std::string schema = text(metadata, "schema");
    if (schema != kDeltaSchema) {
      fail("got another schema, expected \"engram.delta/1\", which this version reads");
    }
    json edit = bounded("\"edit\"", [&] { return parse_json(text(metadata, "edit")); });
    if (!edit.is_object()) fail("\"edit\" is no JSON object");
    return edit;
  }

  [[nodiscard]] const json& field(const json& object, const char* name) const {
    const auto found = object.find(name);
    if (found == object.end()) fail("expected a field \"" + std::string(name) + "\"");
    return *found;
  }
  [[nodiscard]] std::string text(const json& object, const char* name) const {
    const json& value = field(object, name);
    if (!value.is_string()) fail("\"" + std::string(name) + "\": expected a text");
    return value.get<std::string>();
  }
  [[nodiscard]] double number(const json& object, const char* name) const {
    const json& value = field(object, name);
    if (!value.is_number() || !std::isfinite(value.get<double>())) {
      fail("\"" + std::string(name) + "\": expected a finite number");
    }
    return value.get<double>();
  }

  [[nodiscard]] int64_t count(const json& object, const char* name, int64_t most) const {
    const json& value = field(object, name);
    if (!value.is_number_unsigned() || value.get<uint64_t>() > static_cast<uint64_t>(most)) {
      fail("\"" + std::string(name) + "\": expected a whole number from 0 to " +
           std::to_string(most));
    }
    return value.get<int64_t>();
  }

  [[nodiscard]] std::vector<SideEffect> side_effects(const json& list) const {
    if (!list.is_array()) fail("\"side_effects\": expected a list");
    std::vector<SideEffect> found;
    for (const json& entry : list) {
      if (!entry.is_object()) fail("\"side_effects\": expected objects");
      SideEffect& one = found.emplace_back();
      one.scope = text(entry, "scope");
      one.facts = count(entry, "facts", INT64_MAX);
      one.right_before = count(entry, "right_before", one.facts);
      one.right_after = count(entry, "right_after", one.facts);
      one.lost = count(entry, "lost", one.right_before);
    }
    return found;
  }

  [[nodiscard]] EditReason reason(const json& edit) const {
    EditReason why;
    const std::string kind = text(edit, "kind");
    why.relation = text(edit, "relation");
    why.version = text(edit, "version");
    const json& by = field(edit, "neurons_by");
    if (!by.is_object()) fail("\"neurons_by\": expected an object");
    why.score = text(by, "score");
    why.rule = text(by, "rule");
    why.selection = text(by, "selection");
    const bool update = kind == edit_kind_name(EditKind::kUpdate);
    if (update || kind == edit_kind_name(EditKind::kRome)) {
      why.kind = update ? EditKind::kUpdate : EditKind::kRome;
      why.subject = text(edit, "subject");
      why.object = text(edit, "object");
      why.target = text(edit, "target");
      why.lambda1 = update ? number(edit, "lambda1") : 0;
      why.lambda2 = update ? number(edit, "lambda2") : 0;
    } else if (kind == edit_kind_name(EditKind::kErase)) {
      why.kind = EditKind::kErase;
      try {
        why.mode = parse_erase_mode(text(edit, "mode"));
      } catch (const UsageError&) {
        fail("\"mode\": expected zero, unk or mean");
      }
    } else {
      fail("\"kind\": expected update, erase or rome");
    }
    // Edits made before they were measured have none.
    if (edit.contains("side_effects")) why.side_effects = side_effects(edit["side_effects"]);
    return why;
  }

  [[nodiscard]] int32_t count(const json& value, const char* what) const {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > INT32_MAX) {
      fail(std::string(what) + ": expected a whole number from 0 up");
    }
    return value.get<int32_t>();
  }

  DeltaLayer read_layer(const json& entry, Delta& delta) {
    if (!entry.is_object()) fail("\"layers\": expected objects");
    DeltaLayer layer;
    layer.layer = count(field(entry, "layer"), "\"layer\"");
    if (!delta.layers.empty() && delta.layers.back().layer >= layer.layer) {
      fail("\"layers\": got layer " + std::to_string(layer.layer) + " after layer " +
           std::to_string(delta.layers.back().layer) + ", expected them ascending");
    }
    const std::string name = "layer " + std::to_string(layer.layer);
    const json& neurons = field(entry, "neurons");
    if (!neurons.is_array() || neurons.empty()) fail(name + ": expected a list of neurons");
    for (const json& neuron : neurons) {
      layer.neurons.push_back(count(neuron, "\"neurons\""));
      const size_t size = layer.neurons.size();
      if (size > 1 && layer.neurons[size - 2] >= layer.neurons[size - 1]) {
        fail(name + ": expected its neurons ascending, each once");
      }
    }
    layer.before = read_values(layer, "before", delta);
    layer.after = read_values(layer, "after", delta);
    return layer;
  }

  std::vector<std::byte> read_values(DeltaLayer& layer, const char* what, Delta& delta) {
    const std::string name = tensor_name(layer.layer, what);
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail("tensor \"" + name + "\" is missing");
    const StoredTensor& tensor = found->second;
    if (tensor.storage == Storage::kOther) {
      fail("tensor \"" + name + "\": got dtype " + tensor.storage_name +
           ", expected F32, F16 or BF16");
    }
    if (layer.before.empty()) {
      layer.storage = tensor.storage;  // the first of the two sets it
    } else if (tensor.storage != layer.storage) {
      fail("tensor \"" + name + "\": got dtype " + tensor.storage_name + ", expected the " +
           storage_text(layer.storage) + " of the values before");
    }
    if (delta.d_model == 0 && tensor.shape.size() == 2) delta.d_model = tensor.shape[1];
    const auto rows = static_cast<int64_t>(layer.neurons.size());
    if (delta.d_model < 1 || tensor.shape != std::vector<int64_t>{rows, delta.d_model}) {
      fail("tensor \"" + name + "\": got another shape, expected [" + std::to_string(rows) + ", " +
           (delta.d_model > 0 ? std::to_string(delta.d_model) : "d_model") +
           "], one value vector per neuron");
    }
    std::vector<std::byte> bytes(tensor.data, tensor.data + tensor.bytes);
    if (!all_finite(layer.storage, bytes)) {
      fail("tensor \"" + name + "\": holds NaN or infinite values");
    }
    return bytes;
  }

  std::filesystem::path path_;
  std::string where_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace

const char* edit_kind_name(EditKind kind) {
  switch (kind) {
    case EditKind::kUpdate:
      return "update";
    case EditKind::kErase:
      return "erase";
    case EditKind::kRome:
      return "rome";
  }
  throw InternalError("edit_kind_name: unknown kind");
}

std::vector<NeuronId> Delta::neurons() const {
  std::vector<NeuronId> all;
  for (const DeltaLayer& layer : layers) {
    for (const int32_t neuron : layer.neurons) all.push_back({layer.layer, neuron});
  }
  return all;
}

ValueEdit Delta::values() const {
  ValueEdit edit{neurons(), {}};
  edit.values = at::empty({static_cast<int64_t>(edit.neurons.size()), d_model}, at::kFloat);
  int64_t row = 0;
  for (const DeltaLayer& layer : layers) {
    const auto rows = static_cast<int64_t>(layer.neurons.size());
    at::Tensor stored = at::empty({rows, d_model}, scalar_type(layer.storage));
    std::memcpy(stored.mutable_data_ptr(), layer.after.data(), layer.after.size());
    edit.values.narrow(0, row, rows).copy_(stored);
    row += rows;
  }
  return edit;
}

Delta make_delta(const std::filesystem::path& directory, const std::string& base,
                 const ValueEdit& edit, const EditReason& why) {
  if (edit.neurons.empty()) throw InputError("an edit changes no neuron, expected at least one");
  const std::vector<ValueMatrix> matrices = value_tensors(directory);
  Delta delta{"", base, why, matrices.front().d_model(), {}};
  const auto count = static_cast<int64_t>(edit.neurons.size());
  if (edit.values.sizes() != at::IntArrayRef({count, delta.d_model})) {
    throw InputError("an edit of " + std::to_string(count) + " neurons needs values of shape [" +
                     std::to_string(count) + ", " + std::to_string(delta.d_model) + "]");
  }
  for (const size_t i : order_of(edit.neurons)) {
    const NeuronId id = edit.neurons[i];
    check_neuron(directory, id, matrices);
    const ValueMatrix& matrix = matrices[static_cast<size_t>(id.layer)];
    if (delta.layers.empty() || delta.layers.back().layer != id.layer) {
      delta.layers.push_back({id.layer, matrix.tensor.storage, {}, {}, {}});
    }
    DeltaLayer& layer = delta.layers.back();
    if (!layer.neurons.empty() && layer.neurons.back() == id.neuron) {
      throw InputError("neuron " + neuron_name(id) + " is named twice, expected each once");
    }
    add_vector(layer, matrix, id, edit.values.select(0, static_cast<int64_t>(i)));
  }
  for (DeltaLayer& layer : delta.layers) {
    layer.before = read_values(matrices[static_cast<size_t>(layer.layer)], layer.neurons);
  }
  return delta;
}

void write_delta(const std::filesystem::path& file, const Delta& delta) {
  std::vector<TensorToWrite> tensors;
  for (const DeltaLayer& layer : delta.layers) {
    const std::vector<int64_t> shape = {static_cast<int64_t>(layer.neurons.size()), delta.d_model};
    tensors.push_back({tensor_name(layer.layer, "before"), layer.storage, shape, layer.before});
    tensors.push_back({tensor_name(layer.layer, "after"), layer.storage, shape, layer.after});
  }
  // Words from a command line need not be UTF-8.
  const std::string text =
      to_json(delta).dump(-1, ' ', /*ensure_ascii=*/false, json::error_handler_t::replace);
  write_safetensors(file, tensors, {{"schema", kDeltaSchema}, {"edit", text}});
}

Delta read_delta(const std::filesystem::path& file) { return Reader(file).read(); }

}  // namespace engram
