#include "intervention/batch.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <numbers>

#include "model/parallel.h"
#include "passes/chunk.h"

namespace engram {

namespace {

constexpr int64_t kBatchTokens = 256;

/// log(1 - exp(log_p)) for log_p < 0, exact at both ends.
double log_not(double log_p) {
  return log_p > -std::numbers::ln2 ? std::log(-std::expm1(log_p)) : std::log1p(-std::exp(log_p));
}

/// Log-odds of the geometric mean of several P, given the log-odds of each.
double joint_log_odds(std::span<const double> log_odds) {
  if (log_odds.size() == 1) return log_odds.front();
  double log_p = 0;  // log P = -log(1 + exp(-log-odds)), not through P, which rounds to 1
  for (const double one : log_odds) {
    log_p -= one > 0 ? std::log1p(std::exp(-one)) : std::log1p(std::exp(one)) - one;
  }
  log_p /= static_cast<double>(log_odds.size());
  return log_p - log_not(log_p);
}

Answered joint_answer(std::span<const kernels::TokenAnswer> tokens, int64_t vocabulary) {
  Answered answer{0, 0, 1, 0};
  std::vector<double> log_odds;
  for (const kernels::TokenAnswer& token : tokens) {
    answer.log_p += token.log_p / static_cast<double>(tokens.size());
    answer.rank = std::max(answer.rank, 1 + token.larger);
    log_odds.push_back(token.log_odds);
  }
  answer.p = std::exp(answer.log_p);
  answer.log_odds = joint_log_odds(log_odds);
  // No logit is larger than one that is no number, which is no reason to call it the top one.
  if (!std::isfinite(answer.log_p)) answer.rank = vocabulary;
  return answer;
}

}  // namespace

std::vector<Answered> joint_answers(std::span<const kernels::TokenAnswer> tokens, int64_t targets,
                                    int64_t vocabulary) {
  const auto k = static_cast<size_t>(targets);
  std::vector<Answered> answers;
  for (size_t begin = 0; begin < tokens.size(); begin += k) {
    answers.push_back(joint_answer(tokens.subspan(begin, k), vocabulary));
  }
  return answers;
}

void run_unchanged(const Model& model, std::span<const Cloze> clozes, const MeasureOptions& options,
                   Backward backward,
                   const std::function<void(const std::vector<size_t>& index, const Base& base,
                                            Passes& passes)>& use) {
  check_clozes(model.config(), clozes);
  const ModelConfig& config = model.config();
  const std::vector<PromptSize> sizes = sizes_of(clozes, kBatchTokens);
  const std::vector<std::vector<size_t>> tasks = cut_chunks(sizes);
  int64_t bytes = 1;
  for (const std::vector<size_t>& index : tasks) {
    int64_t all = 0;
    for (const size_t i : index) {
      all += Passes::item_bytes(config, sizes[i].tokens, sizes[i].targets, -1, Reach::kExact,
                                backward != Backward::kNone) +
             sizes[i].tokens * config.layers * 4 * config.d_model *
                 static_cast<int64_t>(sizeof(float));
    }
    bytes = std::max(bytes, all);
  }
  const int64_t fitting = std::max<int64_t>(1, memory_budget(options.memory_bytes) / bytes);
  const int workers =
      model.device().is_cpu()
          ? static_cast<int>(std::min<int64_t>(fitting, worker_count(options.threads)))
          : 1;
  std::deque<Passes> passes;
  for (int i = 0; i < workers; ++i) passes.emplace_back(model, Target::kProbability);
  run_tasks(tasks.size(), workers, 1, [&](size_t task, size_t worker) {
    const at::NoGradGuard no_grad;
    Passes& own = passes[worker];
    use(tasks[task], own.run_base(make_chunk(clozes, tasks[task]), backward), own);
  });
}

}  // namespace engram
