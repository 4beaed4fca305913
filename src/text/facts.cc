#include "engram/text/facts.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "engram/base/lines.h"
#include "engram/error.h"
#include "engram/text/causal_prompt.h"
#include "text/fact_formats.h"
#include "text/jsonl.h"
#include "text/table_reader.h"

namespace engram {
namespace {

using nlohmann::json;

/// The prompts at `key`, each with one mask or none. Throws LineError.
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
    if (const int64_t masks = count_masks(prompt); masks > 1) {
      throw LineError{"got " + std::to_string(masks) + " masks in the prompt " + in_quotes(prompt) +
                      ", expected one [MASK]"};
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

/// Throws LineError for a prompt without a mask, which says where the answer stands.
void require_masks(const Fact& fact) {
  for (const auto* list : {&fact.prompts, &fact.held_out, &fact.neighbours}) {
    for (const std::string& prompt : *list) {
      if (count_masks(prompt) > 0) continue;
      throw LineError{"got no [MASK] in the prompt " + in_quotes(prompt) + ", expected one [MASK]"};
    }
  }
}

/// Leaves out the prompts that a causal model cannot take.
void keep_answer_last(Fact& fact) {
  const auto unfit = [](const std::string& prompt) { return !answer_stands_last(prompt); };
  for (auto* list : {&fact.prompts, &fact.held_out}) {
    fact.left_out += static_cast<int64_t>(std::erase_if(*list, unfit));
  }
  std::erase_if(fact.neighbours, unfit);
}

/// A line of ParaRel's in a file that stands alone: without its other half no line is a fact.
void refuse_half(const json& object, const std::string& where) {
  if (object.contains("relation")) return;
  const bool fact = object.contains("sub_label") && object.contains("obj_label");
  if (!fact && !(object.contains("pattern") && object.contains("lemma"))) return;
  throw InputError(where + ": got ParaRel's " +
                   (fact ? "facts without their patterns, expected a file of the same name in "
                           "patterns/ beside its folder facts/"
                         : "patterns without their facts, expected a file of the same name in "
                           "facts/ beside its folder patterns/") +
                   ", or a checkout of ParaRel or of the paper's code");
}

}  // namespace

std::vector<Fact> read_own_fact(const json& object) {
  Fact fact;
  fact.relation = text_field(object, "relation");
  fact.subject = text_field(object, "subject");
  fact.object = text_field(object, "object");
  if (!object.contains("prompts")) {
    throw LineError{"got no \"prompts\", expected an array of strings"};
  }
  fact.prompts = prompts_field(object, "prompts");
  if (fact.prompts.empty()) {
    throw LineError{"got an empty \"prompts\", expected at least one prompt with [MASK]"};
  }
  fact.uuid = optional_text(object, "uuid");
  if (object.contains("held_out")) fact.held_out = prompts_field(object, "held_out");
  for (const std::string& prompt : fact.held_out) {
    if (std::ranges::find(fact.prompts, prompt) != fact.prompts.end()) {
      throw LineError{"got the prompt " + in_quotes(prompt) +
                      " in both \"prompts\" and \"held_out\", expected it in one of them"};
    }
  }
  if (object.contains("neighbours")) fact.neighbours = prompts_field(object, "neighbours");
  if (object.contains("new_object")) fact.new_object = text_field(object, "new_object");
  return {std::move(fact)};
}

namespace {

/// Takes the facts of one source, each once.
class Collector {
 public:
  Collector(std::string source, const FactSetOptions& options, ProblemSink& sink, FactSet& set)
      : source_(std::move(source)), answer_last_(options.answer_last), sink_(sink), set_(set) {}
  /// What a JSON record holds.
  void operator()(const json& record, int64_t line) {
    refuse_half(record, where(line));
    const FactFormat* format = fact_format_of(record);
    // A record of no kind is told what ours has.
    for (Fact& fact : format != nullptr ? format->read(record) : read_own_fact(record)) {
      if (answer_last_) {
        keep_answer_last(fact);
      } else {
        require_masks(fact);
      }
      add(std::move(fact), line, format != nullptr && format->prompts_come);
    }
  }

