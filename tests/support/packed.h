#pragma once

#include <string>

namespace engram::testing {

/// `text` as the content of an .xz, .gz or .zst file.
std::string xz_packed(const std::string& text);
std::string gz_packed(const std::string& text);
std::string zst_packed(const std::string& text);

}  // namespace engram::testing
