#include "text/tokenizer_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/json.h"
#include "engram/base/file.h"
#include "engram/error.h"
#include "text/tokenizer_decoders.h"
#include "text/tokenizer_parts.h"

namespace engram {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

/// How a class of transformers makes its tokenizer. All but kAsFile take no more than the
/// vocabulary (and merges) out of tokenizer.json: the rest comes from the class and the settings.
enum class Making { kWordPiece, kByteLevel, kUnigram, kDecoder, kAsFile };

struct TokenizerClass {
  std::string_view name;  ///< without "Fast"
  Making making;
};

/// The classes that are read. Others split words by rules of their own and are refused.
constexpr std::array<TokenizerClass, 16> kClasses{{
    {"BertTokenizer", Making::kWordPiece},
    {"DistilBertTokenizer", Making::kWordPiece},
    {"ElectraTokenizer", Making::kWordPiece},
    {"ConvBertTokenizer", Making::kWordPiece},
    {"MobileBertTokenizer", Making::kWordPiece},
    {"LxmertTokenizer", Making::kWordPiece},
    {"SqueezeBertTokenizer", Making::kWordPiece},
    {"LayoutLMTokenizer", Making::kWordPiece},
    {"RobertaTokenizer", Making::kByteLevel},
    {"BartTokenizer", Making::kByteLevel},
    {"LongformerTokenizer", Making::kByteLevel},
    {"LEDTokenizer", Making::kByteLevel},
    {"XLMRobertaTokenizer", Making::kUnigram},
    {"CamembertTokenizer", Making::kUnigram},
    {"PreTrainedTokenizer", Making::kAsFile},
    {"TokenizersBackend", Making::kAsFile},
}};

/// The class of a model type whose folder names none.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kClassOfModel{{
    {"bert", "BertTokenizer"},
    {"distilbert", "BertTokenizer"},
    {"roberta", "RobertaTokenizer"},
    {"xlm-roberta", "XLMRobertaTokenizer"},
    {"camembert", "CamembertTokenizer"},
    {"electra", "BertTokenizer"},
}};

constexpr std::array<const char*, 7> kNamedTokens = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};

/// Whether there is something at `path`; a folder that cannot be entered is an error.
bool is_there(const fs::path& path) {
  std::error_code failed;
  const bool found = fs::exists(path, failed);
  if (failed) throw FileError(path.string() + ": cannot open: " + failed.message());
  return found;
}

/// A file that a folder may lack: an empty object then.
json read_object_if_there(const fs::path& path, std::uintmax_t max_bytes) {
  if (!is_there(path)) return json::object();
  json object = read_json_file(path, max_bytes);
  if (!object.is_object()) throw InputError(path.string() + ": expected a JSON object");
  return object;
}

std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

/// The folder, file by file; what is not there is an empty object.
struct Folder {
  explicit Folder(const fs::path& place)
      : path(place),
        config(read_object_if_there(place / "config.json", 16 << 20)),
        settings(read_object_if_there(place / "tokenizer_config.json", 64 << 20)),
        special_map(read_object_if_there(place / "special_tokens_map.json", 16 << 20)),
        added(read_object_if_there(place / "added_tokens.json", 64 << 20)) {
    const fs::path whole = place / "tokenizer.json";
    if (is_there(whole)) file = read_json_file(whole, 256 << 20);
  }
  fs::path path;
  json config;
  json settings;
  json special_map;
  json added;
  std::optional<json> file;  ///< tokenizer.json
};

/// Reads one folder. A class so that the parts of it share the folder and the list of decisions.
class Planner {
 public:
  explicit Planner(const fs::path& directory) : folder_(directory) {}

