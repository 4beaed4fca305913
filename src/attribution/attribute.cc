#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <string>
#include <utility>

#include "attribution/quadrature.h"
#include "engram/error.h"
#include "methods.h"
#include "model/parallel.h"
#include "passes/chunk.h"

namespace engram {
namespace {

constexpr int64_t kDefaultBytes = int64_t{256} << 20;  // buffers of one worker
constexpr int64_t kDeviceBytes = int64_t{4} << 30;     // the same on a GPU, which wants few large
constexpr int64_t kDeviceChunkTokens = 1536;           // operations: 256 MiB would be 50 items each
constexpr size_t kManyTokens = 88;                     // that are worth a preparation of the model
constexpr int64_t kChunkTokens = 384;                  // more make products no faster

void check_integration(const IntegrationOptions& options) {
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
  const bool fixed = options.rule == Rule::kRiemannLeft || options.rule == Rule::kRiemannRight ||
                     options.rule == Rule::kTrapezoid || options.rule == Rule::kLinspace;
  if (options.interpolate && !fixed) {
    throw UsageError("interpolate: got the rule " + std::string(rule_name(options.rule)) +
                     ", expected one with fixed steps: riemann-left, riemann-right, trapezoid or "
                     "linspace");
  }
  if (options.steps) {
    quadrature(options.rule, std::min<int64_t>(*options.steps, 2));  // throws when too few
  }
}

void check_options(const AttributionOptions& options) {
  if (options.threads < 0) throw UsageError("threads: expected at least 1");
  if (score_method(options.score).integrates) check_integration(options.integration);
}

void check_ablation(const AttributionOptions& options, const ModelConfig& config) {
  const at::Tensor& to = options.ablate_to;
  if (!to.defined()) return;
  if (options.score != Score::kAblation) {
    throw UsageError("values to ablate to: got the score " +
                     std::string(score_name(options.score)) + ", expected ablation");
  }
  if (to.dim() != 2 || to.size(0) != config.layers || to.size(1) != config.d_ff ||
      to.scalar_type() != at::kFloat || !to.device().is_cpu()) {
    throw UsageError("values to ablate to: expected float32 [" + std::to_string(config.layers) +
                     ", " + std::to_string(config.d_ff) + "] on the CPU");
  }
}

void check_contrasts(std::span<const Cloze> clozes) {
  for (const Cloze& cloze : clozes) {
    if (cloze.contrast.size() != 1 || cloze.answer.size() != 1) {
      throw InputError("a logit difference needs an answer and another answer of one token each");
    }
  }
}

/// Indices of prompts that go together, of at most `largest` tokens.
std::vector<std::vector<size_t>> cut_prompts(const ModelConfig& config,
                                             std::span<const Cloze> clozes, int64_t bytes,
                                             int64_t largest) {
  std::vector<PromptSize> sizes = sizes_of(clozes, largest);
  for (PromptSize& size : sizes) {
    // The base run keeps every layer of every prompt: that bounds the chunk.
    const int64_t one =
        Passes::item_bytes(config, size.tokens, size.targets, -1, Reach::kExact, true) +
        size.tokens * config.layers * 4 * config.d_model * static_cast<int64_t>(sizeof(float));
    size.share = std::max(size.share, static_cast<double>(one) / static_cast<double>(bytes));
  }
  return cut_chunks(sizes);
}

}  // namespace

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

int attribution_workers(const Model& model, const AttributionOptions& options) {
  if (!model.device().is_cpu()) return 1;
  const int workers = worker_count(options.threads);
  if (!options.bitwise || options.memory_bytes == 0) return workers;
  return static_cast<int>(std::clamp<int64_t>(options.memory_bytes / kDefaultBytes, 1, workers));
}

void attribute(const Model& model, std::span<const Cloze> clozes, const AttributionOptions& options,
               const AttributionSink& sink) {
  check_options(options);
  check_ablation(options, model.config());
  check_clozes(model.config(), clozes);
  if (options.target == Target::kLogitDifference) check_contrasts(clozes);
  if (clozes.empty()) return;
  const bool ablation = options.score == Score::kAblation;
  const ScoreChunk score_chunk = chunk_scorer(options.score);
  size_t tokens = 0;
  for (const Cloze& cloze : clozes) tokens += cloze.ids.size();
  if (options.bitwise || ablation || tokens >= kManyTokens) model.prepare_products();
  const bool on_cpu = model.device().is_cpu();
  const int cores = attribution_workers(model, options);
  // The budget decides how prompts are cut, so its default is a constant, not what is free.
  const int64_t bytes = options.memory_bytes > 0 && !options.bitwise
                            ? std::max<int64_t>(options.memory_bytes / cores, 1 << 20)
                            : (on_cpu ? kDefaultBytes : kDeviceBytes);
  // Few prompts are dealt to all cores, unless the bits must not depend on how many there are.
  const auto share = (static_cast<int64_t>(tokens) + cores - 1) / cores;
  const int64_t most = on_cpu ? kChunkTokens : kDeviceChunkTokens;
  const int64_t largest = options.bitwise ? most : std::min(share, most);
  const std::vector<std::vector<size_t>> chunks =
      cut_prompts(model.config(), clozes, bytes, largest);
  const int workers = std::min(cores, static_cast<int>(chunks.size()));
  // Workers without a chunk of their own help inside: with neurons, or in every product.
  const int helpers = options.bitwise ? 1 : std::max(1, cores / workers);

  std::deque<Passes> passes;
  for (int i = 0; i < workers; ++i) passes.emplace_back(model, options.target);
  std::mutex guard;
  bool sound = true;  // a sink that threw is not called again
  run_tasks(chunks.size(), workers, ablation ? 1 : helpers, [&](size_t i, size_t worker) {
    const at::NoGradGuard no_grad;
    const Chunk chunk = make_chunk(clozes, chunks[i]);
    std::vector<Attribution> results =
        score_chunk({passes[worker], model, chunk, options, bytes, helpers});
    const std::scoped_lock lock(guard);
    if (!std::exchange(sound, false)) return;
    for (size_t j = 0; j < results.size(); ++j) sink(chunks[i][j], std::move(results[j]));
    sound = true;
  });
}

}  // namespace engram
