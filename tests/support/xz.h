#pragma once

#include <string>

namespace engram::testing {

/// `text` as the content of an .xz file.
std::string xz_packed(const std::string& text);

}  // namespace engram::testing
