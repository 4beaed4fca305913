#include "model/workspace.h"

#include <algorithm>

#include "engram/model/product.h"

namespace engram {
namespace {

constexpr size_t kPieceFloats = 16 << 20;  // 64 MiB

}  // namespace

at::Tensor Workspace::take(int64_t rows, int64_t width) {
  const auto floats = static_cast<size_t>(rows * width);
  const size_t padded = (floats + 15) / 16 * 16;  // rows of every buffer start on a cache line
  for (;;) {
    for (const Piece& piece : pieces_) {
      if (used_ < piece.begin) used_ = piece.begin;
      if (used_ + padded <= piece.begin + piece.size) {
        const auto offset = static_cast<int64_t>(used_ - piece.begin);
        used_ += padded;
        return piece.storage.narrow(0, offset, static_cast<int64_t>(floats)).view({rows, width});
      }
    }
    Piece piece;
    piece.begin = pieces_.empty() ? 0 : pieces_.back().begin + pieces_.back().size;
    piece.size = std::max(kPieceFloats, padded);
    piece.storage = at::empty({static_cast<int64_t>(piece.size)},
                              at::TensorOptions().dtype(at::kFloat).device(device_));
    pieces_.push_back(std::move(piece));
  }
}

void Workspace::product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add) {
  if (a.size(0) == 0) return;
  flops_ += 2.0 * static_cast<double>(a.size(0)) * static_cast<double>(a.size(1)) *
            static_cast<double>(b.size(1));
  matrix_product(a, b, out, add);
}

}  // namespace engram
