#include "cli/neuron.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/neuron_output.h"
#include "cli/paths.h"
#include "engram/base/file.h"
#include "engram/base/interrupt.h"
#include "engram/edit/working_copy.h"
#include "engram/neurons/located.h"
#include "engram/run/stored.h"

namespace engram::cli {
namespace {

constexpr const char* kNeuronHelp =
    R"(One neuron of a feed-forward layer opened: what triggers it, what it writes, and
what is like it.

Key: the texts of a corpus on which it is most and least active, with its activation
on every token, and how its activation is spread over all tokens. A masked model
reads windows of the text as they are, without a mask; of a causal model the prefix
that ends with the extreme token is shown. The file holds one sentence or paragraph
per line, plain or .xz, .gz, .zst, and is streamed: it may be of any size.

Value: the tokens that its value vector raises and lowers most: what the model's LM
head says to the vector alone, minus what it says to zeros. P is the softmax of that.

Like it: the neurons of all layers whose key or value has the largest cosine with its
own. With --neurons or --run also the facts whose located set holds it.

Examples:
  engram neuron models/engram-base 3:44 --neurons neurons.jsonl
  engram neuron build/real/smollm2-135m 20:7 --corpus wiki.txt.xz --html neuron.html
)";

constexpr size_t kNeighbourTokens = 3;

std::string known_corpus(const NeuronCommandOptions& options) {
  if (!options.corpus.empty()) return options.corpus;
  std::error_code failed;
  const auto own = std::filesystem::path(options.model) / "corpus.txt";
  return std::filesystem::exists(own, failed) ? own.string() : "";
}

NeuronId wanted_neuron(const std::string& text) {
  std::vector<NeuronId> ids;
  try {
    ids = parse_neurons(text);
  } catch (const UsageError& error) {
    throw UsageError("NEURON: " + std::string(error.what()));
  }
  if (ids.size() != 1) {
    throw UsageError("NEURON: got " + format_count(static_cast<int64_t>(ids.size())) +
                     " neurons, expected one");
  }
  return ids.front();
}

/// The `count` extreme tokens of `logits` [vocabulary].
std::vector<ValueToken> value_tokens(const Tokenizer& tokenizer, const at::Tensor& logits,
                                     int64_t count, bool lowest) {
  const at::Tensor wide = logits.to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor p = wide.softmax(0);
  const double* value = wide.const_data_ptr<double>();
  std::vector<int64_t> order;
  for (int64_t id = 0; id < wide.numel(); ++id) {
    if (tokenizer.has_token(id)) order.push_back(id);
  }
  const auto keep = std::min(count, static_cast<int64_t>(order.size()));
  std::partial_sort(order.begin(), order.begin() + keep, order.end(), [&](int64_t a, int64_t b) {
    if (value[a] != value[b]) return lowest ? value[a] < value[b] : value[a] > value[b];
    return a < b;
  });
  std::vector<ValueToken> tokens;
  for (int64_t i = 0; i < keep; ++i) {
    const int64_t id = order[static_cast<size_t>(i)];
    tokens.push_back({id, value[id], p[id].item<double>()});
  }
  return tokens;
}

std::vector<NeighbourRow> with_tokens(const LoadedModel& loaded,
                                      const std::vector<Neighbour>& neighbours) {
  std::vector<NeighbourRow> rows;
  for (const Neighbour& one : neighbours) {
    const at::Tensor logits = read_vectors(
        loaded.model, value_vectors(loaded.model, one.neuron.layer, {one.neuron.neuron}));
    NeighbourRow& row = rows.emplace_back();
    row.neighbour = one;
    for (const ValueToken& token :
         value_tokens(loaded.tokenizer, logits[0], kNeighbourTokens, false)) {
      row.tokens.push_back(token.id);
    }
  }
  return rows;
}

/// The last part of a folder's name, whatever slashes end it.
std::string last_part(const std::string& folder) {
  return (std::filesystem::path(folder) / "").lexically_normal().parent_path().filename().string();
}

/// A run knows its model by what is in its files.
void check_run_model(RunStore& run, const NeuronCommandOptions& options) {
  const RunIdentity identity = run.identity();
  const auto found = identity.find("model");
  const std::string of = found == identity.end() ? "" : found->second;
  const std::string base = edit_base(options.model);
  if (of == base) return;
  throw InputError(options.run + ": got a run of another model (" + of + "), expected " + base);
}

LocatedFile located_file(const NeuronCommandOptions& options, const ModelConfig& config) {
  LocatedFile file;
  if (!options.neurons.empty()) {
    file = read_located(options.neurons);
    if (!file.model.empty() && last_part(file.model) != last_part(options.model)) {
      note(options.common, options.neurons + " was located on the model " + file.model +
                               ", this one is " + options.model);
    }
  } else {
    RunStore run = RunStore::open(options.run, RunStore::Mode::kRead);
    check_run_model(run, options);
    run.snapshot([&] { file = stored_located(run); });
    if (file.facts.empty()) {
      throw InputError(options.run + ": no relation's neurons are located yet");
    }
  }
  const std::string& path = options.neurons.empty() ? options.run : options.neurons;
  const auto check = [&](const char* what, std::optional<int64_t> got, int64_t expected) {
    if (!got || *got == expected) return;
    throw InputError(path + ": got neurons of a model with " + what + " " + std::to_string(*got) +
                     ", expected the " + std::to_string(expected) + " of " + options.model);
  };
  check("layers", file.layers, config.layers);
  check("d_ff", file.d_ff, config.d_ff);
  return file;
}

void add_facts(const NeuronCommandOptions& options, const ModelConfig& config,
               OpenedNeuron& opened) {
  if (options.neurons.empty() && options.run.empty()) return;
  LocatedFile file = located_file(options, config);
  opened.located = true;
  opened.facts = static_cast<int64_t>(file.facts.size());
  for (LocatedSet& set : file.facts) {
    const bool refined = std::ranges::binary_search(set.neurons, opened.id);
    if (!refined && !std::ranges::binary_search(set.unrefined, opened.id)) continue;
    opened.holds.push_back(
        {std::move(set.relation), std::move(set.subject), std::move(set.object), refined});
  }
}

void add_activity(const NeuronCommandOptions& options, const LoadedModel& loaded,
                  OpenedNeuron& opened) {
  opened.corpus = known_corpus(options);
  if (opened.corpus.empty()) {
    note(options.common, "no --corpus, and " + options.model +
                             " has no corpus.txt: neither texts nor activations are shown");
    return;
  }
  CorpusOptions corpus;
  corpus.file = opened.corpus;
  corpus.limit = options.limit;
  corpus.window = options.window;
  corpus.threads = options.common.threads;
  corpus.memory_bytes = options.common.memory_bytes;
  Progress progress(options.common.quiet, "reading texts", options.limit,
                    options.limit > 0 ? "lines" : "words");
  int64_t shown = 0;
  opened.activity = neuron_activity(loaded.model, loaded.tokenizer, opened.id, options.top, corpus,
                                    [&](const CorpusCounts& counts) {
                                      const int64_t done =
                                          options.limit > 0 ? counts.lines : counts.words;
                                      progress.advance(done - shown);
                                      shown = done;
                                    });
}

void run_neuron(const NeuronCommandOptions& options) {
  OpenedNeuron opened;
  opened.id = wanted_neuron(options.neuron);
  if (!options.neurons.empty() && !options.run.empty()) {
    throw UsageError("--neurons and --run: expected one of the two");
  }
  check_outputs({{"--html", options.html}}, {{"MODEL", options.model},
                                             {"--corpus", options.corpus},
                                             {"--neurons", options.neurons},
                                             {"--run", options.run}});
  try {
    const LoadedModel loaded = load_model(options.model, options.common);
    const Model& model = loaded.model;
    check_neuron(model.config(), opened.id);
    add_facts(options, model.config(), opened);
    opened.norms = neuron_norms(model, opened.id);
    const at::Tensor logits =
        read_vectors(model, value_vectors(model, opened.id.layer, {opened.id.neuron}))[0];
    opened.raised = value_tokens(loaded.tokenizer, logits, options.top, false);
    opened.lowered = value_tokens(loaded.tokenizer, logits, options.top, true);
    const Neighbours near = nearest_neurons(model, opened.id, options.top);
    opened.by_key = with_tokens(loaded, near.by_key);
    opened.by_value = with_tokens(loaded, near.by_value);
    Interrupt::check();
    add_activity(options, loaded, opened);
    if (!options.html.empty()) {
      AtomicFile file(options.html);
      file.write(neuron_page(options, loaded, opened));
      file.commit();
      note(options.common, "wrote " + options.html);
    }
    if (options.common.json) {
      print_json(neuron_json(options, loaded, opened));
    } else {
      print(neuron_text(loaded, opened));
    }
  } catch (const Interrupted&) {
    throw Interrupted("no file was written");
  }
}

}  // namespace

