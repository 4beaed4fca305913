#include "report/rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engram/error.h"
#include "engram/sources.h"
#include "experiments/locate/rows.h"
#include "store/run_rows.h"

namespace engram {

FactIndex::FactIndex(RunStore& run) {
  std::map<std::string, size_t> relation_of;
  std::map<std::string, size_t> object_of;
  read_rows<FactRow>(run, {}, [&](FactRow row) {
    const auto [r, fresh] = relation_of.try_emplace(row.relation, relations_.size());
    if (fresh) relations_.push_back(std::move(row.relation));
    const size_t number = object_of.try_emplace(row.object, object_of.size()).first->second;
    places_.emplace(row.fact, facts_.size());
    facts_.push_back({row.fact, r->second, number, std::move(row.subject), std::move(row.object),
                      row.copies, 0, 0});
  });
  read_rows<PromptRow>(run, {}, [&](const PromptRow& row) {
    Fact& fact = facts_[place(row.fact)];
    ++(row.held_out ? fact.held_out : fact.prompts);
  });
}

size_t FactIndex::place(int64_t id) const {
  const auto found = places_.find(id);
  if (found == places_.end()) {
    throw InputError("the run has results of fact " + std::to_string(id) +
                     ", but its table `fact` lacks it: the file is damaged or not whole");
  }
  return found->second;
}

size_t FactIndex::relation(std::string_view name) const {
  for (size_t r = 0; r < relations_.size(); ++r) {
    if (relations_[r] == name) return r;
  }
  throw InputError("the run has results of relation " + std::string(name) +
                   ", but its table `fact` has no fact of it: the file is damaged or not whole");
}

std::vector<FactGroup> fact_groups(RunStore& run, const FactIndex& facts) {
  using experiments::locate::AttributionRow;
  std::vector<int64_t> prompts(facts.facts().size(), 0);
  std::vector<int64_t> top(prompts.size(), 0);
  const Where where = {is(&AttributionRow::method, sources::kIg)};
  read_rows<AttributionRow>(run, where, [&](const AttributionRow& row) {
    if (!row.answer_rank) return;
    const size_t place = facts.place(row.fact);
    ++prompts[place];
    if (row.answer_rank == 1) ++top[place];
  });
  std::vector<FactGroup> groups;
  for (size_t i = 0; i < prompts.size(); ++i) groups.push_back(group_of(prompts[i], top[i]));
  return groups;
}

std::span<double> FactSums::of(int64_t fact) {
  const FactIndex::Fact& found = facts_->fact(fact);
  auto& sums = clusters_[{found.relation, found.cluster}];
  if (sums.empty()) sums.assign(columns_, 0.0);
  return sums;
}

std::span<double> FactSums::of_relation(std::string_view relation) {
  auto& sums = clusters_[{facts_->relation(relation), kNoObject}];
  if (sums.empty()) sums.assign(columns_, 0.0);
  return sums;
}

ClusteredSums FactSums::sums() const {
  ClusteredSums all;
  all.relations.resize(facts_->relations().size());
  for (const auto& [key, sums] : clusters_) all.relations[key.first].push_back({key.second, sums});
  return all;
}

ClusteredSums FactSums::sums_of(size_t relation) const {
  ClusteredSums all;
  all.relations.resize(1);
  const auto end = clusters_.lower_bound({relation + 1, 0});
  for (auto at = clusters_.lower_bound({relation, 0}); at != end; ++at) {
    all.relations[0].push_back({at->first.second, at->second});
  }
  return all;
}

std::vector<double> total_of(std::span<const std::vector<double>> relations) {
  std::vector<double> total;
  for (const std::vector<double>& relation : relations) {
    total.resize(std::max(total.size(), relation.size()), 0.0);
    for (size_t i = 0; i < relation.size(); ++i) total[i] += relation[i];
  }
  return total;
}

std::vector<Interval> bootstrap_totals(
    const FactSums& sums, size_t estimates,
    const std::function<void(std::span<const double>, std::span<double>)>& estimate,
    const BootstrapOptions& options) {
  return bootstrap(
      sums.sums(), estimates,
      [&](std::span<const std::vector<double>> drawn, std::span<double> out) {
        const std::vector<double> total = total_of(drawn);
        if (total.empty()) {
          std::ranges::fill(out, std::nan(""));
        } else {
          estimate(total, out);
        }
      },
      options);
}

double ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace engram
