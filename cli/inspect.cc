#include "cli/inspect.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "cli/paths.h"
#include "engram/base/machine.h"
#include "engram/base/utf8.h"
#include "engram/model/config.h"
#include "engram/model/device.h"
#include "engram/model/product.h"
#include "engram/model/safetensors.h"
#include "engram/model/tensor_source.h"
#include "engram/model/tensor_table.h"

namespace engram::cli {
namespace {

constexpr const char* kInspectHelp =
    R"(What lies in a model folder and whether this program can use it: family, sizes,
tensors and how they are stored, what is missing or not used, the tokenizer and
its special tokens, and the memory that the model takes. Weights that would not
fit into the memory that is free are not loaded, and so not looked at.

A folder that cannot be used is described as far as possible; the exit code is
then what the other commands give for it: 3, or 4 where a file cannot be read.

Example:
  engram inspect models/engram-base
)";

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  }
  return text + "]";
}

/// What the file's headers and the family's tensor table say about each other.
struct TensorReport {
  int64_t count = 0;
  int64_t bytes = 0;                       ///< in the files
  int64_t mapped_bytes = 0;                ///< of the weights that can stay in the file's map
  int64_t copied_bytes = 0;                ///< and of those that have to be converted
  std::map<std::string, int64_t> storage;  ///< dtype -> tensors
  std::vector<std::string> missing;        ///< required and not there
  std::vector<std::string> problems;       ///< wrong dtype or shape
};

/// Without a usable config.json only what is stored.
TensorReport compare_tensors(const std::optional<ModelConfig>& config,
                             const std::map<std::string, StoredTensor>& stored) {
  TensorReport report;
  for (const auto& [name, tensor] : stored) {
    ++report.count;
    ++report.storage[tensor.storage_name];
    report.bytes += static_cast<int64_t>(tensor.bytes);
  }
  if (!config) return report;
  ModelWeights weights;
  std::set<std::string> judged;  // a tensor that holds several weights is a problem once
  for (const TensorSpec& spec : tensor_table(*config, weights)) {
    const StoredTensor* found = nullptr;
    for (const std::string& name : spec.names) {
      if (const auto at = stored.find(name); at != stored.end()) found = &at->second;
    }
    const std::vector<int64_t> shape = spec.stored_shape(*config);
    int64_t weight_bytes = sizeof(float);
    for (const int64_t size : spec.shape(*config)) weight_bytes *= size;
    if (found != nullptr) {
      const bool mapped = found->storage == Storage::kF32 && spec.layout.plain() && spec.shift == 0;
      (mapped ? report.mapped_bytes : report.copied_bytes) += weight_bytes;
    }
    if (!judged.insert(spec.names.front()).second) continue;
    if (found == nullptr) {
      if (spec.required) report.missing.push_back(spec.names.front() + " " + shape_text(shape));
    } else if (found->storage == Storage::kOther) {
      report.problems.push_back(found->name + ": got dtype " + found->storage_name +
                                ", expected F32, F16 or BF16");
    } else if (found->shape != shape) {
      report.problems.push_back(found->name + ": got shape " + shape_text(found->shape) +
                                ", expected " + shape_text(shape));
    }
  }
  return report;
}

/// What Model::prepare_products() takes on this machine's processor.
int64_t transposed_bytes(const ModelConfig& c) {
  if (std::string_view(product_library()) != "gemm") return 0;
  const int64_t layer = 2 * c.d_model * (c.query_width() + c.key_width()) +
                        (c.gated_ffn ? 3 : 2) * c.d_model * c.d_ff;
  const int64_t transform = c.causal() ? 0 : c.embedding_width() * c.d_model;
  return static_cast<int64_t>(sizeof(float)) *
         (c.layers * layer + transform + c.embedding_width() * c.vocabulary);
}

/// Buffers of the forward of one prompt of `tokens` tokens: the widest moment of a layer, and the
/// logits of one position.
int64_t forward_bytes(const ModelConfig& c, int64_t tokens) {
  const int64_t attention =
      tokens * (2 * c.query_width() + 2 * c.key_width()) + 2 * c.heads * tokens * tokens;
  const int64_t ffn = 2 * tokens * c.d_model + (c.gated_ffn ? 3 : 2) * tokens * c.d_ff;
  return 4 * (tokens * c.d_model + std::max(attention, ffn) + c.vocabulary);
}

