#include <algorithm>
#include <cmath>

#include "engram/reading/memories.h"
#include "engram/run/experiment.h"
#include "experiments/memories/rows.h"
#include "run/parts.h"

namespace engram::experiments::memories {
namespace {

/// The corpus is read as far as this takes the model, a minute on two cores without AVX-512: all
/// layers read the same lines, so that the reading cannot be cut into parts.
constexpr double kReadingFlops = 6e12;
constexpr double kFewestLines = 100;
constexpr double kMostLines = 1000;
constexpr int64_t kMasks = 1;  ///< of a line, in a masked model

KeyRow row_of(const Tokenizer& tokenizer, const MemoryKey& key) {
  const auto text = [&](const std::vector<int64_t>& ids) { return tokenizer.decode(ids, false); };
  KeyRow row;
  row.layer = key.neuron.layer;
  row.neuron = key.neuron.neuron;
  row.triggers = static_cast<int64_t>(key.triggers.size());
  if (!key.pattern.empty()) row.pattern = text(key.pattern);
  row.shared = key.shared;
  row.has_pattern = key.has_pattern;
  row.direction_pattern = key.direction_pattern;
  row.shuffled_pattern = key.shuffled_pattern;
  // Rows of a decoder that only pad it have no token.
  if (tokenizer.has_token(key.top_token)) row.top_token = text({key.top_token});
  row.top_p = key.top_p;
  row.chance = std::nan("");
  if (!key.triggered) return row;
  const MemoryTrigger& top = key.triggers.front();
  row.agrees = key.agrees;
  row.rank = key.rank;
  row.chance = key.chance;
  row.chance_rank = key.chance_rank;
  row.trigger = text(top.before);
  if (!top.behind.empty()) *row.trigger += " [MASK] " + text(top.behind);
  row.next = text({top.next});
  return row;
}

class MemoriesExperiment : public Experiment {
 public:
  [[nodiscard]] std::string_view name() const override { return "memories"; }
  [[nodiscard]] int version() const override { return 1; }
  [[nodiscard]] std::string details(const RunOptions& options) const override {
    return std::to_string(options.memory_keys) + " keys of a layer";
  }
  [[nodiscard]] std::optional<std::string> skipped(const RunContext& run) const override {
    if (run.options.corpus.empty()) return "no file of ordinary text was given (--corpus)";
    return {};
  }
  [[nodiscard]] bool across() const override { return true; }
  [[nodiscard]] int64_t parts(const RunContext& /*run*/,
                              std::string_view /*relation*/) const override {
    return 1;
  }
  [[nodiscard]] int64_t facts(const RunContext& /*run*/, std::string_view /*relation*/,
                              int64_t /*part*/) const override {
    return 0;
  }
  std::vector<TableRows> run(const RunContext& run, std::string_view /*relation*/,
                             int64_t /*part*/) override {
    MemoriesOptions options;
    options.corpus.file = run.options.corpus;
    options.corpus.window = memories_window(run.model.config());
    options.corpus.limit = static_cast<int64_t>(
        std::clamp(kReadingFlops / run_flops(run, text_size(run)), kFewestLines, kMostLines));
    options.corpus.threads = run.measure.threads;
    options.corpus.memory_bytes = run.measure.memory_bytes;
    options.keys = run.options.memory_keys;
    options.masks = kMasks;
    options.seed = run.options.seed;
    options.bootstrap.draws = 1;  // the report has the means
    const Memories found = measure_memories(run.model, run.tokenizer, options);
    std::vector<KeyRow> rows;
    for (const MemoryKey& key : found.keys) rows.push_back(row_of(run.tokenizer, key));
    return {to_rows(std::move(rows))};
  }
};

}  // namespace

std::unique_ptr<Experiment> make_experiment() { return std::make_unique<MemoriesExperiment>(); }

}  // namespace engram::experiments::memories
