#include "engram/evaluation/lens.h"

#include <c10/core/InferenceMode.h>

#include "intervention/batch.h"
#include "model/parallel.h"

namespace engram {
namespace {

constexpr int64_t kBatchTokens = 256;

int workers_for(const Model& model, const MeasureOptions& options) {
  if (!model.device().is_cpu()) return 1;
  const ModelConfig& c = model.config();
  const auto bytes = static_cast<int64_t>(sizeof(float)) * kBatchTokens *
                     (2 * c.d_ff + 8 * c.d_model + 2 * c.vocabulary);
  const int64_t fitting = memory_budget(options.memory_bytes) / bytes;
  return static_cast<int>(std::clamp<int64_t>(fitting, 1, worker_count(options.threads)));
}

}  // namespace

std::vector<std::vector<Answered>> answers_by_layer(const Model& model,
                                                    std::span<const Cloze> clozes,
                                                    const MeasureOptions& options) {
  check_clozes(model.config(), clozes);
  std::vector<std::vector<Answered>> all(clozes.size());
  const std::vector<std::vector<size_t>> tasks = cut_equal_chunks(sizes_of(clozes, kBatchTokens));
  run_tasks(tasks.size(), workers_for(model, options), [&](size_t task) {
    const c10::InferenceMode guard;
    const ClozeBatch batch = make_batch(model, clozes, tasks[task]);
    const auto read = [&](const at::Tensor& x) {
      const std::vector<Answered> answers =
          read_answers(model, rows_at(x, batch.positions), batch.answer);
      for (size_t b = 0; b < answers.size(); ++b) all[batch.index[b]].push_back(answers[b]);
    };
    at::Tensor x = model.embed(batch.ids);
    read(x);
    for (int64_t layer = 0; layer < model.config().layers; ++layer) {
      x = model.feed(layer, model.attend(layer, x, x));
      read(x);
    }
  });
  return all;
}

}  // namespace engram
