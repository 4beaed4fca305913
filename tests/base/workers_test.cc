#include "engram/base/workers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace engram {
namespace {

TEST(Workers, EveryPieceIsDoneOnce) {
  std::atomic<int> begun{0};
  Workers workers(3, [&] { ++begun; });
  for (const size_t items : {0, 1, 2, 1000}) {
    std::vector<std::atomic<int>> done(items);
    workers.run(items, [&](size_t item, size_t worker) {
      EXPECT_LT(worker, 3U);
      ++done[item];
    });
    for (const std::atomic<int>& one : done) EXPECT_EQ(one.load(), 1);
  }
  EXPECT_LE(begun.load(), 3);
}

TEST(Workers, AnExceptionEndsTheRunAndTheNextOneWorks) {
  Workers workers(2);
  std::atomic<size_t> calls{0};
  EXPECT_THROW(workers.run(10000,
                           [&](size_t item, size_t) {
                             ++calls;
                             if (item == 3) throw std::runtime_error("three");
                           }),
               std::runtime_error);
  EXPECT_LT(calls.load(), 10000U);
  calls = 0;
  workers.run(5, [&](size_t, size_t) { ++calls; });
  EXPECT_EQ(calls.load(), 5U);
}

}  // namespace
}  // namespace engram
