#include "experiments/texts/experiment_texts.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/text/prompt.h"
#include "text/jsonl.h"

namespace engram::experiments::texts {
namespace {

/// A piece of a text, in bytes.
struct Piece {
  size_t begin = 0;
  size_t end = 0;
  [[nodiscard]] bool touches(const Piece& other) const {
    return begin < other.end && other.begin < end;
  }
};

bool is_word_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || byte >= 0x80;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool touches_any(const Piece& piece, const std::vector<Piece>& others) {
  return std::ranges::any_of(others, [&](const Piece& other) { return piece.touches(other); });
}

/// Where `name` stands in `text` as a whole word; both in lower case.
std::vector<Piece> find_name(std::string_view text, std::string_view name) {
  std::vector<Piece> found;
  if (name.empty()) return found;
  for (size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const size_t end = at + name.size();
    const bool starts = at == 0 || !is_word_byte(text[at - 1]) || !is_word_byte(text[at]);
    const bool ends =
        end == text.size() || !is_word_byte(text[end]) || !is_word_byte(text[end - 1]);
    if (starts && ends) found.push_back({at, end});
  }
  return found;
}

/// What stands between spaces, without the signs around it.
std::vector<Piece> words_of(std::string_view text) {
  std::vector<Piece> words;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find_first_not_of(" \t\r\n", at);
    if (begin == std::string_view::npos) break;
    at = std::min(text.find_first_of(" \t\r\n", begin), text.size());
    Piece word{begin, at};
    while (word.begin < word.end && !is_word_byte(text[word.begin])) ++word.begin;
    while (word.begin < word.end && !is_word_byte(text[word.end - 1])) --word.end;
    if (word.begin < word.end) words.push_back(word);
  }
  return words;
}

/// True where the word begins a sentence, so that its capital says nothing.
bool begins_sentence(std::string_view text, const Piece& word) {
  size_t at = word.begin;
  while (at > 0 && !is_word_byte(text[at - 1])) {
    --at;
    if (std::string_view(".!?:").find(text[at]) != std::string_view::npos) return true;
  }
  return at == 0;
}

/// A text with what its fact's names are in it.
struct Marked {
  std::string_view text;
  std::string low;
  std::vector<Piece> subject;
  std::vector<Piece> object;  ///< outside the subject

