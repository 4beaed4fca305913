#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engram/intervention/measure.h"
#include "engram/model/model.h"
#include "engram/neuron.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// A text on which a neuron is very active, or very little.
struct TextExample {
  double activation = 0;  ///< the extreme one over the text's tokens
  int64_t line = 0;       ///< of the file, from 1
  std::string text;
  /// Tokens as the vocabulary writes them, with the neuron's activation on each. Special tokens of
  /// the family ([CLS], [SEP]) are left out, and are no extremes either.
  std::vector<std::pair<std::string, float>> tokens;
};

/// A neuron's texts, the extreme one first; ties in the order of the file.
struct NeuronTexts {
  NeuronId neuron;
  std::vector<TextExample> highest;
  std::vector<TextExample> lowest;
};

struct TopTextsOptions {
  int64_t top = 10;        ///< texts kept for each neuron and end
  int64_t first = 0;       ///< lines to leave out at the start
  int64_t limit = 0;       ///< lines to read; 0: all
  bool need_text = true;   ///< no text in those lines is an error
  MeasureOptions measure;  ///< threads and memory
};

/// What was read, and what was found.
struct TopTexts {
  std::vector<NeuronTexts> neurons;  ///< as asked for
  int64_t lines = 0;                 ///< read, blank ones included
  int64_t texts = 0;                 ///< run through the model
  int64_t words = 0;                 ///< of those, between spaces
  int64_t tokens = 0;                ///< of those, special ones included
  int64_t cut = 0;                   ///< lines that were too long and were cut between sentences
  int64_t skipped = 0;               ///< sentences too long for the model, lines that are no UTF-8
};

/// Called now and then from the calling thread with the lines and words done so far.
using TopTextsProgress = std::function<void(int64_t lines, int64_t words)>;

/// Streams through a text file, plain or packed, one sentence or paragraph per line, and keeps the
/// texts on which each neuron's activation at any token (nothing is masked) is largest and
/// smallest. A line that is too long for the model is cut between sentences. A text that stands
/// there several times counts once as long as it is among those kept. Memory does not grow with
/// the file, the result depends neither on threads nor on memory. Throws InputError (a neuron that
/// does not exist or is there twice, a file without a text), FileError, UsageError (top < 1),
/// Interrupted.
TopTexts top_texts(const Model& model, const Tokenizer& tokenizer,
                   const std::filesystem::path& file, std::span<const NeuronId> neurons,
                   const TopTextsOptions& options = {}, const TopTextsProgress& progress = {});

}  // namespace engram
