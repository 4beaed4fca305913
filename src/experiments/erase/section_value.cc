// What stands in the value's place: the unknown token's embedding against any of its length.
#include <array>
#include <cmath>

#include "experiments/erase/section.h"
#include "report/hypotheses.h"

namespace engram::experiments::erase {
namespace {

constexpr double kAlike = 0.05;  // of the log-perplexity

constexpr std::array<std::pair<const char*, const char*>, 4> kPlaces = {
    std::pair{"text", "ordinary text"},
    {"own", "own prompts"},
    {"held-out", "held-out prompts"},
    {"other-relations", "facts of other relations"}};

/// Log-perplexities after erasing, means over relations, and their ratio minus 1.
struct ValueRatio {
  double relations = 0;
  Interval unknown, token, ratio;
};

ValueRatio value_ratio(const ReportInput& input, const Erasures& erasures, const char* scope) {
  enum Column : size_t { kCount, kUnknown, kAnyToken, kColumns };
  ValueRatio found;
  FactSums sums(input.facts, kColumns);
  for (const std::string& relation : input.facts.relations()) {
    const Means* unknown = find(erasures, {kRelation, "unk", kStandard, scope}, relation);
    const Means* token = find(erasures, {kRelation, kToken, kStandard, scope}, relation);
    if (unknown == nullptr || token == nullptr) continue;
    found.relations += 1;
    const std::span<double> of = sums.of_relation(relation);
    const auto after = [](const Means& means) {
      const std::array<double, 9> values = means.values();
      return values[kLogPpl] + values[kLogFactor];
    };
    of[kCount] += 1;
    of[kUnknown] += after(*unknown);
    of[kAnyToken] += after(*token);
  }
  if (found.relations == 0) return found;
  const std::vector<Interval> all = bootstrap(
      sums.sums(), 3,
      [](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        out[0] = ratio(total[kUnknown], total[kCount]);
        out[1] = ratio(total[kAnyToken], total[kCount]);
        out[2] = ratio(total[kUnknown], total[kAnyToken]) - 1;
      },
      input.options.bootstrap);
  found.unknown = all[0];
  found.token = all[1];
  found.ratio = all[2];
  return found;
}

}  // namespace

void add_values(const ReportInput& input, const Erasures& erasures, ReportSection& section) {
  const ValueRatio text = value_ratio(input, erasures, kPlaces[0].first);
  if (text.relations > 0) {
    const Hypothesis hypotheses[] = {
        {"H: the text's log-perplexity after [UNK] is within 5 % of that after another token",
         text.ratio, decide_within(text.ratio, kAlike),
         "[UNK] does to ordinary text what any vector of its length does.",
         "[UNK] does to ordinary text what other vectors of its length do not."}};
    section.blocks.emplace_back(hypothesis_table(
        "erase-value-verdict", "What stands in the value's place",
        "The 2021 version of the paper erases with the embedding of [UNK]. Does it matter that it "
        "is [UNK]?",
        hypotheses));
  }
  ReportTable table = make_table(
      "erase-value", "[UNK], or any token of its length",
      "Value vectors set to the embedding of [UNK], and to those of five random tokens scaled to "
      "its length.",
      "Log-perplexity: mean -log P of the answer after erasing, mean over relations; of the five "
      "tokens their mean. Ratio: [UNK] over the others, minus 1. Intervals resample relations.",
      {{"prompts", CellFormat::kText},
       {"relations", CellFormat::kCount},
       {"[UNK]: log-perplexity", CellFormat::kNumber},
       {"random tokens", CellFormat::kNumber},
       {"ratio, minus 1", CellFormat::kSignedPercent}});
  for (const auto& [scope, title] : kPlaces) {
    const ValueRatio of = value_ratio(input, erasures, scope);
    if (of.relations == 0) continue;
    table.rows.push_back({text_cell(title), number_cell(of.relations), interval_cell(of.unknown),
                          interval_cell(of.token), interval_cell(of.ratio)});
  }
  if (!table.rows.empty()) section.blocks.emplace_back(std::move(table));
}

}  // namespace engram::experiments::erase