  Marked(std::string_view of, std::string_view head, std::string_view tail)
      : text(of), low(lower(of)), subject(find_name(low, lower(head))) {
    for (const Piece& piece : find_name(low, lower(tail))) {
      if (!touches_any(piece, subject)) object.push_back(piece);
    }
  }
  [[nodiscard]] bool is(TextKind kind) const {
    const bool head = kind == TextKind::kBoth || kind == TextKind::kHead;
    const bool tail = kind == TextKind::kBoth || kind == TextKind::kTail;
    return subject.empty() != head && object.empty() != tail;
  }
  [[nodiscard]] bool free(const Piece& piece) const {
    return !touches_any(piece, subject) && !touches_any(piece, object);
  }
};

std::vector<Piece> other_words(const Marked& marked) {
  std::vector<Piece> words = words_of(marked.text);
  std::erase_if(words, [&](const Piece& word) { return !marked.free(word); });
  return words;
}

/// Names of the answer's type: other objects of the relation, or else capitalised words.
std::vector<Piece> other_names(const Marked& marked, std::string_view object,
                               std::span<const std::string> names) {
  std::vector<Piece> found;
  const std::string own = lower(object);
  for (const std::string& name : names) {
    const std::string low = lower(name);
    if (low == own) continue;
    for (const Piece& piece : find_name(marked.low, low)) {
      if (marked.free(piece)) found.push_back(piece);
    }
  }
  if (!found.empty()) return found;
  for (const Piece& word : other_words(marked)) {
    const bool capital = std::isupper(static_cast<unsigned char>(marked.text[word.begin])) != 0;
    if (capital && word.end - word.begin > 1 && !begins_sentence(marked.text, word)) {
      found.push_back(word);
    }
  }
  return found;
}

/// What a mask may cover.
std::vector<Piece> candidates(const Marked& marked, TextKind kind, TextMask mask,
                              std::string_view object, std::span<const std::string> names) {
  switch (mask) {
    case TextMask::kReleased:
      if (kind != TextKind::kBoth) return other_words(marked);
      [[fallthrough]];
    case TextMask::kObject:
      if (marked.object.empty()) return {};
      return {marked.object.front()};
    case TextMask::kName:
      return other_names(marked, object, names);
    case TextMask::kWord:
      return other_words(marked);
  }
  throw InternalError("candidates: unknown mask");
}

bool masks_object(TextKind kind, TextMask mask) {
  return mask == TextMask::kObject || (mask == TextMask::kReleased && kind == TextKind::kBoth);
}

/// What a causal model reads of a masked text: all up to the mask.
std::string read_part(const MaskedText& masked, const PromptForm& form) {
  constexpr std::string_view kMask = "[MASK]";
  if (!form.causal) return masked.text;
  return masked.text.substr(0, masked.text.find(kMask) + kMask.size());
}

/// A masked text as token ids, and whether its answer is asked for.
struct EncodedText {
  Cloze cloze;
  bool asked = false;
};

/// Nothing where the vocabulary cannot write it.
std::optional<EncodedText> encode(const MaskedText& masked, bool object, const FactTexts& texts,
                                  const Tokenizer& tokenizer, const ModelConfig& config) {
  // Those that are too long are counted by whoever asks.
  const PromptForm form{std::numeric_limits<int32_t>::max(), config.causal()};
  const std::string text = read_part(masked, form);
  try {
    const Cloze whole = encode_cloze(tokenizer, text, texts.object, form, "text");
    if (object || whole.answer.size() == 1) return EncodedText{whole, true};
  } catch (const InputError&) {
    if (object) return std::nullopt;
  }
  // Any other word has one place, whatever tokens it has, and an object of several tokens, or none,
  // cannot be asked for there.
  try {
    EncodedText open{encode_open(tokenizer, text, form, "text"), false};
    open.cloze.answer = {open.cloze.ids.back()};
    return open;
  } catch (const InputError&) {
    return std::nullopt;
  }
}

void check_exist(const ModelConfig& config, std::span<const NeuronId> neurons) {
  for (const NeuronId id : neurons) {
    if (id.layer >= 0 && id.layer < config.layers && id.neuron >= 0 && id.neuron < config.d_ff) {
      continue;
    }
    throw InputError("neuron " + std::to_string(id.layer) + ":" + std::to_string(id.neuron) +
                     " does not exist: the model has layers 0.." +
                     std::to_string(config.layers - 1) + " of neurons 0.." +
                     std::to_string(config.d_ff - 1));
  }
}

uint64_t seed_of(uint64_t seed, std::string_view purpose, std::string_view text) {
  return hash_text(text, hash_text(purpose)) + seed * 0x9E3779B97F4A7C15ULL;
}

}  // namespace

const char* text_kind_name(TextKind kind) {
  switch (kind) {
    case TextKind::kBoth:
      return "both";
    case TextKind::kHead:
      return "head";
    case TextKind::kTail:
      return "tail";
    case TextKind::kRandom:
      return "random";
  }
  throw InternalError("text_kind_name: unknown kind");
}

const char* text_mask_name(TextMask mask) {
  switch (mask) {
    case TextMask::kReleased:
      return "released";
    case TextMask::kName:
      return "name";
    case TextMask::kWord:
      return "word";
    case TextMask::kObject:
      return "object";
  }
  throw InternalError("text_mask_name: unknown mask");
}

bool text_mask_applies(TextKind kind, TextMask mask) {
  switch (mask) {
    case TextMask::kReleased:
    case TextMask::kName:
      return true;
    case TextMask::kWord:
      return kind == TextKind::kBoth;
    case TextMask::kObject:
      return kind == TextKind::kTail;
  }
  throw InternalError("text_mask_applies: unknown mask");
}

std::optional<MaskedText> mask_text(const std::string& text, TextKind kind, TextMask mask,
                                    std::string_view subject, std::string_view object,
                                    std::span<const std::string> names, uint64_t seed) {
  if (count_masks(text) > 0) return std::nullopt;
  const Marked marked(text, subject, object);
  if (!marked.is(kind)) return std::nullopt;
  const std::vector<Piece> pieces = candidates(marked, kind, mask, object, names);
  if (pieces.empty()) return std::nullopt;
  const Piece piece = pieces[Random(seed).below(pieces.size())];
  MaskedText masked{text, text.substr(piece.begin, piece.end - piece.begin)};
  masked.text.replace(piece.begin, piece.end - piece.begin, "[MASK]");
  return masked;
}

