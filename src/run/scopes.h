#pragma once

// Prompts on which a run measures what an edit does.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "engram/run/experiment.h"

namespace engram {

/// A prompt of a fact.
struct PromptPlace {
  int64_t fact = 0;
  bool held_out = false;
  size_t prompt = 0;
  friend auto operator<=>(const PromptPlace&, const PromptPlace&) = default;
};

/// The prompt as the fact set writes it.
const std::string& prompt_text(const RunContext& run, const PromptPlace& place);

/// Prompts as token ids, each once; what is asked for first stands first.
class ClozeList {
 public:
  explicit ClozeList(const RunContext& run) : run_(run) {}
  /// The place of the prompt in clozes().
  uint32_t add(const PromptPlace& place);
  /// The same with another answer than the fact's: `answer` as token ids.
  uint32_t add(const PromptPlace& place, const std::vector<int64_t>& answer);
  /// A prompt of no fact. Each call adds one.
  uint32_t add(const Cloze& cloze);
  [[nodiscard]] const std::vector<Cloze>& clozes() const { return clozes_; }

 private:
  const RunContext& run_;
  std::vector<Cloze> clozes_;
  std::map<std::pair<PromptPlace, std::vector<int64_t>>, uint32_t> known_;
};

/// All prompts of a kind of a fact.
std::vector<PromptPlace> prompts_of(const RunContext& run, int64_t fact, bool held_out);

/// The one prompt that stands for a fact where it shows side effects: the same for all edits.
PromptPlace side_prompt(const RunContext& run, int64_t fact);

/// Facts whose subject does not hold the object, of the relation or of all others, ascending.
std::vector<int64_t> facts_for_effects(const RunContext& run, std::string_view relation, bool same);

/// The text positions of a run: those of options.corpus, none without. Every shard has the same.
class RunText {
 public:
  const std::vector<Cloze>& positions(const RunContext& run);
  /// `share` of them in rotation: the positions of turn 0, 1, ... follow each other.
  std::vector<size_t> turn(const RunContext& run, int64_t turn, int64_t share);

 private:
  std::string key_;
  std::vector<Cloze> positions_;
};

}  // namespace engram
