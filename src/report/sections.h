#pragma once

// The sections of the report, and what all of them work with.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engram/report/tables.h"
#include "report/rows.h"

namespace engram {

/// What the tables are made from.
struct ReportInput {
  RunStore& run;
  const ReportOptions& options;
  RunIdentity identity;
  FactIndex facts;
  std::map<std::string, std::string> skipped;  ///< experiment -> reason, of the ledger
  std::map<std::string, int64_t> model;        ///< sizes, of the table model

  /// The identity's value, or "".
  [[nodiscard]] std::string option(const std::string& name) const;
  /// The model's size of this name; 0 where the run does not say it.
  [[nodiscard]] int64_t size(const std::string& name) const;
};

/// Why the results of an experiment are not there.
std::string missing_reason(const ReportInput& input, const std::string& experiment);

/// A table without rows yet.
ReportTable make_table(std::string id, std::string title, std::string meaning,
                       std::string definition, std::vector<ReportColumn> columns);

/// The same as skipped, for `experiment`.
ReportTable skipped_table(const ReportInput& input, const std::string& experiment, std::string id,
                          std::string title);

/// The cell under `title` in the first row of the table whose first cells are `labels`; nothing: it
/// is not there.
std::optional<ReportCell> find_cell(const RunReport& report, const std::string& id,
                                    const std::vector<std::string>& labels,
                                    const std::string& title);

/// Of runs with --as-published.
ReportSection published_section(const ReportInput& input);
ReportSection run_section(const ReportInput& input);
/// Those of the experiments in src/experiments, in the order of its list; one with the id of an
/// earlier one has its blocks joined to it. Defined there.
std::vector<ReportSection> experiment_sections(const ReportInput& input);

}  // namespace engram
