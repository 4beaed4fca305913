#include "cli/memories.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/paths.h"
#include "cli/pieces.h"
#include "engram/base/utf8.h"
#include "engram/reading/memories.h"

namespace engram::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kMemoriesHelp =
    R"(Are feed-forward layers key-value memories? The measures of Geva et al. 2021 for a
seeded sample of keys of every layer, over a corpus.

Patterns: of each key the 25 prefixes on which it is most active (of a masked model:
masked tokens), at most one of a window. A key has a pattern when 3 of them share an
n-gram of 1 to 3 tokens, within the last 5 tokens (of a mask: within 5 on a side),
that at most 1 % of random prefixes hold. Beside it the same for random directions in
the keys' places, and for triggers shuffled between the keys of a layer.

Agreement: how often the token that a value raises most is the one that follows its
key's top trigger (that was masked), and the mean rank of that token in the value's
distribution. Beside both what other keys' values give. In ranges of the value's
largest P as well.

Means over keys, with intervals from a bootstrap over keys (95 %, 2,000 draws). The
corpus holds one sentence or paragraph per line, plain or .xz, .gz, .zst, and is
streamed. docs/method.md says what each number is, and what it is not.

Examples:
  engram memories models/engram-base --corpus models/engram-base/corpus.txt --keys 50
  engram memories build/real/smollm2-135m --corpus wiki.txt.xz --keys 34 --json
)";

Json means_json(const MemoryMeans& means) {
  Json out;
  out["layer"] = nullptr;
  if (means.layer >= 0) out["layer"] = means.layer;
  out["keys"] = means.keys;
  out["triggered"] = means.triggered;
  for (const auto& [name, interval] : {std::pair{"pattern", &means.pattern},
                                       {"direction_pattern", &means.direction_pattern},
                                       {"shuffled_pattern", &means.shuffled_pattern},
                                       {"above_direction", &means.above_direction},
                                       {"agreement", &means.agreement},
                                       {"chance", &means.chance},
                                       {"above_chance", &means.above_chance},
                                       {"rank", &means.rank},
                                       {"chance_rank", &means.chance_rank}}) {
    out[name] = interval_json(*interval);
  }
  return out;
}

Json key_json(const Tokenizer& tokenizer, const MemoryKey& key) {
  Json out{{"layer", key.neuron.layer}, {"neuron", key.neuron.neuron}};
  out["pattern"] = key.has_pattern ? Json(tokenizer.tokens_of(key.pattern)) : Json(nullptr);
  out["shared"] = key.shared;
  out["direction_pattern"] = key.direction_pattern;
  out["shuffled_pattern"] = key.shuffled_pattern;
  out["top_token"] = nullptr;  // rows of the decoder that only pad it have no token
  if (tokenizer.has_token(key.top_token)) out["top_token"] = tokenizer.token_of(key.top_token);
  out["top_p"] = key.top_p;
  const bool triggered = !key.triggers.empty();
  out["agrees"] = triggered ? Json(key.agrees) : Json(nullptr);
  out["rank"] = triggered ? Json(key.rank) : Json(nullptr);
  out["chance"] = triggered ? Json(key.chance) : Json(nullptr);
  out["chance_rank"] = triggered ? Json(key.chance_rank) : Json(nullptr);
  Json& triggers = out["triggers"] = Json::array();
  for (const MemoryTrigger& one : key.triggers) {
    triggers.push_back({{"activation", one.activation},
                        {"line", one.line},
                        {"before", tokenizer.tokens_of(one.before)},
                        {"behind", tokenizer.tokens_of(one.behind)},
                        {"next", tokenizer.token_of(one.next)}});
  }
  return out;
}

