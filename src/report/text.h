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
std::string published_text(const ReportCell& cell, CellFormat of_column);

/// What the page and Markdown show in a cell, without the interval.
std::string shown_text(const ReportCell& cell, const ReportColumn& column);

bool is_text(CellFormat format);

/// "1 fact", "1,234 facts".
std::string counted(size_t count, const std::string& singular);

bool is_skipped(const ReportBlock& block);
/// Has a block that is not skipped.
bool is_shown(const ReportSection& section);
/// What is not there and why, in one line; empty where nothing is skipped.
std::string skipped_line(const RunReport& report);

}  // namespace engram
