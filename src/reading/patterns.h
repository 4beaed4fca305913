#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace engram {

// The automatic measure of a pattern in a key's triggers (docs/method.md, "Memories").

constexpr int64_t kPatternTail = 5;        ///< tokens that are looked at on a side
constexpr int64_t kPatternGram = 3;        ///< tokens of the longest n-gram
constexpr int64_t kPatternTriggers = 3;    ///< that must share an n-gram
constexpr double kPatternRare = 0.01;      ///< share of random contexts that may hold a rare one
constexpr size_t kPatternSample = 10'000;  ///< random contexts, at most

/// The tokens next to a place in a text, in the order of the text, at most kPatternTail on a side.
/// Of a causal model's prefix: `before` holds its last tokens, `behind` nothing.
struct Context {
  std::vector<int64_t> before, behind;
  friend bool operator==(const Context&, const Context&) = default;
};

using Gram = std::vector<int64_t>;  ///< tokens that follow each other

/// The different n-grams of 1 to kPatternGram tokens of either side, sorted.
std::vector<Gram> grams_of(const Context& context);

/// How many of a sample of random contexts hold each n-gram.
class GramCounts {
 public:
  void add(const Context& context);
  /// Whether at most kPatternRare of the contexts hold it.
  [[nodiscard]] bool rare(const Gram& gram) const;
  [[nodiscard]] int64_t contexts() const { return contexts_; }

 private:
  std::map<Gram, int64_t> counts_;
  int64_t contexts_ = 0;
};

/// The rare n-gram that most of some contexts share.
struct Pattern {
  Gram gram;           ///< empty: no context holds a rare one
  int64_t shared = 0;  ///< contexts that hold it
  [[nodiscard]] bool found() const { return shared >= kPatternTriggers; }
};
/// Of several, the longest; of these, the first by token ids.
Pattern shared_pattern(std::span<const Context> contexts, const GramCounts& counts);

}  // namespace engram
