// Which facts of a set are taken: --relations, --per-relation, --limit.

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "engram/error.h"
#include "engram/text/facts.h"
#include "text/jsonl.h"

namespace engram {
namespace {

/// Places of each relation's facts in seeded order, relations in the order of their first facts.
struct Relations {
  std::vector<std::string> names;
  std::vector<std::vector<size_t>> places;

  Relations(const std::vector<Fact>& facts, uint64_t seed) {
    std::unordered_map<std::string, size_t> known;
    std::vector<std::vector<std::pair<uint64_t, size_t>>> orders;
    for (size_t i = 0; i < facts.size(); ++i) {
      const Fact& fact = facts[i];
      const auto [at, added] = known.try_emplace(fact.relation, names.size());
      if (added) {
        names.push_back(fact.relation);
        orders.emplace_back();
      }
      orders[at->second].emplace_back(
          seeded_number(seed, fact_key(fact.relation, fact.subject, fact.object)), i);
    }
    for (auto& order : orders) {
      std::ranges::sort(order);
      places.emplace_back();
      for (const auto& [number, i] : order) places.back().push_back(i);
    }
  }
};

/// How many of each relation `limit` facts are, one to each in turn.
std::vector<size_t> spread(const std::vector<size_t>& sizes, size_t limit) {
  std::vector<size_t> counts(sizes.size(), 0);
  for (bool any = true; any && limit > 0;) {
    any = false;
    for (size_t r = 0; r < sizes.size() && limit > 0; ++r) {
      if (counts[r] == sizes[r]) continue;
      ++counts[r];
      --limit;
      any = true;
    }
  }
  return counts;
}

/// The same, relations in seeded order, whole while they fit, and a part of the next.
std::vector<size_t> whole(const std::vector<size_t>& sizes, const std::vector<std::string>& names,
                          size_t limit, uint64_t seed) {
  std::vector<std::pair<uint64_t, std::string>> order;  // ties, if ever, by name
  for (const std::string& name : names) order.emplace_back(seeded_number(seed, name), name);
  std::ranges::sort(order);
  std::vector<size_t> counts(sizes.size(), 0);
  for (const auto& [number, name] : order) {
    const auto r = static_cast<size_t>(std::ranges::find(names, name) - names.begin());
    counts[r] = std::min(sizes[r], limit);
    limit -= counts[r];
    if (counts[r] < sizes[r]) break;
  }
  return counts;
}

std::vector<Fact> keep(std::vector<Fact> facts, const std::vector<bool>& taken) {
  std::vector<Fact> kept;
  for (size_t i = 0; i < facts.size(); ++i) {
    if (taken[i]) kept.push_back(std::move(facts[i]));
  }
  return kept;
}

}  // namespace

void check_relations(const std::vector<std::string>& wanted, const std::vector<std::string>& known,
                     const std::string& source) {
  constexpr size_t kMostNames = 60;
  for (const std::string& relation : wanted) {
    if (std::ranges::find(known, relation) != known.end()) continue;
    std::string names;
    for (size_t i = 0; i < std::min(known.size(), kMostNames); ++i) {
      names += (i > 0 ? ", " : "") + known[i];
    }
    if (known.size() > kMostNames) names += ", ...";
    throw InputError(source + ": got no fact of the relation " + in_quotes(relation) +
                     ", expected one of " + names);
  }
}

std::vector<Fact> choose_facts(std::vector<Fact> facts, const FactChoice& choice, uint64_t seed,
                               const std::string& source) {
  const Relations relations(facts, seed);
  check_relations(choice.relations, relations.names, source);
  std::vector<size_t> sizes;
  size_t total = 0;
  for (size_t r = 0; r < relations.names.size(); ++r) {
    const bool wanted =
        choice.relations.empty() ||
        std::ranges::find(choice.relations, relations.names[r]) != choice.relations.end();
    size_t size = wanted ? relations.places[r].size() : 0;
    if (choice.per_relation > 0) size = std::min(size, static_cast<size_t>(choice.per_relation));
    sizes.push_back(size);
    total += size;
  }
  if (choice.limit > 0 && std::cmp_less(choice.limit, total)) {
    const auto limit = static_cast<size_t>(choice.limit);
    sizes = choice.order == LimitOrder::kSpread ? spread(sizes, limit)
                                                : whole(sizes, relations.names, limit, seed);
  }
  std::vector<bool> taken(facts.size(), false);
  for (size_t r = 0; r < sizes.size(); ++r) {
    for (size_t i = 0; i < sizes[r]; ++i) taken[relations.places[r][i]] = true;
  }
  return keep(std::move(facts), taken);
}

LimitOrder parse_limit_order(std::string_view name) {
  for (const LimitOrder order : {LimitOrder::kSpread, LimitOrder::kWhole}) {
    if (name == limit_order_name(order)) return order;
  }
  throw UsageError("got the order " + in_quotes(name) + " of a limit, expected spread or whole");
}

std::string_view limit_order_name(LimitOrder order) {
  return order == LimitOrder::kSpread ? "spread" : "whole";
}

}  // namespace engram
