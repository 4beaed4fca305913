#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

namespace engram {

/// A text file, plain or packed, one sentence or paragraph per line, and how it is read: in windows
/// of whole tokens, with the special tokens of the model's tokenizer around each.
struct CorpusOptions {
  std::filesystem::path file;
  int64_t limit = 0;         ///< lines to read; 0: all
  int64_t window = 256;      ///< tokens of a window, special ones included; at most the model's
  int threads = 0;           ///< workers, one BLAS thread each; 0: one per core
  int64_t memory_bytes = 0;  ///< bounds the workers' buffers; 0: half of what is free
};

/// What was read.
struct CorpusCounts {
  int64_t lines = 0;    ///< blank ones included
  int64_t windows = 0;  ///< run through the model
  int64_t words = 0;    ///< of the lines that were not skipped, between spaces
  int64_t tokens = 0;   ///< of the windows, special ones left out
  int64_t cut = 0;      ///< lines of more than one window
  int64_t skipped = 0;  ///< lines that are no UTF-8 or longer than 1 MiB
};

/// Called now and then from the calling thread.
using CorpusProgress = std::function<void(const CorpusCounts& so_far)>;

}  // namespace engram
