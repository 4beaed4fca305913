#pragma once

// Reading JSON Lines one line at a time, with every line's problem told by file and line.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engram/base/lines.h"
#include "engram/text/facts.h"
#include "text/pararel_folders.h"

namespace engram {

/// Longest line that is read, in bytes: far above any bag of prompts.
inline constexpr size_t kLongestLine = 1 << 20;
/// Largest object over many lines: a relation with thousands of samples.
inline constexpr size_t kLongestObject = 16 << 20;

/// Why one line cannot be used. Thrown inside the readers only; a ProblemSink turns it into a
/// FactProblem or an InputError.
struct LineError {
  std::string message;
};

/// Where the readers put what they found wrong.
class ProblemSink {
 public:
  ProblemSink(std::vector<FactProblem>& problems, bool strict)
      : problems_(problems), strict_(strict) {}
  /// A line that cannot be understood: listed, or thrown as InputError when strict.
  void malformed(const std::string& file, int64_t line, const std::string& message);
  /// A well-formed line that is left out, such as a repeated fact: only listed. Line 0: the file.
  void skipped(const std::string& file, int64_t line, const std::string& message);

 private:
  std::vector<FactProblem>& problems_;
  bool strict_;
};

/// Takes a line's JSON object and its number from 1. May throw LineError.
using UseObject = std::function<void(const nlohmann::json&, int64_t)>;

/// A line's JSON object. Throws LineError (no UTF-8, no JSON, no object).
nlohmann::json parse_object(std::string_view line);

/// Calls `use` with every line's object, or with the objects of one JSON array, whose line is the
/// one where they begin, or with one object that is spread over many lines; blank lines are passed
/// over. Lines that are no object, and
/// LineErrors that `use` throws, go to `sink`. Holds one line at a time. Ends early when `stop`
/// says so (asked after every bad line). Throws FileError, Interrupted, and what the sink throws.
void read_json_lines(const std::filesystem::path& path, ProblemSink& sink, const UseObject& use,
                     const std::function<bool()>& stop = {});

/// The same for a text that is open already; `source` is named in messages.
void read_json_objects(LineReader& text, const std::string& source, ProblemSink& sink,
                       const UseObject& use, const std::function<bool()>& stop = {});

/// Passes over the mark that some editors put before UTF-8.
void skip_byte_order_mark(LineReader& text);

/// The text at `key`, with something else than blanks in it. Throws LineError.
std::string text_field(const nlohmann::json& object, const char* key);
/// The text under `key`; "" where there is none or something else.
std::string optional_text(const nlohmann::json& object, const char* key);

/// `value` as a text without NUL. `what` names it in the message. Throws LineError.
std::string text_value(const nlohmann::json& value, const std::string& what);

/// `text` with its control characters escaped: what others wrote, in a message of ours.
std::string one_line(std::string_view text);
/// `text` in quotes for a one-line message: control characters escaped, long texts cut.
std::string in_quotes(std::string_view text);

/// True when `text` has nothing but blanks.
bool is_blank(std::string_view text);

/// How many mask texts of any family ([MASK], <mask>) `text` holds.
int64_t count_masks(std::string_view text);

/// A fact's key for finding repeated ones.
std::string fact_key(const std::string& relation, const std::string& subject,
                     const std::string& object);

/// A number that depends on the seed and the text alone: an order by it is a seeded random order
/// in which one text's place does not hang on which others there are.
uint64_t seeded_number(uint64_t seed, std::string_view text);

/// Throws InputError unless each of `wanted` is one of `known`, the relations of `source`.
void check_relations(const std::vector<std::string>& wanted, const std::vector<std::string>& known,
                     const std::string& source);

/// ParaRel's facts with their prompts, into `set` (src/text/pararel.cc).
void read_pararel(const PararelPlace& place, const FactSetOptions& options, ProblemSink& sink,
                  FactSet& set);

}  // namespace engram
