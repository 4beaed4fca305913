// What each kind of class makes of the files.
#include "base/json.h"
#include "engram/error.h"
#include "text/tokenizer_planner.h"

namespace engram::tokenizer_files {

json Planner::part(const char* key) const {
  if (!folder_.file || !folder_.file->is_object() || !folder_.file->contains(key)) return {};
  return (*folder_.file)[key];
}

json Planner::model_of_file(const char* type, bool object) {
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

void Planner::decide_ends(const char* begin, const char* end) {
  const std::string value = named_[begin]->token.content + " ... " + named_[end]->token.content;
  const bool none = folder_.file && part("post_processor").is_null();
  decide("ends", value, class_, none ? "none (tokenizer.json)" : "");
  pipeline_["post_processor"] = {{"type", "BertProcessing"},
                                 {"sep", {named_[end]->token.content, id_of(end)}},
                                 {"cls", {named_[begin]->token.content, id_of(begin)}}};
}

void Planner::make_wordpiece() {
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
  rules["lowercase"] = decided_flag("lower case", "do_lower_case", true, false, said("lowercase"));
  rules["strip_accents"] =
      decided_flag("strip accents", "strip_accents", nullptr, true, said("strip_accents"));
  rules["handle_chinese_chars"] = decided_flag("split Chinese", "tokenize_chinese_chars", true,
                                               false, said("handle_chinese_chars"));
  decide_ends("cls_token", "sep_token");
}

std::pair<json, json> Planner::read_merges() {
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

void Planner::make_byte_level() {
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

void Planner::make_unigram() {
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

void Planner::make_decoder() {
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

void Planner::take_file() {
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
  plan_.byte_level = pipeline_.contains("decoder") &&
                     (!find_part(pipeline_["decoder"], "ByteLevel").is_null() ||
                      !find_part(pipeline_.value("pre_tokenizer", json()), "ByteLevel").is_null());
  const bool metaspace =
      !find_part(pipeline_.value("pre_tokenizer", json()), "Metaspace").is_null();
  plan_.word_mark = plan_.byte_level                         ? "\u0120"
                    : metaspace                              ? "\u2581"
                    : text_at(*model, "type") == "WordPiece" ? "##"
                                                             : "";
}

}  // namespace engram::tokenizer_files