TextSource::TextSource(const std::filesystem::path& folder, int64_t per_kind, uint64_t seed)
    : per_kind_(per_kind), seed_(seed), files_(distant_files(folder)) {
  using Ordered = std::pair<uint64_t, std::string>;
  for (const DistantFile& file : files_) {
    std::set<Ordered> pool;  // the first of a seeded order of all texts, each once
    read_distant(file, problems_.emplace_back(), [&](DistantFact&& fact) {
      for (std::vector<std::string>* list : {&fact.with_both, &fact.with_subject}) {
        for (std::string& text : *list) {
          pool.emplace(seed_of(seed_, "texts pool", text), std::move(text));
          if (std::cmp_greater(pool.size(), kRandomPool)) pool.erase(std::prev(pool.end()));
        }
      }
    });
    std::vector<std::string>& kept = pools_.emplace_back();
    for (const Ordered& one : pool) kept.push_back(one.second);
  }
}

std::vector<std::string> TextSource::sample(std::vector<std::string> texts, uint64_t seed) const {
  std::vector<std::pair<uint64_t, std::string>> order;
  order.reserve(texts.size());
  for (std::string& text : texts) order.emplace_back(hash_text(text, seed), std::move(text));
  std::ranges::sort(order);
  const auto repeated = std::ranges::unique(order);
  order.erase(repeated.begin(), repeated.end());
  if (std::cmp_greater(order.size(), per_kind_)) order.resize(static_cast<size_t>(per_kind_));
  std::vector<std::string> taken;
  taken.reserve(order.size());
  for (auto& one : order) taken.push_back(std::move(one.second));
  return taken;
}

std::vector<std::string> TextSource::random_texts(const DistantFact& fact) const {
  std::vector<const std::string*> all;
  for (size_t i = 0; i < files_.size(); ++i) {
    if (files_[i].relation == fact.relation) continue;
    for (const std::string& text : pools_[i]) all.push_back(&text);
  }
  Random random(seed_of(seed_, "texts random", fact_key(fact.relation, fact.subject, fact.object)));
  std::vector<std::string> taken;
  // Some name the subject or the object by chance; far fewer than half do.
  for (const uint64_t i : random.sample(all.size(), 2 * static_cast<uint64_t>(per_kind_) + 20)) {
    if (std::cmp_equal(taken.size(), per_kind_)) break;
    if (Marked(*all[i], fact.subject, fact.object).is(TextKind::kRandom)) taken.push_back(*all[i]);
  }
  return taken;
}

std::map<std::pair<std::string, std::string>, FactTexts> TextSource::of(
    const std::string& relation) const {
  std::map<std::pair<std::string, std::string>, FactTexts> result;
  const auto file = std::ranges::find(files_, relation, &DistantFile::relation);
  if (file == files_.end()) return result;
  std::vector<FactProblem> known;  // the constructor has listed them
  std::vector<DistantFact> facts;
  std::map<std::string, std::vector<size_t>> by_object;
  read_distant(*file, known, [&](DistantFact&& fact) {
    by_object[fact.object].push_back(facts.size());
    facts.push_back(std::move(fact));
  });
  for (const DistantFact& fact : facts) {
    Interrupt::check();
    FactTexts& texts = result[{fact.subject, fact.object}];
    texts.subject = fact.subject;
    texts.object = fact.object;
    const std::string key = fact_key(fact.relation, fact.subject, fact.object);
    std::vector<std::string> tails;
    for (const size_t other : by_object.at(fact.object)) {
      if (facts[other].subject == fact.subject) continue;
      for (const std::string& text : facts[other].with_both) {
        if (Marked(text, fact.subject, fact.object).is(TextKind::kTail)) tails.push_back(text);
      }
    }
    const auto put = [&](TextKind kind, std::vector<std::string> list) {
      texts.texts[static_cast<size_t>(kind)] =
          sample(std::move(list), seed_of(seed_, text_kind_name(kind), key));
    };
    put(TextKind::kBoth, fact.with_both);
    put(TextKind::kHead, fact.with_subject);
    put(TextKind::kTail, std::move(tails));
    put(TextKind::kRandom, random_texts(fact));
  }
  return result;
}

std::span<const FactProblem> TextSource::problems(const std::string& relation) const {
  const auto file = std::ranges::find(files_, relation, &DistantFile::relation);
  if (file == files_.end()) return {};
  return problems_[static_cast<size_t>(file - files_.begin())];
}

