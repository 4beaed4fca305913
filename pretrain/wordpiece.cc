#include "pretrain/wordpiece.h"

#include <engram_crates.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "engram/base/file.h"
#include "engram/error.h"
#include "src/base/json.h"

namespace engram::pretrain {
namespace {

/// Characters that the vocabulary knows; rarer ones make a word unknown.
constexpr size_t kAlphabet = 400;

struct FreeText {
  void operator()(char* text) const { engram_crates_free_text(text); }
};

template <typename Lines>
std::string join(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

const uint8_t* bytes(const std::string& text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

void write(const std::filesystem::path& path, const std::string& content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

}  // namespace

void train_wordpiece(const std::vector<std::string>& corpus,
                     const std::set<std::string>& whole_words, int64_t size,
                     const std::filesystem::path& directory) {
  const std::string text = join(corpus);
  const std::string whole = join(whole_words);
  char* error = nullptr;
  const std::unique_ptr<char, FreeText> made(engram_crates_train_wordpiece(
      bytes(text), text.size(), bytes(whole), whole.size(), static_cast<size_t>(size),
      /*min_frequency=*/2, kAlphabet, /*lowercase=*/false, &error));
  const std::unique_ptr<char, FreeText> message(error);
  if (!made) throw InputError(std::string("vocabulary: ") + (message ? message.get() : "failed"));

  const nlohmann::json json = parse_json(made.get(), "vocabulary");
  const auto& ids = json.at("model").at("vocab");
  std::vector<std::string> tokens(ids.size());
  for (const auto& [token, id] : ids.items()) tokens.at(id.get<size_t>()) = token;
  write(directory / "tokenizer.json", std::string(made.get()) + "\n");
  write(directory / "vocab.txt", join(tokens));
  const nlohmann::ordered_json config = {{"tokenizer_class", "BertTokenizer"},
                                         {"do_lower_case", false},
                                         {"model_max_length", 128},
                                         {"unk_token", "[UNK]"},
                                         {"sep_token", "[SEP]"},
                                         {"pad_token", "[PAD]"},
                                         {"cls_token", "[CLS]"},
                                         {"mask_token", "[MASK]"}};
  write(directory / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace engram::pretrain
