#include "engram/text/tokenizer.h"

#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram_hf.h"

namespace engram {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string take_text(char* text) {
  if (text == nullptr) return "unknown error";
  std::string copy(text);
  engram_hf_free_text(text);
  return copy;
}

const uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

json read_json(const fs::path& path) {
  try {
    return json::parse(read_file(path, 256 << 20));
  } catch (const json::exception&) {
    throw InputError(path.string() + ": not valid JSON in UTF-8");
  }
}

/// Whether there is something at `path`; a folder that cannot be entered is an error.
bool is_there(const fs::path& path) {
  std::error_code failed;
  const bool found = fs::exists(path, failed);
  if (failed) throw FileError(path.string() + ": cannot open: " + failed.message());
  return found;
}

/// A pipeline made of older files as the text of a tokenizer.json.
std::string to_text(const json& pipeline, const fs::path& source) {
  try {
    return pipeline.dump();
  } catch (const json::exception&) {
    throw InputError(source.string() + ": not valid UTF-8");
  }
}

/// A file that a folder may lack: an empty object then.
json read_json_if_there(const fs::path& path) {
  if (!is_there(path)) return json::object();
  json object = read_json(path);
  if (!object.is_object()) throw InputError(path.string() + ": expected a JSON object");
  return object;
}

json special_token(int64_t id, const std::string& content, bool lstrip) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", lstrip},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

/// A token of tokenizer_config.json: a string or an added-token object.
std::string token_content(const json& object, const std::string& key, const std::string& fallback) {
  if (!object.contains(key)) return fallback;
  const json& value = object[key];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return fallback;
}

json optional_flag(const json& settings, const std::string& key, const json& fallback) {
  return settings.contains(key) && settings[key].is_boolean() ? settings[key] : fallback;
}

/// A special token that a family always has, with what the settings say about the spaces beside it.
/// As in transformers 5, a token given by its text alone takes none of them.
json family_token(const json& settings, const std::string& key, int64_t id,
                  const std::string& content) {
  json token = special_token(id, content, false);
  if (settings.contains(key) && settings[key].is_object()) {
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      token[flag] = optional_flag(settings[key], flag, token[flag]);
    }
  }
  return token;
}

/// Puts what tokenizer_config.json says about added tokens over `added`: where a token takes the
/// spaces beside it, and tokens that the vocabulary file lacks.
void add_configured(json& added, const json& settings, const fs::path& source) {
  std::map<int64_t, json> tokens;
  for (const json& token : added) tokens[token["id"].get<int64_t>()] = token;
  if (settings.contains("added_tokens_decoder") && settings["added_tokens_decoder"].is_object()) {
    for (const auto& [key, value] : settings["added_tokens_decoder"].items()) {
      int64_t id = -1;
      const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (failed != std::errc() || end != key.data() + key.size() || id < 0 || !value.is_object() ||
          token_content(settings["added_tokens_decoder"], key, "").empty()) {
        throw InputError((source.parent_path() / "tokenizer_config.json").string() +
                         ": added_tokens_decoder[\"" + key +
                         "\"]: expected a token id with the token's \"content\"");
      }
      json token = special_token(id, value["content"].get<std::string>(), false);
      for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
        token[flag] = optional_flag(value, flag, token[flag]);
      }
      tokens[id] = token;
    }
  }
  added = json::array();
  for (const auto& [id, token] : tokens) added.push_back(token);
}

/// The pipeline of BERT's own tokenizer for a vocab.txt: one token per line, the line its id.
json wordpiece_from_vocabulary(const fs::path& path, const json& settings) {
  json vocabulary = json::object();
  std::istringstream lines(read_file(path, 64 << 20));
  std::string line;
  for (int64_t id = 0; std::getline(lines, line); ++id) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    vocabulary[line] = id;
  }
  const auto id_of = [&](const std::string& token) -> int64_t {
    if (!vocabulary.contains(token)) {
      throw InputError(path.string() + ": the vocabulary lacks the token " + token);
    }
    return vocabulary[token].get<int64_t>();
  };
  json pipeline;
  json added = json::array();
  const std::string cls = token_content(settings, "cls_token", "[CLS]");
  const std::string sep = token_content(settings, "sep_token", "[SEP]");
  const std::string unknown = token_content(settings, "unk_token", "[UNK]");
  for (const auto& [key, fallback] : {std::pair{"pad_token", "[PAD]"},
                                      {"unk_token", "[UNK]"},
                                      {"cls_token", "[CLS]"},
                                      {"sep_token", "[SEP]"},
                                      {"mask_token", "[MASK]"}}) {
    const std::string token = token_content(settings, key, fallback);
    added.push_back(family_token(settings, key, id_of(token), token));
  }
  add_configured(added, settings, path);
  pipeline["version"] = "1.0";
  pipeline["added_tokens"] = added;
  pipeline["normalizer"] = {
      {"type", "BertNormalizer"},
      {"clean_text", true},
      {"handle_chinese_chars", optional_flag(settings, "tokenize_chinese_chars", true)},
      {"strip_accents", optional_flag(settings, "strip_accents", nullptr)},
      {"lowercase", optional_flag(settings, "do_lower_case", true)}};
  pipeline["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
  pipeline["post_processor"] = {
      {"type", "BertProcessing"}, {"sep", {sep, id_of(sep)}}, {"cls", {cls, id_of(cls)}}};
  pipeline["decoder"] = {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}};
  pipeline["model"] = {{"type", "WordPiece"},
                       {"unk_token", unknown},
                       {"continuing_subword_prefix", "##"},
                       {"max_input_chars_per_word", 100},
                       {"vocab", vocabulary}};
  return pipeline;
}

