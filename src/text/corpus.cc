#include "engram/text/corpus.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <utility>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/base/lines.h"
#include "engram/error.h"
#include "engram/text/prompt.h"
#include "text/words.h"

namespace engram {
namespace {

struct Word {
  size_t begin = 0;
  size_t end = 0;
};

/// Runs of ASCII letters that no digit and no other letter touches; none in a line that holds a
/// mask already.
std::vector<Word> maskable_words(const std::string& line) {
  std::vector<Word> words;
  if (line.find("[MASK]") != std::string::npos) return words;
  for (size_t i = 0; i < line.size();) {
    if (!is_word_byte(static_cast<unsigned char>(line[i]))) {
      ++i;
      continue;
    }
    const size_t begin = i;
    bool letters = true;
    for (; i < line.size() && is_word_byte(static_cast<unsigned char>(line[i])); ++i) {
      letters = letters && std::isalpha(static_cast<unsigned char>(line[i])) != 0;
    }
    if (letters) words.push_back({begin, i});
  }
  return words;
}

/// No model takes a line as long as this.
constexpr size_t kLongestCorpusLine = size_t{1} << 20U;

/// What can be masked in the line just read; nothing in one of which only the start is at hand.
std::vector<Word> words_of_line(const LineReader& file, const std::string& line) {
  return file.length() > line.size() ? std::vector<Word>() : maskable_words(line);
}

void check_corpus(const std::filesystem::path& path, const CorpusPrompts& corpus) {
  if (!corpus.prompts.empty()) return;
  throw InputError(path.string() + ": has no line with a word that can be masked (" +
                   std::to_string(corpus.lines) + " lines read), expected one sentence per line");
}

/// `line` with a mask in the place of `word`; a causal model reads it up to there.
std::string masked_line(const std::string& line, const Word& word, const PromptForm& form) {
  return line.substr(0, word.begin) + "[MASK]" + (form.causal ? "" : line.substr(word.end));
}

/// `line` with a random word masked that is one token; none: no such word, or too long.
std::optional<Cloze> mask_one_token(const std::string& line, const Tokenizer& tokenizer,
                                    const PromptForm& form, Random& random) {
  std::vector<Word> words = maskable_words(line);
  random.shuffle(words);
  // A mask in the place of one token leaves the length as it is, but for a space that it swallows:
  // a line far too long need not be tried word by word.
  constexpr int64_t kSlack = 4;
  try {
    const size_t tokens = tokenizer.encode(line).size();
    if (!form.causal && std::cmp_greater(tokens, form.max_tokens + kSlack)) return std::nullopt;
  } catch (const InputError&) {
    return std::nullopt;  // no text
  }
  for (const Word& word : words) {
    const std::string answer = line.substr(word.begin, word.end - word.begin);
    try {
      Cloze cloze = encode_cloze(tokenizer, masked_line(line, word, form), answer, form, "");
      if (cloze.answer.size() == 1) return cloze;
    } catch (const InputError&) {
      continue;  // a word that the vocabulary does not hold; another one may do
    }
  }
  return std::nullopt;
}

}  // namespace

CorpusPrompts read_corpus(const std::filesystem::path& path, const Tokenizer& tokenizer,
                          const PromptForm& form, int64_t limit, uint64_t seed) {
  LineReader file(path, kLongestCorpusLine);
  CorpusPrompts corpus;
  Random random(seed);
  std::string line;
  while (corpus.lines < limit && file.next(line)) {
    Interrupt::check();
    ++corpus.lines;
    const std::vector<Word> words = words_of_line(file, line);
    if (words.empty()) {
      ++corpus.skipped;
      continue;
    }
    const Word word = words[random.below(words.size())];
    try {
      // Only the activations count: one place stands for the word, whatever tokens it has.
      Cloze cloze = encode_open(tokenizer, masked_line(line, word, form), form,
                                path.string() + ":" + std::to_string(corpus.lines));
      cloze.answer = {cloze.ids.back()};
      corpus.prompts.push_back(std::move(cloze));
    } catch (const InputError&) {
      ++corpus.skipped;
    }
  }
  check_corpus(path, corpus);
  return corpus;
}

CorpusPrompts sample_corpus(const std::filesystem::path& path, const Tokenizer& tokenizer,
                            const PromptForm& form, int64_t limit, uint64_t seed) {
  LineReader file(path, kLongestCorpusLine);
  CorpusPrompts corpus;
  Random random(seed);
  std::vector<std::pair<int64_t, Cloze>> kept;
  uint64_t usable = 0;
  std::string line;
  while (file.next(line)) {
    Interrupt::check();
    ++corpus.lines;
    // Reservoir sampling: of all lines with a word only those that are drawn are encoded.
    if (words_of_line(file, line).empty()) {
      ++corpus.skipped;
      continue;
    }
    const bool free = std::cmp_less(kept.size(), limit);
    const uint64_t place = free ? kept.size() : random.below(usable + 1);
    if (!std::cmp_less(place, limit)) {
      ++usable;
      continue;
    }
    std::optional<Cloze> cloze = mask_one_token(line, tokenizer, form, random);
    if (!cloze) {
      ++corpus.skipped;
      continue;
    }
    ++usable;
    if (free) kept.emplace_back();
    kept[place] = {corpus.lines, std::move(*cloze)};
  }
  std::ranges::sort(kept, {}, &std::pair<int64_t, Cloze>::first);
  for (auto& [number, cloze] : kept) corpus.prompts.push_back(std::move(cloze));
  check_corpus(path, corpus);
  return corpus;
}

}  // namespace engram
