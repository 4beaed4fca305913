#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <filesystem>

namespace engram::cli {

/// All scores as one file, float32 [prompts, layers, d_ff], written row by row in any order and
/// never held in memory: the tensor "scores" of a safetensors file where the name ends in
/// .safetensors, else NumPy's format. Written beside its place and renamed by commit(); without it
/// nothing remains.
class ScoreFile {
 public:
  /// Throws FileError (no regular file, folder that cannot be written).
  ScoreFile(std::filesystem::path path, int64_t layers, int64_t d_ff);
  ~ScoreFile();
  ScoreFile(const ScoreFile&) = delete;
  ScoreFile& operator=(const ScoreFile&) = delete;

  /// `scores` [layers, d_ff] float32. Throws FileError (disk full).
  void write_row(int64_t row, const at::Tensor& scores);
  /// `single`: the shape is [layers, d_ff], of one row. REQUIRES: every row below `rows` was
  /// written. Throws FileError.
  void commit(int64_t rows, bool single = false);

 private:
  void write_at(const void* bytes, size_t size, int64_t offset) const;
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  bool safetensors_ = false;
  int64_t layers_ = 0;
  int64_t d_ff_ = 0;
  int descriptor_ = -1;
};

}  // namespace engram::cli
