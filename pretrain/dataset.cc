#include "pretrain/dataset.h"

#include <array>
#include <cstring>

#include "engram/base/file.h"
#include "engram/error.h"

namespace engram::pretrain {
namespace {

constexpr std::string_view kMagic = "engram-data-1\n";

template <typename T>
void append(std::string& bytes, std::span<const T> values) {
  const uint64_t count = values.size();
  bytes.append(reinterpret_cast<const char*>(&count), sizeof count);
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

template <typename T>
std::vector<T> take(std::string_view& bytes) {
  uint64_t count = 0;
  if (bytes.size() < sizeof count) throw InputError("the training data are cut short");
  std::memcpy(&count, bytes.data(), sizeof count);
  bytes.remove_prefix(sizeof count);
  if (count > bytes.size() / sizeof(T)) throw InputError("the training data are cut short");
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), bytes.data(), count * sizeof(T));
  bytes.remove_prefix(count * sizeof(T));
  return values;
}

uint64_t fnv1a(std::string_view bytes) {
  uint64_t value = 0xCBF29CE484222325ULL;
  for (const char c : bytes) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return value;
}

}  // namespace

void Sequences::add(std::span<const uint16_t> tokens, std::span<const uint8_t> answers,
                    uint32_t fact) {
  if (tokens.size() != answers.size()) throw InternalError("Sequences::add: sizes differ");
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  answers_.insert(answers_.end(), answers.begin(), answers.end());
  ends_.push_back(tokens_.size());
  facts_.push_back(fact);
}

void Sequences::append_to(std::string& bytes) const {
  append<uint16_t>(bytes, tokens_);
  append<uint8_t>(bytes, answers_);
  append<uint64_t>(bytes, ends_);
  append<uint32_t>(bytes, facts_);
}

Sequences Sequences::read_from(std::string_view& bytes) {
  Sequences s;
  s.tokens_ = take<uint16_t>(bytes);
  s.answers_ = take<uint8_t>(bytes);
  s.ends_ = take<uint64_t>(bytes);
  s.facts_ = take<uint32_t>(bytes);
  uint64_t last = 0;
  for (const uint64_t end : s.ends_) {
    if (end < last || end > s.tokens_.size()) throw InputError("the training data are damaged");
    last = end;
  }
  if (s.answers_.size() != s.tokens_.size() || s.facts_.size() != s.ends_.size()) {
    throw InputError("the training data are damaged");
  }
  return s;
}

void Dataset::write(const std::filesystem::path& file) const {
  std::string bytes(kMagic);
  const std::array<int64_t, 8> numbers = {vocabulary, facts, pad,  unknown,
                                          cls,        sep,   mask, first_ordinary};
  append<int64_t>(bytes, numbers);
  for (const Sequences* s : {&sentences, &texts, &prompts, &openers, &closers}) {
    s->append_to(bytes);
  }
  AtomicFile out(file);
  out.write(bytes);
  out.commit();
}

Dataset Dataset::read(const std::filesystem::path& file) {
  const std::string content = read_file(file, 8ULL << 30U);
  std::string_view bytes = content;
  try {
    if (!bytes.starts_with(kMagic)) throw InputError("not a file of `engram-pretrain prepare`");
    bytes.remove_prefix(kMagic.size());
    const std::vector<int64_t> numbers = take<int64_t>(bytes);
    if (numbers.size() != 8) throw InputError("the training data are damaged");
    Dataset data;
    data.vocabulary = numbers[0];
    data.facts = numbers[1];
    data.pad = numbers[2];
    data.unknown = numbers[3];
    data.cls = numbers[4];
    data.sep = numbers[5];
    data.mask = numbers[6];
    data.first_ordinary = numbers[7];
    for (Sequences* s :
         {&data.sentences, &data.texts, &data.prompts, &data.openers, &data.closers}) {
      *s = Sequences::read_from(bytes);
    }
    data.fingerprint_ = fnv1a(content);
    return data;
  } catch (const InputError& error) {
    throw InputError(file.string() + ": " + error.what());
  }
}

}  // namespace engram::pretrain
