#pragma once

#include <string>
#include <vector>

#include "engram/attribution/attribution.h"

namespace engram::cli {

/// What a picture of one fact's attribution shows beside the scores.
struct PictureInput {
  std::string model;   ///< as the user named it
  std::string prompt;  ///< with [MASK]
  std::string mask;    ///< the mask as it stands in `prompt`
  std::string answer;
  std::string method;  ///< "ig by control-variate", "activation"
  std::string target;  ///< what is attributed: "P", "mean log P over 2 masks"
  const Attribution* attribution = nullptr;
};

/// A self-contained SVG: every layer a lane with its strongest neurons (area by |score|, colour by
/// sign, titles on hover, the top ones labelled), beside it each layer's sum against F(a) - F(0).
/// Light and dark by the viewer's preference. No scripts, no network.
std::string svg_picture(const PictureInput& input);

/// The same inside a self-contained HTML page, with a table of the top neurons.
std::string html_picture(const PictureInput& input);

}  // namespace engram::cli
