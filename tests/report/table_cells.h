#pragma once

// What the tests of tables look at.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/report/tables.h"

namespace engram::testing {

inline ReportOptions few_draws() {
  ReportOptions options;
  options.bootstrap.draws = 200;
  return options;
}

/// The row whose first cells are these.
inline const std::vector<ReportCell>& row_of(const ReportTable& table,
                                             const std::vector<std::string>& labels) {
  for (const auto& row : table.rows) {
    bool same = true;
    for (size_t i = 0; i < labels.size(); ++i) same = same && row.at(i).text == labels[i];
    if (same) return row;
  }
  throw InternalError("no such row in " + table.id);
}

/// The cell under a title.
inline const ReportCell& cell(const ReportTable& table, const std::vector<std::string>& labels,
                              const std::string& title) {
  for (size_t c = 0; c < table.columns.size(); ++c) {
    if (table.columns[c].title == title) return row_of(table, labels).at(c);
  }
  throw InternalError("no column " + title + " in " + table.id);
}

inline double value(const ReportTable& table, const std::vector<std::string>& labels,
                    const std::string& title) {
  return cell(table, labels, title).number.value;
}

inline void expect_around(const ReportCell& cell, double expected) {
  EXPECT_NEAR(cell.number.value, expected, 1e-12);
  if (std::isnan(cell.number.low)) return;  // too few objects
  EXPECT_LE(cell.number.low, cell.number.value + 1e-12);
  EXPECT_GE(cell.number.high, cell.number.value - 1e-12);
}

}  // namespace engram::testing
