// Added and special tokens.
#include <algorithm>
#include <charconv>

#include "engram/error.h"
#include "text/tokenizer_planner.h"

namespace engram::tokenizer_files {

void Planner::collect_tokens() {
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

void Planner::read_decoder(const json& decoder) {
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

void Planner::read_added_tokens(const json& named) {
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

void Planner::read_tokens_of_file() {
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

void Planner::take_named(const json& named, const char* key) {
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

bool Planner::from_map(const char* key) const {
  return std::ranges::find(map_keys_, key) != map_keys_.end();
}

std::string Planner::default_token(std::string_view key) const {
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

void Planner::add_tokens() {
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

void Planner::find_mask(const std::vector<std::string>& there,
                        const std::function<void(const AddedToken&)>& put_if_new) {
  for (const char* name : {"[MASK]", "<mask>"}) {
    const bool added = std::ranges::find(there, name) != there.end();
    if (!added && !in_vocabulary(name)) continue;
    plan_.mask = name;
    put_if_new(AddedToken{.content = name, .special = true});
    for (const auto& [id, row] : listed_) {
      if (row.token.content == name) plan_.mask_takes_space = row.token.lstrip;
    }
    named_["mask_token"] = NamedToken{AddedToken{.content = name},
                                      added ? "added tokens of tokenizer.json" : "the vocabulary"};
    return;
  }
}

bool Planner::in_vocabulary(const std::string& token) const {
  const json& vocabulary = pipeline_.at("model").at("vocab");
  if (vocabulary.is_object()) return vocabulary.contains(token);
  return std::ranges::any_of(vocabulary, [&](const json& entry) {
    return entry.is_array() && !entry.empty() && entry[0] == json(token);
  });
}

json Planner::id_of(const char* key) const {
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

}  // namespace engram::tokenizer_files
