#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
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
  int64_t limit = 0;    ///< at most so many facts, whole relations, seeded; 0: all
  uint64_t seed = 0;    ///< of the choices that `limit` and the ParaRel split make
  double held_out_share = 0.3;  ///< ParaRel: share of the patterns held out, in whole groups of
                                ///< one extended_lemma and its near-copies; 0: none
};

struct FactSet {
  std::vector<Fact> facts;            ///< grouped by relation, in the order of the files
  std::vector<FactProblem> problems;  ///< skipped: malformed lines, and facts that come again
                                      ///< (which are no error with `strict` either)
  std::vector<std::string> unsplit_relations;  ///< ParaRel: one group; all prompts locate
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

/// `facts` cut to `limit` facts by whole relations: relations in seeded order are taken whole while
/// they fit; when not even the first fits, a seeded sample of that relation's facts.
std::vector<Fact> limit_facts(std::vector<Fact> facts, int64_t limit, uint64_t seed);

/// One line of our own format (no newline). Throws InputError for text that is not UTF-8.
std::string fact_to_json(const Fact& fact);

}  // namespace engram
