#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace engram {

/// One fact with its bag of prompts. Prompts are written with `[MASK]`.
struct Fact {
  std::string relation;  ///< a Wikidata property id where there is one
  std::string subject;
  std::string object;                 ///< the answer
  std::vector<std::string> prompts;   ///< those that locate
  std::vector<std::string> held_out;  ///< those that only test
  std::string origin;                 ///< "FILE:LINE", for messages
  std::string uuid = {};              ///< the source's own name of the fact, where it has one
  std::string new_object = {};        ///< what an edit should make of the object, where given
  /// Prompts about other subjects that have the same object: what an edit should leave alone.
  std::vector<std::string> neighbours = {};
  int64_t left_out = 0;  ///< prompts of the source that FactSetOptions::answer_last leaves out
};

/// A line that could not be used.
struct FactProblem {
  std::string file;
  int64_t line = 0;     ///< from 1; 0: the file as a whole (a relation without patterns)
  std::string message;  ///< got and expected, one line
};

/// "FILE:LINE: MESSAGE"; without the line where the file as a whole is meant.
std::string problem_text(const FactProblem& problem);

/// How a limit shares itself out over the relations.
enum class LimitOrder {
  kSpread,  ///< "spread": the same number of every relation, as far as they have so many
  kWhole,   ///< "whole": relations in seeded order, whole while they fit, then a part of the next
};

/// Which facts of a set are taken.
struct FactChoice {
  std::vector<std::string> relations = {};  ///< these alone; empty: all
  int64_t per_relation = 0;                 ///< at most so many of each relation; 0: all
  int64_t limit = 0;                        ///< and so many in all; 0: all
  LimitOrder order = LimitOrder::kSpread;
};

struct FactSetOptions {
  bool strict = false;     ///< throw InputError at the first malformed line instead of listing it
  FactChoice choice = {};  ///< as choose_facts() makes it
  uint64_t seed = 0;       ///< of the choice and of the ParaRel split
  /// ParaRel: share of the patterns held out at most, in whole groups of one extended_lemma and its
  /// near-copies, as long as kLocatingPrompts remain; 0: none.
  double held_out_share = 0.3;
  /// For causal models: prompts whose answer does not stand last are left out, before the split
  /// and the choice. Our own format may then leave the mask at the end away.
  bool answer_last = false;
};

/// So few prompts of a fact can be refined to neurons that they agree on (METHOD section 3).
inline constexpr int64_t kLocatingPrompts = 3;

struct FactSet {
  std::vector<Fact> facts;            ///< grouped by relation, in the order of the files
  std::vector<FactProblem> problems;  ///< skipped: malformed lines, and facts that come again
                                      ///< (which are no error with `strict` either)
  /// Those of `facts` without a held-out prompt: all their prompts locate.
  std::vector<std::string> unsplit_relations;
};

/// Reads a file of facts (docs/formats.md), packed or not: our own, CounterFact's, EasyEdit's,
/// known facts or BLiMP's minimal pairs, one a line or in one JSON array; a relation of LRE, or a
/// folder of them; CSV or TSV with named columns. What it is its content tells. Or ParaRel: its
/// folder with facts/ and patterns/, a checkout of it or of the paper's code, a folder in one of
/// these, or one relation's file, which finds its other half. Lines of any length are read one at a
/// time; one above 1 MiB is malformed. Repeated facts and ParaRel relations without patterns are
/// listed, never thrown. Throws FileError; InputError when there is not a single fact, for a
/// relation that is not there, for a piece of another format, or with `strict` at the first
/// malformed line; UsageError for a negative limit or a share outside 0..1; Interrupted.
FactSet read_facts(const std::filesystem::path& path, const FactSetOptions& options = {});

/// The same for the text of a .jsonl file; `source` is named in messages.
FactSet parse_facts(std::string_view text, const std::string& source,
                    const FactSetOptions& options = {});

/// The facts of `choice`, in the order of `facts`. Which facts of a relation are taken is a seeded
/// choice of each relation for itself that does not hang on their order; more are always the fewer
/// and others. `spread` gives one to each relation in turn, in the order of their first facts.
/// Throws InputError for a relation that `facts`, which come from `source`, do not have.
std::vector<Fact> choose_facts(std::vector<Fact> facts, const FactChoice& choice, uint64_t seed,
                               const std::string& source);

/// "spread" or "whole"; UsageError otherwise.
LimitOrder parse_limit_order(std::string_view name);
std::string_view limit_order_name(LimitOrder order);

/// Where read_facts() reads: the file, or the two folders of ParaRel. Nothing is read yet.
std::vector<std::filesystem::path> fact_places(const std::filesystem::path& path);

/// The relations of `facts`, by first appearance, none of whose facts has a held-out prompt.
std::vector<std::string> unsplit_relations(std::span<const Fact> facts);

/// One line of our own format (no newline). Throws InputError for text that is not UTF-8.
std::string fact_to_json(const Fact& fact);

}  // namespace engram
