#include "removal/relearn.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <numeric>

#include "base/random.h"
#include "edit/adam.h"
#include "edit/padded.h"
#include "engram/base/interrupt.h"
#include "removal/weights.h"

namespace engram {

void relearn(const Model& model, std::span<const Cloze> prompts, const RelearnOptions& options,
             const std::function<void(int64_t steps, const Model& model)>& look) {
  std::vector<at::Tensor> trained;
  const Model pupil = with_weights(model, [&](const at::Tensor& weight, bool) {
    trained.push_back(weight.clone().requires_grad_());
    return trained.back();
  });
  Adam adam(trained, options.rate);
  Random random(options.seed);
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  size_t at = order.size();
  int64_t done = 0;
  for (const int64_t wanted : options.steps) {
    for (; done < wanted; ++done) {
      Interrupt::check();
      std::vector<Cloze> batch;
      while (std::cmp_less(batch.size(), options.prompts) && batch.size() < prompts.size()) {
        if (at == order.size()) {
          random.shuffle(order);
          at = 0;
        }
        batch.push_back(prompts[order[at++]]);
      }
      {
        const at::AutoGradMode grad(true);
        AskedPrompts(batch, model.device()).loss(pupil).backward();
      }
      adam.step();
    }
    const at::NoGradGuard no_grad;
    look(done, pupil);
  }
}

}  // namespace engram
