#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engram/model/model.h"
#include "engram/reading/corpus.h"
#include "engram/text/tokenizer.h"

namespace engram {

/// The second moment of one layer's keys, C of ROME (Meng et al. 2022, 2202.05262, section 3.1):
/// the mean of a a^T over the tokens of ordinary text, a = the activations of the layer's neurons.
struct KeyMoments {
  std::string base;    ///< model_fingerprint() of the model whose keys they are
  std::string corpus;  ///< the file's name
  int64_t layer = 0;
  int64_t tokens = 0;              ///< text tokens that were read; special ones count nowhere
  at::Tensor moment;               ///< [d_ff, d_ff] float32, CPU, symmetric
  std::vector<std::string> texts;  ///< beginnings of lines, 5 and 10 tokens long by turns: what
                                   ///< stands before a prompt whose key is looked for
};

struct MomentsOptions {
  CorpusOptions corpus;
  int64_t tokens = 100'000;  ///< where reading stops, within some thousands; 0: read all
  int64_t texts = 50;        ///< to keep, a seeded sample of the lines
  uint64_t seed = 0;
};

/// Streams a corpus through the layers 0..`layer`. Depends on threads only within rounding. Throws
/// InputError (no such layer; fewer text tokens than the layer has neurons, with which C has no
/// inverse), FileError, Interrupted.
KeyMoments key_moments(const Model& model, const Tokenizer& tokenizer, const std::string& base,
                       int64_t layer, const MomentsOptions& options,
                       const CorpusProgress& progress = {});

/// Writes them as one .safetensors file (docs/formats.md), beside and renamed. Throws FileError.
void write_key_moments(const std::filesystem::path& file, const KeyMoments& moments);

/// Reads such a file. Throws FileError; InputError that names the file, what was got and what was
/// expected.
KeyMoments read_key_moments(const std::filesystem::path& file);

}  // namespace engram
