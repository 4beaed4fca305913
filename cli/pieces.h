#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engram/text/tokenizer.h"

// Tokens as they read in running text.
namespace engram::cli {

/// A token without its vocabulary's marks.
struct Piece {
  std::string text;     ///< may be empty: a token that is nothing but a space
  bool begins = false;  ///< a space stands before it
};

Piece piece_of(const Tokenizer& tokenizer, int64_t id);

/// Some tokens that follow each other, on one line.
std::string running_text(const Tokenizer& tokenizer, const std::vector<int64_t>& ids);

}  // namespace engram::cli
