// Intervals of side effects: every treated fact meets a sample of witnesses, and the same
// witnesses meet many facts, so both are resampled.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "statistics/effect_sums.h"

namespace engram {
namespace {

constexpr size_t kDrawBlock = 64;  // of the bootstrap at once: its sums stay in the cache

/// The two metrics that pairs have, in the order of the arrays here.
constexpr std::array<Metric, 2> kPairMetrics = {Metric::kLogOdds, Metric::kAccuracy};
constexpr size_t kPairWidth = kPairMetrics.size() * kSources;

/// Of each group and draw: sums over facts of the mean over its pairs.
struct GroupDraws {
  /// [source x metric] of a fact's change, and of located minus it; [source] facts.
  std::array<std::array<double, kDrawBlock>, kPairWidth> change, difference;
  std::array<std::array<double, kDrawBlock>, kSources> facts;
  void clear() {
    for (auto* part : {&change, &difference}) {
      for (auto& draws : *part) draws.fill(0.0);
    }
    for (auto& draws : facts) draws.fill(0.0);
  }
};

class PairBootstrap {
 public:
  PairBootstrap(std::span<const PairedFact> facts, const BootstrapOptions& options)
      : facts_(facts), options_(options) {
    for (const PairedFact& fact : facts) {
      if (fact.pairs->empty()) continue;
      objects_.try_emplace(fact.object, objects_.size());
      std::vector<size_t>& places = places_[&fact];
      for (const EffectPair& pair : *fact.pairs) {
        places.push_back(witnesses_.try_emplace(pair.witness, witnesses_.size()).first->second);
      }
    }
  }

  void run(std::span<EffectRow* const> rows) {
    Random random(options_.seed ^ 0x51DEULL);
    seen_.resize(rows.size());
    for (auto& of_group : seen_) of_group.resize(2 * kPairWidth);
    for (int64_t done = 0; done < options_.draws; done += kDrawBlock) {
      const auto count = static_cast<size_t>(std::min<int64_t>(kDrawBlock, options_.draws - done));
      draw_block(count, random);
      for (size_t g = 0; g < rows.size(); ++g) collect(g, count);
    }
    for (size_t g = 0; g < rows.size(); ++g) {
      if (enough(static_cast<FactGroup>(g))) fill(g, *rows[g]);
    }
  }

 private:
  template <typename T>
  using OfDraws = std::array<T, kDrawBlock>;
  using Weights = std::vector<OfDraws<float>>;

  static bool in_group(const PairedFact& fact, FactGroup group) {
    return group == FactGroup::kAll || fact.group == group;
  }

  [[nodiscard]] bool enough(FactGroup group) const {
    std::map<size_t, bool> objects;
    std::map<int32_t, bool> witnesses;
    for (const PairedFact& fact : facts_) {
      if (!in_group(fact, group) || fact.pairs->empty()) continue;
      objects[fact.object] = true;
      for (const EffectPair& pair : *fact.pairs) witnesses[pair.witness] = true;
    }
    const auto fewest = static_cast<size_t>(std::max<int64_t>(options_.min_objects, 2));
    return objects.size() >= fewest && witnesses.size() >= fewest;
  }

  /// Draws beyond `draws` weigh nothing.
  static Weights weights(size_t things, size_t draws, Random& random) {
    Weights all(things);
    for (auto& of : all) of.fill(0.0F);
    for (size_t d = 0; d < draws; ++d) {
      const std::vector<double> times = random.resample(things);
      for (size_t i = 0; i < things; ++i) all[i][d] = static_cast<float>(times[i]);
    }
    return all;
  }

  void draw_block(size_t draws, Random& random) {
    const Weights objects = weights(objects_.size(), draws, random);
    const Weights witnesses = weights(witnesses_.size(), draws, random);
    for (GroupDraws& group : groups_) group.clear();
    std::array<OfDraws<float>, kPairWidth> sum;
    OfDraws<float> total;
    for (const PairedFact& fact : facts_) {
      if (fact.pairs->empty()) continue;
      Interrupt::check();
      for (auto& of : sum) of.fill(0.0F);
      total.fill(0.0F);
      const std::vector<size_t>& places = places_.at(&fact);
      for (size_t p = 0; p < places.size(); ++p) {
        const OfDraws<float>& w = witnesses[places[p]];
        for (size_t d = 0; d < kDrawBlock; ++d) total[d] += w[d];
        for (size_t s = 0; s < kSources; ++s) {
          add_pair(w, (*fact.pairs)[p].log_odds[s], sum[s]);
          add_pair(w, (*fact.pairs)[p].top[s], sum[kSources + s]);
        }
      }
      OfDraws<double> weight;
      OfDraws<double> scale;
      const OfDraws<float>& times = objects[objects_.at(fact.object)];
      for (size_t d = 0; d < kDrawBlock; ++d) {
        const bool any = total[d] > 0;
        weight[d] = any ? static_cast<double>(times[d]) : 0.0;
        scale[d] = any ? weight[d] / static_cast<double>(total[d]) : 0.0;
      }
      for (size_t g = 0; g < kFactGroups; ++g) {
        if (in_group(fact, static_cast<FactGroup>(g))) add(fact, sum, scale, weight, groups_[g]);
      }
    }
  }

