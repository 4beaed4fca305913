#pragma once

#include <string>

namespace engram {

/// Text for the content and attributes of HTML and SVG; what they forbid becomes U+FFFD.
std::string escaped_markup(const std::string& text);

}  // namespace engram
