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
};

/// A line that could not be used.
struct FactProblem {
  std::string file;
  int64_t line = 0;     ///< from 1; 0: the file as a whole (a relation without patterns)
  std::string message;  ///< got and expected, one line
};

/// "FILE:LINE: MESSAGE"; without the line where the file as a whole is meant.
std::string problem_text(const FactProblem& problem);

struct FactSetOptions {
  bool strict = false;  ///< throw InputError at the first malformed line instead of listing it
  int64_t limit = 0;    ///< so many facts, as limit_facts() takes them; 0: all
  uint64_t seed = 0;    ///< of the choices that `limit` and the ParaRel split make
  /// ParaRel: share of the patterns held out at most, in whole groups of one extended_lemma and its
  /// near-copies, as long as kLocatingPrompts remain; 0: none.
  double held_out_share = 0.3;
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

/// Reads a .jsonl file of facts (docs/formats.md) or a ParaRel folder with facts/ and patterns/.
/// Lines of any length are read one at a time; one above 1 MiB is malformed. Repeated facts and
/// ParaRel relations without patterns are listed, never thrown. Throws FileError; InputError when
/// there is not a single fact, or with `strict` at the first malformed line; UsageError for a
/// negative limit or a share outside 0..1; Interrupted.
FactSet read_facts(const std::filesystem::path& path, const FactSetOptions& options = {});

/// The same for the text of a .jsonl file; `source` is named in messages.
FactSet parse_facts(std::string_view text, const std::string& source,
                    const FactSetOptions& options = {});

/// `limit` of `facts` (all if there are fewer, or if it is 0): relations in seeded order, whole
/// while they fit, then a seeded sample of the next one. The order of `facts` is kept.
std::vector<Fact> limit_facts(std::vector<Fact> facts, int64_t limit, uint64_t seed);

/// The relations of `facts`, by first appearance, none of whose facts has a held-out prompt.
std::vector<std::string> unsplit_relations(std::span<const Fact> facts);

/// One line of our own format (no newline). Throws InputError for text that is not UTF-8.
std::string fact_to_json(const Fact& fact);

}  // namespace engram
