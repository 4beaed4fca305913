// The ids that transformers gives (tools/oracle/make_tokenizers.py), and files that are refused.
#include "engram/text/tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "engram/base/file.h"
#include "engram/error.h"
#include "engram_crates.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path stored(const std::string& kind) {
  return fs::path(ENGRAM_SOURCE_DIR) / "tests/data/tokenizers" / kind;
}

/// A folder of one test, removed after it.
class Folder {
 public:
  Folder() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::temp_directory_path() /
            ("engram_tokenizer_" + std::to_string(::getpid()) + "_" + test->name());
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const fs::path& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  void copy(const std::string& kind, const std::vector<std::string>& names) const {
    for (const std::string& name : names) fs::copy_file(stored(kind) / name, path_ / name);
  }

 private:
  fs::path path_;
};

/// What an error says; "" if there is none of this type.
template <typename E, typename F>
std::string message_of(const F& work) {
  try {
    work();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

void expect_contains(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "got: \"" << message << "\"";
  EXPECT_EQ(message.find('\n'), std::string::npos) << "one line: " << message;
}

class StoredTokenizer : public ::testing::TestWithParam<std::string> {};

TEST_P(StoredTokenizer, GivesTheIdsOfTransformers) {
  const json expected = json::parse(read_file(stored(GetParam()) / "expected.json"));
  const Tokenizer tokenizer = Tokenizer::load(stored(GetParam()));
  EXPECT_EQ(tokenizer.vocabulary(), expected["vocabulary"].get<int64_t>());
  EXPECT_EQ(tokenizer.has_mask(), expected["mask"].is_number());
  if (tokenizer.has_mask()) {
    EXPECT_EQ(tokenizer.mask_id(), expected["mask"].get<int64_t>());
  }
  EXPECT_EQ(tokenizer.unknown_id().has_value(), expected["unknown"].is_number());
  if (tokenizer.unknown_id()) {
    EXPECT_EQ(tokenizer.unknown_id(), expected["unknown"].get<int64_t>());
  }
  EXPECT_EQ(tokenizer.byte_level(), expected["byte_level"].get<bool>());
  std::vector<int64_t> special;
  for (int64_t id = 0; id < tokenizer.vocabulary(); ++id) {
    EXPECT_EQ(tokenizer.id_of(tokenizer.token_of(id)), id);
    if (tokenizer.is_special(id)) special.push_back(id);
  }
  EXPECT_EQ(special, expected["special"].get<std::vector<int64_t>>());
  ASSERT_GT(expected["texts"].size(), 15U);
  for (const json& row : expected["texts"]) {
    const auto text = row["text"].get<std::string>();
    const auto ids = row["ids"].get<std::vector<int64_t>>();
    EXPECT_EQ(tokenizer.encode(text), ids) << text;
    EXPECT_EQ(tokenizer.tokens_of(ids), row["tokens"].get<std::vector<std::string>>()) << text;
    EXPECT_EQ(tokenizer.encode(text, false), row["plain"].get<std::vector<int64_t>>()) << text;
    EXPECT_EQ(tokenizer.decode(ids, false), row["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer.decode(ids, true), row["decoded_plain"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, StoredTokenizer,
                         ::testing::Values("wordpiece-json", "wordpiece-json-cased",
                                           "wordpiece-txt", "wordpiece-txt-cased", "bpe-json",
                                           "bpe-files", "unigram-json", "gpt2-files", "neox-json",
                                           "qwen-json", "llama3-json", "llama-json", "gemma-json"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(TokenizerTest, TruncationAndPaddingOfTheFileAreOff) {
  // The stored file truncates to 6 tokens and fills up to 64.
  const json file = json::parse(read_file(stored("wordpiece-json") / "tokenizer.json"));
  ASSERT_TRUE(file["truncation"].is_object());
  ASSERT_TRUE(file["padding"].is_object());
  const Tokenizer tokenizer = Tokenizer::load(stored("wordpiece-json"));
  EXPECT_EQ(tokenizer.encode("", true).size(), 2U);
  EXPECT_EQ(tokenizer.encode("a a a a a a a a a a a a", true).size(), 14U);
}

TEST(TokenizerTest, TokenizerJsonWinsOverOlderFiles) {
  const Folder folder;
  folder.copy("wordpiece-json", {"tokenizer.json"});
  folder.write("vocab.txt", "not\na\nvocabulary\n");
  EXPECT_EQ(Tokenizer::load(folder.path()).vocabulary(), 400);
}

TEST(TokenizerTest, VocabularyFileAloneIsUncased) {
  const Folder folder;
  folder.copy("wordpiece-txt", {"vocab.txt"});
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.encode("PARIS"), tokenizer.encode("paris"));
  EXPECT_EQ(tokenizer.mask_token(), "[MASK]");
}

TEST(TokenizerTest, VocabularyFileWithWindowsLineEnds) {
  const Folder folder;
  std::string text = read_file(stored("wordpiece-txt") / "vocab.txt");
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2) {
    text.replace(at, 1, "\r\n");
  }
  folder.write("vocab.txt", text);
  EXPECT_EQ(Tokenizer::load(folder.path()).encode("Paris [MASK]"),
            Tokenizer::load(stored("wordpiece-txt")).encode("Paris [MASK]"));
}

TEST(TokenizerTest, StripAccentsAndCaseAreSeparateSettings) {
  const Folder folder;
  folder.copy("wordpiece-txt", {"vocab.txt"});
  folder.write("tokenizer_config.json", R"({"do_lower_case": true, "strip_accents": false})");
  const Tokenizer keeping = Tokenizer::load(folder.path());
  const Tokenizer stripping = Tokenizer::load(stored("wordpiece-txt"));
  EXPECT_EQ(stripping.encode("FAÇADE"), stripping.encode("facade"));
  EXPECT_NE(keeping.encode("FAÇADE"), keeping.encode("facade"));
  EXPECT_EQ(keeping.encode("FAÇADE"), keeping.encode("façade"));
}

TEST(TokenizerTest, ByteLevelMaskTakesTheSpaceBeforeItWhereTheSettingsSaySo) {
  // transformers 5 does the same: a mask token given by its text alone leaves the space.
  const Folder folder;
  folder.copy("bpe-files", {"vocab.json", "merges.txt"});
  const std::string text = "The capital of France is <mask>.";
  const auto tokens_of_text = [&](const fs::path& from) {
    const Tokenizer tokenizer = Tokenizer::load(from);
    return tokenizer.tokens_of(tokenizer.encode(text));
  };
  const std::vector<std::string> taken = tokens_of_text(stored("bpe-files"));
  std::vector<std::string> left = taken;
  left.insert(std::ranges::find(left, "<mask>"), "\u0120");
  EXPECT_EQ(tokens_of_text(folder.path()), left);
  folder.write("tokenizer_config.json", R"({"mask_token": "<mask>"})");
  EXPECT_EQ(tokens_of_text(folder.path()), left);
  folder.write("special_tokens_map.json",
               R"({"mask_token": {"content": "<mask>", "lstrip": true}})");
  EXPECT_EQ(tokens_of_text(folder.path()), taken) << "this file wins";
  fs::remove(folder.path() / "tokenizer_config.json");
  EXPECT_EQ(tokens_of_text(folder.path()), taken);
}

TEST(TokenizerTest, MaskTokenComesFromTheFolderFirst) {
  const Folder folder;
  folder.copy("wordpiece-json", {"tokenizer.json"});
  folder.write("special_tokens_map.json", R"({"mask_token": {"content": "[SEP]"}})");
  EXPECT_EQ(Tokenizer::load(folder.path()).mask_token(), "[SEP]");
  // As in transformers 5, where tokenizer_config.json lists no added tokens itself.
  folder.write("tokenizer_config.json", R"({"mask_token": "[CLS]"})");
  EXPECT_EQ(Tokenizer::load(folder.path()).mask_token(), "[SEP]");
  fs::remove(folder.path() / "special_tokens_map.json");
  EXPECT_EQ(Tokenizer::load(folder.path()).mask_token(), "[CLS]");
}

TEST(TokenizerTest, MissingMaskIsToldWhenAskedFor) {
  const Folder folder;
  json file = json::parse(read_file(stored("wordpiece-json") / "tokenizer.json"));
  file["added_tokens"].erase(4);
  auto& vocabulary = file["model"]["vocab"];
  vocabulary["[other]"] = vocabulary["[MASK]"];
  vocabulary.erase("[MASK]");
  folder.write("tokenizer.json", file.dump());
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  expect_contains(message_of<InputError>([&] { (void)tokenizer.mask_id(); }), "tokenizer.json");
}

TEST(TokenizerTest, IdsOutsideOfTheVocabularyAreRefused) {
  const Tokenizer tokenizer = Tokenizer::load(stored("bpe-json"));
  for (const int64_t id : {int64_t{-1}, tokenizer.vocabulary(), int64_t{1} << 32, INT64_MIN}) {
    const std::string named = std::to_string(id);
    expect_contains(message_of<InputError>([&] { (void)tokenizer.token_of(id); }), named);
    expect_contains(message_of<InputError>([&] { (void)tokenizer.decode({id}, false); }), named);
    EXPECT_FALSE(tokenizer.is_special(id));
  }
  EXPECT_EQ(tokenizer.id_of("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_of(""), std::nullopt);
}

TEST(TokenizerTest, TextThatIsNotUtf8IsRefused) {
  const Tokenizer tokenizer = Tokenizer::load(stored("wordpiece-txt"));
  expect_contains(message_of<InputError>([&] { (void)tokenizer.encode("Par\xffis\n"); }), "UTF-8");
  EXPECT_EQ(tokenizer.id_of("\xff"), std::nullopt);
}

TEST(TokenizerTest, OneObjectServesManyThreads) {
  const Tokenizer tokenizer = Tokenizer::load(stored("bpe-files"));
  const auto expected = tokenizer.encode("The river Seine flows through <mask>.");
  std::atomic<int> differing = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        if (tokenizer.encode("The river Seine flows through <mask>.") != expected) ++differing;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(differing, 0);
}

TEST(TokenizerFiles, FolderWithoutATokenizer) {
  const Folder folder;
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }), "vocab.txt");
  folder.write("vocab.json", "{}");  // without merges.txt
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }), "merges.txt");
  const auto load_missing = [&] { Tokenizer::load(folder.path() / "none"); };
  expect_contains(message_of<FileError>(load_missing), "no such folder");
  const auto load_file = [&] { Tokenizer::load(folder.path() / "vocab.json"); };
  expect_contains(message_of<FileError>(load_file), "got a file");
}

TEST(TokenizerFiles, FolderInPlaceOfAFile) {
  const Folder folder;
  fs::create_directory(folder.path() / "tokenizer.json");
  expect_contains(message_of<FileError>([&] { Tokenizer::load(folder.path()); }), "tokenizer.json");
}

TEST(TokenizerFiles, BadTokenizerJsonNamesTheFile) {
  const std::string good = read_file(stored("wordpiece-json") / "tokenizer.json");
  const Folder folder;
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  const std::string invalid_utf8 = "{\"version\": \"\xff\"}";
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), deep, std::string(R"({"model": 3})"),
        std::string(R"({"version": "1.0"})"), good.substr(0, good.size() / 2), invalid_utf8}) {
    folder.write("tokenizer.json", text);
    expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }),
                    (folder.path() / "tokenizer.json").string());
  }
}

