#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace engram {

/// The buffers of one worker: a store of floats that is filled from the front and emptied at once,
/// so that repeated passes touch the same pages; and the operations that were done in them.
class Workspace {
 public:
  explicit Workspace(at::Device device) : device_(device) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  /// Uninitialised [rows, width] float32, valid until what stood before it is released.
  at::Tensor take(int64_t rows, int64_t width);
  [[nodiscard]] size_t mark() const { return used_; }
  void release_to(size_t mark) { used_ = mark; }

  /// out = a b, or out += a b with `add`; a [m, k], b [k, n], out [m, n].
  void product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add);
  /// Floating-point operations done so far: matrix products and what was counted besides.
  [[nodiscard]] double flops() const { return flops_; }
  void count(double flops) { flops_ += flops; }

 private:
  struct Piece {
    at::Tensor storage;
    size_t begin = 0;  ///< in floats, counted over all pieces
    size_t size = 0;
  };
  at::Device device_;
  std::vector<Piece> pieces_;
  size_t used_ = 0;
  double flops_ = 0;
};

}  // namespace engram
