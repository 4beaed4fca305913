#include "engram/text/facts.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engram/error.h"
#include "text/jsonl.h"

namespace engram {
namespace {

using nlohmann::json;

/// The prompts at `key`, each with one mask. Throws LineError.
std::vector<std::string> prompts_field(const json& object, const char* key) {
  const std::string name = '"' + std::string(key) + '"';
  const json& array = object.at(key);
  if (!array.is_array()) {
    throw LineError{"got a JSON " + std::string(array.type_name()) + " as " + name +
                    ", expected an array of strings"};
  }
  std::vector<std::string> prompts;
  for (const json& value : array) {
    std::string prompt = text_value(value, "a prompt of " + name);
    const int64_t masks = count_masks(prompt);
    if (masks != 1) {
      throw LineError{"got " + (masks == 0 ? "no [MASK]" : std::to_string(masks) + " masks") +
                      " in the prompt " + in_quotes(prompt) + ", expected one [MASK]"};
    }
    // A prompt that counts twice would make neurons agree with themselves.
    if (std::ranges::find(prompts, prompt) != prompts.end()) {
      throw LineError{"got the prompt " + in_quotes(prompt) + " twice in " + name +
                      ", expected each prompt once"};
    }
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

Fact fact_of(const json& object) {
  Fact fact;
  fact.relation = text_field(object, "relation");
  fact.subject = text_field(object, "subject");
  fact.object = text_field(object, "object");
  if (count_masks(fact.object) > 0) {
    throw LineError{"got a mask in \"object\" " + in_quotes(fact.object) + ", expected the answer"};
  }
  if (!object.contains("prompts")) {
    throw LineError{"got no \"prompts\", expected an array of strings"};
  }
  fact.prompts = prompts_field(object, "prompts");
  if (fact.prompts.empty()) {
    throw LineError{"got an empty \"prompts\", expected at least one prompt with [MASK]"};
  }
  if (object.contains("held_out")) fact.held_out = prompts_field(object, "held_out");
  for (const std::string& prompt : fact.held_out) {
    if (std::ranges::find(fact.prompts, prompt) != fact.prompts.end()) {
      throw LineError{"got the prompt " + in_quotes(prompt) +
                      " in both \"prompts\" and \"held_out\", expected it in one of them"};
    }
  }
  return fact;
}

/// Takes the facts of one source, each once.
class Collector {
 public:
  Collector(std::string source, ProblemSink& sink, FactSet& set)
      : source_(std::move(source)), sink_(sink), set_(set) {}
  void operator()(const json& object, int64_t line) {
    Fact fact = fact_of(object);
    fact.origin = source_ + ":" + std::to_string(line);
    const auto [first, added] =
        seen_.try_emplace(fact_key(fact.relation, fact.subject, fact.object), line);
    if (added) {
      set_.facts.push_back(std::move(fact));
    } else {
      sink_.skipped(source_, line,
                    "got the fact of line " + std::to_string(first->second) +
                        " again, expected each fact once; the first is used");
    }
  }

 private:
  std::string source_;
  ProblemSink& sink_;
  FactSet& set_;
  std::unordered_map<std::string, int64_t> seen_;
};

/// Facts of one relation together, relations in the order of their first fact.
void group_by_relation(std::vector<Fact>& facts) {
  std::unordered_map<std::string, size_t> order;
  for (const Fact& fact : facts) order.try_emplace(fact.relation, order.size());
  std::ranges::stable_sort(facts, {}, [&](const Fact& fact) { return order.at(fact.relation); });
}

[[noreturn]] void refuse_empty(const std::string& source, const FactSet& set) {
  std::string message = source + ": no usable fact; ";
  if (set.problems.empty()) {
    message += "got no line, expected JSON Lines with relation, subject, object and prompts";
  } else {
    const size_t count = set.problems.size();
    message += std::to_string(count) + (count == 1 ? " bad line: " : " bad lines, the first: ") +
               problem_text(set.problems.front());
  }
  throw InputError(message);
}

void check(const FactSetOptions& options) {
  if (options.limit < 0) {
    throw UsageError("got a limit of " + std::to_string(options.limit) +
                     " facts, expected 0 (all) or more");
  }
  if (!(options.held_out_share >= 0.0 && options.held_out_share <= 1.0)) {
    throw UsageError("got a held-out share of " + std::to_string(options.held_out_share) +
                     ", expected 0 to 1");
  }
}

void finish(FactSet& set, const std::string& source, const FactSetOptions& options) {
  if (set.facts.empty()) refuse_empty(source, set);
  group_by_relation(set.facts);
  if (options.limit > 0) set.facts = limit_facts(std::move(set.facts), options.limit, options.seed);
  set.unsplit_relations = unsplit_relations(set.facts);
}

}  // namespace

std::string problem_text(const FactProblem& problem) {
  return problem.file + (problem.line > 0 ? ":" + std::to_string(problem.line) : "") + ": " +
         problem.message;
}

FactSet read_facts(const std::filesystem::path& path, const FactSetOptions& options) {
  check(options);
  FactSet set;
  ProblemSink sink(set.problems, options.strict);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    read_pararel(path, options, sink, set);
  } else {
    // So many bad lines and not one fact: some other kind of file, of whatever size.
    constexpr size_t kHopeless = 100'000;
    Collector collector(path.string(), sink, set);
    read_json_lines(path, sink, std::ref(collector),
                    [&] { return set.facts.empty() && set.problems.size() >= kHopeless; });
  }
  finish(set, path.string(), options);
  return set;
}

FactSet parse_facts(std::string_view text, const std::string& source,
                    const FactSetOptions& options) {
  check(options);
  FactSet set;
  ProblemSink sink(set.problems, options.strict);
  Collector collector(source, sink, set);
  parse_json_lines(text, source, sink, std::ref(collector));
  finish(set, source, options);
  return set;
}

std::vector<Fact> limit_facts(std::vector<Fact> facts, int64_t limit, uint64_t seed) {
  if (limit <= 0 || std::cmp_less_equal(facts.size(), limit)) return facts;
  std::unordered_map<std::string, int64_t> sizes;
  for (const Fact& fact : facts) ++sizes[fact.relation];
  std::vector<std::pair<uint64_t, std::string>> order;  // ties, if ever, by name
  for (const auto& [relation, size] : sizes) {
    order.emplace_back(seeded_number(seed, relation), relation);
  }
  std::ranges::sort(order);

  std::unordered_set<std::string> whole;
  int64_t left = limit;
  auto next = order.begin();
  for (; next != order.end() && sizes.at(next->second) <= left; ++next) {
    left -= sizes.at(next->second);
    whole.insert(next->second);
  }
  // Facts fewer than the limit were given back above, so there is a next relation.
  const std::string& last = next->second;
  std::vector<std::pair<uint64_t, size_t>> sample;
  for (size_t i = 0; i < facts.size(); ++i) {
    const Fact& fact = facts[i];
    if (fact.relation != last) continue;
    sample.emplace_back(seeded_number(seed, fact_key(fact.relation, fact.subject, fact.object)), i);
  }
  std::ranges::sort(sample);
  std::vector<bool> sampled(facts.size(), false);
  for (int64_t i = 0; i < left; ++i) sampled[sample[static_cast<size_t>(i)].second] = true;
  std::vector<Fact> taken;
  for (size_t i = 0; i < facts.size(); ++i) {
    if (sampled[i] || whole.contains(facts[i].relation)) taken.push_back(std::move(facts[i]));
  }
  return taken;
}

std::vector<std::string> unsplit_relations(std::span<const Fact> facts) {
  std::unordered_set<std::string_view> split;
  for (const Fact& fact : facts) {
    if (!fact.held_out.empty()) split.insert(fact.relation);
  }
  std::vector<std::string> unsplit;
  std::unordered_set<std::string_view> seen;
  for (const Fact& fact : facts) {
    if (!split.contains(fact.relation) && seen.insert(fact.relation).second) {
      unsplit.push_back(fact.relation);
    }
  }
  return unsplit;
}

std::string fact_to_json(const Fact& fact) {
  nlohmann::ordered_json object;
  object["relation"] = fact.relation;
  object["subject"] = fact.subject;
  object["object"] = fact.object;
  object["prompts"] = fact.prompts;
  if (!fact.held_out.empty()) object["held_out"] = fact.held_out;
  try {
    return object.dump();
  } catch (const json::exception&) {
    throw InputError((fact.origin.empty() ? "fact" : fact.origin) +
                     ": got bytes that are not UTF-8, expected UTF-8");
  }
}

}  // namespace engram
