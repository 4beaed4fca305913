#include "text/fact_formats.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/jsonl.h"

namespace engram {
namespace {

using nlohmann::json;

const std::vector<FactFormat>& formats() {
  static const std::vector<FactFormat> all{
      {"our own", {"relation", "prompts"}, read_own_fact},
      {"CounterFact", {"requested_rewrite"}, read_counterfact},
      {"LRE", {"samples", "prompt_templates"}, read_lre_relation},
      {"known facts", {"subject", "attribute", "prompt"}, read_known_fact},
      {"EasyEdit", {"subject", "prompt", "ground_truth"}, read_easyedit},
      {"BLiMP", {"sentence_good", "sentence_bad"}, read_minimal_pair, /*prompts_come=*/true},
  };
  return all;
}

size_t count_of(std::string_view text, std::string_view what) {
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

/// The object at `key`. Throws LineError.
const json& object_field(const json& record, const char* key) {
  const auto found = record.find(key);
  if (found != record.end() && found->is_object()) return *found;
  throw LineError{"got " + std::string(found == record.end() ? "no" : "something else as") + " \"" +
                  key + "\", expected an object"};
}

const json& array_field(const json& record, const char* key) {
  const auto found = record.find(key);
  if (found != record.end() && found->is_array()) return *found;
  throw LineError{"got " + std::string(found == record.end() ? "no" : "something else as") + " \"" +
                  key + "\", expected an array"};
}

/// A text, or the first of an array of texts (of arrays of texts), of which each is an alias.
std::string first_text(const json& value, const std::string& what) {
  const json* at = &value;
  while (at->is_array() && !at->empty()) at = &at->front();
  std::string text = text_value(*at, what);
  if (is_blank(text)) throw LineError{"got an empty " + what + ", expected text"};
  return text;
}

/// Adds a prompt that is not in `prompts` or `others` yet.
void add_prompt(std::string prompt, std::vector<std::string>& prompts,
                const std::vector<std::string>& others) {
  if (std::ranges::find(prompts, prompt) != prompts.end()) return;
  if (std::ranges::find(others, prompt) != others.end()) return;
  prompts.push_back(std::move(prompt));
}

/// Every text of an array as a prompt.
void add_prompts(const json& record, const char* key, const std::string& subject,
                 std::vector<std::string>& prompts, const std::vector<std::string>& others) {
  const auto found = record.find(key);
  if (found == record.end() || found->is_null()) return;
  for (const json& one : array_field(record, key)) {
    add_prompt(prompt_of(text_value(one, "a prompt of \"" + std::string(key) + '"'), subject),
               prompts, others);
  }
}

/// Two facts that differ in their subject alone have the same template: a relation's name where
/// the record has none.
std::string template_of(std::string text, const std::string& subject) {
  const size_t at = text.find(subject);
  if (at != std::string::npos) text.replace(at, subject.size(), "{}");
  return text;
}

bool is_word_end(char c) { return c == ' ' || c == '.' || c == ',' || c == '?' || c == '!'; }

}  // namespace

const FactFormat* fact_format_of(const json& record) {
  for (const FactFormat& format : formats()) {
    const bool all = std::ranges::all_of(
        format.fields, [&](std::string_view field) { return record.contains(std::string(field)); });
    if (all) return &format;
  }
  return nullptr;
}

std::string prompt_of(std::string_view text, const std::string& subject) {
  const size_t holes = count_of(text, "{}");
  const int64_t masks = count_masks(text);
  if (holes > 1 || masks > 1) {
    throw LineError{"got the prompt " + in_quotes(text) +
                    ", expected at most one {} and one [MASK]"};
  }
  std::string prompt(text);
  if (holes == 1) prompt.replace(prompt.find("{}"), 2, subject);
  while (!prompt.empty() && is_blank(prompt.substr(prompt.size() - 1))) prompt.pop_back();
  if (is_blank(prompt)) throw LineError{"got an empty prompt, expected text"};
  if (count_masks(prompt) != masks) {
    throw LineError{"got a mask in the subject " + in_quotes(subject) + ", expected a name"};
  }
  return masks == 1 ? prompt : prompt + " [MASK].";
}

std::vector<Fact> read_counterfact(const json& record) {
  const json& rewrite = object_field(record, "requested_rewrite");
  Fact fact;
  fact.relation = text_field(rewrite, "relation_id");
  fact.subject = text_field(rewrite, "subject");
  fact.object = text_field(object_field(rewrite, "target_true"), "str");
  if (rewrite.contains("target_new")) {
    fact.new_object = text_field(object_field(rewrite, "target_new"), "str");
  }
  fact.prompts.push_back(prompt_of(text_field(rewrite, "prompt"), fact.subject));
  add_prompts(record, "paraphrase_prompts", fact.subject, fact.held_out, fact.prompts);
  add_prompts(record, "neighborhood_prompts", fact.subject, fact.neighbours, {});
  return {std::move(fact)};
}

std::vector<Fact> read_lre_relation(const json& record) {
  const std::string name = text_field(record, "name");
  std::vector<Fact> facts;
  for (const json& sample : array_field(record, "samples")) {
    if (!sample.is_object()) {
      throw LineError{"got a JSON " + std::string(sample.type_name()) +
                      " in \"samples\", expected an object with subject and object"};
    }
    Fact fact;
    fact.relation = name;
    fact.subject = text_field(sample, "subject");
    fact.object = text_field(sample, "object");
    add_prompts(record, "prompt_templates", fact.subject, fact.prompts, {});
    add_prompts(record, "prompt_templates_zs", fact.subject, fact.held_out, fact.prompts);
    if (fact.prompts.empty()) {
      throw LineError{"got an empty \"prompt_templates\", expected at least one prompt with {}"};
    }
    facts.push_back(std::move(fact));
  }
  return facts;
}

std::vector<Fact> read_known_fact(const json& record) {
  Fact fact;
  fact.subject = text_field(record, "subject");
  fact.object = text_field(record, "attribute");
  const std::string prompt = text_field(record, "prompt");
  fact.relation = record.contains("relation_id") ? text_field(record, "relation_id")
                                                 : template_of(prompt, fact.subject);
  fact.prompts.push_back(prompt_of(prompt, fact.subject));
  return {std::move(fact)};
}

std::vector<Fact> read_minimal_pair(const json& record) {
  const std::string good = text_field(record, "sentence_good");
  const std::string bad = text_field(record, "sentence_bad");
  // What both begin and end with, cut back to where words end.
  size_t begin = 0;
  const size_t shorter = std::min(good.size(), bad.size());
  while (begin < shorter && good[begin] == bad[begin]) ++begin;
  while (begin > 0 && good[begin - 1] != ' ') --begin;
  size_t behind = 0;
  while (behind < shorter - begin &&
         good[good.size() - 1 - behind] == bad[bad.size() - 1 - behind]) {
    ++behind;
  }
  while (behind > 0 && !is_word_end(good[good.size() - behind])) --behind;
  Fact fact;
  fact.object = good.substr(begin, good.size() - behind - begin);
  fact.new_object = bad.substr(begin, bad.size() - behind - begin);
  const auto one_word = [](const std::string& text) {
    return !text.empty() && text.find(' ') == std::string::npos;
  };
  if (!one_word(fact.object) || !one_word(fact.new_object) || fact.object == fact.new_object) {
    throw LineError{"got the sentences " + in_quotes(good) + " and " + in_quotes(bad) +
                    ", expected two that differ in one word"};
  }
  const std::string name = optional_text(record, "UID");
  fact.relation = is_blank(name) ? "minimal pairs" : name;
  fact.subject = fact.new_object;  // it is the pair of words that a bag is about
  fact.prompts.push_back(
      prompt_of(good.substr(0, begin) + "[MASK]" + good.substr(good.size() - behind), ""));
  return {std::move(fact)};
}

std::vector<Fact> read_easyedit(const json& record) {
  Fact fact;
  fact.subject = text_field(record, "subject");
  fact.object = first_text(record.at("ground_truth"), "\"ground_truth\"");
  if (record.contains("target_new")) {
    fact.new_object = first_text(record.at("target_new"), "\"target_new\"");
  }
  const std::string prompt = text_field(record, "prompt");
  const std::string relation = optional_text(record, "relation_id");
  fact.relation = is_blank(relation) ? template_of(prompt, fact.subject) : relation;
  fact.prompts.push_back(prompt_of(prompt, fact.subject));
  for (const char* key : {"rephrase_prompt", "rephrase"}) {
    const auto found = record.find(key);
    if (found == record.end() || found->is_null()) continue;
    if (found->is_array()) {
      add_prompts(record, key, fact.subject, fact.held_out, fact.prompts);
    } else {
      add_prompt(prompt_of(text_field(record, key), fact.subject), fact.held_out, fact.prompts);
    }
  }
  return {std::move(fact)};
}

}  // namespace engram
