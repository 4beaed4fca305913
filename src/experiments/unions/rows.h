#pragma once

#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// Other relations' neurons erased: rows of table `erase`, and the text without any edit.
namespace engram::experiments::unions {

struct TextPerplexityRow {
  static constexpr const char* kTable = "text_perplexity";
  static constexpr const char* kMeaning = "pseudo-perplexity of ordinary text, unedited";
  static constexpr size_t kKey = 1;
  int64_t position = 0;
  double log_p = 0;
  bool top = false;
  static constexpr auto fields() {
    return std::tuple{Field{"position", &TextPerplexityRow::position, "from 0"},
                      Field{"log_p", &TextPerplexityRow::log_p, "of the masked token"},
                      Field{"top", &TextPerplexityRow::top, "1: it is the top one"}};
  }
};

}  // namespace engram::experiments::unions