  TokenizerPlan plan() {
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

 private:
  // --- which class ---------------------------------------------------------------------------

  void find_class() {
    std::string from = "tokenizer_config.json";
    std::string name = text_at(folder_.settings, "tokenizer_class");
    if (name.empty()) {
      from = "config.json";
      name = text_at(folder_.config, "tokenizer_class");
    } else if (const std::string other = text_at(folder_.config, "tokenizer_class");
               !other.empty() && other != name) {
      instead_of_class_ = other + " (config.json)";
    }
    const std::string model = text_at(folder_.config, "model_type");
    if (const std::string_view taken = class_instead(model, name, file_has_bytes());
        !taken.empty()) {
      if (!name.empty() && !name.starts_with(taken)) {
        instead_of_class_ = name + " (" + from + ")";
      }
      name = taken;
      from = "config.json, model_type " + model;
    }
    if (name.empty()) {
      const auto known =
          std::ranges::find_if(kClassOfModel, [&](const auto& row) { return row.first == model; });
      if (known != kClassOfModel.end()) name = known->second;
      from = "config.json, model_type " + model;
    }
    if (name.empty()) name = class_of_files(from);
    std::string_view bare = name;
    if (bare.ends_with("Fast")) bare.remove_suffix(4);
    const auto known =
        std::ranges::find_if(kClasses, [&](const auto& row) { return row.name == bare; });
    decoder_ = find_decoder_class(bare);
    if (known == kClasses.end() && decoder_ == nullptr) {
      throw InputError(
          (folder_.path / (from.starts_with("config") ? "config.json" : from)).string() +
          ": tokenizer_class: got " + quoted_json(name) +
          ", expected BertTokenizer, DistilBertTokenizer, RobertaTokenizer, "
          "XLMRobertaTokenizer, CamembertTokenizer, GPT2Tokenizer, GPTNeoXTokenizer, "
          "Qwen2Tokenizer, GemmaTokenizer, LlamaTokenizer or PreTrainedTokenizerFast: other "
          "tokenizers are not read");
    }
    making_ = decoder_ != nullptr ? Making::kDecoder : known->making;
    class_ = std::string(bare);
    decide("class", name, from, instead_of_class_);
  }

  /// Whether tokenizer.json splits text into bytes.
  [[nodiscard]] bool file_has_bytes() const {
    return !find_part(part("pre_tokenizer"), "ByteLevel").is_null() ||
           !find_part(part("decoder"), "ByteLevel").is_null();
  }

  /// For a folder that tells nothing: the file itself, or the family whose files they are.
  std::string class_of_files(std::string& from) const {
    for (const auto& [file, name] : {std::pair{"tokenizer.json", "PreTrainedTokenizerFast"},
                                     {"vocab.txt", "BertTokenizer"},
                                     {"vocab.json", "RobertaTokenizer"}}) {
      from = file;
      if (is_there(folder_.path / file)) return name;
    }
    throw_no_tokenizer();
  }

  [[noreturn]] void throw_no_tokenizer() const {
    const bool sentencepiece = is_there(folder_.path / "sentencepiece.bpe.model") ||
                               is_there(folder_.path / "spiece.model") ||
                               is_there(folder_.path / "tokenizer.model");
    throw InputError(folder_.path.string() +
                     ": no tokenizer: expected tokenizer.json, vocab.txt, or vocab.json with "
                     "merges.txt" +
                     (sentencepiece ? "; a sentencepiece model is not read, save tokenizer.json "
                                      "beside it with transformers (save_pretrained)"
                                    : ""));
  }

  [[noreturn]] void fail(const std::string& file, const std::string& what) const {
    throw InputError((folder_.path / file).string() + ": " + what);
  }

  void refuse_unsupported() const {
    const json& settings = folder_.settings;
    if (settings.contains("auto_map") && settings["auto_map"].is_object() &&
        settings["auto_map"].contains("AutoTokenizer")) {
      fail("tokenizer_config.json",
           "auto_map: names a tokenizer that is Python code of its own, which is not run");
    }
    if (flag("split_special_tokens", false, false) == json(true)) {
      fail("tokenizer_config.json",
           "split_special_tokens: got true, expected false: the mask would be split");
    }
    if (settings.contains("fast_tokenizer_files") && settings["fast_tokenizer_files"].is_array()) {
      for (const json& name : settings["fast_tokenizer_files"]) {
        if (name != json("tokenizer.json")) {
          fail("tokenizer_config.json",
               "fast_tokenizer_files: names other files than tokenizer.json, which are not read");
        }
      }
    }
  }

  // --- settings ------------------------------------------------------------------------------

  void decide(const std::string& name, const std::string& value, const std::string& source,
              const std::string& instead = "") {
    plan_.settings.push_back({name, value, source, instead});
  }

  /// A setting of tokenizer_config.json that is true, false, or (where `nullable`) null.
  json flag(const char* key, const json& fallback, bool nullable) const {
    const auto found = folder_.settings.find(key);
    if (found == folder_.settings.end()) return fallback;
    if (found->is_null()) return nullable ? json() : fallback;
    if (!found->is_boolean()) {
      fail("tokenizer_config.json", std::string(key) + ": expected true or false");
    }
    return *found;
  }

  /// A setting with its decision: `said` is what tokenizer.json has in its place.
  json decided_flag(const std::string& what, const char* key, const json& fallback, bool nullable,
                    const std::optional<json>& said) {
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

  // --- added and special tokens --------------------------------------------------------------

  /// Named tokens and added ones, in the order and with the precedence of transformers 5: with
  /// added_tokens_decoder in tokenizer_config.json that list alone, without it
  /// special_tokens_map.json over the settings, added_tokens.json, and tokenizer.json's own.
  void collect_tokens() {
    json named = folder_.settings;
    const auto decoder = folder_.settings.find("added_tokens_decoder");
    if (decoder != folder_.settings.end() && !decoder->is_null()) {
      read_decoder(*decoder);
    } else {
      for (const auto& [key, value] : folder_.special_map.items()) {
        named[key] = value;
        if (value.is_object()) named[key]["special"] = true;
        map_keys_.push_back(key);
      }
      read_added_tokens(named);
      read_tokens_of_file();
    }
    for (const char* key : kNamedTokens) take_named(named, key);
    const auto extra =
        named.find(named.contains("extra_special_tokens") ? "extra_special_tokens"
                                                          : "additional_special_tokens");
    if (extra != named.end() && extra->is_array()) {
      for (const json& token : *extra) {
        std::optional<AddedToken> one = added_token(token);
        if (!one) continue;
        one->special = true;
        if (token.is_string()) one->normalized = false;
        extra_.push_back(*one);
      }
    }
  }

  void read_decoder(const json& decoder) {
    if (!decoder.is_object()) {
      fail("tokenizer_config.json", "added_tokens_decoder: expected an object");
    }
    for (const auto& [key, value] : decoder.items()) {
      int64_t id = -1;
      const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), id);
      const bool number = failed == std::errc() && end == key.data() + key.size() && id >= 0;
      const std::optional<AddedToken> token = added_token(value);
      if (!number || !value.is_object() || !token || token->content.empty()) {
        fail("tokenizer_config.json", "added_tokens_decoder[" + quoted_json(key) +
                                          "]: expected a token id with the token's \"content\"");
      }
      listed_[id] = {*token, "tokenizer_config.json"};
    }
  }

