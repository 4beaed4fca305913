#include "engram/text/tokenizer.h"

#include <utility>

#include "engram/error.h"
#include "engram_crates.h"
#include "text/jsonl.h"
#include "text/tokenizer_files.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

std::string take_text(char* text) {
  if (text == nullptr) return "unknown error";
  std::string copy(text);
  engram_crates_free_text(text);
  return copy;
}

const uint8_t* bytes_of(std::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

}  // namespace

struct Tokenizer::Impl {
  struct Free {
    void operator()(engram_crates_tokenizer* tokenizer) const {
      engram_crates_tokenizer_free(tokenizer);
    }
  };
  std::unique_ptr<engram_crates_tokenizer, Free> handle;
  std::string source;
  std::optional<int64_t> mask;
  std::optional<int64_t> unknown;
  TokenizerPlan plan;  ///< without its text

  [[nodiscard]] std::optional<int64_t> find(std::string_view token) const {
    uint32_t id = 0;
    if (!engram_crates_tokenizer_id(handle.get(), bytes_of(token), token.size(), &id)) return {};
    return id;
  }
};

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const fs::path& directory) {
  std::error_code failed;
  const fs::file_status status = fs::status(directory, failed);
  if (status.type() == fs::file_type::none) {
    throw FileError(directory.string() + ": cannot open: " + failed.message());
  }
  if (!fs::exists(status)) {
    throw FileError(directory.string() + ": no such folder; expected a Hugging Face model folder");
  }
  if (!fs::is_directory(status)) {
    throw FileError(directory.string() + ": got a file, expected a Hugging Face model folder");
  }
  TokenizerPlan plan = plan_tokenizer(directory);
  auto impl = std::make_unique<Impl>();
  char* error = nullptr;
  impl->handle.reset(
      engram_crates_tokenizer_from_json(bytes_of(plan.json), plan.json.size(), &error));
  if (impl->handle == nullptr) {
    throw InputError(plan.source.string() +
                     ": not a usable tokenizer: " + one_line(take_text(error)));
  }
  if (!plan.mask.empty()) impl->mask = impl->find(plan.mask);
  for (const std::string& name : {plan.unknown, std::string("[UNK]"), std::string("<unk>")}) {
    if (!name.empty() && !impl->unknown) impl->unknown = impl->find(name);
  }
  impl->source = plan.source.string();
  plan.json.clear();
  impl->plan = std::move(plan);
  return Tokenizer(std::move(impl));
}

std::vector<int64_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  uint32_t* ids = nullptr;
  size_t count = 0;
  char* error = nullptr;
  if (!engram_crates_tokenizer_encode(impl_->handle.get(), bytes_of(text), text.size(),
                                      add_special_tokens, &ids, &count, &error)) {
    throw InputError(impl_->source + ": cannot tokenize a text of " + std::to_string(text.size()) +
                     " bytes: " + take_text(error));
  }
  std::vector<int64_t> result(ids, ids + count);
  engram_crates_free_ids(ids, count);
  return result;
}

std::vector<TokenSpan> Tokenizer::spans(std::string_view text) const {
  std::vector<size_t> ends(2 * encode(text).size());
  char* error = nullptr;
  if (!engram_crates_tokenizer_spans(impl_->handle.get(), bytes_of(text), text.size(), true,
                                     ends.data(), ends.size() / 2, &error)) {
    throw InternalError(impl_->source + ": cannot say where tokens stand: " + take_text(error));
  }
  std::vector<TokenSpan> spans;
  for (size_t i = 0; i < ends.size(); i += 2) spans.push_back({ends[i], ends[i + 1]});
  return spans;
}

std::vector<std::string> Tokenizer::tokens_of(const std::vector<int64_t>& ids) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const int64_t id : ids) tokens.push_back(token_of(id));
  return tokens;
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
  char* text = engram_crates_tokenizer_decode(impl_->handle.get(), narrow.data(), narrow.size(),
                                              skip_special, &error);
  if (text == nullptr)
    throw InputError(impl_->source + ": cannot decode: " + one_line(take_text(error)));
  return take_text(text);
}

int64_t Tokenizer::vocabulary() const {
  return static_cast<int64_t>(engram_crates_tokenizer_size(impl_->handle.get()));
}

std::optional<int64_t> Tokenizer::id_of(std::string_view token) const { return impl_->find(token); }

bool Tokenizer::has_token(int64_t id) const {
  if (id < 0 || id >= vocabulary()) return false;
  char* text = engram_crates_tokenizer_token(impl_->handle.get(), static_cast<uint32_t>(id));
  if (text == nullptr) return false;
  engram_crates_free_text(text);
  return true;
}

std::string Tokenizer::token_of(int64_t id) const {
  char* text = id < 0 || id > INT32_MAX
                   ? nullptr
                   : engram_crates_tokenizer_token(impl_->handle.get(), static_cast<uint32_t>(id));
  if (text == nullptr) {
    throw InputError(impl_->source + ": token id " + std::to_string(id) + " is not in it");
  }
  return take_text(text);
}

bool Tokenizer::has_mask() const { return impl_->mask.has_value(); }

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
         engram_crates_tokenizer_is_special(impl_->handle.get(), static_cast<uint32_t>(id));
}

bool Tokenizer::byte_level() const { return impl_->plan.byte_level; }
const std::string& Tokenizer::word_mark() const { return impl_->plan.word_mark; }
bool Tokenizer::mask_takes_space() const { return impl_->plan.mask_takes_space; }
const std::vector<TokenizerSetting>& Tokenizer::settings() const { return impl_->plan.settings; }

}  // namespace engram
