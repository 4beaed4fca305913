#pragma once

#include <cstdint>
#include <tuple>

#include "store/typed_rows.h"

// Which facts the model knows, before any neuron is located.
namespace engram::experiments::screen {

struct ScreenRow {
  static constexpr const char* kTable = "screen";
  static constexpr const char* kMeaning =
      "audit: how the model answers every fact that could be taken; ids as in the table fact, "
      "which "
      "holds those that were";
  static constexpr size_t kKey = 1;
  int64_t fact = 0;
  int64_t prompts = 0;
  int64_t top = 0;
  double log_odds = 0;
  static constexpr auto fields() {
    return std::tuple{
        Field{"fact", &ScreenRow::fact, ""},
        Field{"prompts", &ScreenRow::prompts, "all of its prompts, held-out ones included"},
        Field{"top", &ScreenRow::top, "of these, prompts whose answer is the top one"},
        Field{"log_odds", &ScreenRow::log_odds, "of the answer, mean over its prompts"}};
  }
};

}  // namespace engram::experiments::screen
