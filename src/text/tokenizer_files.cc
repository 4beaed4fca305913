#include "text/tokenizer_files.h"

#include <utility>

#include "base/json.h"
#include "engram/error.h"
#include "text/tokenizer_planner.h"

namespace engram::tokenizer_files {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code failed;
  const bool found = fs::exists(path, failed);
  if (failed) throw FileError(path.string() + ": cannot open: " + failed.message());
  return found;
}

std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

namespace {

/// A file that a folder may lack: an empty object then.
json read_object_if_there(const fs::path& path, std::uintmax_t max_bytes) {
  if (!is_there(path)) return json::object();
  json object = read_json_file(path, max_bytes);
  if (!object.is_object()) throw InputError(path.string() + ": expected a JSON object");
  return object;
}

}  // namespace

Folder::Folder(const fs::path& place)
    : path(place),
      config(read_object_if_there(place / "config.json", 16 << 20)),
      settings(read_object_if_there(place / "tokenizer_config.json", 64 << 20)),
      special_map(read_object_if_there(place / "special_tokens_map.json", 16 << 20)),
      added(read_object_if_there(place / "added_tokens.json", 64 << 20)) {
  const fs::path whole = place / "tokenizer.json";
  if (is_there(whole)) file = read_json_file(whole, 256 << 20);
}

TokenizerPlan Planner::plan() {
  find_class();
  refuse_unsupported();
  collect_tokens();
  switch (making_) {
    case Making::kWordPiece:
      make_wordpiece();
      break;
    case Making::kByteLevel:
      make_byte_level();
      break;
    case Making::kUnigram:
      make_unigram();
      break;
    case Making::kDecoder:
      make_decoder();
      break;
    case Making::kAsFile:
      take_file();
      break;
  }
  add_tokens();
  try {
    plan_.json = pipeline_.dump();
  } catch (const json::exception&) {  // of vocab.txt and merges.txt, which are no JSON
    throw InputError(plan_.source.string() + ": not valid UTF-8");
  }
  return std::move(plan_);
}

void Planner::decide(const std::string& name, const std::string& value, const std::string& source,
                     const std::string& instead) {
  plan_.settings.push_back({name, value, source, instead});
}

json Planner::flag(const char* key, const json& fallback, bool nullable) const {
  const auto found = folder_.settings.find(key);
  if (found == folder_.settings.end()) return fallback;
  if (found->is_null()) return nullable ? json() : fallback;
  if (!found->is_boolean()) {
    fail("tokenizer_config.json", std::string(key) + ": expected true or false");
  }
  return *found;
}

json Planner::decided_flag(const std::string& what, const char* key, const json& fallback,
                           bool nullable, const std::optional<json>& said) {
  const json value = flag(key, fallback, nullable);
  const auto text = [](const json& v) {
    return std::string(v.is_null() ? "as the case" : v.get<bool>() ? "yes" : "no");
  };
  const bool given = folder_.settings.contains(key);
  const bool differs = said && (said->is_boolean() || said->is_null()) && *said != value;
  decide(what, text(value), given ? "tokenizer_config.json" : "default of " + class_,
         differs ? text(*said) + " (tokenizer.json)" : "");
  return value;
}

}  // namespace engram::tokenizer_files

namespace engram {

TokenizerPlan plan_tokenizer(const std::filesystem::path& directory) {
  return tokenizer_files::Planner(directory).plan();
}

}  // namespace engram
