#include "report/hypotheses.h"

#include <utility>

#include "report/sections.h"

namespace engram {

ReportTable hypothesis_table(std::string id, std::string title, std::string meaning,
                             std::span<const Hypothesis> hypotheses) {
  ReportTable table =
      make_table(std::move(id), std::move(title), std::move(meaning),
                 "docs/method.md, \"The audit\", fixed before the numbers. A decision needs the "
                 "whole interval on one side of its bound.",
                 {{"hypothesis", CellFormat::kText},
                  {"figure", CellFormat::kSigned},
                  {"decision", CellFormat::kText},
                  {"", CellFormat::kText}});
  for (const Hypothesis& one : hypotheses) {
    const std::string& sentence = one.decision == Decision::kSupported ? one.if_supported
                                  : one.decision == Decision::kRefuted ? one.if_refuted
                                                                       : "";
    table.rows.push_back(
        {text_cell(one.text), interval_cell(one.figure), text_cell(decision_name(one.decision)),
         text_cell(sentence.empty() ? "These facts do not decide it." : sentence)});
  }
  return table;
}

}  // namespace engram
