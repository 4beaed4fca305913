#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "experiments/nonfacts/rows.h"
#include "report/hypotheses.h"
#include "report/sections.h"

namespace engram::experiments::nonfacts {
namespace {

constexpr double kHalf = 0.5;         ///< H1
constexpr double kPublished = 0.052;  ///< H2: flips, the largest of 2405.02421

constexpr const char* kAll = "all non-facts";

// Sums of a group; kShared: of a set's neurons, those of facts of another relation.
enum Column : size_t {
  kItems,
  kChange,
  kRandomChange,
  kPreferred,
  kFlipped,
  kRandomFlipped,
  kShared,
  kNeurons,
  kColumns
};
// Estimates of a group; behind those of all groups H1's ratio.
enum Estimate : size_t { kMean, kRandomMean, kFlips, kRandomFlips, kOverlap, kEstimates };

using Key = std::pair<std::string, int64_t>;

/// Per fact and neuron which relations' facts have it, so that a relation can be left out.
class FactNeurons {
 public:
  void add(const std::string& relation, int64_t layer, int64_t neuron) {
    relations_[{layer, neuron}].insert(relation);
  }
  /// In the set of a fact of another relation.
  [[nodiscard]] bool elsewhere(const std::string& relation, int64_t layer, int64_t neuron) const {
    const auto found = relations_.find({layer, neuron});
    if (found == relations_.end()) return false;
    return found->second.size() > (found->second.contains(relation) ? 1U : 0U);
  }

 private:
  std::map<std::pair<int64_t, int64_t>, std::set<std::string>> relations_;
};

/// The rows as sums by group, relation and answer.
struct Sums {
  std::vector<std::string> groups;  ///< facts, all non-facts, and then one by one
  ClusteredSums sums;

