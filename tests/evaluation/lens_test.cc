#include "engram/evaluation/lens.h"

#include <gtest/gtest.h>

#include <cmath>

#include "intervention/random_model.h"

namespace engram {
namespace {

using testing::random_model;
using testing::random_probe;

constexpr double kLensClose = 3e-5;

std::vector<Probe> some_probes() {
  std::vector<Probe> probes;
  for (uint64_t i = 0; i < 9; ++i) {
    probes.push_back(random_probe(i, 4 + static_cast<int64_t>(i % 4), 1 + i % 2));
  }
  return probes;
}

TEST(Lens, TheLastLayerIsTheModelsOutput) {
  const Model model = random_model(5);
  const std::vector<Probe> probes = some_probes();
  const auto found = answers_by_layer(model, probes);
  const Measured measured = measure(model, probes, {}, {});
  for (size_t p = 0; p < probes.size(); ++p) {
    ASSERT_EQ(found[p].size(), 4U);
    EXPECT_NEAR(found[p].back().log_p, measured.before[p].log_p,
                kLensClose * std::abs(measured.before[p].log_p));
    EXPECT_EQ(found[p].back().rank, measured.before[p].rank);
  }
}

TEST(Lens, EachLayerIsTheHiddenStateThroughTheHead) {
  const Model model = random_model(6);
  const std::vector<Probe> probes = some_probes();
  const auto found = answers_by_layer(model, probes, {2, 0});
  for (size_t p = 0; p < probes.size(); ++p) {
    const at::Tensor ids = at::tensor(probes[p].ids, at::kLong).unsqueeze(0);
    at::Tensor x = model.embed(ids);
    for (size_t l = 0; l < found[p].size(); ++l) {
      const at::Tensor rows =
          x.select(0, 0).index_select(0, at::tensor(probes[p].positions, at::kLong));
      const at::Tensor log_p = model.logits(rows).to(at::kDouble).log_softmax(1);
      double mean = 0;
      for (size_t k = 0; k < probes[p].answer.size(); ++k) {
        mean += log_p[static_cast<int64_t>(k)][probes[p].answer[k]].item<double>();
      }
      mean /= static_cast<double>(probes[p].answer.size());
      EXPECT_NEAR(found[p][l].log_p, mean, kLensClose * std::max(1.0, std::abs(mean)));
      if (l + 1 == found[p].size()) break;
      const auto layer = static_cast<int64_t>(l);
      x = model.feed(layer, model.attend(layer, x, x));
    }
  }
}

}  // namespace
}  // namespace engram
