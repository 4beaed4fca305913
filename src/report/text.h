#pragma once

#include <string>

#include "engram/report/tables.h"

namespace engram {

/// A field of a CSV file, quoted where it has to be.
std::string csv_field(const std::string& text);

/// The shortest of 15 or 17 digits that reads back as the same number; empty where it is not
/// finite.
std::string csv_number(double value);

/// A published figure with the digits that it was published with.
std::string published_text(const ReportCell& cell, CellFormat format);

}  // namespace engram