/// The pipeline of RoBERTa's tokenizer: byte-level BPE from vocab.json and merges.txt.
json byte_level_from_merges(const fs::path& vocabulary_path, const fs::path& merges_path,
                            const json& settings) {
  const json vocabulary = read_json(vocabulary_path);
  if (!vocabulary.is_object()) {
    throw InputError(vocabulary_path.string() + ": expected a JSON object of tokens and ids");
  }
  json merges = json::array();
  std::istringstream lines(read_file(merges_path, 64 << 20));
  std::string line;
  for (int64_t number = 1; std::getline(lines, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (number == 1 && line.rfind("#version", 0) == 0)) continue;
    const size_t space = line.find(' ');
    if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
      throw InputError(merges_path.string() + ":" + std::to_string(number) +
                       ": expected two tokens separated by one space");
    }
    merges.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  const auto id_of = [&](const std::string& token) -> int64_t {
    if (!vocabulary.contains(token) || !vocabulary[token].is_number_integer()) {
      throw InputError(vocabulary_path.string() + ": the vocabulary lacks the token " + token);
    }
    return vocabulary[token].get<int64_t>();
  };
  const std::string bos = token_content(settings, "cls_token", "<s>");
  const std::string eos = token_content(settings, "sep_token", "</s>");
  const json prefix_space = optional_flag(settings, "add_prefix_space", false);
  json added = json::array();
  for (const auto& [key, fallback] : {std::pair{"cls_token", "<s>"},
                                      {"pad_token", "<pad>"},
                                      {"sep_token", "</s>"},
                                      {"unk_token", "<unk>"},
                                      {"mask_token", "<mask>"}}) {
    const std::string token = token_content(settings, key, fallback);
    added.push_back(family_token(settings, key, id_of(token), token));
  }
  add_configured(added, settings, vocabulary_path);
  json pipeline;
  pipeline["version"] = "1.0";
  pipeline["added_tokens"] = added;
  pipeline["normalizer"] = nullptr;
  pipeline["pre_tokenizer"] = {{"type", "ByteLevel"},
                               {"add_prefix_space", prefix_space},
                               {"trim_offsets", true},
                               {"use_regex", true}};
  pipeline["post_processor"] = {{"type", "RobertaProcessing"},
                                {"sep", {eos, id_of(eos)}},
                                {"cls", {bos, id_of(bos)}},
                                {"trim_offsets", true},
                                {"add_prefix_space", prefix_space}};
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
                       {"vocab", vocabulary},
                       {"merges", merges}};
  return pipeline;
}

}  // namespace

struct Tokenizer::Impl {
  struct Free {
    void operator()(engram_hf_tokenizer* tokenizer) const { engram_hf_tokenizer_free(tokenizer); }
  };
  std::unique_ptr<engram_hf_tokenizer, Free> handle;
  std::string source;
  std::optional<int64_t> mask;
  std::optional<int64_t> unknown;
  bool byte_level = false;

