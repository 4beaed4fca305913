#include "engram/neurons/compare.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>

#include "engram/error.h"

namespace engram {
namespace {

bool has_names(const LocatedFile& file) {
  return std::ranges::none_of(file.facts,
                              [](const LocatedSet& fact) { return fact.subject.empty(); });
}

void check_sizes(const LocatedFile& a, const LocatedFile& b) {
  const auto check = [&](const std::optional<int64_t>& mine, const std::optional<int64_t>& other,
                         const char* what) {
    if (!mine || !other || *mine == *other) return;
    throw InputError(b.path + ": got neurons of a model with " + std::to_string(*other) + " " +
                     what + ", expected " + std::to_string(*mine) + " as in " + a.path);
  };
  check(a.layers, b.layers, "layers");
  check(a.d_ff, b.d_ff, "neurons a layer");
}

/// What two files call a fact.
class FactKey {
 public:
  FactKey(const LocatedFile& a, const LocatedFile& b) : by_uuid_(!has_names(a) || !has_names(b)) {}

  [[nodiscard]] std::string operator()(const LocatedFile& file, const LocatedSet& fact) const {
    if (!by_uuid_) return fact.relation + '\n' + fact.subject + '\n' + fact.object;
    if (!fact.uuid.empty()) return fact.uuid;
    throw InputError(file.path + ": the fact \"" + fact.subject + "\", \"" + fact.object +
                     "\" has no \"uuid\", and the other file has no other name of a fact");
  }

 private:
  bool by_uuid_;
};

std::vector<NeuronId> difference(const std::vector<NeuronId>& a, const std::vector<NeuronId>& b) {
  std::vector<NeuronId> found;
  std::ranges::set_difference(a, b, std::back_inserter(found));
  return found;
}

/// The fact's set, or where nothing could be refined its prompts' own one.
const std::vector<NeuronId>& compared_set(const LocatedSet& fact) {
  return fact.refined ? fact.neurons : fact.unrefined;
}

/// Whether the file says what passed on the fact's prompts: a run does not where it is not refined.
bool has_compared_set(const LocatedSet& fact) { return fact.refined || !fact.unrefined.empty(); }

/// Two sets of one fact.
struct ComparedSets {
  const LocatedSet* a;
  const LocatedSet* b;

