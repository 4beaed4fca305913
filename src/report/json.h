#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "engram/report/tables.h"

namespace engram {

/// The chart as rust/engram_crates.h describes it, without a size.
nlohmann::ordered_json chart_json(const Chart& chart);

/// Invalid UTF-8 is replaced.
std::string dump_json(const nlohmann::ordered_json& value, int indent = -1);

}  // namespace engram
