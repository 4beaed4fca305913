// Recall of planted neurons, by hand.
#include "planting/recall.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace engram {
namespace {

TEST(Recall, CountsTheTopOfEachLayer) {
  // Two layers of ten: the top 20 % are two neurons of each.
  at::Tensor scores = at::zeros({2, 10});
  scores[0][3] = 5;
  scores[0][7] = 4;
  scores[0][1] = 3;
  scores[1][9] = -1;
  scores[1].narrow(0, 0, 9).fill_(-2);
  scores[1][4] = -1.5;
  const std::vector<NeuronId> planted = {{0, 3}, {0, 1}, {1, 4}, {1, 0}};
  EXPECT_DOUBLE_EQ(recall_of(scores, planted, 0.2), 0.5);   // 3 and, of the second layer, 4
  EXPECT_DOUBLE_EQ(recall_of(scores, planted, 0.3), 1);     // of equal ones the first
  EXPECT_DOUBLE_EQ(recall_of(scores, planted, 0.1), 0.25);  // 3 alone
  EXPECT_DOUBLE_EQ(recall_of(scores, planted, 1), 1);
}

TEST(Recall, AucComparesWithinLayers) {
  at::Tensor scores = at::zeros({3, 4});
  scores[0][0] = 2;
  scores[0][1] = 1;
  scores[0][2] = 2;
  scores[1][0] = -9;
  scores[2][0] = 9;
  const std::vector<NeuronId> a = {{0, 0}, {0, 1}, {1, 0}};
  const std::vector<NeuronId> b = {{0, 2}, {0, 3}, {2, 0}};
  // (0,0): equal to one, above the other; (0,1): below one, above the other; layer 1 has no b.
  EXPECT_DOUBLE_EQ(pair_auc(scores, a, b), 2.5 / 4);
  EXPECT_DOUBLE_EQ(pair_auc(scores, b, a), 1.5 / 4);
  EXPECT_TRUE(std::isnan(pair_auc(scores, {{{1, 0}}}, {{{2, 0}}})));
}

}  // namespace
}  // namespace engram