  /// A fact of `line`. One that comes again is left out, or with `more_prompts` brings its prompts.
  void add(Fact fact, int64_t line, bool more_prompts) {
    if (count_masks(fact.object) > 0) {
      throw LineError{"got a mask in the object " + in_quotes(fact.object) +
                      ", expected the answer"};
    }
    fact.origin = where(line);
    const auto [first, fresh] =
        seen_.try_emplace(fact_key(fact.relation, fact.subject, fact.object), set_.facts.size());
    if (fresh) {
      set_.facts.push_back(std::move(fact));
      return;
    }
    Fact& stands = set_.facts[first->second];
    if (more_prompts) stands.left_out += fact.left_out;
    if (!more_prompts) {
      sink_.skipped(source_, line,
                    "got the fact of line " + stands.origin.substr(stands.origin.rfind(':') + 1) +
                        " again, expected each fact once; the first is used");
      return;
    }
    for (const auto& list : {&Fact::prompts, &Fact::held_out}) {
      for (std::string& prompt : fact.*list) {
        if (std::ranges::find(stands.prompts, prompt) != stands.prompts.end() ||
            std::ranges::find(stands.held_out, prompt) != stands.held_out.end()) {
          sink_.skipped(source_, line,
                        "got the prompt " + in_quotes(prompt) +
                            " again, expected each prompt of a fact once");
          continue;
        }
        (stands.*list).push_back(std::move(prompt));
      }
    }
  }

 private:
  [[nodiscard]] std::string where(int64_t line) const {
    return source_ + ":" + std::to_string(line);
  }

