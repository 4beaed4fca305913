#include "experiments/erase/experiment_lens.h"

#include <gtest/gtest.h>

#include <cmath>

#include "intervention/random_model.h"

namespace engram::experiments::erase {
namespace {

using testing::random_cloze;
using testing::random_model;

constexpr double kLensClose = 3e-5;

std::vector<Cloze> some_clozes() {
  std::vector<Cloze> clozes;
  for (uint64_t i = 0; i < 9; ++i) {
    clozes.push_back(random_cloze(i, 4 + static_cast<int64_t>(i % 4), 1 + i % 2));
  }
  return clozes;
}

TEST(Lens, TheLastLayerIsTheModelsOutput) {
  const Model model = random_model(5);
  const std::vector<Cloze> clozes = some_clozes();
  const auto found = answers_by_layer(model, clozes);
  const Measured measured = measure(model, clozes, {}, {});
  for (size_t p = 0; p < clozes.size(); ++p) {
    ASSERT_EQ(found[p].size(), 4U);
    EXPECT_NEAR(found[p].back().log_p, measured.before[p].log_p,
                kLensClose * std::abs(measured.before[p].log_p));
    EXPECT_EQ(found[p].back().rank, measured.before[p].rank);
  }
}

TEST(Lens, EachLayerIsTheHiddenStateThroughTheHead) {
  const Model model = random_model(6);
  const std::vector<Cloze> clozes = some_clozes();
  const auto found = answers_by_layer(model, clozes, {2, 0});
  for (size_t p = 0; p < clozes.size(); ++p) {
    const at::Tensor ids = at::tensor(clozes[p].ids, at::kLong).unsqueeze(0);
    at::Tensor x = model.embed(ids);
    for (size_t l = 0; l < found[p].size(); ++l) {
      const at::Tensor rows =
          x.select(0, 0).index_select(0, at::tensor(clozes[p].positions, at::kLong));
      const at::Tensor log_p = model.logits(rows).to(at::kDouble).log_softmax(1);
      double mean = 0;
      for (size_t k = 0; k < clozes[p].answer.size(); ++k) {
        mean += log_p[static_cast<int64_t>(k)][clozes[p].answer[k]].item<double>();
      }
      mean /= static_cast<double>(clozes[p].answer.size());
      EXPECT_NEAR(found[p][l].log_p, mean, kLensClose * std::max(1.0, std::abs(mean)));
      if (l + 1 == found[p].size()) break;
      const auto layer = static_cast<int64_t>(l);
      x = model.feed(layer, x, model.attend(layer, x));
    }
  }
}

}  // namespace
}  // namespace engram::experiments::erase