struct TokenizerReport {
  std::string file;
  std::string kind;
  int64_t vocabulary = 0;
  std::optional<int64_t> mask_id;
  std::string mask;                 ///< "" without one
  std::vector<std::string> begins;  ///< tokens that it puts before a text
  std::vector<std::string> special;
  std::vector<TokenizerSetting> settings;  ///< what was decided, and by which file
};

/// `config`: what is expected of the tokenizer; empty: nothing.
TokenizerReport describe_tokenizer(const std::filesystem::path& folder,
                                   const std::optional<ModelConfig>& config) {
  const Tokenizer tokenizer = Tokenizer::load(folder);
  TokenizerReport report;
  report.settings = tokenizer.settings();
  for (const TokenizerSetting& setting : report.settings) {
    if (setting.name == "vocabulary") report.file = setting.source;
  }
  report.kind = tokenizer.byte_level()              ? "byte-level pieces"
                : tokenizer.word_mark() == "\u2581" ? "sentencepiece pieces"
                                                    : "word pieces";
  report.vocabulary = tokenizer.vocabulary();
  if (tokenizer.has_mask()) {
    report.mask_id = tokenizer.mask_id();
    report.mask = tokenizer.mask_token();
  } else if (config && !config->causal()) {
    (void)tokenizer.mask_id();  // says what is missing
  }
  // What it adds to nothing stands before a text, or, in a masked model, around it.
  if (config && config->causal()) report.begins = tokenizer.tokens_of(tokenizer.encode(""));
  for (int64_t id = 0; id < report.vocabulary; ++id) {
    if (tokenizer.is_special(id)) report.special.push_back(tokenizer.token_of(id));
  }
  return report;
}

/// Of each part what could be read; a part that could not is a problem.
struct Report {
  std::optional<ModelConfig> config;
  std::optional<TensorReport> tensors;
  std::optional<LoadReport> loaded;
  std::optional<TokenizerReport> tokenizer;
  std::vector<std::string> problems;  ///< why the folder cannot be used
  int64_t free_bytes = 0;             ///< memory that this process can still take
  /// Whether the tensors are those of the model.
  [[nodiscard]] bool fits() const { return tensors->missing.empty() && tensors->problems.empty(); }
  /// Whether the weights are too large to be loaded here.
  [[nodiscard]] bool too_large() const { return tensors && tensors->copied_bytes > free_bytes; }
  ExitCode code = ExitCode::kDone;  ///< of the first of them
};

std::string joined(const std::vector<std::string>& items, size_t most) {
  std::string text;
  for (size_t i = 0; i < items.size() && i < most; ++i) {
    text += (i == 0 ? "" : ", ") + printable(items[i]);
  }
  if (items.size() > most) text += " and " + std::to_string(items.size() - most) + " more";
  return items.empty() ? "none" : text;
}

using Json = nlohmann::ordered_json;

const char* scaling_name(const RotaryScaling& scaling) {
  switch (scaling.kind) {
    case RotaryScaling::Kind::kNone:
      return "none";
    case RotaryScaling::Kind::kLinear:
      return "linear";
    case RotaryScaling::Kind::kLlama3:
      return "llama3";
  }
  return "";
}

/// How positions and heads go into attention.
std::string attention_text(const ModelConfig& c) {
  std::string text = c.causal() ? "causal" : "bidirectional";
  const int64_t key_heads = c.key_head_count();
  if (key_heads != c.heads) text += ", keys of " + std::to_string(key_heads) + " heads";
  if (c.query_key_norm) text += ", queries and keys normed";
  if (c.rotary_size == 0) {
    text += ", learned positions";
  } else {
    text += ", rotary positions";
    if (c.rotary_size < c.head_size)
      text += " in " + std::to_string(c.rotary_size) + " coordinates";
    text += ", base " + format_number(c.rotary_base);
    if (c.rotary_scaling.kind != RotaryScaling::Kind::kNone) {
      text += ", scaling " + std::string(scaling_name(c.rotary_scaling)) + " by " +
              format_number(c.rotary_scaling.factor);
    }
  }
  if (c.window > 0) text += ", window of " + format_count(c.window) + " tokens";
  return text;
}

