#pragma once

#include <ATen/ATen.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "engram/model/model.h"

namespace engram {

/// Copies [in, out] of weights [out, in], found by the weight they were made of. Thread-safe.
class TransposedCopies {
 public:
  /// Copies every matrix of `weights` that a product takes; later calls do nothing.
  void make(const ModelWeights& weights);
  [[nodiscard]] bool made() const { return made_.load(std::memory_order_acquire); }
  /// The copy; undefined where there is none.
  [[nodiscard]] at::Tensor of(const at::Tensor& weight) const;

 private:
  struct Pair {
    at::Tensor source;  ///< kept, so that no other weight can have its address
    at::Tensor copy;
  };
  std::once_flag once_;
  std::atomic<bool> made_{false};
  std::unordered_map<const c10::TensorImpl*, Pair> copies_;
};

}  // namespace engram