Json memories_json(const MemoriesCommandOptions& options, const Tokenizer& tokenizer,
                   const MemoriesOptions& how, bool causal, const Memories& found) {
  Json out;
  out["schema"] = "engram.memories/1";
  out["version"] = ENGRAM_VERSION;
  out["model"] = options.model;
  out["corpus"] = options.corpus;
  out["keys_per_layer"] = options.keys;
  out["masks"] = causal ? Json(nullptr) : Json(options.masks);
  out["window"] = how.corpus.window;
  out["limit"] = options.limit;
  out["seed"] = options.common.seed;
  for (const auto& [name, value] : {std::pair{"lines", found.counts.lines},
                                    {"windows", found.counts.windows},
                                    {"words", found.counts.words},
                                    {"tokens", found.counts.tokens},
                                    {"cut", found.counts.cut},
                                    {"skipped", found.counts.skipped},
                                    {"places", found.places},
                                    {"random_places", found.random}}) {
    out[name] = value;
  }
  out["all"] = means_json(found.all);
  Json& layers = out["layers"] = Json::array();
  for (const MemoryMeans& layer : found.layers) layers.push_back(means_json(layer));
  Json& bins = out["by_largest_p"] = Json::array();
  for (const MemoryBin& bin : found.bins) {
    bins.push_back({{"low", bin.low},
                    {"high", bin.high},
                    {"keys", bin.keys},
                    {"agreement", interval_json(bin.agreement)},
                    {"chance", interval_json(bin.chance)}});
  }
  Json& keys = out["keys"] = Json::array();
  for (const MemoryKey& key : found.keys) keys.push_back(key_json(tokenizer, key));
  return out;
}

std::string share_text(const Interval& interval) {
  std::string text = format_percent(interval.value, 0);
  if (std::isnan(interval.low)) return text;
  const auto bare = [](double share) {
    const std::string shown = format_percent(share, 0);
    return shown.substr(0, shown.size() - 2);
  };
  return text + " [" + bare(interval.low) + ", " + bare(interval.high) + "]";
}

std::string rank_text(const Interval& interval) {
  if (std::isnan(interval.value)) return "-";
  return format_count(std::llround(interval.value));
}

std::vector<std::string> means_row(const MemoryMeans& means) {
  return {means.layer < 0 ? "all" : std::to_string(means.layer),
          format_count(means.keys),
          share_text(means.pattern),
          share_text(means.direction_pattern),
          share_text(means.shuffled_pattern),
          share_text(means.agreement),
          format_percent(means.chance.value),
          rank_text(means.rank),
          rank_text(means.chance_rank)};
}

/// Some of the clearest patterns, to look at: of each layer the one that most triggers share.
std::string examples_text(const Tokenizer& tokenizer, const Memories& found) {
  Table table({{"neuron"},
               {"shared by"},
               {"pattern", Table::Align::kLeft},
               {"top trigger", Table::Align::kLeft},
               {"next", Table::Align::kLeft},
               {"value raises", Table::Align::kLeft}});
  for (const MemoryMeans& layer : found.layers) {
    const MemoryKey* best = nullptr;
    for (const MemoryKey& key : found.keys) {
      if (key.neuron.layer != layer.layer || !key.has_pattern) continue;
      if (best == nullptr || key.shared > best->shared) best = &key;
    }
    if (best == nullptr) continue;
    const MemoryTrigger& top = best->triggers.front();
    std::string text = running_text(tokenizer, top.before);
    if (!top.behind.empty()) text += " [MASK] " + running_text(tokenizer, top.behind);
    table.add_row({neuron_name(best->neuron),
                   format_count(best->shared) + " of " +
                       format_count(static_cast<int64_t>(best->triggers.size())),
                   shorten(running_text(tokenizer, best->pattern), 24), shorten(text, 48),
                   shorten(running_text(tokenizer, {top.next}), 16),
                   tokenizer.has_token(best->top_token)
                       ? shorten(printable(tokenizer.token_of(best->top_token)), 16)
                       : ""});
  }
  if (table.empty()) return "";
  return "\nThe pattern that most triggers share, of each layer\n" + table.str();
}