Json config_json(const ModelConfig& c) {
  Json out;
  out["family"] = family_name(c.family);
  out["layers"] = c.layers;
  out["d_model"] = c.d_model;
  out["d_ff"] = c.d_ff;
  out["neurons"] = c.neurons();
  out["heads"] = c.heads;
  out["head_size"] = c.head_size;
  out["key_heads"] = c.key_head_count();
  out["vocabulary"] = c.vocabulary;
  out["max_tokens"] = c.max_tokens();
  out["token_types"] = c.token_types;
  out["activation"] = activation_name(c.activation);
  out["head_activation"] = c.causal() ? Json() : Json(activation_name(c.head_activation));
  out["norm"] = c.norm == NormPlacement::kPost ? "post" : "pre";
  out["norm_kind"] = c.norm_kind == NormKind::kLayer ? "layer" : "rms";
  out["norm_epsilon"] = c.norm_epsilon;
  out["attention"] = c.attention == AttentionKind::kBidirectional ? "bidirectional" : "causal";
  out["gated_ffn"] = c.gated_ffn;
  out["parallel_residual"] = c.parallel_residual;
  out["query_key_norm"] = c.query_key_norm;
  out["embedding_scale"] = c.embedding_scale;
  out["window"] = c.window > 0 ? Json(c.window) : Json();
  out["rotary"] = nullptr;
  if (c.rotary_size > 0) {
    const RotaryScaling& s = c.rotary_scaling;
    out["rotary"] = {
        {"size", c.rotary_size}, {"base", c.rotary_base}, {"scaling", scaling_name(s)}};
    if (s.kind != RotaryScaling::Kind::kNone) out["rotary"]["factor"] = s.factor;
  }
  out["tied_decoder"] = c.tied_decoder;
  return out;
}

/// What is worth knowing and does no harm.
std::vector<std::string> remarks(const Report& report) {
  std::vector<std::string> list;
  if (report.config && report.tokenizer &&
      report.config->vocabulary > report.tokenizer->vocabulary) {
    list.push_back("the model has " + format_count(report.config->vocabulary) +
                   " rows and the tokenizer " + format_count(report.tokenizer->vocabulary) +
                   " tokens: rows without a token have a share in P and are no answers");
  }
  if (report.config && report.too_large()) {
    list.push_back("not loaded: " + format_bytes(report.tensors->copied_bytes) +
                   " of weights have to be converted, and " + format_bytes(report.free_bytes) +
                   " of memory are free");
  }
  return list;
}

Json to_json(const InspectOptions& options, const Report& report) {
  Json out;
  out["schema"] = "engram.inspect/1";
  out["model"] = options.model;
  out["usable"] = report.problems.empty();
  Json config = config_json(report.config.value_or(ModelConfig{}));
  for (const auto& [key, value] : config.items()) out[key] = report.config ? value : Json();
  const std::optional<LoadReport>& loaded = report.loaded;
  out["parameters"] = loaded ? Json(loaded->parameters) : Json();
  out["tensors"] = nullptr;
  if (report.tensors) {
    out["tensors"] = {{"count", report.tensors->count},
                      {"bytes", report.tensors->bytes},
                      {"storage", report.tensors->storage},
                      {"missing", report.config ? Json(report.tensors->missing) : Json()},
                      {"unexpected", loaded ? Json(loaded->unexpected) : Json()}};
  }
  out["tokenizer"] = nullptr;
  if (const auto& t = report.tokenizer) {
    out["tokenizer"] = {{"file", t->file},
                        {"kind", t->kind},
                        {"vocabulary", t->vocabulary},
                        {"mask_id", t->mask_id ? Json(*t->mask_id) : Json()},
                        {"mask", t->mask.empty() ? Json() : Json(t->mask)},
                        {"special", t->special}};
    if (report.config && report.config->causal()) out["tokenizer"]["begins"] = t->begins;
    Json& settings = out["tokenizer"]["settings"] = Json::array();
    for (const TokenizerSetting& s : t->settings) {
      settings.push_back({{"name", s.name},
                          {"value", s.value},
                          {"source", s.source},
                          {"instead_of", s.instead.empty() ? Json() : Json(s.instead)}});
    }
  }
  out["memory"] = nullptr;
  if (report.config && report.tensors && report.fits()) {
    out["memory"] = {
        {"weights_mapped", loaded ? loaded->mapped_bytes : report.tensors->mapped_bytes},
        {"weights_copied", loaded ? loaded->copied_bytes : report.tensors->copied_bytes},
        {"weights_transposed", transposed_bytes(*report.config)},
        {"forward_longest_prompt", forward_bytes(*report.config, report.config->max_tokens())}};
  }
  out["remarks"] = remarks(report);
  out["problems"] = report.problems;
  return out;
}

