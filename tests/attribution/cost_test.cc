// The closed form of docs/performance.md against what the passes count while they run.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "attribution/methods.h"
#include "engram/attribution/cost.h"
#include "engram/model/tensor_table.h"

namespace engram {
namespace {

TEST(Cost, ClosedFormIsWhatThePassesDo) {
  ModelConfig config;
  config.layers = 5;
  config.d_model = 24;
  config.d_ff = 60;
  config.heads = 2;
  config.head_size = 12;
  config.vocabulary = 50;
  config.positions = 20;
  config.token_types = 2;
  at::manual_seed(1);
  ModelWeights weights;
  for (const TensorSpec& spec : tensor_table(config, weights)) {
    const std::vector<int64_t> shape = spec.shape(config);
    *spec.destination = at::randn(shape) * 0.2;
  }
  const Model model(config, weights);
  const at::NoGradGuard no_grad;
  for (const int64_t targets : {1, 2}) {
    Cloze cloze{{5, 41, 0, 12, 12, 30, 7, 8, 49}, {3}, {7}};
    if (targets == 2) cloze = {cloze.ids, {3, 4}, {7, 8}};
    const Chunk chunk = make_chunk({&cloze, 1}, {0});
    AttributionOptions options;
    options.integration.steps = 2;
    Passes passes(model, options.target);
    const std::vector<Attribution> results =
        integrate({passes, model, chunk, options, int64_t{1} << 30, /*workers=*/1});
    // The passes do not count the products between the FFN sum and the neurons that follow them.
    const double closed = attribution_flops(config, 9, targets, results.front().layers);
    const double values = static_cast<double>(config.layers * targets * 2 * 24 * 60);
    EXPECT_NEAR(passes.flops(), closed - values, 1e-9 * closed);
  }
}

}  // namespace
}  // namespace engram
