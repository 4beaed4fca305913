#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiments/planting/rows.h"

// What the tuning facts choose. Sums over the same facts are compared, in the order of the rows.
namespace engram::experiments::planting {

using TuningSums = std::map<std::pair<std::string, double>, double>;

inline TuningSums tuning_sums(const std::vector<PlantingTuningRow>& rows) {
  TuningSums sums;
  for (const PlantingTuningRow& row : rows) sums[{row.method, row.penalty}] += row.recall_5;
  return sums;
}

/// The penalty of a learned score with the best recall, of equal ones the smallest.
inline double chosen_penalty(const TuningSums& sums, std::string_view method) {
  double best = -1;
  double penalty = kPenalties.front();
  for (const double one : kPenalties) {
    const auto found = sums.find({std::string(method), one});
    if (found != sums.end() && found->second > best) {
      best = found->second;
      penalty = one;
    }
  }
  return penalty;
}

/// The place in kMethods of our best score.
inline size_t chosen_best(const TuningSums& sums) {
  double best = -1;
  size_t place = 0;
  for (size_t m = 0; m < kMethods.size(); ++m) {
    if (!kMethods[m].ours) continue;
    const auto found = sums.find({std::string(kMethods[m].name), 0.0});
    if (found != sums.end() && found->second > best) {
      best = found->second;
      place = m;
    }
  }
  return place;
}

}  // namespace engram::experiments::planting