  [[nodiscard]] std::optional<int64_t> find(std::string_view token) const {
    uint32_t id = 0;
    if (!engram_hf_tokenizer_id(handle.get(), bytes_of(token), token.size(), &id)) return {};
    return id;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const fs::path& directory) {
  std::error_code ignored;
  if (is_there(directory) && !fs::is_directory(directory, ignored)) {
    throw FileError(directory.string() + ": got a file, expected a Hugging Face model folder");
  }
  if (!is_there(directory)) {
    throw FileError(directory.string() + ": no such folder; expected a Hugging Face model folder");
  }
  json settings = read_json_if_there(directory / "special_tokens_map.json");
  settings.update(read_json_if_there(directory / "tokenizer_config.json"));
  fs::path source;
  std::string text;
  json pipeline;
  if (is_there(directory / "tokenizer.json")) {
    source = directory / "tokenizer.json";
    text = read_file(source, 256 << 20);
    try {
      pipeline = json::parse(text);
    } catch (const json::exception&) {
      throw InputError(source.string() + ": not valid JSON in UTF-8");
    }
  } else if (is_there(directory / "vocab.txt")) {
    source = directory / "vocab.txt";
    pipeline = wordpiece_from_vocabulary(source, settings);
    text = to_text(pipeline, source);
  } else if (is_there(directory / "vocab.json") && is_there(directory / "merges.txt")) {
    source = directory / "vocab.json";
    pipeline = byte_level_from_merges(source, directory / "merges.txt", settings);
    text = to_text(pipeline, source);
  } else {
    throw InputError(directory.string() +
                     ": no tokenizer: expected tokenizer.json, vocab.txt, or vocab.json with "
                     "merges.txt");
  }

  auto impl = std::make_unique<Impl>();
  impl->source = source.string();
  char* error = nullptr;
  impl->handle.reset(engram_hf_tokenizer_from_json(bytes_of(text), text.size(), &error));
  if (impl->handle == nullptr) {
    throw InputError(source.string() + ": not a usable tokenizer: " + take_text(error));
  }
  // Which token is the mask: what the folder says, else the names that the families use.
  for (const std::string& name :
       {token_content(settings, "mask_token", ""), std::string("[MASK]"), std::string("<mask>")}) {
    if (!name.empty() && !impl->mask) impl->mask = impl->find(name);
  }
  std::string model_unknown;
  if (pipeline.is_object() && pipeline.contains("model") && pipeline["model"].is_object()) {
    const json& model = pipeline["model"];
    if (model.contains("unk_token") && model["unk_token"].is_string()) {
      model_unknown = model["unk_token"].get<std::string>();
    }
  }
  for (const std::string& name : {model_unknown, token_content(settings, "unk_token", ""),
                                  std::string("[UNK]"), std::string("<unk>")}) {
    if (!name.empty() && !impl->unknown) impl->unknown = impl->find(name);
  }
  const auto mentions = [&](const char* part) {
    return pipeline.is_object() && pipeline.contains(part) &&
           pipeline[part].dump().find("\"ByteLevel\"") != std::string::npos;
  };
  impl->byte_level = mentions("pre_tokenizer") || mentions("decoder");
  return Tokenizer(std::move(impl));
}

Encoding Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  uint32_t* ids = nullptr;
  size_t count = 0;
  char* error = nullptr;
  if (!engram_hf_tokenizer_encode(impl_->handle.get(), bytes_of(text), text.size(),
                                  add_special_tokens, &ids, &count, &error)) {
    throw InputError(impl_->source + ": cannot tokenize a text of " + std::to_string(text.size()) +
                     " bytes: " + take_text(error));
  }
  Encoding encoding;
  encoding.ids.assign(ids, ids + count);
  engram_hf_free_ids(ids, count);
  for (const int64_t id : encoding.ids) encoding.tokens.push_back(token_of(id));
  return encoding;
}

std::string Tokenizer::decode(const std::vector<int64_t>& ids, bool skip_special) const {
  std::vector<uint32_t> narrow;
  narrow.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocabulary()) {
      throw InputError(impl_->source + ": token id " + std::to_string(id) + " is not in it");
    }
    narrow.push_back(static_cast<uint32_t>(id));
  }
  char* error = nullptr;
  char* text = engram_hf_tokenizer_decode(impl_->handle.get(), narrow.data(), narrow.size(),
                                          skip_special, &error);
  if (text == nullptr) throw InputError(impl_->source + ": cannot decode: " + take_text(error));
  return take_text(text);
}

int64_t Tokenizer::vocabulary() const {
  return static_cast<int64_t>(engram_hf_tokenizer_size(impl_->handle.get()));
}

std::optional<int64_t> Tokenizer::id_of(std::string_view token) const { return impl_->find(token); }

bool Tokenizer::has_token(int64_t id) const {
  if (id < 0 || id >= vocabulary()) return false;
  char* text = engram_hf_tokenizer_token(impl_->handle.get(), static_cast<uint32_t>(id));
  if (text == nullptr) return false;
  engram_hf_free_text(text);
  return true;
}

std::string Tokenizer::token_of(int64_t id) const {
  char* text = id < 0 || id > INT32_MAX
                   ? nullptr
                   : engram_hf_tokenizer_token(impl_->handle.get(), static_cast<uint32_t>(id));
  if (text == nullptr) {
    throw InputError(impl_->source + ": token id " + std::to_string(id) + " is not in it");
  }
  return take_text(text);
}

int64_t Tokenizer::mask_id() const {
  if (!impl_->mask) {
    throw InputError(impl_->source + ": has no mask token; expected a masked language model's");
  }
  return *impl_->mask;
}

std::string Tokenizer::mask_token() const { return token_of(mask_id()); }

std::optional<int64_t> Tokenizer::unknown_id() const { return impl_->unknown; }

bool Tokenizer::is_special(int64_t id) const {
  return id >= 0 && id <= INT32_MAX &&
         engram_hf_tokenizer_is_special(impl_->handle.get(), static_cast<uint32_t>(id));
}

bool Tokenizer::byte_level() const { return impl_->byte_level; }

}  // namespace engram
