#include "intervention/batch.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace engram {

ClozeBatch make_batch(const Model& model, std::span<const Cloze> clozes,
                      const std::vector<size_t>& index) {
  const auto matrix = [&](std::vector<int64_t> Cloze::*field) {
    const auto columns = static_cast<int64_t>((clozes[index.front()].*field).size());
    at::Tensor values = at::empty({static_cast<int64_t>(index.size()), columns}, at::kLong);
    int64_t* out = values.mutable_data_ptr<int64_t>();
    for (const size_t i : index) out = std::ranges::copy(clozes[i].*field, out).out;
    return values.to(model.device());
  };
  return {index, matrix(&Cloze::ids), matrix(&Cloze::positions), matrix(&Cloze::answer)};
}

at::Tensor rows_at(const at::Tensor& x, const at::Tensor& positions) {
  return x.gather(1, positions.unsqueeze(-1).expand({-1, -1, x.size(2)}));
}

namespace {

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

std::vector<Answered> read_logits(const at::Tensor& logits, const at::Tensor& answer) {
  const at::Tensor rows = logits.flatten(0, 1).contiguous();
  const at::Tensor ids = answer.to(at::kCPU).contiguous();
  std::vector<kernels::TokenAnswer> tokens(static_cast<size_t>(rows.size(0)));
  kernels::read_answers(rows, ids.const_data_ptr<int64_t>(), tokens.data());
  return joint_answers(tokens, logits.size(1), logits.size(2));
}

std::vector<Answered> read_answers(const Model& model, const at::Tensor& final,
                                   const at::Tensor& answer) {
  return read_logits(model.logits(final.flatten(0, 1))
                         .view({final.size(0), final.size(1), model.config().vocabulary}),
                     answer);
}

}  // namespace engram
