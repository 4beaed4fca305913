// Facts in CSV and TSV with named columns.
#include <algorithm>
#include <array>
#include <cctype>

#include "engram/base/utf8.h"
#include "text/fact_formats.h"
#include "text/jsonl.h"

namespace engram {
namespace {

constexpr const char* kExpected =
    "expected the columns subject, object and prompt, and where they are there relation, held_out "
    "(yes or no), new_object and uuid";

std::string lowered(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '-') {
      out += '_';
    } else if (c != '"' && c != '\r') {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

struct Column {
  size_t FactColumns::*place;
  std::array<std::string_view, 4> names;
};

bool is_yes(const std::string& text) {
  const std::string word = lowered(text);
  if (word == "yes" || word == "true" || word == "1") return true;
  if (word.empty() || word == "no" || word == "false" || word == "0") return false;
  throw LineError{"got " + in_quotes(text) + " as held_out, expected yes or no"};
}

}  // namespace

FactColumns::FactColumns(const std::vector<std::string>& header) : columns_(header.size()) {
  // Names that the field's files use; the first one is ours.
  const std::array<Column, 7> known{{
      {&FactColumns::relation_, {"relation", "relation_id", "predicate", "predicate_id"}},
      {&FactColumns::subject_, {"subject", "sub_label", "subj", "s"}},
      {&FactColumns::object_, {"object", "obj_label", "answer", "attribute"}},
      {&FactColumns::prompt_, {"prompt", "template", "sentence", "masked_sentence"}},
      {&FactColumns::held_out_, {"held_out", "heldout", "test", "is_test"}},
      {&FactColumns::new_object_, {"new_object", "target_new", "object_new", "new_answer"}},
      {&FactColumns::uuid_, {"uuid", "id", "case_id", "known_id"}},
  }};
  for (size_t i = 0; i < header.size(); ++i) {
    const std::string name = lowered(header[i]);
    for (const Column& column : known) {
      if (std::ranges::find(column.names, name) == column.names.end()) continue;
      if (this->*column.place != kNone) {
        throw LineError{"got two columns for " + std::string(column.names.front()) + ", " +
                        kExpected};
      }
      this->*column.place = i;
    }
  }
  for (const auto& [place, name] : {std::pair{subject_, "subject"}, std::pair{object_, "object"},
                                    std::pair{prompt_, "prompt"}}) {
    if (place == kNone) throw LineError{"got no column " + std::string(name) + ", " + kExpected};
  }
}

Fact FactColumns::read(const std::vector<std::string>& fields) const {
  if (fields.size() != columns_) {
    throw LineError{"got " + std::to_string(fields.size()) + " fields, expected " +
                    std::to_string(columns_) + " as in the header"};
  }
  for (size_t i = 0; i < fields.size(); ++i) {
    if (invalid_utf8(fields[i]) != std::string_view::npos) {
      throw LineError{"got bytes that are not UTF-8 in field " + std::to_string(i + 1) +
                      ", expected UTF-8"};
    }
    if (fields[i].find('\0') != std::string::npos) {
      throw LineError{"got a NUL character in field " + std::to_string(i + 1) + ", expected text"};
    }
  }
  const auto optional = [&](size_t place) { return place == kNone ? "" : fields[place]; };
  const auto text = [&](size_t place, const char* name) {
    if (is_blank(fields[place])) {
      throw LineError{"got an empty " + std::string(name) + ", expected text"};
    }
    return fields[place];
  };
  Fact fact;
  fact.subject = text(subject_, "subject");
  fact.object = text(object_, "object");
  fact.relation = optional(relation_);
  if (is_blank(fact.relation)) fact.relation = "facts";
  fact.new_object = optional(new_object_);
  fact.uuid = optional(uuid_);
  const std::string prompt = prompt_of(text(prompt_, "prompt"), fact.subject);
  (is_yes(optional(held_out_)) ? fact.held_out : fact.prompts).push_back(prompt);
  return fact;
}

char table_delimiter(std::string_view start) {
  const std::string_view line = start.substr(0, start.find('\n'));
  const std::string header = lowered(line);
  const auto has = [&](std::string_view name) { return header.find(name) != std::string::npos; };
  if (!has("sub") || !(has("obj") || has("answer") || has("attribute"))) return 0;
  if (line.starts_with("{") || line.starts_with("[")) return 0;
  for (const char delimiter : {'\t', ',', ';'}) {
    if (line.find(delimiter) != std::string_view::npos) return delimiter;
  }
  return 0;
}

}  // namespace engram