  [[nodiscard]] size_t column(size_t group, size_t column) const {
    return group * kColumns + column;
  }
};

Sums read_sums(const ReportInput& input) {
  std::map<Key, std::pair<NonFactRow, NonFactRow>> items;  // located, random
  std::vector<std::string> names;
  read_rows<NonFactRow>(input.run, {}, [&](const NonFactRow& row) {
    auto& both = items[{row.group, row.item}];
    (row.source == kLocatedSet ? both.first : both.second) = row;
    if (row.group != kFacts && std::ranges::find(names, row.group) == names.end()) {
      names.push_back(row.group);
    }
  });
  std::map<Key, std::vector<NonFactNeuronRow>> neurons;
  FactNeurons of_facts;
  read_rows<NonFactNeuronRow>(input.run, {}, [&](const NonFactNeuronRow& row) {
    neurons[{row.group, row.item}].push_back(row);
    const auto item = items.find({row.group, row.item});
    if (row.group == kFacts && item != items.end()) {
      of_facts.add(item->second.first.relation, row.layer, row.neuron);
    }
  });
  Sums out;
  out.groups = {std::string(kFacts), kAll};
  std::ranges::sort(names);
  out.groups.insert(out.groups.end(), names.begin(), names.end());
  std::map<std::string, size_t> objects;
  std::map<std::pair<std::string, std::string>, std::map<size_t, std::vector<double>>> clusters;
  for (const auto& [key, both] : items) {
    const auto& [located, random] = both;
    const size_t object = objects.try_emplace(located.answer, objects.size()).first->second;
    std::vector<double>& sums = clusters[{key.first, located.relation}][object];
    sums.resize(out.groups.size() * kColumns);
    std::vector<size_t> places = {0};
    if (key.first != kFacts) {
      places = {1,
                static_cast<size_t>(std::ranges::find(out.groups, key.first) - out.groups.begin())};
    }
    const auto prompts = static_cast<double>(located.prompts);
    for (const size_t group : places) {
      const auto add = [&](Column column, double value) {
        sums[out.column(group, column)] += value;
      };
      add(kItems, 1);
      add(kChange, located.change_log_odds / prompts);
      add(kRandomChange, random.change_log_odds / prompts);
      add(kPreferred, static_cast<double>(located.preferred));
      add(kFlipped, located.flipped);
      add(kRandomFlipped, random.flipped);
      for (const NonFactNeuronRow& one : neurons[key]) {
        add(kNeurons, 1);
        add(kShared, of_facts.elsewhere(located.relation, one.layer, one.neuron) ? 1 : 0);
      }
    }
  }
  for (const auto& [relation, of_objects] : clusters) {
    std::vector<Cluster>& some = out.sums.relations.emplace_back();
    for (const auto& [object, sums] : of_objects) some.push_back({object, sums});
  }
  return out;
}

void estimate(const Sums& sums, std::span<const double> total, std::span<double> out) {
  for (size_t g = 0; g < sums.groups.size(); ++g) {
    const auto of = [&](Column column) { return total[sums.column(g, column)]; };
    out[g * kEstimates + kMean] = ratio(of(kChange), of(kItems));
    out[g * kEstimates + kRandomMean] = ratio(of(kRandomChange), of(kItems));
    out[g * kEstimates + kFlips] = ratio(of(kFlipped), of(kPreferred));
    out[g * kEstimates + kRandomFlips] = ratio(of(kRandomFlipped), of(kPreferred));
    out[g * kEstimates + kOverlap] = ratio(of(kShared), of(kNeurons));
  }
  out[sums.groups.size() * kEstimates] =
      ratio(-out[kEstimates + kMean], -out[kMean]);  // all non-facts over facts
}

}  // namespace

std::vector<ReportSection> sections(const ReportInput& input) {
  if (input.option("audit").empty()) return {};
  ReportSection section{"nonfacts",
                        "Facts, or any association?",
                        "",
                        "engram audit MODEL ... --non-facts FILE --only nonfacts",
                        {}};
  const Sums sums = read_sums(input);
  if (sums.sums.relations.empty()) {
    section.blocks.emplace_back(
        skipped_table(input, "nonfacts", "nonfacts-verdict", "Facts, or any association?"));
    return {std::move(section)};
  }
  const size_t groups = sums.groups.size();
  const std::vector<Interval> found = bootstrap(
      sums.sums, groups * kEstimates + 1,
      [&](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        if (total.empty()) {
          std::ranges::fill(out, std::nan(""));
        } else {
          estimate(sums, total, out);
        }
      },
      input.options.bootstrap);
  const Interval& reached = found[groups * kEstimates];
  const Interval& flips = found[kEstimates + kFlips];
  const Hypothesis hypotheses[] = {
      {"H1: neurons of non-facts do at least half of what those of facts do", reached,
       decide_at_least(reached, kHalf),
       "Grammar and word pairs have such neurons as facts do; they are no sign of knowledge.",
       "Neurons of facts do clearly more than those of other associations."},
      {"H2: without them fewer than 5.2 % of the preferences of non-facts flip", flips,
       decide_below(flips, kPublished), "Preferences hardly flip, as published.",
       "More preferences flip than published."}};
  section.blocks.emplace_back(hypothesis_table(
      "nonfacts-verdict", "Facts, or any association?",
      "A method that finds such neurons for any answer has not found knowledge.", hypotheses));

  ReportTable table = make_table(
      "nonfacts", "Five neurons of facts and of non-facts",
      "The same search, the same measure, in facts, grammar and word pairs.",
      "On prompts that did not locate, the neurons set to zero. Change of the answer's log-odds, "
      "mean over prompts, then items. Flips: of the prompts on which the model prefers the answer "
      "to the foil, those on which it then prefers the foil. Matched: random neurons of the same "
      "layers. Shared: of the five, the share that is among the five of a fact of another "
      "relation.",
      {{"group", CellFormat::kText},
       {"items", CellFormat::kCount},
       {"change of log-odds", CellFormat::kSigned},
       {"matched", CellFormat::kSigned},
       {"flips", CellFormat::kPercent},
       {"flips, matched", CellFormat::kPercent},
       {"shared with facts", CellFormat::kPercent}});
  std::vector<double> items(groups);
  for (const std::vector<Cluster>& relation : sums.sums.relations) {
    for (const Cluster& cluster : relation) {
      for (size_t g = 0; g < groups; ++g) items[g] += cluster.sums[sums.column(g, kItems)];
    }
  }
  for (size_t g = 0; g < groups; ++g) {
    const auto cell = [&](Estimate what) { return interval_cell(found[g * kEstimates + what]); };
    table.rows.push_back({text_cell(sums.groups[g]), number_cell(items[g]), cell(kMean),
                          cell(kRandomMean), cell(kFlips), cell(kRandomFlips), cell(kOverlap)});
  }
  section.blocks.emplace_back(std::move(table));
  return {std::move(section)};
}

}  // namespace engram::experiments::nonfacts
