// ParaRel (Elazar et al. 2021): facts/P36.jsonl with subject and object labels, patterns/P36.jsonl
// with prompts for all facts of the relation.

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "engram/error.h"
#include "engram/text/causal_prompt.h"
#include "text/jsonl.h"

namespace engram {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::string_view kSubject = "[X]";
constexpr std::string_view kObject = "[Y]";

struct Pattern {
  std::string text;  ///< with one [Y] and at least one [X]
  std::string extended_lemma;
};

int64_t count(std::string_view text, std::string_view part) {
  int64_t number = 0;
  for (size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++number;
  }
  return number;
}

/// The pattern with `subject` for [X] and [MASK] for [Y]; what the subject holds stays as it is.
std::string fill_in(std::string_view pattern, std::string_view subject) {
  std::string prompt;
  for (size_t at = 0; at < pattern.size();) {
    if (pattern.substr(at).starts_with(kSubject)) {
      prompt += subject;
      at += kSubject.size();
    } else if (pattern.substr(at).starts_with(kObject)) {
      prompt += "[MASK]";
      at += kObject.size();
    } else {
      prompt += pattern[at++];
    }
  }
  return prompt;
}

/// The words of a pattern in lower case, [X] and [Y] among them. Signs are left out: patterns that
/// differ in nothing else are copies.
std::vector<std::string> words_of(std::string_view pattern) {
  std::vector<std::string> words(1);
  for (const char c : pattern) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || std::isalnum(byte) != 0 || c == '[' || c == ']') {
      words.back() += static_cast<char>(std::tolower(byte));
    } else if (!words.back().empty()) {
      words.emplace_back();
    }
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

/// Those of `words` that carry meaning; all when none does.
std::vector<std::string> content_of(const std::vector<std::string>& words) {
  constexpr auto kFunctionWords = std::to_array<std::string_view>(
      {"[x]",  "[y]",  "a",    "an",   "and",   "are",  "as",    "at",    "be",    "been", "by",
       "for",  "from", "had",  "has",  "have",  "in",   "into",  "is",    "it",    "its",  "of",
       "on",   "one",  "or",   "s",    "such",  "that", "the",   "their", "these", "this", "to",
       "used", "was",  "were", "what", "which", "who",  "whose", "with",  "after"});
  std::vector<std::string> content;
  for (const std::string& word : words) {
    if (std::ranges::find(kFunctionWords, word) == kFunctionWords.end()) content.push_back(word);
  }
  return content.empty() ? words : content;
}

/// True when `part` is `whole` with at most two words left out: "the capital of [X]" in "the
/// capital city of [X]".
bool stands_in(const std::vector<std::string>& part, const std::vector<std::string>& whole) {
  constexpr size_t kMostMore = 2;
  if (part.size() > whole.size() || whole.size() - part.size() > kMostMore) return false;
  size_t matched = 0;
  for (const std::string& word : whole) {
    if (matched < part.size() && part[matched] == word) ++matched;
  }
  return matched == part.size();
}

/// True when every word of `a` begins a word of `b` or the other way round: "native language" and
/// "native languages".
bool same_words(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto akin = [](const std::string& x, const std::string& y) {
    return x == y || (std::min(x.size(), y.size()) >= 3 && (x.starts_with(y) || y.starts_with(x)));
  };
  return a.size() == b.size() && std::ranges::all_of(a, [&](const std::string& word) {
           return std::ranges::any_of(b,
                                      [&](const std::string& other) { return akin(word, other); });
         });
}

/// Groups of patterns that may not be torn apart, as a group number per pattern: those of one
/// extended lemma, and lemmas with patterns that are near-copies of each other, since a model that
/// is located on "the capital of France" has as good as seen "the capital city of France". Two
/// patterns are near-copies when one is the other with a word or two left out, or when they say the
/// same words in another order.
std::vector<size_t> group_patterns(const std::vector<Pattern>& patterns) {
  std::vector<std::vector<std::string>> words;
  std::vector<std::vector<std::string>> content;
  for (const Pattern& pattern : patterns) {
    words.push_back(words_of(pattern.text));
    content.push_back(content_of(words.back()));
  }
  const auto connected = [&](size_t i, size_t j) {
    return patterns[i].extended_lemma == patterns[j].extended_lemma ||
           stands_in(words[i], words[j]) || stands_in(words[j], words[i]) ||
           same_words(content[i], content[j]) || same_words(content[j], content[i]);
  };
  std::vector<size_t> group(patterns.size());
  std::iota(group.begin(), group.end(), size_t{0});
  for (size_t i = 0; i < patterns.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (group[i] != group[j] && connected(i, j)) {
        std::ranges::replace(group, std::max(group[i], group[j]), std::min(group[i], group[j]));
      }
    }
  }
  return group;
}

