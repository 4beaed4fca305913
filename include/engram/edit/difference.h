#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engram/neuron.h"

namespace engram {

/// A value vector that two checkpoints have differently. Lengths are Euclidean.
struct ColumnDifference {
  NeuronId id;
  double a = 0;        ///< its length in the first
  double b = 0;        ///< and in the second
  double change = 0;   ///< length of the difference
  double largest = 0;  ///< of the difference's numbers, by size
};

/// A tensor that two checkpoints have differently.
struct TensorDifference {
  std::string name;
  std::string shape_a, shape_b;  ///< type and shape, "F32 [768, 3072]"; empty: not in that one
  int64_t elements = 0;          ///< where both have one shape and types that can be compared
  int64_t different = 0;         ///< of them
  double change = 0;             ///< length of the difference
  double largest = 0;            ///< largest difference, by size
  int64_t layer = -1;            ///< of a second FFN matrix; else -1
  std::vector<ColumnDifference> columns;  ///< of such a matrix: neurons that differ, ascending
};

struct CheckpointDifference {
  int64_t tensors = 0;                    ///< different names in both
  std::vector<TensorDifference> changed;  ///< by name
};

/// Compares the tensors of two checkpoint folders by value, whatever their types and files; which
/// of them are second FFN matrices is told by the config.json of `a`. Throws FileError, InputError,
/// Interrupted.
CheckpointDifference diff_checkpoints(const std::filesystem::path& a,
                                      const std::filesystem::path& b);

}  // namespace engram