  void read_added_tokens(const json& named) {
    std::vector<std::string> special;
    for (const char* key : kNamedTokens) {
      if (const auto found = named.find(key); found != named.end()) {
        if (const auto token = added_token(*found)) special.push_back(token->content);
      }
    }
    for (const auto& [content, id] : folder_.added.items()) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0 || content.empty()) {
        fail("added_tokens.json", quoted_json(content) + ": expected a token id");
      }
      AddedToken token;
      token.content = content;
      token.special = std::ranges::find(special, content) != special.end();
      token.normalized = !token.special;
      listed_[id.get<int64_t>()] = {token, "added_tokens.json"};
    }
  }

  void read_tokens_of_file() {
    if (!folder_.file || !folder_.file->is_object()) return;
    const auto list = folder_.file->find("added_tokens");
    if (list == folder_.file->end() || !list->is_array()) return;
    for (const json& entry : *list) {
      const std::optional<AddedToken> token = added_token(entry);
      const auto id = entry.is_object() ? entry.find("id") : entry.end();
      if (!token || !entry.is_object() || id == entry.end() || !id->is_number_unsigned()) {
        fail("tokenizer.json", "added_tokens: expected tokens with \"id\" and \"content\"");
      }
      listed_[id->get<int64_t>()] = {*token, "tokenizer.json"};
    }
  }

  /// The token that the folder, or else the class, gives this name.
  void take_named(const json& named, const char* key) {
    Named& mine = named_[key];
    const auto found = named.find(key);
    if (found != named.end() && !found->is_null()) {
      std::optional<AddedToken> token = added_token(*found);
      if (!token) {
        fail(from_map(key) ? "special_tokens_map.json" : "tokenizer_config.json",
             std::string(key) + ": expected a token");
      }
      mine = {*token, from_map(key) ? "special_tokens_map.json" : "tokenizer_config.json"};
    } else {
      const std::string name = default_token(key);
      if (name.empty()) return;
      mine = {AddedToken{.content = name}, "default of " + class_};
      if (class_ == "CamembertTokenizer" && std::string_view(key) == "mask_token") {
        mine->token.lstrip = true;
      }
    }
    // What is listed as an added token keeps the flags of that list.
    for (const auto& [id, row] : listed_) {
      if (row.token.content == mine->token.content) mine->token = row.token;
    }
    mine->token.special = true;
    if (found == named.end() || !found->is_object()) mine->token.normalized = false;
  }

  [[nodiscard]] bool from_map(const char* key) const {
    return std::ranges::find(map_keys_, key) != map_keys_.end();
  }

  [[nodiscard]] std::string default_token(std::string_view key) const {
    if (making_ == Making::kAsFile) return "";
    if (decoder_ != nullptr) {
      const std::string_view token = key == "bos_token"    ? decoder_->begin
                                     : key == "eos_token"  ? decoder_->end
                                     : key == "unk_token"  ? decoder_->unknown
                                     : key == "pad_token"  ? decoder_->pad
                                     : key == "mask_token" ? decoder_->mask
                                                           : std::string_view();
      return std::string(token);
    }
    const bool bert = making_ == Making::kWordPiece;
    if (key == "unk_token") return bert ? "[UNK]" : "<unk>";
    if (key == "pad_token") return bert ? "[PAD]" : "<pad>";
    if (key == "mask_token") return bert ? "[MASK]" : "<mask>";
    if (key == "cls_token") return bert ? "[CLS]" : "<s>";
    if (key == "sep_token") return bert ? "[SEP]" : "</s>";
    if (bert) return "";
    return key == "bos_token" ? "<s>" : "</s>";
  }

  /// Puts the tokens into the pipeline. A token of the class that no file has is left out: it
  /// would get a row that the model has not.
  void add_tokens() {
    json list = json::array();
    std::vector<std::string> there;
    const auto put = [&](const AddedToken& token) {
      list.push_back(token_json(token));
      there.push_back(token.content);
      if (!plan_.mask.empty() && token.content == plan_.mask) plan_.mask_takes_space = token.lstrip;
    };
    if (named_["mask_token"]) plan_.mask = named_["mask_token"]->token.content;
    if (making_ == Making::kAsFile && pipeline_.contains("added_tokens")) {
      for (const json& entry : pipeline_["added_tokens"]) {
        if (const auto token = added_token(entry)) put(*token);
      }
    }
    std::map<std::string, int64_t> sources;
    for (const auto& [id, row] : listed_) {
      AddedToken token = row.token;
      for (const char* key : kNamedTokens) {
        if (named_[key] && named_[key]->token.content == token.content) token.special = true;
      }
      put(token);
      ++sources[row.source];
    }
    const auto put_if_new = [&](const AddedToken& token) {
      if (std::ranges::find(there, token.content) == there.end()) put(token);
    };
    for (const char* key : kNamedTokens) {
      const Named& token = named_[key];
      if (token && (in_vocabulary(token->token.content) || !token->source.starts_with("default"))) {
        put_if_new(token->token);
      }
    }
    for (const AddedToken& token : extra_) put_if_new(token);
    if (!named_["mask_token"]) find_mask(there, put_if_new);
    pipeline_["added_tokens"] = list;
    if (const Named& mask = named_["mask_token"]) {
      decide("mask", plan_.mask + (plan_.mask_takes_space ? ", takes the space before it" : ""),
             mask->source);
    }
    for (const auto& [source, count] : sources) {
      decide("added", std::to_string(count) + (count == 1 ? " token" : " tokens"), source);
    }
  }

  /// The mask of a folder that names none: what the families call it.
  template <typename Put>
  void find_mask(const std::vector<std::string>& there, const Put& put_if_new) {
    for (const char* name : {"[MASK]", "<mask>"}) {
      const bool added = std::ranges::find(there, name) != there.end();
      if (!added && !in_vocabulary(name)) continue;
      plan_.mask = name;
      put_if_new(AddedToken{.content = name, .special = true});
      for (const auto& [id, row] : listed_) {
        if (row.token.content == name) plan_.mask_takes_space = row.token.lstrip;
      }
      named_["mask_token"] = NamedToken{
          AddedToken{.content = name}, added ? "added tokens of tokenizer.json" : "the vocabulary"};
      return;
    }
  }

  /// Whether the pipeline's model has this token.
  [[nodiscard]] bool in_vocabulary(const std::string& token) const {
    const json& vocabulary = pipeline_.at("model").at("vocab");
    if (vocabulary.is_object()) return vocabulary.contains(token);
    return std::ranges::any_of(vocabulary, [&](const json& entry) {
      return entry.is_array() && !entry.empty() && entry[0] == json(token);
    });
  }

  /// The id of a token of the class, in the vocabulary or added to it; refused if it has none.
  json id_of(const char* key) const {
    const std::string& token = named_.at(key)->token.content;
    const json& vocabulary = pipeline_.at("model").at("vocab");
    if (vocabulary.is_object() && vocabulary.contains(token)) return vocabulary[token];
    if (vocabulary.is_array()) {
      for (size_t i = 0; i < vocabulary.size(); ++i) {
        if (vocabulary[i].is_array() && !vocabulary[i].empty() && vocabulary[i][0] == json(token)) {
          return i;
        }
      }
    }
    for (const auto& [id, row] : listed_) {
      if (row.token.content == token) return id;
    }
    throw InputError(plan_.source.string() + ": the vocabulary lacks the token " + token + " (" +
                     key + ")");
  }

  // --- the five makings ----------------------------------------------------------------------

  /// tokenizer.json's part, or null.
  [[nodiscard]] json part(const char* key) const {
    if (!folder_.file || !folder_.file->is_object() || !folder_.file->contains(key)) return {};
    return (*folder_.file)[key];
  }

  /// tokenizer.json's model, which must be of this type with a vocabulary of this JSON type.
  json model_of_file(const char* type, bool object) {
    plan_.source = folder_.path / "tokenizer.json";
    const json model = part("model");
    const bool whole = model.is_object() && model.contains("vocab");
    const std::string got = whole ? text_at(model, "type") : "no model with a vocabulary";
    if (!whole || (!got.empty() && got != type) ||
        (object ? !model["vocab"].is_object() : !model["vocab"].is_array())) {
      fail("tokenizer.json", "not a usable tokenizer: model: got " +
                                 (got.empty() ? std::string("another vocabulary") : got) +
                                 ", expected " + type + ", which " + class_ + " has");
    }
    return model;
  }

  void decide_ends(const char* begin, const char* end) {
    const std::string value = named_[begin]->token.content + " ... " + named_[end]->token.content;
    const bool none = folder_.file && part("post_processor").is_null();
    decide("ends", value, class_, none ? "none (tokenizer.json)" : "");
    pipeline_["post_processor"] = {{"type", "BertProcessing"},
                                   {"sep", {named_[end]->token.content, id_of(end)}},
                                   {"cls", {named_[begin]->token.content, id_of(begin)}}};
  }

  void make_wordpiece() {
    json vocabulary;
    if (folder_.file) {
      vocabulary = model_of_file("WordPiece", true)["vocab"];
    } else {
      plan_.source = folder_.path / "vocab.txt";
      if (!is_there(plan_.source)) throw_no_tokenizer();
      vocabulary = vocabulary_lines(plan_.source);
    }
    decide("vocabulary", std::to_string(vocabulary.size()) + " pieces",
           plan_.source.filename().string());
    const json normalizer = find_part(part("normalizer"), "BertNormalizer");
    const auto said = [&](const char* key) -> std::optional<json> {
      if (!normalizer.is_object() || !normalizer.contains(key)) return {};
      return normalizer[key];
    };
    plan_.unknown = named_["unk_token"] ? named_["unk_token"]->token.content : "";
    plan_.word_mark = "##";
    pipeline_ = wordpiece_pipeline(std::move(vocabulary), plan_.unknown);
    (void)id_of("unk_token");
    json& rules = pipeline_["normalizer"];
    rules["lowercase"] =
        decided_flag("lower case", "do_lower_case", true, false, said("lowercase"));
    rules["strip_accents"] =
        decided_flag("strip accents", "strip_accents", nullptr, true, said("strip_accents"));
    rules["handle_chinese_chars"] = decided_flag("split Chinese", "tokenize_chinese_chars", true,
                                                 false, said("handle_chinese_chars"));
    decide_ends("cls_token", "sep_token");
  }

  /// A vocabulary with its merges, of tokenizer.json or of the older files.
  std::pair<json, json> read_merges() {
    json vocabulary;
    json merges;
    if (folder_.file) {
      json model = model_of_file("BPE", true);
      vocabulary = std::move(model["vocab"]);
      merges = model.contains("merges") ? std::move(model["merges"]) : json::array();
    } else {
      plan_.source = folder_.path / "vocab.json";
      if (!is_there(plan_.source) || !is_there(folder_.path / "merges.txt")) throw_no_tokenizer();
      vocabulary = read_json_file(plan_.source, 256 << 20);
      if (!vocabulary.is_object()) {
        throw InputError(plan_.source.string() + ": expected a JSON object of tokens and ids");
      }
      merges = merge_lines(folder_.path / "merges.txt");
    }
    decide("vocabulary", std::to_string(vocabulary.size()) + " pieces",
           plan_.source.filename().string());
    return {std::move(vocabulary), std::move(merges)};
  }

  void make_byte_level() {
    auto [vocabulary, merges] = read_merges();
    const json before = find_part(part("pre_tokenizer"), "ByteLevel");
    std::optional<json> said;
    if (before.is_object() && before.contains("add_prefix_space")) {
      said = before["add_prefix_space"];
    }
    const json prefix = decided_flag("space in front", "add_prefix_space", false, false, said);
    plan_.byte_level = true;
    plan_.word_mark = "\u0120";
    plan_.unknown = named_["unk_token"] ? named_["unk_token"]->token.content : "";
    pipeline_ = byte_level_pipeline(std::move(vocabulary), std::move(merges), prefix);
    decide_ends("cls_token", "sep_token");
  }

  void make_unigram() {
    if (!folder_.file) throw_no_tokenizer();
    json vocabulary = model_of_file("Unigram", false)["vocab"];
    decide("vocabulary", std::to_string(vocabulary.size()) + " pieces", "tokenizer.json");
    plan_.unknown = named_["unk_token"] ? named_["unk_token"]->token.content : "";
    plan_.word_mark = "\u2581";
    const json prefix = decided_flag("space in front", "add_prefix_space", true, false, {});
    pipeline_ = unigram_pipeline(std::move(vocabulary), prefix.get<bool>(),
                                 find_part(part("normalizer"), "Precompiled"));
    pipeline_["model"]["unk_id"] = class_ == "CamembertTokenizer" ? id_of("unk_token") : json(3);
    decide_ends("bos_token", "eos_token");
  }

  void make_decoder() {
    auto [vocabulary, merges] = read_merges();
    DecoderSettings settings;
    if (const json space = flag("add_prefix_space", nullptr, true); space.is_boolean()) {
      settings.prefix_space = space.get<bool>();
      decide("space in front", *settings.prefix_space ? "yes" : "no", "tokenizer_config.json");
    }
    settings.legacy = flag("legacy", false, false).get<bool>();
    plan_.byte_level = decoder_->byte_level;
    plan_.word_mark = decoder_->word_mark;
    plan_.unknown = named_["unk_token"] ? named_["unk_token"]->token.content : "";
    pipeline_ = decoder_pipeline(*decoder_, std::move(vocabulary), std::move(merges), plan_.unknown,
                                 settings);
    const json ends = part("post_processor");
    if (folder_.file && decoder_->file_ends && !ends.is_null()) {
      pipeline_["post_processor"] = ends;
      decide("ends", "as the file has them", "tokenizer.json");
      return;
    }
    // Beside tokenizer.json the settings do not count: transformers takes them for said there.
    const auto added = [&](const char* setting, const char* token) -> std::string {
      const bool asked = !folder_.file && flag(setting, false, false).get<bool>();
      return asked && named_[token] ? named_[token]->token.content : "";
    };
    const std::string begin = added("add_bos_token", "bos_token");
    const std::string end = added("add_eos_token", "eos_token");
    pipeline_["post_processor"] = template_ends(begin, begin.empty() ? json() : id_of("bos_token"),
                                                end, end.empty() ? json() : id_of("eos_token"));
    decide("ends", begin.empty() && end.empty() ? "none" : begin + " ... " + end, class_);
  }

  void take_file() {
    if (!folder_.file) throw_no_tokenizer();
    plan_.source = folder_.path / "tokenizer.json";
    pipeline_ = std::move(*folder_.file);
    const auto model = pipeline_.is_object() ? pipeline_.find("model") : pipeline_.end();
    if (!pipeline_.is_object() || model == pipeline_.end() || !model->is_object() ||
        !model->contains("vocab")) {
      fail("tokenizer.json", "not a usable tokenizer: expected a \"model\" with a \"vocab\"");
    }
    decide("vocabulary", std::to_string((*model)["vocab"].size()) + " pieces", "tokenizer.json");
    decide("rules", "as the file has them", "tokenizer.json");
    for (const char* key : {"do_lower_case", "strip_accents", "tokenize_chinese_chars"}) {
      if (folder_.settings.contains(key)) {
        decide(key, "not used by " + class_, "tokenizer_config.json");
      }
    }
    if (pipeline_.value("post_processor", json()).is_null()) {
      decide("ends", "none", "tokenizer.json");
    }
    plan_.unknown = text_at(*model, "unk_token");
    if (plan_.unknown.empty() && named_["unk_token"]) {
      plan_.unknown = named_["unk_token"]->token.content;
    }
    plan_.byte_level =
        pipeline_.contains("decoder") &&
        (!find_part(pipeline_["decoder"], "ByteLevel").is_null() ||
         !find_part(pipeline_.value("pre_tokenizer", json()), "ByteLevel").is_null());
    const bool metaspace =
        !find_part(pipeline_.value("pre_tokenizer", json()), "Metaspace").is_null();
    plan_.word_mark = plan_.byte_level                         ? "\u0120"
                      : metaspace                              ? "\u2581"
                      : text_at(*model, "type") == "WordPiece" ? "##"
                                                               : "";
  }

  struct NamedToken {
    AddedToken token;
    std::string source;
  };
  using Named = std::optional<NamedToken>;

  Folder folder_;
  Making making_ = Making::kAsFile;
  const DecoderClass* decoder_ = nullptr;  ///< where making_ is kDecoder
  std::string class_;                      ///< without "Fast"
  std::string instead_of_class_;
  std::map<int64_t, NamedToken> listed_;  ///< added tokens by the id that their file gives
  std::map<std::string, Named> named_;
  std::vector<AddedToken> extra_;
  std::vector<std::string> map_keys_;  ///< of special_tokens_map.json, where it is in force
  json pipeline_;
  TokenizerPlan plan_;
};

}  // namespace

TokenizerPlan plan_tokenizer(const fs::path& directory) { return Planner(directory).plan(); }

}  // namespace engram