std::string to_text(const InspectOptions& options, const Report& report) {
  std::string out = printable(options.model) + "\n\n";
  const auto line = [&](const std::string& what, const std::string& value) {
    out += "  " + what + std::string(14 - what.size(), ' ') + value + "\n";
  };
  if (report.config) {
    const ModelConfig& c = *report.config;
    line("family",
         std::string(family_name(c.family)) + (c.causal() ? ", causal LM" : ", masked LM"));
    line("sizes", std::to_string(c.layers) + " layers x " + format_count(c.d_ff) + " neurons = " +
                      format_count(c.neurons()) + ", width " + std::to_string(c.d_model) + ", " +
                      std::to_string(c.heads) + " heads of " + std::to_string(c.head_size));
    line("input", format_count(c.vocabulary) + " tokens in the vocabulary, prompts up to " +
                      format_count(c.max_tokens()) + " tokens");
    const std::string head =
        c.causal() ? "" : " (LM head " + std::string(activation_name(c.head_activation)) + ")";
    line("activation", std::string(activation_name(c.activation)) +
                           (c.gated_ffn ? " of a gate" : "") + head +
                           (c.norm_kind == NormKind::kRms ? ", RMS norm" : ", layer norm") +
                           " epsilon " + format_number(c.norm_epsilon, 2) +
                           (c.norm == NormPlacement::kPost ? ", post-norm" : ", pre-norm") +
                           (c.parallel_residual ? ", FFN beside attention" : ""));
    if (c.causal()) line("attention", attention_text(c));
    line("decoder", c.tied_decoder ? "tied to the token embedding" : "of its own");
  }
  if (report.loaded) line("parameters", format_count(report.loaded->parameters));
  if (report.tensors) {
    std::string storage;
    for (const auto& [name, count] : report.tensors->storage) {
      storage += (storage.empty() ? "" : ", ") + format_count(count) + " as " + name;
    }
    line("tensors", format_count(report.tensors->count) + " (" + storage + "), " +
                        format_bytes(report.tensors->bytes));
    if (report.config) line("missing", joined(report.tensors->missing, 8));
  }
  if (report.loaded) line("unexpected", joined(report.loaded->unexpected, 8));
  if (const auto& t = report.tokenizer) {
    line("tokenizer", t->file + ", " + t->kind + ", " + format_count(t->vocabulary) + " tokens");
    std::string special = joined(t->special, 12);
    if (report.config && report.config->causal()) {
      special +=
          t->begins.empty() ? "; none before a text" : "; before a text " + joined(t->begins, 4);
    } else if (t->mask_id) {
      special += "; the mask is " + t->mask + ", id " + std::to_string(*t->mask_id);
    }
    line("special", special);
    for (const TokenizerSetting& s : t->settings) {
      line("", printable(s.name) + ": " + printable(s.value) + " (" + printable(s.source) +
                   (s.instead.empty() ? "" : "; not " + printable(s.instead)) + ")");
    }
  }
  if (report.config && report.tensors && report.fits()) {
    const bool loaded = report.loaded.has_value();
    line("memory",
         format_bytes(loaded ? report.loaded->mapped_bytes : report.tensors->mapped_bytes) +
             " of weights mapped from the file, " +
             format_bytes(loaded ? report.loaded->copied_bytes : report.tensors->copied_bytes) +
             (loaded ? " converted" : " to convert"));
    if (const int64_t bytes = transposed_bytes(*report.config); bytes > 0) {
      line("", format_bytes(bytes) + " of transposed copies for long work");
    }
    constexpr int64_t kUsual = 512;  // longer prompts are rare, and a window may take millions
    const int64_t longest = report.config->max_tokens();
    std::string forward = format_bytes(forward_bytes(*report.config, longest)) +
                          " for a forward of the longest prompt";
    if (longest > kUsual) {
      forward = format_bytes(forward_bytes(*report.config, kUsual)) + " for a forward of " +
                std::to_string(kUsual) + " tokens, " + forward;
    }
    line("", forward + "; attribution takes what --memory allows");
  }
  for (const std::string& remark : remarks(report)) line("remark", printable(remark));
  for (const std::string& problem : report.problems) line("problem", printable(problem));
  return out;
}