TEST(TokenizerFiles, BadVocabularyNamesTheFile) {
  const Folder folder;
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\n");
  const Tokenizer maskless = Tokenizer::load(folder.path());
  expect_contains(message_of<InputError>([&] { (void)maskless.mask_id(); }), "vocab.txt");
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[MASK]\nword\n");
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }), "[SEP]");
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nw\xffrd\n");
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }), "vocab.txt");
  folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nword\n");
  folder.write("tokenizer_config.json", "[1]");
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }),
                  "tokenizer_config.json");
  for (const char* key : {"x", "-1", "6x", ""}) {
    folder.write("tokenizer_config.json",
                 json{{"added_tokens_decoder", {{key, {{"content", "a"}}}}}}.dump());
    expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }),
                    "added_tokens_decoder");
  }
}

TEST(TokenizerFiles, NestedJsonIsRefused) {
  // Four megabytes of brackets ran over the stack.
  const std::string deep(4 << 20, '[');
  for (const char* name : {"config.json", "tokenizer_config.json", "special_tokens_map.json",
                           "added_tokens.json", "tokenizer.json"}) {
    const Folder folder;
    folder.copy("wordpiece-json", {"tokenizer.json"});
    folder.write(name, deep);
    const std::string message = message_of<InputError>([&] { Tokenizer::load(folder.path()); });
    expect_contains(message, name);
    expect_contains(message, "nested more than 100 deep");
  }
}

