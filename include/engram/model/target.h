#pragma once

namespace engram {

/// The scalar F of a model's answer that is differentiated and attributed. Answers of several
/// tokens always take the mean log P.
enum class Target { kProbability, kLogProbability, kLogitDifference };

}  // namespace engram
