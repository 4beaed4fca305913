#include "intervention/batch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <string>

#include "engram/error.h"

namespace engram {

void check_probes(const ModelConfig& config, std::span<const Probe> probes) {
  for (size_t i = 0; i < probes.size(); ++i) {
    const Probe& probe = probes[i];
    const auto tokens = static_cast<int64_t>(probe.ids.size());
    const std::string name = "prompt " + std::to_string(i) + ": ";
    if (tokens < 1 || tokens > config.max_tokens()) {
      throw InputError(name + "has " + std::to_string(tokens) + " tokens, the model takes 1 to " +
                       std::to_string(config.max_tokens()));
    }
    if (probe.positions.empty() || probe.positions.size() != probe.answer.size()) {
      throw InputError(name + "has " + std::to_string(probe.positions.size()) + " masks and " +
                       std::to_string(probe.answer.size()) + " answer tokens");
    }
    int64_t last = -1;
    for (const int64_t position : probe.positions) {
      if (position <= last || position >= tokens) {
        throw InputError(name + "mask position " + std::to_string(position) +
                         " is out of the prompt or out of order");
      }
      last = position;
    }
    for (const std::vector<int64_t>* ids : {&probe.ids, &probe.answer}) {
      for (const int64_t id : *ids) {
        if (id < 0 || id >= config.vocabulary) {
          throw InputError(name + "token id " + std::to_string(id) +
                           " lies outside the vocabulary of " + std::to_string(config.vocabulary));
        }
      }
    }
  }
}

std::vector<std::vector<size_t>> cut_batches(std::span<const Probe> probes, int64_t max_tokens) {
  std::map<std::pair<size_t, size_t>, std::vector<size_t>> by_shape;
  for (size_t i = 0; i < probes.size(); ++i) {
    by_shape[{probes[i].ids.size(), probes[i].positions.size()}].push_back(i);
  }
  std::vector<std::vector<size_t>> batches;
  for (const auto& [shape, indices] : by_shape) {
    const size_t most =
        std::max<size_t>(1, static_cast<size_t>(max_tokens) / std::max<size_t>(1, shape.first));
    for (size_t begin = 0; begin < indices.size(); begin += most) {
      const size_t end = std::min(indices.size(), begin + most);
      batches.emplace_back(indices.begin() + static_cast<std::ptrdiff_t>(begin),
                           indices.begin() + static_cast<std::ptrdiff_t>(end));
    }
  }
  return batches;
}

ProbeBatch make_batch(const Model& model, std::span<const Probe> probes,
                      const std::vector<size_t>& index) {
  const auto matrix = [&](std::vector<int64_t> Probe::*field) {
    const auto columns = static_cast<int64_t>((probes[index.front()].*field).size());
    at::Tensor values = at::empty({static_cast<int64_t>(index.size()), columns}, at::kLong);
    int64_t* out = values.mutable_data_ptr<int64_t>();
    for (const size_t i : index) out = std::ranges::copy(probes[i].*field, out).out;
    return values.to(model.device());
  };
  return {index, matrix(&Probe::ids), matrix(&Probe::positions), matrix(&Probe::answer)};
}

at::Tensor rows_at(const at::Tensor& x, const at::Tensor& positions) {
  return x.gather(1, positions.unsqueeze(-1).expand({-1, -1, x.size(2)}));
}

SharedRun run_shared(const Model& model, const ProbeBatch& batch, ActivationHook* hook,
                     const std::vector<bool>& keep) {
  const int64_t layers = model.config().layers;
  SharedRun run;
  run.attended.resize(static_cast<size_t>(layers));
  run.output.resize(static_cast<size_t>(layers));
  at::Tensor x = model.embed(batch.ids);
  for (int64_t layer = 0; layer < layers; ++layer) {
    const auto l = static_cast<size_t>(layer);
    const bool top = layer == layers - 1;
    const at::Tensor attended = model.attend(layer, top ? rows_at(x, batch.positions) : x, x);
    x = model.feed(layer, attended, hook);
    if (keep[l]) {
      run.attended[l] = top ? attended : rows_at(attended, batch.positions);
      if (!top) run.output[l] = x;
    }
  }
  run.final = x;
  return run;
}

at::Tensor answer_log_p(const Model& model, const at::Tensor& final, const at::Tensor& answer) {
  const at::Tensor logits = model.logits(final.flatten(0, 1))
                                .view({final.size(0), final.size(1), model.config().vocabulary});
  const at::Tensor chosen = logits.gather(2, answer.unsqueeze(-1)).squeeze(-1);
  return chosen - logits.logsumexp(2);
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

}  // namespace

std::vector<Answered> read_logits(const at::Tensor& logits, const at::Tensor& total,
                                  const at::Tensor& answer) {
  const at::Tensor chosen = logits.gather(2, answer.unsqueeze(-1));  // [rows, k, 1]
  const at::Tensor log_p = (chosen.squeeze(-1) - total).to(at::kCPU, at::kDouble);
  const at::Tensor larger = logits.gt(chosen).sum(2).to(at::kCPU);  // [rows, k] int64
  const at::Tensor others =
      logits.scatter(2, answer.unsqueeze(-1), -std::numeric_limits<double>::infinity())
          .logsumexp(2);
  const at::Tensor odds =
      (chosen.squeeze(-1) - others).to(at::kCPU, at::kDouble).contiguous();  // [rows, k]
  const auto masks = static_cast<size_t>(odds.size(1));
  const at::Tensor mean = log_p.mean(1).contiguous();
  const at::Tensor worst = larger.amax(1).contiguous();
  std::vector<Answered> answers(static_cast<size_t>(logits.size(0)));
  for (size_t i = 0; i < answers.size(); ++i) {
    const double value = mean.const_data_ptr<double>()[i];
    // No logit is larger than one that is no number, which is no reason to call it the top one.
    const int64_t rank =
        std::isfinite(value) ? 1 + worst.const_data_ptr<int64_t>()[i] : logits.size(2);
    answers[i] = {value, std::exp(value), rank,
                  joint_log_odds({odds.const_data_ptr<double>() + i * masks, masks})};
  }
  return answers;
}

std::vector<Answered> read_answers(const Model& model, const at::Tensor& final,
                                   const at::Tensor& answer) {
  const at::Tensor logits = model.logits(final.flatten(0, 1))
                                .view({final.size(0), final.size(1), model.config().vocabulary});
  return read_logits(logits, logits.logsumexp(2), answer);
}

}  // namespace engram
