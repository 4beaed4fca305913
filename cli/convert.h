#pragma once

#include <string>

// PNG and PDF out of SVG, by librsvg's program rsvg-convert.
namespace engram::cli {

/// Throws FileError, with the package to install, where the program is not on the PATH.
void check_converter();

/// `svg` as "png" (two pixels a unit) or "pdf" (vectors and text). Throws FileError (the program is
/// not there or fails; the message holds its first line), Interrupted.
std::string convert_svg(const std::string& svg, const std::string& format);

}  // namespace engram::cli
