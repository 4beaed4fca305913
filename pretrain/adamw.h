#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "engram/base/workers.h"

namespace engram::pretrain {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8;
  double weight_decay = 0.01;  ///< of matrices; vectors are not decayed
  double clip = 1.0;           ///< largest norm of the gradient
};

/// AdamW (Loshchilov and Hutter 2019) on the summed gradients of a step's micro-batches. Every sum
/// has a fixed order, so the result does not depend on the number of workers. On the CPU plain
/// loops that the workers share; on other devices the same formulas as ATen operations.
class AdamW {
 public:
  /// `parameters` are float32 leaves of the graph on one device, changed in place by step().
  AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options);

  [[nodiscard]] const std::vector<at::Tensor>& parameters() const { return parameters_; }

  /// The tensors of a checkpoint, in order: parameters, first moments, second moments.
  [[nodiscard]] std::vector<at::Tensor> state() const;

  /// One step at learning rate `rate`. `gradients` [micro-batch][parameter] are summed into the
  /// first. `step` counts from 0. Returns the norm before clipping. Throws InputError when the
  /// gradient is not finite.
  double step(std::vector<std::vector<at::Tensor>>& gradients, int64_t step, double rate,
              Workers& workers);

  /// The same step by ATen operations on any device. Public for the test that compares both.
  double step_generic(std::vector<std::vector<at::Tensor>>& gradients, int64_t step, double rate);

 private:
  /// A part of one parameter tensor: the unit of the parallel work.
  struct Stretch {
    size_t parameter;
    int64_t begin, end;
  };
  struct Scales;
  [[nodiscard]] Scales scales(double norm, int64_t step, double rate) const;

  std::vector<at::Tensor> parameters_, first_, second_;
  std::vector<Stretch> stretches_;
  AdamWOptions options_;
};

}  // namespace engram::pretrain
