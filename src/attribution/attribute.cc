#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "chunks.h"
#include "engram/attribution/quadrature.h"
#include "engram/error.h"
#include "integrate.h"
#include "model/parallel.h"

namespace engram {
namespace {

constexpr int64_t kDefaultBytes = int64_t{256} << 20;  // buffers of one worker
constexpr int64_t kDeviceBytes = int64_t{4} << 30;     // the same on a GPU, which wants few large
constexpr int64_t kDeviceChunkTokens = 1536;           // operations: 256 MiB would be 50 items each
constexpr size_t kManyTokens = 88;                     // that are worth a preparation of the model
constexpr int64_t kChunkTokens = 384;                  // more make products no faster

constexpr std::array<std::pair<std::string_view, Score>, 4> kScores{{
    {"ig", Score::kIntegratedGradients},
    {"activation", Score::kActivation},
    {"gradient-x-activation", Score::kGradientXActivation},
    {"ablation", Score::kAblation},
}};
constexpr std::array<std::pair<std::string_view, Rule>, 8> kRules{{
    {"control-variate", Rule::kControlVariate},
    {"gauss-legendre", Rule::kGaussLegendre},
    {"gauss-radau", Rule::kGaussRadau},
    {"gauss-lobatto", Rule::kGaussLobatto},
    {"riemann-left", Rule::kRiemannLeft},
    {"riemann-right", Rule::kRiemannRight},
    {"trapezoid", Rule::kTrapezoid},
    {"linspace", Rule::kLinspace},
}};

template <typename Names, typename Value>
std::string_view name_in(const Names& names, Value value) {
  for (const auto& [name, known] : names) {
    if (known == value) return name;
  }
  throw InternalError("a value without a name");
}

template <typename Names>
auto parse_in(const Names& names, std::string_view text, const std::string& what) {
  std::string known;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw UsageError("unknown " + what + " \"" + std::string(text) + "\", expected one of " + known);
}

void check_options(const AttributionOptions& options) {
  const auto in_range = [](int64_t n) { return n >= 1 && n <= 10000; };
  if (options.steps && !in_range(*options.steps)) {
    throw UsageError("steps: got " + std::to_string(*options.steps) + ", expected 1..10000");
  }
  if (!in_range(options.max_steps)) {
    throw UsageError("max steps: got " + std::to_string(options.max_steps) + ", expected 1..10000");
  }
  if (!(options.tolerance > 0 && options.tolerance < 1)) {
    throw UsageError("tolerance: got " + std::to_string(options.tolerance) +
                     ", expected a number between 0 and 1");
  }
  if (options.threads < 0) throw UsageError("threads: expected at least 1");
  const bool fixed = options.rule == Rule::kRiemannLeft || options.rule == Rule::kRiemannRight ||
                     options.rule == Rule::kTrapezoid || options.rule == Rule::kLinspace;
  if (options.interpolate && !fixed) {
    throw UsageError("interpolate: got the rule " + std::string(rule_name(options.rule)) +
                     ", expected one with fixed steps: riemann-left, riemann-right, trapezoid or "
                     "linspace");
  }
  if (options.score == Score::kIntegratedGradients && options.steps) {
    quadrature(options.rule, std::min<int64_t>(*options.steps, 2));  // throws when too few
  }
}

void check_query(const ModelConfig& config, const AttributionQuery& query, Target target) {
  const auto tokens = static_cast<int64_t>(query.ids.size());
  const auto inside = [&](int64_t id) { return id >= 0 && id < config.vocabulary; };
  if (tokens == 0 || tokens > config.max_tokens()) {
    throw InputError("a prompt has " + std::to_string(tokens) + " tokens, the model takes 1.." +
                     std::to_string(config.max_tokens()));
  }
  if (!std::all_of(query.ids.begin(), query.ids.end(), inside) ||
      !std::all_of(query.answer.begin(), query.answer.end(), inside) ||
      !std::all_of(query.contrast.begin(), query.contrast.end(), inside)) {
    throw InputError("a token id lies outside the model's vocabulary of " +
                     std::to_string(config.vocabulary));
  }
  if (query.positions.empty() || query.positions.size() != query.answer.size()) {
    throw InputError("a prompt needs as many masks as the answer has tokens, got " +
                     std::to_string(query.positions.size()) + " and " +
                     std::to_string(query.answer.size()));
  }
  for (size_t i = 0; i < query.positions.size(); ++i) {
    if (query.positions[i] < 0 || query.positions[i] >= tokens ||
        (i > 0 && query.positions[i] <= query.positions[i - 1])) {
      throw InputError("mask positions must ascend inside the prompt");
    }
  }
  if (target == Target::kLogitDifference &&
      (query.contrast.size() != 1 || query.answer.size() != 1)) {
    throw InputError("a logit difference needs an answer and another answer of one token each");
  }
}

/// Indices of queries that go together, of at most `largest` tokens.
std::vector<std::vector<size_t>> cut_queries(const ModelConfig& config,
                                             std::span<const AttributionQuery> queries,
                                             int64_t bytes, int64_t largest) {
  std::vector<PromptSize> sizes;
  for (const AttributionQuery& query : queries) {
    const auto tokens = static_cast<int64_t>(query.ids.size());
    const auto targets = static_cast<int64_t>(query.positions.size());
    // The base run keeps every layer of every prompt: that bounds the chunk.
    const int64_t one =
        Passes::item_bytes(config, tokens, targets, -1, Reach::kExact, true) +
        tokens * config.layers * 4 * config.d_model * static_cast<int64_t>(sizeof(float));
    const double share = std::max(static_cast<double>(one) / static_cast<double>(bytes),
                                  static_cast<double>(tokens) / static_cast<double>(largest));
    sizes.push_back({tokens, targets, share, static_cast<double>(tokens)});
  }
  return cut_chunks(sizes);
}

Chunk make_chunk(std::span<const AttributionQuery> queries, const std::vector<size_t>& members,
                 Target target) {
  Chunk chunk;
  for (const size_t member : members) {
    const AttributionQuery& query = queries[member];
    chunk.add(query.ids, query.positions, query.answer);
    if (target == Target::kLogitDifference) {
      chunk.contrast.insert(chunk.contrast.end(), query.contrast.begin(), query.contrast.end());
    }
  }
  return chunk;
}

}  // namespace

std::string_view score_name(Score score) { return name_in(kScores, score); }
std::string_view rule_name(Rule rule) { return name_in(kRules, rule); }
std::string_view target_name(Target target) {
  switch (target) {
    case Target::kProbability:
      return "prob";
    case Target::kLogProbability:
      return "logprob";
    case Target::kLogitDifference:
      return "logit-diff";
  }
  throw InternalError("a target without a name");
}
Score parse_score(std::string_view name) { return parse_in(kScores, name, "score"); }
Rule parse_rule(std::string_view name) { return parse_in(kRules, name, "rule"); }

int attribution_workers(const Model& model, const AttributionOptions& options) {
  if (!model.device().is_cpu()) return 1;
  const int workers = worker_count(options.threads);
  if (!options.bitwise || options.memory_bytes == 0) return workers;
  return static_cast<int>(std::clamp<int64_t>(options.memory_bytes / kDefaultBytes, 1, workers));
}

void attribute(const Model& model, std::span<const AttributionQuery> queries,
               const AttributionOptions& options, const AttributionSink& sink) {
  check_options(options);
  for (const AttributionQuery& query : queries) {
    check_query(model.config(), query, options.target);
  }
  if (queries.empty()) return;
  const bool ablation = options.score == Score::kAblation;
  size_t tokens = 0;
  for (const AttributionQuery& query : queries) tokens += query.ids.size();
  if (options.bitwise || ablation || tokens >= kManyTokens) model.prepare_products();
  const bool on_cpu = model.device().is_cpu();
  const int cores = attribution_workers(model, options);
  // The budget decides how queries are cut, so its default is a constant, not what is free.
  const int64_t bytes = options.memory_bytes > 0 && !options.bitwise
                            ? std::max<int64_t>(options.memory_bytes / cores, 1 << 20)
                            : (on_cpu ? kDefaultBytes : kDeviceBytes);
  // Few queries are dealt to all cores, unless the bits must not depend on how many there are.
  const auto share = (static_cast<int64_t>(tokens) + cores - 1) / cores;
  const int64_t most = on_cpu ? kChunkTokens : kDeviceChunkTokens;
  const int64_t largest = options.bitwise ? most : std::min(share, most);
  const std::vector<std::vector<size_t>> chunks =
      cut_queries(model.config(), queries, bytes, largest);
  const int workers = std::min(cores, static_cast<int>(chunks.size()));
  // Workers without a chunk of their own help inside: with neurons, or in every product.
  const int helpers = options.bitwise ? 1 : std::max(1, cores / workers);

  std::deque<Passes> passes;
  for (int i = 0; i < workers; ++i) passes.emplace_back(model, options.target);
  std::mutex guard;
  bool sound = true;  // a sink that threw is not called again
  run_tasks(chunks.size(), workers, ablation ? 1 : helpers, [&](size_t i, size_t worker) {
    const at::NoGradGuard no_grad;
    const Chunk chunk = make_chunk(queries, chunks[i], options.target);
    std::vector<Attribution> results =
        options.score == Score::kIntegratedGradients
            ? integrate(passes[worker], model, chunk, options, bytes)
            : score_directly(passes[worker], model, chunk, options, bytes, helpers);
    const std::scoped_lock lock(guard);
    if (!std::exchange(sound, false)) return;
    for (size_t j = 0; j < results.size(); ++j) sink(chunks[i][j], std::move(results[j]));
    sound = true;
  });
}

}  // namespace engram