/// Which patterns are held out: whole groups in seeded order, as long as they stay within the
/// share, or else the smallest one; and as long as enough patterns remain to locate on. Empty when
/// there is no such group.
std::vector<bool> hold_out(const std::vector<Pattern>& patterns, double share, uint64_t seed) {
  const std::vector<size_t> group = group_patterns(patterns);
  std::map<size_t, int64_t> sizes;
  for (const size_t g : group) ++sizes[g];

  std::vector<std::pair<uint64_t, size_t>> order;
  for (const auto& [g, size] : sizes) {
    order.emplace_back(seeded_number(seed, patterns[g].extended_lemma), g);
  }
  std::ranges::sort(order);
  const auto all = static_cast<int64_t>(patterns.size());
  const auto wanted = share * static_cast<double>(all) * (1 + 1e-9);  // 0.3 of 10 is 3
  std::vector<size_t> held;
  int64_t total = 0;
  for (const auto& [number, g] : order) {
    const int64_t more = total + sizes[g];
    if (static_cast<double>(more) > wanted || all - more < kLocatingPrompts) continue;
    total = more;
    held.push_back(g);
  }
  if (held.empty()) {
    const size_t smallest = std::ranges::min_element(order, {}, [&](const auto& entry) {
                              return sizes[entry.second];
                            })->second;
    if (all - sizes[smallest] < kLocatingPrompts) return {};
    held.push_back(smallest);
  }
  std::vector<bool> out;
  for (const size_t g : group) out.push_back(std::ranges::find(held, g) != held.end());
  return out;
}

std::vector<Pattern> read_patterns(const fs::path& path, ProblemSink& sink) {
  std::vector<Pattern> patterns;
  std::unordered_map<std::string, int64_t> seen;
  read_json_lines(path, sink, [&](const json& object, int64_t line) {
    Pattern pattern{text_field(object, "pattern"), text_field(object, "extended_lemma")};
    if (count(pattern.text, kSubject) < 1 || count(pattern.text, kObject) != 1 ||
        count_masks(pattern.text) != 0) {
      throw LineError{"got the pattern " + in_quotes(pattern.text) +
                      ", expected [X] for the subject and one [Y] for the object"};
    }
    const auto [first, added] = seen.try_emplace(pattern.text, line);
    if (!added) {
      sink.skipped(path.string(), line,
                   "got the pattern of line " + std::to_string(first->second) +
                       " again, expected each pattern once; the first is used");
      return;
    }
    patterns.push_back(std::move(pattern));
  });
  return patterns;
}