TextClozes text_clozes(const FactTexts& texts, std::span<const std::string> names,
                       const Tokenizer& tokenizer, const ModelConfig& config, uint64_t seed,
                       bool only_released) {
  TextClozes result;
  for (const TextKind kind : kTextKinds) {
    for (const TextMask mask : kTextMasks) {
      if (!text_mask_applies(kind, mask)) continue;
      if (only_released && mask != TextMask::kReleased) continue;
      TextCount& count = result.counts.emplace_back();
      count.kind = kind;
      count.mask = mask;
      for (const std::string& text : texts.of(kind)) {
        // A text's choice hangs on nothing but the text, the fact and what is asked.
        const uint64_t choice =
            seed_of(seed, std::string(text_kind_name(kind)) + " " + text_mask_name(mask),
                    text + '\0' + texts.subject + '\0' + texts.object);
        const auto masked = mask_text(text, kind, mask, texts.subject, texts.object, names, choice);
        std::optional<EncodedText> encoded;
        if (masked) encoded = encode(*masked, masks_object(kind, mask), texts, tokenizer, config);
        if (!encoded) {
          ++count.unfit;
        } else if (std::cmp_greater(encoded->cloze.ids.size(), config.max_tokens())) {
          ++count.too_long;
        } else {
          ++count.texts;
          result.asked.push_back(encoded->asked);
          result.clozes.push_back(std::move(encoded->cloze));
        }
      }
    }
  }
  return result;
}

TextActivations text_activations(const Model& model, std::span<const TextClozes> facts,
                                 std::span<const std::vector<std::vector<NeuronId>>> sets,
                                 const MeasureOptions& options) {
  constexpr size_t kClozes = 256;  // of one call: bounds the activations that are held
  struct Owner {
    const Cloze* cloze;
    size_t fact, count;
    bool asked;
  };
  std::vector<Owner> owners;
  TextActivations result;
  result.sums.resize(facts.size());
  result.odds.resize(facts.size());
  for (size_t fact = 0; fact < facts.size(); ++fact) {
    for (const auto& set : sets[fact]) {
      check_exist(model.config(), set);
      result.sums[fact].emplace_back(facts[fact].counts.size(), set.empty() ? std::nan("") : 0.0);
      result.odds[fact].emplace_back(facts[fact].counts.size());
    }
    size_t cloze = 0;
    for (size_t count = 0; count < facts[fact].counts.size(); ++count) {
      for (int64_t i = 0; i < facts[fact].counts[count].texts; ++i) {
        owners.push_back({&facts[fact].clozes[cloze], fact, count, facts[fact].asked[cloze]});
        ++cloze;
      }
    }
  }
  // Texts of equal length stand together, so that they share batches.
  std::ranges::stable_sort(owners, {}, [](const Owner& owner) { return owner.cloze->ids.size(); });
  const int64_t d_ff = model.config().d_ff;
  for (size_t begin = 0; begin < owners.size(); begin += kClozes) {
    const auto part = std::span(owners).subspan(begin, std::min(kClozes, owners.size() - begin));
    std::vector<Cloze> clozes;
    for (const Owner& owner : part) clozes.push_back(*owner.cloze);
    std::vector<Answered> answers;
    const at::Tensor all = mask_activations(model, clozes, options, &answers);
    for (size_t i = 0; i < part.size(); ++i) {
      const float* a =
          all.const_data_ptr<float>() + static_cast<int64_t>(i) * model.config().neurons();
      const Owner& owner = part[i];
      for (size_t s = 0; s < sets[owner.fact].size(); ++s) {
        double sum = 0;
        const std::vector<NeuronId>& set = sets[owner.fact][s];
        for (const NeuronId id : set) sum += a[id.layer * d_ff + id.neuron];
        const double mean = sum / static_cast<double>(set.size());
        result.sums[owner.fact][s][owner.count] += mean;
        if (!owner.asked || set.empty() || !std::isfinite(answers[i].log_odds)) continue;
        OddsSums& odds = result.odds[owner.fact][s][owner.count];
        odds.texts += 1;
        odds.x += answers[i].log_odds;
        odds.y += mean;
        odds.xx += answers[i].log_odds * answers[i].log_odds;
        odds.xy += answers[i].log_odds * mean;
      }
    }
  }
  return result;
}

}  // namespace engram::experiments::texts
