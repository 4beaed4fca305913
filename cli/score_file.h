#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>

#include "engram/base/file.h"

namespace engram::cli {

/// All scores as one file, float32 [prompts, layers, d_ff], written row by row in any order and
/// never held in memory: the tensor "scores" of a safetensors file where the name ends in
/// .safetensors, else NumPy's format. Written beside its place and renamed by commit(); without it
/// nothing remains.
class ScoreFile {
 public:
  /// Throws FileError (no regular file, folder that cannot be written).
  ScoreFile(std::filesystem::path path, int64_t layers, int64_t d_ff);

  /// `scores` [layers, d_ff] float32. Throws FileError (disk full).
  void write_row(int64_t row, const at::Tensor& scores);
  /// `single`: the shape is [layers, d_ff], of one row. REQUIRES: every row below `rows` was
  /// written. Throws FileError.
  void commit(int64_t rows, bool single = false);

 private:
  FileInMaking file_;
  bool safetensors_ = false;
  int64_t layers_ = 0;
  int64_t d_ff_ = 0;
};

}  // namespace engram::cli