void read_relation(const fs::path& facts_path, const fs::path& patterns_path,
                   const std::string& relation, const FactSetOptions& options, ProblemSink& sink,
                   FactSet& set) {
  const bool has_patterns = fs::exists(patterns_path);
  std::vector<Pattern> patterns;
  if (has_patterns) patterns = read_patterns(patterns_path, sink);

  std::vector<Fact> facts;
  std::unordered_map<std::string, int64_t> seen;
  read_json_lines(facts_path, sink, [&](const json& object, int64_t line) {
    Fact fact;
    fact.relation = relation;
    fact.subject = text_field(object, "sub_label");
    fact.object = text_field(object, "obj_label");
    fact.origin = facts_path.string() + ":" + std::to_string(line);
    fact.uuid = optional_text(object, "uuid");
    if (count_masks(fact.subject) + count_masks(fact.object) > 0) {
      throw LineError{"got a mask in the fact " + in_quotes(fact.subject) + ", " +
                      in_quotes(fact.object) + ", expected names"};
    }
    const auto [first, added] =
        seen.try_emplace(fact_key(relation, fact.subject, fact.object), line);
    if (!added) {
      sink.skipped(facts_path.string(), line,
                   "got the fact of line " + std::to_string(first->second) +
                       " again, expected each fact once; the first is used");
      return;
    }
    facts.push_back(std::move(fact));
  });
  const bool some_patterns = !patterns.empty();
  int64_t left_out = 0;
  if (options.answer_last) {
    left_out = static_cast<int64_t>(std::erase_if(
        patterns, [](const Pattern& pattern) { return !answer_stands_last(pattern.text); }));
  }
  if (patterns.empty() && some_patterns) {
    sink.skipped(patterns_path.string(), 0,
                 "got " + std::to_string(left_out) +
                     " patterns, none of which ends with [Y] as a causal model needs it, expected "
                     "one; the " +
                     std::to_string(facts.size()) + " facts of " + relation + " are skipped");
    return;
  }
  if (patterns.empty()) {
    sink.skipped(patterns_path.string(), 0,
                 std::string(has_patterns ? "got no usable pattern" : "got no such file") +
                     ", expected patterns for relation " + relation + "; its " +
                     std::to_string(facts.size()) + " facts are skipped");
    return;
  }
  if (facts.empty()) {
    sink.skipped(facts_path.string(), 0, "got no usable fact, expected facts of " + relation);
    return;
  }
  std::vector<bool> held_out;
  if (options.held_out_share > 0.0) {
    held_out = hold_out(patterns, options.held_out_share, seeded_number(options.seed, relation));
  }
  for (Fact& fact : facts) {
    fact.left_out = left_out;
    for (size_t i = 0; i < patterns.size(); ++i) {
      auto& prompts = !held_out.empty() && held_out[i] ? fact.held_out : fact.prompts;
      prompts.push_back(fill_in(patterns[i].text, fact.subject));
    }
    set.facts.push_back(std::move(fact));
  }
}

/// P17 before P103: digits are compared as numbers.
bool numeric_less(const std::string& a, const std::string& b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  size_t i = 0;
  size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!digit(a[i]) || !digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i;
      ++j;
      continue;
    }
    const auto number = [&](const std::string& text, size_t& at) {
      while (at + 1 < text.size() && text[at] == '0' && digit(text[at + 1])) ++at;
      const size_t start = at;
      while (at < text.size() && digit(text[at])) ++at;
      return std::string_view(text).substr(start, at - start);
    };
    const std::string_view x = number(a, i);
    const std::string_view y = number(b, j);
    if (x.size() != y.size()) return x.size() < y.size();
    if (x != y) return x < y;
  }
  if (i < a.size() || j < b.size()) return j < b.size();
  return a < b;  // equal but for leading zeros
}

}  // namespace

void read_pararel(const PararelPlace& place, const FactSetOptions& options, ProblemSink& sink,
                  FactSet& set) {
  const std::map<std::string, fs::path> facts = relation_files(place.facts);
  const std::map<std::string, fs::path> patterns = relation_files(place.patterns);
  std::vector<std::string> relations;
  for (const auto& [relation, path] : facts) relations.push_back(relation);
  std::ranges::sort(relations, numeric_less);
  const std::vector<std::string>& wanted = options.choice.relations;
  if (place.relation.empty()) {
    check_relations(wanted, relations, place.facts.string());
  } else if (!facts.contains(place.relation)) {
    throw InputError((patterns.at(place.relation)).string() +
                     ": got patterns without their facts, expected these in " +
                     (place.facts / (place.relation + ".jsonl")).string());
  } else {
    relations = {place.relation};
    check_relations(wanted, relations, facts.at(place.relation).string());
  }
  for (const std::string& relation : relations) {
    if (!wanted.empty() && std::ranges::find(wanted, relation) == wanted.end()) continue;
    const auto found = patterns.find(relation);
    read_relation(facts.at(relation),
                  found == patterns.end() ? place.patterns / (relation + ".jsonl") : found->second,
                  relation, options, sink, set);
  }
  if (!place.relation.empty() || !wanted.empty()) return;
  for (const auto& [relation, path] : patterns) {
    if (facts.contains(relation)) continue;
    sink.skipped(path.string(), 0,
                 "got patterns without facts, expected facts of " + relation + " in " +
                     place.facts.string());
  }
}

}  // namespace engram
