#include "report/rows.h"

#include <limits>

#include "engram/error.h"

namespace engram {

int64_t Cells::integer(size_t column) const {
  const auto* value = std::get_if<int64_t>(&(*row_)[column]);
  return value != nullptr ? *value : 0;
}

double Cells::real(size_t column) const {
  const Value& value = (*row_)[column];
  if (const auto* real = std::get_if<double>(&value)) return *real;
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  return std::numeric_limits<double>::quiet_NaN();
}

std::string_view Cells::text(size_t column) const {
  const auto* value = std::get_if<std::string>(&(*row_)[column]);
  return value != nullptr ? std::string_view(*value) : std::string_view();
}

std::span<const std::byte> Cells::blob(size_t column) const {
  const auto* value = std::get_if<std::vector<std::byte>>(&(*row_)[column]);
  return value != nullptr ? std::span<const std::byte>(*value) : std::span<const std::byte>();
}

void for_rows(RunStore& run, std::string_view table, const Where& where,
              const std::function<void(const Cells&)>& use) {
  run.read_each(table, where, [&](const Row& row) {
    use(Cells(row));
    return true;
  });
}

FactIndex::FactIndex(RunStore& run) {
  std::map<std::string, size_t, std::less<>> relation_of;
  std::map<std::string, size_t, std::less<>> object_of;
  const Table& table = run_table("fact");
  const size_t id = table.column("fact");
  const size_t relation = table.column("relation");
  const size_t subject = table.column("subject");
  const size_t object = table.column("object");
  const size_t copies = table.column("copies");
  for_rows(run, "fact", {}, [&](const Cells& row) {
    const auto [r, fresh] =
        relation_of.try_emplace(std::string(row.text(relation)), relations_.size());
    if (fresh) {
      relations_.emplace_back(row.text(relation));
    }
    const size_t number =
        object_of.try_emplace(std::string(row.text(object)), object_of.size()).first->second;
    places_.emplace(row.integer(id), facts_.size());
    facts_.push_back({row.integer(id), r->second, number, std::string(row.text(subject)),
                      std::string(row.text(object)), row.integer(copies) != 0, 0, 0});
  });
  const Table& prompts = run_table("prompt");
  const size_t of = prompts.column("fact");
  const size_t held_out = prompts.column("held_out");
  for_rows(run, "prompt", {}, [&](const Cells& row) {
    Fact& fact = facts_[place(row.integer(of))];
    ++(row.integer(held_out) != 0 ? fact.held_out : fact.prompts);
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
  const Table& table = run_table("attribution");
  const size_t fact = table.column("fact");
  const size_t rank = table.column("answer_rank");
  std::vector<int64_t> prompts(facts.facts().size(), 0);
  std::vector<int64_t> top(prompts.size(), 0);
  for_rows(run, "attribution", {{"method", std::string("ig")}}, [&](const Cells& row) {
    if (std::isnan(row.real(rank))) return;
    const size_t place = facts.place(row.integer(fact));
    ++prompts[place];
    if (row.integer(rank) == 1) ++top[place];
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

double ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace engram
