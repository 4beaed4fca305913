#include "text/tokenizer_parts.h"

#include <array>
#include <sstream>
#include <string_view>
#include <utility>

#include "engram/base/file.h"
#include "engram/error.h"

namespace engram {
namespace {

using nlohmann::json;

/// What the tokenizers crate trims from the end of a line of vocab.txt: Unicode's white space.
constexpr std::array<std::string_view, 25> kWhiteSpace{
    " ",      "\t",     "\n",     "\v",     "\f",     "\r",     "\u0085", "\u00A0", "\u1680",
    "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008",
    "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000"};

void trim_end(std::string& line) {
  for (bool more = true; more;) {
    more = false;
    for (const std::string_view space : kWhiteSpace) {
      if (line.ends_with(space)) {
        line.resize(line.size() - space.size());
        more = true;
      }
    }
  }
}

}  // namespace

std::optional<AddedToken> added_token(const json& value) {
  AddedToken token;
  if (value.is_string()) {
    token.content = value.get<std::string>();
    return token;
  }
  const auto content = value.is_object() ? value.find("content") : value.end();
  if (!value.is_object() || content == value.end() || !content->is_string()) return std::nullopt;
  token.content = content->get<std::string>();
  const auto flag = [&](const char* key, bool fallback) {
    const auto found = value.find(key);
    return found != value.end() && found->is_boolean() ? found->get<bool>() : fallback;
  };
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.special = flag("special", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

json token_json(const AddedToken& token) {
  // The id is what the crate makes of the text; the field only has to be there.
  return {{"id", 0},
          {"content", token.content},
          {"single_word", token.single_word},
          {"lstrip", token.lstrip},
          {"rstrip", token.rstrip},
          {"normalized", token.normalized},
          {"special", token.special}};
}

std::string quoted_json(const std::string& text) {
  constexpr size_t kLongest = 80;
  const std::string whole = json(text).dump(-1, ' ', true, json::error_handler_t::replace);
  return whole.size() > kLongest ? whole.substr(0, kLongest) + "...\"" : whole;
}

json find_part(const json& part, const std::string& type) {
  if (!part.is_object() || !part.contains("type")) return {};
  if (part["type"] == json(type)) return part;
  for (const char* list : {"normalizers", "pretokenizers", "decoders"}) {
    if (!part.contains(list) || !part[list].is_array()) continue;
    for (const json& one : part[list]) {
      if (json found = find_part(one, type); !found.is_null()) return found;
    }
  }
  return {};
}

json vocabulary_lines(const std::filesystem::path& path) {
  json vocabulary = json::object();
  std::istringstream lines(read_file(path, 64 << 20));
  std::string line;
  for (int64_t id = 0; std::getline(lines, line); ++id) {
    trim_end(line);
    vocabulary[line] = id;
  }
  return vocabulary;
}

json merge_lines(const std::filesystem::path& path) {
  json merges = json::array();
  std::istringstream lines(read_file(path, 64 << 20));
  std::string line;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      throw InputError(path.string() + ":" + std::to_string(number) +
                       ": expected two tokens separated by one space");
    }
    merges.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  return merges;
}

json wordpiece_pipeline(json vocabulary, const std::string& unknown) {
  json pipeline;
  pipeline["version"] = "1.0";
  pipeline["normalizer"] = {{"type", "BertNormalizer"}, {"clean_text", true}};
  pipeline["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  pipeline["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  pipeline["model"] = {{"type", "WordPiece"},
                       {"unk_token", unknown},
                       {"continuing_subword_prefix", "##"},
                       {"max_input_chars_per_word", 100},
                       {"vocab", std::move(vocabulary)}};
  return pipeline;
}

json byte_level_pipeline(json vocabulary, json merges, const json& prefix_space) {
  json pipeline;
  pipeline["version"] = "1.0";
  pipeline["normalizer"] = nullptr;
  pipeline["pre_tokenizer"] = {{"type", "ByteLevel"},
                               {"add_prefix_space", prefix_space},
                               {"trim_offsets", true},
                               {"use_regex", true}};
  pipeline["decoder"] = {{"type", "ByteLevel"},
                         {"add_prefix_space", true},
                         {"trim_offsets", true},
                         {"use_regex", true}};
  pipeline["model"] = {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", ""},
                       {"end_of_word_suffix", ""},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"vocab", std::move(vocabulary)},
                       {"merges", std::move(merges)}};
  return pipeline;
}

json unigram_pipeline(json vocabulary, bool prefix_space, const json& charsmap) {
  const json metaspace = {{"type", "Metaspace"},
                          {"replacement", "\u2581"},
                          {"prepend_scheme", prefix_space ? "always" : "never"},
                          {"split", true}};
  json pipeline;
  pipeline["version"] = "1.0";
  pipeline["normalizer"] = charsmap;
  pipeline["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers", {{{"type", "WhitespaceSplit"}}, metaspace}}};
  pipeline["decoder"] = metaspace;
  pipeline["model"] = {{"type", "Unigram"},
                       {"unk_id", 0},
                       {"vocab", std::move(vocabulary)},
                       {"byte_fallback", false}};
  return pipeline;
}

}  // namespace engram
