#include "cli/inspect.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engram/model/config.h"
#include "engram/model/device.h"
#include "engram/model/safetensors.h"

namespace engram::cli {
namespace {

constexpr const char* kHelp =
    R"(What lies in a model folder and whether this program can use it: family, sizes,
tensors and how they are stored, what is missing or not used, the tokenizer and
its special tokens, and the memory that the model takes.

A folder that cannot be used is described as far as possible; the exit code is
then 3.

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
  std::map<std::string, int64_t> storage;  ///< dtype -> tensors
  std::vector<std::string> missing;        ///< required and not there
  std::vector<std::string> problems;       ///< wrong dtype or shape
};

TensorReport compare_tensors(const ModelConfig& config,
                             const std::map<std::string, StoredTensor>& stored) {
  TensorReport report;
  for (const auto& [name, tensor] : stored) {
    ++report.count;
    ++report.storage[tensor.storage_name];
    report.bytes += static_cast<int64_t>(tensor.bytes);
  }
  ModelWeights weights;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const StoredTensor* found = nullptr;
    for (const std::string& name : spec.names) {
      if (const auto at = stored.find(name); at != stored.end()) found = &at->second;
    }
    std::vector<int64_t> shape;
    for (const Axis axis : spec.axes) shape.push_back(axis_size(config, axis));
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

/// Buffers of the forward of one prompt of `tokens` tokens: the widest moment of a layer, and the
/// logits of one position.
int64_t forward_bytes(const ModelConfig& c, int64_t tokens) {
  const int64_t attention = 4 * tokens * c.d_model + 2 * c.heads * tokens * tokens;
  const int64_t ffn = 2 * tokens * c.d_model + 2 * tokens * c.d_ff;
  return 4 * (tokens * c.d_model + std::max(attention, ffn) + c.vocabulary);
}

struct TokenizerReport {
  std::string file;
  std::string kind;
  int64_t vocabulary = 0;
  int64_t mask_id = 0;
  std::string mask;
  std::vector<std::string> special;
};

TokenizerReport describe_tokenizer(const std::filesystem::path& folder) {
  const Tokenizer tokenizer = Tokenizer::load(folder);
  TokenizerReport report;
  for (const char* file : {"tokenizer.json", "vocab.txt", "vocab.json"}) {
    if (report.file.empty() && std::filesystem::exists(folder / file)) report.file = file;
  }
  report.kind = tokenizer.byte_level() ? "byte-level pieces" : "word pieces";
  report.vocabulary = tokenizer.vocabulary();
  report.mask_id = tokenizer.mask_id();
  report.mask = tokenizer.mask_token();
  for (int64_t id = 0; id < report.vocabulary; ++id) {
    if (tokenizer.is_special(id)) report.special.push_back(tokenizer.token_of(id));
  }
  return report;
}

struct Report {
  ModelConfig config;
  TensorReport tensors;
  LoadReport loaded;
  TokenizerReport tokenizer;
  std::vector<std::string> problems;  ///< why the folder cannot be used
};

std::string joined(const std::vector<std::string>& items, size_t most) {
  std::string text;
  for (size_t i = 0; i < items.size() && i < most; ++i) {
    text += (i == 0 ? "" : ", ") + printable(items[i]);
  }
  if (items.size() > most) text += " and " + std::to_string(items.size() - most) + " more";
  return items.empty() ? "none" : text;
}

nlohmann::ordered_json to_json(const InspectOptions& options, const Report& report) {
  const ModelConfig& c = report.config;
  nlohmann::ordered_json out;
  out["schema"] = "engram.inspect/1";
  out["model"] = options.model;
  out["usable"] = report.problems.empty();
  out["family"] = family_name(c.family);
  out["layers"] = c.layers;
  out["d_model"] = c.d_model;
  out["d_ff"] = c.d_ff;
  out["neurons"] = c.neurons();
  out["heads"] = c.heads;
  out["head_size"] = c.head_size;
  out["vocabulary"] = c.vocabulary;
  out["max_tokens"] = c.max_tokens();
  out["token_types"] = c.token_types;
  out["activation"] = activation_name(c.activation);
  out["head_activation"] = activation_name(c.head_activation);
  out["norm"] = c.norm == NormPlacement::kPost ? "post" : "pre";
  out["norm_epsilon"] = c.norm_epsilon;
  out["attention"] = c.attention == AttentionKind::kBidirectional ? "bidirectional" : "causal";
  out["gated_ffn"] = c.gated_ffn;
  out["tied_decoder"] = c.tied_decoder;
  out["parameters"] = report.loaded.parameters;
  out["tensors"] = {{"count", report.tensors.count},
                    {"bytes", report.tensors.bytes},
                    {"storage", report.tensors.storage},
                    {"missing", report.tensors.missing},
                    {"unexpected", report.loaded.unexpected}};
  const TokenizerReport& t = report.tokenizer;
  out["tokenizer"] = {{"file", t.file},       {"kind", t.kind}, {"vocabulary", t.vocabulary},
                      {"mask_id", t.mask_id}, {"mask", t.mask}, {"special", t.special}};
  out["memory"] = {{"weights_mapped", report.loaded.mapped_bytes},
                   {"weights_copied", report.loaded.copied_bytes},
                   {"forward_longest_prompt", forward_bytes(c, c.max_tokens())}};
  out["problems"] = report.problems;
  return out;
}

std::string to_text(const InspectOptions& options, const Report& report) {
  const ModelConfig& c = report.config;
  std::string out = printable(options.model) + "\n\n";
  const auto line = [&](const std::string& what, const std::string& value) {
    out += "  " + what + std::string(14 - what.size(), ' ') + value + "\n";
  };
  line("family", std::string(family_name(c.family)) + ", masked LM");
  line("sizes", std::to_string(c.layers) + " layers x " + format_count(c.d_ff) + " neurons = " +
                    format_count(c.neurons()) + ", width " + std::to_string(c.d_model) + ", " +
                    std::to_string(c.heads) + " heads of " + std::to_string(c.head_size));
  line("input", format_count(c.vocabulary) + " tokens in the vocabulary, prompts up to " +
                    format_count(c.max_tokens()) + " tokens");
  line("activation", std::string(activation_name(c.activation)) + " (LM head " +
                         std::string(activation_name(c.head_activation)) +
                         "), layer norm epsilon " + format_number(c.norm_epsilon, 2) +
                         (c.norm == NormPlacement::kPost ? ", post-norm" : ", pre-norm"));
  line("decoder", c.tied_decoder ? "tied to the token embedding" : "of its own");
  if (report.loaded.parameters > 0) line("parameters", format_count(report.loaded.parameters));
  std::string storage;
  for (const auto& [name, count] : report.tensors.storage) {
    storage += (storage.empty() ? "" : ", ") + format_count(count) + " as " + name;
  }
  line("tensors", format_count(report.tensors.count) + " (" + storage + "), " +
                      format_bytes(report.tensors.bytes));
  line("missing", joined(report.tensors.missing, 8));
  line("unexpected", joined(report.loaded.unexpected, 8));
  const TokenizerReport& t = report.tokenizer;
  if (!t.file.empty()) {
    line("tokenizer", t.file + ", " + t.kind + ", " + format_count(t.vocabulary) + " tokens");
    line("special",
         joined(t.special, 12) + "; the mask is " + t.mask + ", id " + std::to_string(t.mask_id));
  }
  line("memory", format_bytes(report.loaded.mapped_bytes) + " of weights mapped from the file, " +
                     format_bytes(report.loaded.copied_bytes) + " converted");
  line("", format_bytes(forward_bytes(c, c.max_tokens())) +
               " for a forward of the longest prompt; attribution takes what --memory allows");
  for (const std::string& problem : report.problems) line("problem", printable(problem));
  return out;
}

void run_inspect(const InspectOptions& options) {
  const std::filesystem::path folder(options.model);
  Report report;
  report.config = read_config(folder);
  report.tensors = compare_tensors(report.config, open_checkpoint(folder));
  for (const std::string& name : report.tensors.missing) {
    report.problems.push_back("missing tensor " + name);
  }
  for (const std::string& problem : report.tensors.problems) report.problems.push_back(problem);
  // The weights' values (NaN) and the tokenizer: each is tried, whatever became of the other.
  const auto attempt = [&](const auto& part) {
    try {
      part();
    } catch (const InputError& error) {
      report.problems.emplace_back(error.what());
    } catch (const FileError& error) {
      report.problems.emplace_back(error.what());
    }
  };
  if (report.problems.empty()) {
    attempt([&] {
      const at::Device device = open_device(options.common.device);
      report.loaded = Model::load(folder, device).report();
    });
  }
  attempt([&] {
    report.tokenizer = describe_tokenizer(folder);
    if (report.tokenizer.vocabulary > report.config.vocabulary) {
      throw InputError("the tokenizer has " + std::to_string(report.tokenizer.vocabulary) +
                       " tokens, expected at most the " + std::to_string(report.config.vocabulary) +
                       " of config.json");
    }
  });
  if (options.common.json) {
    print_json(to_json(options, report));
  } else {
    print(to_text(options, report));
  }
  if (!report.problems.empty()) {
    flush_output();
    throw InputError(options.model + ": cannot be used: " + report.problems.front() +
                     (report.problems.size() > 1
                          ? " (and " + std::to_string(report.problems.size() - 1) + " more)"
                          : ""));
  }
}

}  // namespace

void add_inspect_command(CLI::App& app) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command = add_command(app, "inspect", "what a model folder holds", kHelp);
  command->add_option("MODEL", options->model, "Folder of the model.")->required();
  add_common_options(*command, options->common);
  command->callback([options] { run_inspect(*options); });
}

}  // namespace engram::cli