  /// Most changes are none at all.
  static void add_pair(const OfDraws<float>& weight, float change, OfDraws<float>& sum) {
    if (change == 0 || std::isnan(change)) return;
    for (size_t d = 0; d < kDrawBlock; ++d) sum[d] += weight[d] * change;
  }

  static void add(const PairedFact& fact, const std::array<OfDraws<float>, kPairWidth>& sum,
                  const OfDraws<double>& scale, const OfDraws<double>& weight, GroupDraws& group) {
    for (size_t s = 0; s < kSources; ++s) {
      if (std::isnan(fact.pairs->front().log_odds[s])) continue;  // not tried on this fact
      for (size_t d = 0; d < kDrawBlock; ++d) group.facts[s][d] += weight[d];
      for (size_t m = 0; m < kPairMetrics.size(); ++m) {
        const size_t at = m * kSources + s;
        const OfDraws<float>& located = sum[m * kSources];
        for (size_t d = 0; d < kDrawBlock; ++d) {
          group.change[at][d] += scale[d] * static_cast<double>(sum[at][d]);
          group.difference[at][d] += scale[d] * static_cast<double>(located[d] - sum[at][d]);
        }
      }
    }
  }

  void collect(size_t g, size_t draws) {
    for (size_t at = 0; at < kPairWidth; ++at) {
      const auto& facts = groups_[g].facts[at % kSources];
      for (size_t d = 0; d < draws; ++d) {
        if (!(facts[d] > 0)) continue;
        seen_[g][at].push_back(groups_[g].change[at][d] / facts[d]);
        seen_[g][kPairWidth + at].push_back(groups_[g].difference[at][d] / facts[d]);
      }
    }
  }

  void fill(size_t g, EffectRow& row) {
    const auto put = [&](std::vector<double>& drawn, Interval& of) {
      if (std::isnan(of.value) || drawn.empty()) return;
      of = percentile_interval(of.value, drawn, options_.level);
    };
    for (size_t s = 0; s < kSources; ++s) {
      for (size_t m = 0; m < kPairMetrics.size(); ++m) {
        const size_t at = m * kSources + s;
        const auto metric = static_cast<size_t>(kPairMetrics[m]);
        put(seen_[g][at], row.change[s][metric]);
        if (s > 0) put(seen_[g][kPairWidth + at], row.difference[s - 1][metric]);
      }
    }
  }

  std::span<const PairedFact> facts_;
  const BootstrapOptions& options_;
  std::map<size_t, size_t> objects_;
  std::map<int32_t, size_t> witnesses_;
  std::map<const PairedFact*, std::vector<size_t>> places_;  ///< of a fact's pairs' witnesses
  std::array<GroupDraws, kFactGroups> groups_;
  std::vector<std::vector<std::vector<double>>> seen_;  ///< [group][change, then difference][draw]
};

constexpr size_t kPairBytes = 12;
static_assert(std::endian::native == std::endian::little);  // the bytes of a pair

}  // namespace

std::vector<std::byte> pair_bytes(std::span<const EffectPair> pairs, size_t source,
                                  const std::function<int64_t(int32_t)>& name) {
  std::vector<std::byte> bytes(pairs.size() * kPairBytes);
  std::byte* to = bytes.data();
  for (const EffectPair& pair : pairs) {
    const auto witness = static_cast<int32_t>(name(pair.witness));
    std::memcpy(to, &witness, 4);
    std::memcpy(to + 4, &pair.log_odds[source], 4);
    std::memcpy(to + 8, &pair.top[source], 4);
    to += kPairBytes;
  }
  return bytes;
}

void read_pair_bytes(std::span<const std::byte> bytes, size_t source,
                     std::vector<EffectPair>& pairs) {
  const bool fresh = pairs.empty();
  if (fresh) {
    EffectPair untried;
    untried.log_odds.fill(std::numeric_limits<float>::quiet_NaN());
    untried.top = untried.log_odds;
    pairs.assign(bytes.size() / kPairBytes, untried);
  }
  if (bytes.size() != pairs.size() * kPairBytes) {
    throw InputError("table effect: got pairs of " + std::to_string(bytes.size()) +
                     " bytes, expected 12 for each of the prompts");
  }
  const std::byte* from = bytes.data();
  for (EffectPair& pair : pairs) {
    int32_t witness = 0;
    std::memcpy(&witness, from, 4);
    if (!fresh && witness != pair.witness) {
      throw InputError("table effect: sources of one fact were tried on different prompts");
    }
    pair.witness = witness;
    std::memcpy(&pair.log_odds[source], from + 4, 4);
    std::memcpy(&pair.top[source], from + 8, 4);
    from += kPairBytes;
  }
}

void add_pair_intervals(std::span<const PairedFact> facts, const BootstrapOptions& options,
                        std::span<EffectRow* const> rows) {
  PairBootstrap(facts, options).run(rows);
}

}  // namespace engram