/// Tries every part, whatever became of the others, in the order in which loading meets them.
Report inspect(const InspectOptions& options) {
  const std::filesystem::path folder(options.model);
  Report report;
  const auto add_problem = [&](const std::string& text, ExitCode code) {
    if (report.problems.empty()) report.code = code;
    report.problems.push_back(text);
  };
  const auto attempt = [&](const auto& part) {
    try {
      part();
    } catch (const InputError& error) {
      add_problem(error.what(), error.exit_code());
    } catch (const FileError& error) {
      add_problem(error.what(), error.exit_code());
    }
  };
  attempt([&] { report.config = read_config(folder); });
  attempt([&] {
    const TensorSource source = checkpoint_source(folder);
    if (report.config) {
      if (const std::string lacks = missing_head(*report.config, source); !lacks.empty()) {
        add_problem(lacks, ExitCode::kInput);
      }
    }
    report.tensors = compare_tensors(report.config, source.tensors);
    for (const std::string& name : report.tensors->missing) {
      add_problem("missing tensor " + name, ExitCode::kInput);
    }
    for (const std::string& text : report.tensors->problems) add_problem(text, ExitCode::kInput);
  });
  report.free_bytes = usable_memory();
  // The weights' values, and layers beyond config.json's.
  if (report.problems.empty() && !report.too_large()) {
    attempt([&] {
      const at::Device device = open_device(options.common.device);
      report.loaded = Model::load(folder, device).report();
    });
  }
  attempt([&] {
    report.tokenizer = describe_tokenizer(folder, report.config);
    if (report.config && report.tokenizer->vocabulary > report.config->vocabulary) {
      throw InputError("the tokenizer has " + std::to_string(report.tokenizer->vocabulary) +
                       " tokens, expected at most the " +
                       std::to_string(report.config->vocabulary) + " of config.json");
    }
  });
  return report;
}

/// The first problem, with the folder named once.
std::string failure_text(const InspectOptions& options, const Report& report) {
  std::string first = report.problems.front();
  std::string text = options.model + ": cannot be used: ";
  if (first.starts_with(options.model + ": ")) {
    first.erase(0, options.model.size() + 2);
  } else if (first.starts_with(options.model)) {  // a file of the folder
    text = "cannot be used: ";
  }
  const size_t more = report.problems.size() - 1;
  return text + first + (more > 0 ? " (and " + std::to_string(more) + " more)" : "");
}

void run_inspect(const InspectOptions& options) {
  std::error_code failed;
  if (!std::filesystem::is_directory(options.model, failed)) {
    read_config(options.model);  // nothing to describe: says what is there instead
  }
  const Report report = inspect(options);
  if (options.common.json) {
    print_json(to_json(options, report));
  } else {
    print(to_text(options, report));
  }
  if (report.problems.empty()) return;
  flush_output();
  if (report.code == ExitCode::kFile) throw FileError(failure_text(options, report));
  throw InputError(failure_text(options, report));
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = add_command(app, "inspect", "what a model folder holds", kInspectHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  add_common_options(*command, options->common,
                     {.device = true, .threads = false, .memory = false, .seed = false});
  command->callback([options] { run_inspect(*options); });
}

}  // namespace engram::cli
