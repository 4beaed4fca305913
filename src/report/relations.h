#pragma once

#include <string>
#include <string_view>

namespace engram {

/// The English label of a relation of ParaRel; empty for any other.
std::string_view relation_label(std::string_view relation);

/// "P178 (developer)", or the name alone.
std::string relation_title(const std::string& relation);

}  // namespace engram
