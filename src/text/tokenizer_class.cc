// Which class of transformers a folder's tokenizer is.
#include <algorithm>

#include "engram/error.h"
#include "text/tokenizer_planner.h"

namespace engram::tokenizer_files {

namespace {

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

}  // namespace

void Planner::find_class() {
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
  if (const std::string_view taken = class_instead(model, name, file_has_bytes()); !taken.empty()) {
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

bool Planner::file_has_bytes() const {
  return !find_part(part("pre_tokenizer"), "ByteLevel").is_null() ||
         !find_part(part("decoder"), "ByteLevel").is_null();
}

std::string Planner::class_of_files(std::string& from) const {
  for (const auto& [file, name] : {std::pair{"tokenizer.json", "PreTrainedTokenizerFast"},
                                   {"vocab.txt", "BertTokenizer"},
                                   {"vocab.json", "RobertaTokenizer"}}) {
    from = file;
    if (is_there(folder_.path / file)) return name;
  }
  throw_no_tokenizer();
}

void Planner::throw_no_tokenizer() const {
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

void Planner::fail(const std::string& file, const std::string& what) const {
  throw InputError((folder_.path / file).string() + ": " + what);
}

void Planner::refuse_unsupported() const {
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

}  // namespace engram::tokenizer_files
