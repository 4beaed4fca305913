#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>

#include "store/typed_rows.h"

// Does location guide an edit? The edits themselves are rows of the experiment update.
namespace engram::experiments::editors {

/// Edits beside those of located neurons, as the column `variant` of `edit` names them.
namespace variant {
constexpr const char* kFineTuned = "fine-tuned";
constexpr const char* kRome = "rome";
constexpr const char* kLayer = "layer/";  ///< begins those of one layer
}  // namespace variant

struct LayerShareRow {
  static constexpr const char* kTable = "layer_share";
  static constexpr const char* kMeaning = "what the layers hold of an edited fact's scores";
  static constexpr size_t kKey = 2;
  int64_t fact = 0;
  int64_t layer = 0;
  double share = 0;
  static constexpr auto fields() {
    return std::tuple{Field{"fact", &LayerShareRow::fact, "", "fact"},
                      Field{"layer", &LayerShareRow::layer, ""},
                      Field{"share", &LayerShareRow::share,
                            "of the fact's positive scores by attribution patching, mean over the "
                            "prompts that locate"}};
  }
};

}  // namespace engram::experiments::editors
