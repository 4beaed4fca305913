#include "text/distant.h"

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "engram/error.h"
#include "text/jsonl.h"
#include "text/pararel_folders.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The list of texts at `key`; blanks in it are left out. Throws LineError.
std::vector<std::string> texts_field(const json& object, const char* key) {
  const std::string name = '"' + std::string(key) + '"';
  const auto found = object.find(key);
  if (found == object.end()) throw LineError{"got no " + name + ", expected a list of texts"};
  if (!found->is_array()) {
    throw LineError{"got a JSON " + std::string(found->type_name()) + " as " + name +
                    ", expected a list of texts"};
  }
  std::vector<std::string> texts;
  for (const json& value : *found) {
    std::string text = text_value(value, "a text of " + name);
    if (!is_blank(text)) texts.push_back(std::move(text));
  }
  return texts;
}

DistantFact parse_line(const json& object, const std::string& relation) {
  DistantFact fact{text_field(object, "relation"), text_field(object, "subject"),
                   text_field(object, "object"), texts_field(object, "with_both"),
                   texts_field(object, "with_subject")};
  if (fact.relation != relation) {
    throw LineError{"got the relation " + in_quotes(fact.relation) + ", expected " +
                    in_quotes(relation) + " as the file is named"};
  }
  return fact;
}

}  // namespace

std::vector<DistantFile> distant_files(const fs::path& folder) {
  std::vector<DistantFile> files;
  for (auto& [relation, path] : relation_files(folder)) files.push_back({relation, path});
  if (files.empty()) {
    throw InputError(folder.string() +
                     ": got no file, expected RELATION.jsonl, plain or as .xz, .gz or .zst");
  }
  return files;
}

void read_distant(const DistantFile& file, std::vector<FactProblem>& problems,
                  const std::function<void(DistantFact&&)>& use) {
  ProblemSink sink(problems, false);
  std::unordered_map<std::string, int64_t> seen;
  read_json_lines(file.path, sink, [&](const json& object, int64_t line) {
    DistantFact fact = parse_line(object, file.relation);
    const auto [first, added] =
        seen.try_emplace(fact_key(fact.relation, fact.subject, fact.object), line);
    if (!added) {
      throw LineError{"got the fact of line " + std::to_string(first->second) +
                      " again, expected each fact once; the first is used"};
    }
    use(std::move(fact));
  });
}

}  // namespace engram