TEST(TokenizerFiles, GitLfsPointersAreNamed) {
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
  for (const char* name : {"config.json", "tokenizer_config.json", "tokenizer.json", "vocab.txt"}) {
    const Folder folder;
    folder.write(name, pointer);
    if (name != std::string("vocab.txt")) folder.write("vocab.txt", "[PAD]\n");
    const std::string message = message_of<InputError>([&] { Tokenizer::load(folder.path()); });
    expect_contains(message, name);
    expect_contains(message, "git lfs pull");
  }
}

TEST(TokenizerFiles, BadMergesNameTheLine) {
  const Folder folder;
  folder.copy("bpe-files", {"vocab.json"});
  folder.write("merges.txt", "#version: 0.2\nĠ t\nonetoken\n");
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }), "merges.txt:3");
  folder.write("merges.txt", "no such_token\n");
  expect_contains(message_of<InputError>([&] { Tokenizer::load(folder.path()); }), "vocab.json");
}

/// Trains through the C interface; "error: ..." if it is refused.
std::string trained(const std::string& corpus, const std::string& words, size_t vocabulary,
                    bool lowercase = false) {
  char* error = nullptr;
  const auto bytes = [](const std::string& s) {
    return reinterpret_cast<const uint8_t*>(s.data());
  };
  char* text = engram_crates_train_wordpiece(bytes(corpus), corpus.size(), bytes(words),
                                             words.size(), vocabulary, 2, 1000, lowercase, &error);
  std::string result = text != nullptr ? text : std::string("error: ") + error;
  engram_crates_free_text(text);
  engram_crates_free_text(error);
  return result;
}

