#pragma once

#include <string>
#include <vector>

#include "cli/svg.h"
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
  Theme theme = Theme::kAuto;
  const Attribution* attribution = nullptr;
};

enum class PictureFormat { kSvg, kHtml, kPng, kPdf };

/// By the ending of `path`. Throws UsageError for any other, and FileError where the program that
/// makes PNG and PDF is missing.
PictureFormat picture_format(const std::string& path);

/// A self-contained file. SVG: every layer a lane with its strongest neurons (area by |score|,
/// colour by sign, titles on hover, the top ones numbered), beside it each layer's sum against
/// F(a) - F(0). HTML: the same with a table of the top neurons. No scripts, no network. PNG
/// and PDF: the SVG, converted (cli/convert.h), light where the theme is kAuto. Throws as
/// convert_svg().
std::string make_picture(const PictureInput& input, PictureFormat format);

}  // namespace engram::cli