std::string memories_text(const MemoriesCommandOptions& options, const Tokenizer& tokenizer,
                          bool causal, const Memories& found) {
  std::string out = format_count(found.all.keys, "key") + ", seed " +
                    std::to_string(options.common.seed) + "; " +
                    format_count(found.counts.words, "word") + ", " + format_count(found.places) +
                    (causal ? " prefixes" : " masked tokens");
  out += "; n-grams are rare by " + format_count(found.random) + " random ones\n\n";
  Table table({{"layer"},
               {"keys"},
               {"pattern"},
               {"random directions"},
               {"shuffled"},
               {"agreement"},
               {"by chance"},
               {"mean rank"},
               {"by chance"}});
  for (const MemoryMeans& layer : found.layers) table.add_row(means_row(layer));
  table.add_row(means_row(found.all));
  out += table.str();
  out += "\nAgreement by the value's largest P\n";
  Table bins({{"P from"}, {"to"}, {"keys"}, {"agreement"}, {"by chance"}});
  for (const MemoryBin& bin : found.bins) {
    bins.add_row({format_number(bin.low, 3), format_number(bin.high, 3), format_count(bin.keys),
                  share_text(bin.agreement), format_percent(bin.chance.value)});
  }
  return out + bins.str() + examples_text(tokenizer, found);
}

void run_memories(const MemoriesCommandOptions& options) {
  const LoadedModel loaded = load_model(options.model, options.common);
  const bool causal = loaded.model.config().causal();
  MemoriesOptions how;
  how.corpus.file = options.corpus;
  how.corpus.limit = options.limit;
  how.corpus.window = options.window.value_or(memories_window(loaded.model.config()));
  how.corpus.threads = options.common.threads;
  how.corpus.memory_bytes = options.common.memory_bytes;
  how.keys = options.keys;
  how.masks = options.masks;
  how.seed = options.common.seed;
  how.bootstrap.seed = options.common.seed;
  const auto start = std::chrono::steady_clock::now();
  Memories found;
  {
    Progress progress(options.common.quiet, "reading texts", options.limit,
                      options.limit > 0 ? "lines" : "words");
    int64_t shown = 0;
    found = measure_memories(loaded.model, loaded.tokenizer, how, [&](const CorpusCounts& counts) {
      const int64_t done = options.limit > 0 ? counts.lines : counts.words;
      progress.advance(done - shown);
      shown = done;
    });
  }
  if (options.common.json) {
    print_json(memories_json(options, loaded.tokenizer, how, causal, found));
  } else {
    print(memories_text(options, loaded.tokenizer, causal, found));
  }
  flush_output();
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  note(options.common, format_count(found.all.keys, "key") + " over " +
                           format_count(found.counts.words, "word") + " in " +
                           format_duration(time.count()));
}

}  // namespace

void add_memories_command(CLI::App& app) {
  auto options = std::make_shared<MemoriesCommandOptions>();
  CLI::App* command = add_command(
      app, "memories", "what triggers keys and whether their values predict it", kMemoriesHelp);
  add_model(*command, options->model, "Folder of the model.")->required();
  add_path(*command, "--corpus", options->corpus,
           "Text, one sentence or paragraph per line, plain or packed. Required.")
      ->type_name("FILE")
      ->required();
  add_integer(*command, "--keys", options->keys, 2, 1'000'000,
              "Keys to sample in every layer. Default: 100.");
  add_integer(*command, "--masks", options->masks, 1, 1'000'000,
              "Of a masked model: tokens of each window to mask, one at a time. Default: 4.");
  add_integer(*command, "--limit", options->limit, 1, 1'000'000'000'000,
              "Read N lines. Default: all.");
  add_integer(*command, "--window", options->window, 1, 1'000'000,
              "Tokens that are read at once, at most the model's; longer lines are cut. Default: "
              "256, of a masked model 64.");
  add_common_options(*command, options->common);
  command->callback([options] { run_memories(*options); });
}

}  // namespace engram::cli