TEST(TrainWordPiece, WholeWordsAndFrequentPiecesAreTokens) {
  const Folder folder;
  std::string corpus;
  for (int i = 0; i < 20; ++i) corpus += "walking and talking in Zürich, walking.\n";
  folder.write("tokenizer.json", trained(corpus, "Reykjavik\nZürich\n", 120));
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_LE(tokenizer.vocabulary(), 120);
  const std::vector<std::string> special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  for (size_t i = 0; i < special.size(); ++i) {
    EXPECT_EQ(tokenizer.id_of(special[i]), static_cast<int64_t>(i));
    EXPECT_TRUE(tokenizer.is_special(static_cast<int64_t>(i)));
  }
  EXPECT_EQ(tokenizer.tokens_of(tokenizer.encode("Reykjavik walking Zürich")),
            (std::vector<std::string>{"[CLS]", "Reykjavik", "walking", "Zürich", "[SEP]"}));
  EXPECT_FALSE(tokenizer.is_special(*tokenizer.id_of("Reykjavik")));
  EXPECT_EQ(tokenizer.encode("€"), (std::vector<int64_t>{2, 1, 3}));
}

TEST(TrainWordPiece, LowercaseAlsoStripsAccents) {
  const Folder folder;
  folder.write("tokenizer.json", trained("Zürich Zürich ZÜRICH\n", "", 60, true));
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  EXPECT_EQ(tokenizer.tokens_of(tokenizer.encode("ZÜRICH", false)),
            (std::vector<std::string>{"zurich"}));
}

TEST(TrainWordPiece, IsAFunctionOfTheCorpus) {
  const std::string corpus =
      read_file(fs::path(ENGRAM_SOURCE_DIR) / "tests/data/tokenizers/bpe-json/tokenizer.json");
  const std::string first = trained(corpus, "Paris\nTokyo\n", 500);
  ASSERT_EQ(first.rfind("error", 0), std::string::npos) << first;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(trained(corpus, "Paris\nTokyo\n", 500), first);
}

TEST(TrainWordPiece, RefusesWhatCannotBe) {
  expect_contains(trained("a b c\n", "New York\n", 100), "New York");
  expect_contains(trained("a b c\n", "", 6), "too small");
  expect_contains(trained("a \xff\n", "", 100), "UTF-8");
}

}  // namespace
}  // namespace engram