void add_neuron_command(CLI::App& app) {
  auto options = std::make_shared<NeuronCommandOptions>();
  CLI::App* command = add_command(
      app, "neuron", "what triggers a neuron, what it writes, what is like it", kNeuronHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  command->add_option("NEURON", options->neuron, "LAYER:NEURON, both from 0.")->required();
  add_path(
      *command, "--corpus", options->corpus,
      "Text, one sentence or paragraph per line, plain or packed. Default: corpus.txt of MODEL, "
      "where it has one.")
      ->type_name("FILE");
  add_path(*command, "--neurons", options->neurons,
           "Located sets, as `locate --out` writes them: the facts that hold the neuron.")
      ->type_name("FILE");
  add_path(*command, "--run", options->run, "The same from a run.")->type_name("FILE");
  add_integer(*command, "--top", options->top, 1, 10'000,
              "Texts of each end, tokens and neighbours to show. Default: 10.");
  add_integer(*command, "--limit", options->limit, 1, 1'000'000'000'000,
              "Read N lines of the corpus. Default: all.");
  add_integer(*command, "--window", options->window, 1, 1'000'000,
              "Tokens that are read at once, at most the model's; longer lines are cut. Default: "
              "256.");
  add_path(*command, "--html", options->html, "Also write all of it as one page into FILE.")
      ->type_name("FILE");
  add_common_options(*command, options->common, {.seed = false});
  command->callback([options] { run_neuron(*options); });
}

}  // namespace engram::cli
