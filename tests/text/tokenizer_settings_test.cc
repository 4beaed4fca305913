// Folders whose files disagree, or lack something: the ids are those of transformers' AutoTokenizer
// (the grid of tools/oracle/make_tokenizers.py), or the folder is refused by name.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram/text/tokenizer.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kStored = fs::path(ENGRAM_SOURCE_DIR) / "tests/data/tokenizers";

/// A copy of one of the stored tokenizers whose files can be changed.
class Changed {
 public:
  explicit Changed(const std::string& base)
      : path_(fs::temp_directory_path() / ("engram_settings_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
    fs::create_directories(path_);
    for (const auto& entry : fs::directory_iterator(kStored / base)) {
      if (entry.path().filename() != "expected.json") fs::copy(entry.path(), path_);
    }
  }
  ~Changed() { fs::remove_all(path_); }
  Changed(const Changed&) = delete;
  Changed& operator=(const Changed&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }

  /// Merges `patch` (RFC 7396) into a file; null removes the file.
  void change(const std::string& name, const json& patch) const {
    const fs::path file = path_ / name;
    if (patch.is_null()) {
      fs::remove(file);
      return;
    }
    json value = fs::exists(file) ? json::parse(read_file(file)) : json::object();
    value.merge_patch(patch);
    std::ofstream(file) << value.dump();
  }

 private:
  fs::path path_;
};

std::string refusal(const fs::path& folder) {
  try {
    (void)Tokenizer::load(folder);
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

const TokenizerSetting* setting(const Tokenizer& tokenizer, const std::string& name) {
  const auto found = std::ranges::find(tokenizer.settings(), name, &TokenizerSetting::name);
  return found == tokenizer.settings().end() ? nullptr : &*found;
}

TEST(TokenizerSettings, GiveTheIdsOfTransformers) {
  const json grid = json::parse(read_file(kStored / "settings.json"));
  ASSERT_GT(grid.size(), 150U);
  for (const json& row : grid) {
    SCOPED_TRACE(row["name"].get<std::string>());
    const Changed folder(row["base"]);
    for (const auto& [name, patch] : row["files"].items()) folder.change(name, patch);
    const Tokenizer tokenizer = Tokenizer::load(folder.path());
    if (row["mask"].is_number()) {
      EXPECT_EQ(tokenizer.mask_id(), row["mask"].get<int64_t>());
    }
    ASSERT_EQ(row["texts"].size(), row["ids"].size());
    for (size_t i = 0; i < row["texts"].size(); ++i) {
      const auto text = row["texts"][i].get<std::string>();
      EXPECT_EQ(tokenizer.encode(text), row["ids"][i].get<std::vector<int64_t>>()) << text;
    }
  }
}

TEST(TokenizerSettings, OtherClassesAreRefusedByName) {
  for (const std::string name :
       {"BertJapaneseTokenizer", "HerbertTokenizer", "HerbertTokenizerFast", "PhobertTokenizer",
        "BertweetTokenizer", "MyTokenizer", "BertTokenizerSlow"}) {
    const Changed folder("wordpiece-json");
    folder.change("config.json", {{"model_type", "bert"}});
    folder.change("tokenizer_config.json", {{"tokenizer_class", name}});
    std::string message = refusal(folder.path());
    EXPECT_NE(message.find("\"" + name + "\""), std::string::npos) << message;
    EXPECT_NE(message.find("tokenizer_config.json"), std::string::npos) << message;
    folder.change("tokenizer_config.json", {{"tokenizer_class", nullptr}});
    folder.change("config.json", {{"tokenizer_class", name}});
    message = refusal(folder.path());
    EXPECT_NE(message.find("\"" + name + "\""), std::string::npos) << message;
    EXPECT_NE(message.find("/config.json"), std::string::npos) << message;
  }
}

TEST(TokenizerSettings, WhatIsNotReadIsRefusedByName) {
  for (const auto& [file, patch, part] : std::vector<std::tuple<std::string, json, std::string>>{
           {"tokenizer_config.json", {{"auto_map", {{"AutoTokenizer", {"a", "b"}}}}}, "auto_map"},
           {"tokenizer_config.json", {{"split_special_tokens", true}}, "split_special_tokens"},
           {"tokenizer_config.json",
            {{"fast_tokenizer_files", {"tokenizer.json", "tokenizer.4.json"}}},
            "fast_tokenizer_files"},
           {"tokenizer_config.json", {{"do_lower_case", "no"}}, "do_lower_case"},
           {"tokenizer_config.json", {{"mask_token", 3}}, "mask_token"},
           {"special_tokens_map.json", {{"mask_token", 3}}, "special_tokens_map.json"},
           {"added_tokens.json", {{"a", "b"}}, "added_tokens.json"},
           {"tokenizer.json", {{"model", {{"type", "BPE"}}}}, "BPE"},
           {"tokenizer.json", {{"model", {{"vocab", {{"[CLS]", nullptr}}}}}}, ""}}) {
    const Changed folder("wordpiece-json");
    folder.change("config.json", {{"model_type", "bert"}});
    folder.change(file, patch);
    const std::string message = refusal(folder.path());
    if (part.empty()) continue;  // [CLS] is still listed as an added token
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST(TokenizerSettings, AreToldWithTheirFiles) {
  const Changed folder("wordpiece-json");
  folder.change("config.json", {{"model_type", "bert"}});
  folder.change("tokenizer_config.json", {{"do_lower_case", false}});
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const TokenizerSetting* lower = setting(tokenizer, "lower case");
  ASSERT_NE(lower, nullptr);
  EXPECT_EQ(lower->value, "no");
  EXPECT_EQ(lower->source, "tokenizer_config.json");
  EXPECT_EQ(lower->instead, "yes (tokenizer.json)");
  const TokenizerSetting* kind = setting(tokenizer, "class");
  ASSERT_NE(kind, nullptr);
  EXPECT_EQ(kind->value, "BertTokenizer");
  EXPECT_EQ(kind->source, "tokenizer_config.json");
  folder.change("tokenizer_config.json", nullptr);
  const Tokenizer bare = Tokenizer::load(folder.path());
  EXPECT_EQ(setting(bare, "class")->source, "config.json, model_type bert");
  EXPECT_EQ(setting(bare, "lower case")->source, "default of BertTokenizer");
  EXPECT_EQ(setting(bare, "lower case")->instead, "");
}

TEST(TokenizerSettings, TheMaskTakesTheSpaceWhereItsFlagSaysSo) {
  EXPECT_TRUE(Tokenizer::load(kStored / "bpe-files").mask_takes_space());
  const Changed folder("bpe-files");
  folder.change("tokenizer_config.json", {{"mask_token", nullptr}});
  folder.change("tokenizer_config.json", {{"mask_token", "<mask>"}});
  EXPECT_FALSE(Tokenizer::load(folder.path()).mask_takes_space());
  EXPECT_FALSE(Tokenizer::load(kStored / "wordpiece-json").mask_takes_space());
  EXPECT_TRUE(Tokenizer::load(kStored / "unigram-json").mask_takes_space());
}

}  // namespace
}  // namespace engram
