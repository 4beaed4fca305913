#pragma once

#include <cstdint>

namespace engram {

/// Shares as a reader counts them: 7 of 70 are 10 %, though 0.1 * 70 is more than 7 in doubles, and
/// a share that came about in steps of 0.05 is as good as exact.
inline double share_slack(int64_t total) { return 1e-9 * static_cast<double>(total); }

/// `count` is at least the share of `total`.
inline bool reaches_share(int64_t count, double share, int64_t total) {
  return static_cast<double>(count) >= share * static_cast<double>(total) - share_slack(total);
}

/// `count` is more than the share of `total`.
inline bool above_share(int64_t count, double share, int64_t total) {
  return static_cast<double>(count) > share * static_cast<double>(total) + share_slack(total);
}

}  // namespace engram
