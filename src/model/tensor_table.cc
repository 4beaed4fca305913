#include "engram/model/tensor_table.h"

#include "engram/error.h"

namespace engram {

int64_t axis_size(const ModelConfig& config, Axis axis) {
  switch (axis) {
    case Axis::kModel:
      return config.d_model;
    case Axis::kFfn:
      return config.d_ff;
    case Axis::kVocabulary:
      return config.vocabulary;
    case Axis::kPositions:
      return config.positions;
    case Axis::kTokenTypes:
      return config.token_types;
    case Axis::kEmbedding:
      return config.embedding_width();
    case Axis::kQuery:
      return config.query_width();
    case Axis::kKey:
      return config.key_width();
    case Axis::kHead:
      return config.head_size;
  }
  throw InternalError("axis_size: unknown axis");
}

std::vector<int64_t> stored_shape(const std::vector<int64_t>& shape, const Layout& layout) {
  std::vector<int64_t> stored = shape;
  if (layout.rows > 0) stored.front() = layout.rows;
  if (layout.transposed && stored.size() == 2) std::swap(stored[0], stored[1]);
  return stored;
}

namespace {

/// The weight's place in the tensor that holds it: [out, ...], of several groups [groups,
/// out / groups, ...].
at::Tensor place_of(const at::Tensor& stored, int64_t out, const Layout& layout) {
  const at::Tensor rows = layout.transposed && stored.dim() == 2 ? stored.t() : stored;
  if (layout.rows == 0) return rows;
  if (layout.groups == 1) return rows.narrow(0, layout.first, out);
  return rows.unflatten(0, {layout.groups, layout.rows / layout.groups})
      .narrow(1, layout.first, out / layout.groups);
}

}  // namespace

at::Tensor take_weight(const at::Tensor& stored, const std::vector<int64_t>& shape,
                       const Layout& layout) {
  return place_of(stored, shape.front(), layout).reshape(shape);
}

void put_weight(const at::Tensor& weight, const Layout& layout, const at::Tensor& stored) {
  const at::Tensor place = place_of(stored, weight.size(0), layout);
  place.copy_(weight.reshape(place.sizes()));
}

std::vector<int64_t> TensorSpec::shape(const ModelConfig& config) const {
  std::vector<int64_t> sizes;
  for (const Axis axis : axes) sizes.push_back(axis_size(config, axis));
  return sizes;
}

std::vector<int64_t> TensorSpec::stored_shape(const ModelConfig& config) const {
  return engram::stored_shape(shape(config), layout);
}

}  // namespace engram
