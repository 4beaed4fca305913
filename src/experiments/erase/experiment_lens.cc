#include "experiments/erase/experiment_lens.h"

#include "intervention/batch.h"

namespace engram::experiments::erase {

std::vector<std::vector<Answered>> answers_by_layer(const Model& model,
                                                    std::span<const Cloze> clozes,
                                                    const MeasureOptions& options) {
  std::vector<std::vector<Answered>> all(clozes.size());
  run_unchanged(model, clozes, options, Backward::kNone,
                [&](const std::vector<size_t>& index, const Base& base, Passes& passes) {
                  const at::Tensor targets =
                      at::tensor(base.target_rows(), at::kLong).to(model.device());
                  const auto read = [&](const at::Tensor& rows) {
                    const std::vector<Answered> answers =
                        joint_answers(passes.answers(rows, {base.chunk.answer}).front(),
                                      base.chunk.targets, model.config().vocabulary);
                    for (size_t b = 0; b < answers.size(); ++b) all[index[b]].push_back(answers[b]);
                  };
                  for (const Base::Layer& layer : base.layers)
                    read(layer.rows.x.index_select(0, targets));
                  read(base.final_rows);
                });
  return all;
}

}  // namespace engram::experiments::erase