  std::string source_;
  bool answer_last_ = false;
  ProblemSink& sink_;
  FactSet& set_;
  std::unordered_map<std::string, size_t> seen_;  ///< places in set_.facts
};

/// CSV or TSV: a header, then a prompt a record; those of a fact are its bag.
void read_table(LineReader& text, char delimiter, const std::string& source,
                const FactSetOptions& options, ProblemSink& sink, FactSet& set) {
  Collector collector(source, options, sink, set);
  TableReader table(text, delimiter, kLongestLine);
  std::vector<std::string> fields;
  std::optional<FactColumns> columns;
  for (;;) {
    try {
      if (!table.next(fields)) break;
      if (!columns) {
        columns.emplace(fields);
        continue;
      }
      Fact fact = columns->read(fields);
      if (options.answer_last) keep_answer_last(fact);
      collector.add(std::move(fact), table.line(), /*more_prompts=*/true);
    } catch (const LineError& error) {
      if (!columns) {
        throw InputError(source + ":" + std::to_string(table.line()) + ": " + error.message);
      }
      sink.malformed(source, table.line(), error.message);
    }
  }
  // A bag that only tests has nothing to locate by.
  std::erase_if(set.facts, [&](const Fact& fact) {
    if (!fact.prompts.empty() || fact.left_out > 0) return false;
    const size_t colon = fact.origin.rfind(':');
    sink.skipped(source, std::stoll(fact.origin.substr(colon + 1)),
                 "got held-out prompts only, expected at least one prompt that locates");
    return true;
  });
}

/// Facts of one text, whatever it is.
void read_text(LineReader& text, const std::string& source, const FactSetOptions& options,
               ProblemSink& sink, FactSet& set) {
  skip_byte_order_mark(text);
  if (const char delimiter = table_delimiter(text.rest()); delimiter != 0) {
    read_table(text, delimiter, source, options, sink, set);
    return;
  }
  // So many bad lines and not one fact: some other kind of file, of whatever size.
  constexpr size_t kHopeless = 100'000;
  Collector collector(source, options, sink, set);
  read_json_objects(text, source, sink, std::ref(collector),
                    [&] { return set.facts.empty() && set.problems.size() >= kHopeless; });
}

/// The .json files of a folder that holds no other folder (as ParaRel's does), by name.
std::vector<std::filesystem::path> json_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) return {};
    std::filesystem::path name = entry.path().filename();
    if (name.extension() != ".json") name.replace_extension();  // packed: .json.xz
    if (name.extension() == ".json") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

/// Facts of one relation together, relations in the order of their first fact.
void group_by_relation(std::vector<Fact>& facts) {
  std::unordered_map<std::string, size_t> order;
  for (const Fact& fact : facts) order.try_emplace(fact.relation, order.size());
  std::ranges::stable_sort(facts, {}, [&](const Fact& fact) { return order.at(fact.relation); });
}

[[noreturn]] void refuse_empty(const std::string& source, const FactSet& set) {
  std::string message = source + ": no usable fact; ";
  if (set.problems.empty()) {
    message += "got no line, expected facts in one of the formats of docs/formats.md";
  } else {
    const size_t count = set.problems.size();
    message += std::to_string(count) + (count == 1 ? " bad line: " : " bad lines, the first: ") +
               problem_text(set.problems.front());
  }
  throw InputError(message);
}

void check(const FactSetOptions& options) {
  for (const int64_t limit : {options.choice.limit, options.choice.per_relation}) {
    if (limit >= 0) continue;
    throw UsageError("got a limit of " + std::to_string(limit) +
                     " facts, expected 0 (all) or more");
  }
  if (!(options.held_out_share >= 0.0 && options.held_out_share <= 1.0)) {
    throw UsageError("got a held-out share of " + std::to_string(options.held_out_share) +
                     ", expected 0 to 1");
  }
}

/// Takes the facts out of whose prompts none could be taken.
void drop_unfit(FactSet& set, ProblemSink& sink) {
  std::erase_if(set.facts, [&](const Fact& fact) {
    if (!fact.prompts.empty()) return false;
    const size_t colon = fact.origin.rfind(':');
    sink.skipped(fact.origin.substr(0, colon), std::stoll(fact.origin.substr(colon + 1)),
                 "got no prompt to locate by that ends with the answer (" +
                     std::to_string(fact.left_out) + (fact.left_out == 1 ? " was" : " were") +
                     " left out), expected one, since the model is causal");
    return true;
  });
}

void finish(FactSet& set, const std::string& source, const FactSetOptions& options,
            ProblemSink& sink) {
  if (options.answer_last) drop_unfit(set, sink);
  if (set.facts.empty()) refuse_empty(source, set);
  group_by_relation(set.facts);
  set.facts = choose_facts(std::move(set.facts), options.choice, options.seed, source);
  set.unsplit_relations = unsplit_relations(set.facts);
}

/// Where ParaRel's halves lie when `path` means ParaRel; nothing for a file of our own format.
std::optional<PararelPlace> pararel_place(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return pararel_folder(path);
  std::optional<PararelPlace> place = pararel_file(path);
  if (!place) return std::nullopt;
  // A file of our own may lie in such a folder, too: its first object tells.
  std::vector<FactProblem> problems;
  ProblemSink sink(problems, false);
  bool ours = false;
  read_json_lines(
      path, sink,
      [&](const json& object, int64_t) {
        ours = object.contains("relation");
        throw LineError{"the first is enough"};
      },
      [] { return true; });
  if (ours) place.reset();
  return place;
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
  const std::vector<std::filesystem::path> folder = json_files(path);
  if (!folder.empty()) {
    for (const std::filesystem::path& file : folder) {
      LineReader text(file, kLongestLine);
      read_text(text, file.string(), options, sink, set);
    }
  } else if (const auto place = pararel_place(path)) {
    read_pararel(*place, options, sink, set);
  } else {
    LineReader text(path, kLongestLine);
    read_text(text, path.string(), options, sink, set);
  }
  finish(set, path.string(), options, sink);
  return set;
}

FactSet parse_facts(std::string_view text, const std::string& source,
                    const FactSetOptions& options) {
  check(options);
  FactSet set;
  ProblemSink sink(set.problems, options.strict);
  LineReader lines = LineReader::of_text(text, kLongestLine);
  read_text(lines, source, options, sink, set);
  finish(set, source, options, sink);
  return set;
}

std::vector<std::filesystem::path> fact_places(const std::filesystem::path& path) {
  if (std::vector<std::filesystem::path> folder = json_files(path); !folder.empty()) return folder;
  const std::optional<PararelPlace> place = pararel_place(path);
  if (!place) return {path};
  return {place->facts, place->patterns};
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
  if (!fact.new_object.empty()) object["new_object"] = fact.new_object;
  if (!fact.neighbours.empty()) object["neighbours"] = fact.neighbours;
  try {
    return object.dump();
  } catch (const json::exception&) {
    throw InputError((fact.origin.empty() ? "fact" : fact.origin) +
                     ": got bytes that are not UTF-8, expected UTF-8");
  }
}

}  // namespace engram