  [[nodiscard]] const LocatedSet& named() const { return a->subject.empty() ? *b : *a; }
  [[nodiscard]] double jaccard(const DifferingFact& differs) const {
    const size_t shared = compared_set(*a).size() - differs.only_a.size();
    const size_t all = shared + differs.only_a.size() + differs.only_b.size();
    return all == 0 ? 1.0 : static_cast<double>(shared) / static_cast<double>(all);
  }
};

DifferingFact differences_of(const ComparedSets& pair) {
  const LocatedSet& named = pair.named();
  DifferingFact fact;
  fact.relation = named.relation;
  fact.subject = named.subject;
  fact.object = named.object;
  fact.uuid = pair.a->uuid.empty() ? pair.b->uuid : pair.a->uuid;
  fact.only_a = difference(compared_set(*pair.a), compared_set(*pair.b));
  fact.only_b = difference(compared_set(*pair.b), compared_set(*pair.a));
  for (const std::vector<NeuronId>* only : {&fact.only_a, &fact.only_b}) {
    for (const NeuronId& id : *only) {
      if (std::ranges::binary_search(pair.a->near, id) ||
          std::ranges::binary_search(pair.b->near, id)) {
        fact.near.push_back(id);
      }
    }
  }
  std::ranges::sort(fact.near);
  fact.jaccard = pair.jaccard(fact);
  return fact;
}

/// Columns of the sums over facts.
enum : size_t {
  kComparedFacts,
  kIdenticalSets,
  kJaccardIndex,
  kNeuronsA,
  kNeuronsB,
  kAgreementColumns
};

void set_intervals(Agreement& agreement, const ClusteredSums& sums,
                   const BootstrapOptions& options) {
  const std::vector<Interval> found = bootstrap(
      sums, kAgreementColumns - 1,
      [](std::span<const std::vector<double>> relations, std::span<double> out) {
        std::vector<double> total(kAgreementColumns, 0.0);
        for (const std::vector<double>& relation : relations) {
          for (size_t c = 0; c < kAgreementColumns; ++c) total[c] += relation[c];
        }
        for (size_t c = 1; c < kAgreementColumns; ++c)
          out[c - 1] = total[c] / total[kComparedFacts];
      },
      options);
  agreement.identical_share = found[kIdenticalSets - 1];
  agreement.jaccard = found[kJaccardIndex - 1];
  agreement.neurons_a = found[kNeuronsA - 1];
  agreement.neurons_b = found[kNeuronsB - 1];
}

/// Facts of one relation, added up.
struct OfRelation {
  Agreement agreement;
  std::map<size_t, std::vector<double>> by_object;
  [[nodiscard]] std::vector<Cluster> clusters() const {
    std::vector<Cluster> all;
    for (const auto& [object, sums] : by_object) all.push_back({object, sums});
    return all;
  }
};

void count_fact(const DifferingFact& fact, Agreement& to) {
  ++to.facts;
  const size_t differences = fact.only_a.size() + fact.only_b.size();
  if (differences == 0) {
    ++to.identical;
  } else if (fact.all_near()) {
    ++to.near_only;
  }
  to.differences += static_cast<int64_t>(differences);
  to.near += static_cast<int64_t>(fact.near.size());
}

}  // namespace

Comparison compare_located(const LocatedFile& a, const LocatedFile& b,
                           const BootstrapOptions& options) {
  check_sizes(a, b);
  const FactKey key(a, b);
  std::map<std::string, const LocatedSet*> in_b;
  for (const LocatedSet& fact : b.facts) {
    if (has_compared_set(fact)) in_b.emplace(key(b, fact), &fact);
  }
  Comparison found;
  found.near_known = a.has_near || b.has_near;
  const auto b_facts = static_cast<int64_t>(in_b.size());
  std::map<std::string, OfRelation> relations;
  std::map<std::string, size_t> objects;
  for (const LocatedSet& fact : a.facts) {
    if (!has_compared_set(fact)) continue;
    const auto match = in_b.find(key(a, fact));
    if (match == in_b.end()) {
      ++found.only_a;
      continue;
    }
    const ComparedSets pair{&fact, match->second};
    if (!fact.refined || !match->second->refined) ++found.unrefined;
    DifferingFact differs = differences_of(pair);
    OfRelation& relation = relations[differs.relation];
    count_fact(differs, relation.agreement);
    count_fact(differs, found.all);
    const size_t object = objects.try_emplace(differs.object, objects.size()).first->second;
    std::vector<double>& sums =
        relation.by_object.try_emplace(object, std::vector<double>(kAgreementColumns, 0.0))
            .first->second;
    const bool identical = differs.only_a.empty() && differs.only_b.empty();
    const std::array<double, kAgreementColumns> values = {
        1, identical ? 1.0 : 0.0, differs.jaccard, static_cast<double>(compared_set(fact).size()),
        static_cast<double>(compared_set(*match->second).size())};
    for (size_t c = 0; c < kAgreementColumns; ++c) sums[c] += values[c];
    if (!identical) found.differing.push_back(std::move(differs));
  }
  if (found.all.facts == 0) {
    throw InputError(a.path + " and " + b.path + " have no fact in common");
  }
  found.only_b = b_facts - found.all.facts;
  ClusteredSums all;
  for (auto& [name, relation] : relations) {
    all.relations.push_back(relation.clusters());
    relation.agreement.relation = name;
    set_intervals(relation.agreement, {{all.relations.back()}}, options);
    found.relations.push_back(relation.agreement);
  }
  set_intervals(found.all, all, options);
  return found;
}

}  // namespace engram
