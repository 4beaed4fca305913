#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <string>
#include <vector>

#include "engram/model/config.h"
#include "engram/model/weights.h"

namespace engram {

/// An axis of a weight, by what it counts.
enum class Axis {
  kModel,
  kFfn,
  kVocabulary,
  kPositions,
  kTokenTypes,
  kEmbedding,
  kQuery,  ///< heads * head_size
  kKey,    ///< key_heads * head_size
  kHead    ///< head_size
};
/// The number that an axis stands for.
int64_t axis_size(const ModelConfig& config, Axis axis);

/// How a weight [out, ...] lies in a checkpoint's tensor, which may hold several.
struct Layout {
  bool transposed = false;  ///< the tensor is [in, out] (GPT-2)
  /// The weight is `out` rows of the tensor's `rows`, from `first` on; 0: the tensor is the weight.
  int64_t first = 0;
  int64_t rows = 0;
  /// More than 1: the rows are cut into so many equal groups, one a head, and the weight has its
  /// share of each (GPT-NeoX); `first` then counts within a group.
  int64_t groups = 1;
  [[nodiscard]] bool plain() const { return !transposed && rows == 0; }
};
/// The shape of the tensor that holds a weight of `shape` so.
std::vector<int64_t> stored_shape(const std::vector<int64_t>& shape, const Layout& layout);
/// The weight of `shape` as a view of the tensor that holds it; of several groups a copy.
at::Tensor take_weight(const at::Tensor& stored, const std::vector<int64_t>& shape,
                       const Layout& layout);
/// Puts the weight into its place in `stored`.
void put_weight(const at::Tensor& weight, const Layout& layout, const at::Tensor& stored);

/// One row of a family's tensor table: its names in checkpoints, its axes, and where it goes.
struct TensorSpec {
  std::vector<std::string> names;
  std::vector<Axis> axes;
  at::Tensor* destination = nullptr;
  bool required = true;  ///< false for a decoder that may be tied
  Layout layout = {};
  double shift = 0;  ///< what the weight is more than what is stored (Gemma's norms store w - 1)
  /// Of the weight.
  [[nodiscard]] std::vector<int64_t> shape(const ModelConfig& config) const;
  /// Of the tensor that holds it.
  [[nodiscard]] std::vector<int64_t> stored_shape(const ModelConfig& config) const;
};

/// The tensor table of `config.family`, bound to `weights` (whose `layers` it resizes).
std::vector<TensorSpec> tensor_table(const ModelConfig& config, ModelWeights& weights);

}  // namespace engram
