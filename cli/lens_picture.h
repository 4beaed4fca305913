#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engram/reading/lens.h"

namespace engram::cli {

/// What a picture of the logit lens shows.
struct LensPicture {
  std::string model;   ///< as the user named it
  std::string text;    ///< the prompt
  std::string answer;  ///< the token that is followed, as it is shown
  int64_t rows = 0;    ///< of the decoder: the worst rank
  /// The top token of each stage as it is shown; "" where there is none.
  std::vector<std::string> tokens;
  const Lens* lens = nullptr;
};

/// A self-contained SVG, light or dark by the viewer's preference: a lane for every layer, the last
/// on top, with a cell for the stream behind attention and one behind the FFN. A cell is the darker
/// the nearer the answer is to the top (by the logarithm of its rank) and names the top token.
/// Beside them what each adds to the answer's logit: the shares where there are any, else the
/// changes.
std::string lens_picture(const LensPicture& input);

}  // namespace engram::cli
