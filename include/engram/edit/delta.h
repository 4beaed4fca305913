#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engram/edit/values.h"
#include "engram/model/safetensors.h"
#include "engram/neuron.h"

namespace engram {

enum class EditKind { kUpdate, kErase, kRome };
const char* edit_kind_name(EditKind kind);  ///< "update", "erase", "rome"

/// What an edit does to a sample of other facts, one prompt each.
struct SideEffect {
  std::string scope;  ///< "same relation", "other relations"
  int64_t facts = 0;
  int64_t right_before = 0, right_after = 0;  ///< answered rightly
  int64_t lost = 0;                           ///< rightly before, no longer after
};

/// What an edit is for and how its neurons were found. Texts are free of meaning for applying it.
struct EditReason {
  EditKind kind = EditKind::kUpdate;
  std::string relation;
  std::string subject, object, target;   ///< update and rome: s, o and o'
  double lambda1 = 0, lambda2 = 0;       ///< update
  EraseMode mode = EraseMode::kZero;     ///< erase
  std::string score, rule, selection;    ///< how the neurons were located and chosen; rome: only
                                         ///< `selection`, how the edit was computed
  std::string version;                   ///< of the program
  std::vector<SideEffect> side_effects;  ///< as measured when it was made; empty: not measured
};

/// The value vectors that an edit changes in one layer, as they lie in the checkpoint's file.
struct DeltaLayer {
  int32_t layer = 0;
  Storage storage = Storage::kF32;  ///< of the layer's second FFN matrix; never kOther
  std::vector<int32_t> neurons;     ///< ascending
  std::vector<std::byte> before;    ///< [neurons, d_model], what the delta was made from
  std::vector<std::byte> after;     ///< [neurons, d_model], the new values in the same type; finite
};

/// An edit of a model: a few value vectors, bit for bit. One .safetensors file (docs/formats.md).
struct Delta {
  std::string origin;  ///< the file that it was read from, for messages; empty: none
  std::string base;    ///< model_fingerprint() of the original model
  EditReason why;
  int64_t d_model = 0;
  std::vector<DeltaLayer> layers;  ///< ascending, none of them empty; at least one

  [[nodiscard]] std::vector<NeuronId> neurons() const;
  /// The new values as float32, for with_values().
  [[nodiscard]] ValueEdit values() const;
};

/// The delta that makes `edit` in the checkpoint `directory`: new values are rounded to the type in
/// which the file stores the matrix. `base` as in Delta. Throws InputError for an edit of nothing,
/// a neuron that the model does not have, and a value that is not finite in that type (the neuron,
/// the value and the type's largest are named); FileError.
Delta make_delta(const std::filesystem::path& directory, const std::string& base,
                 const ValueEdit& edit, const EditReason& why);

/// Writes the file (beside and renamed). Throws FileError.
void write_delta(const std::filesystem::path& file, const Delta& delta);

/// Reads one. Whatever is returned is whole and consistent, whoever made the file. Throws
/// FileError; InputError that names the file, what was got and what was expected.
Delta read_delta(const std::filesystem::path& file);

}  // namespace engram
