#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "cli/common.h"
#include "engram/intervention/top_texts.h"

namespace engram::cli {

struct TextsOptions {
  CommonOptions common;
  std::string model;
  std::string neurons;  ///< "3:17,5:201"
  std::string corpus;   ///< text file, plain or packed; empty: corpus.txt of the model's folder
  int64_t top = 10;
  int64_t limit = 0;  ///< lines, 0: all
};

void add_texts_command(CLI::App& app);

/// How the strength of a neuron on a token is shown: on a terminal by the background, else by
/// brackets around tokens with at least half of the extreme activation and numbers at the extreme
/// one.
enum class Marking { kBrackets, kColour };

/// A text with its activation marked per token, on one line. `byte_level` as the tokenizer's.
std::string marked_text(const TextExample& example, bool byte_level, Marking marking);

}  // namespace engram::cli
