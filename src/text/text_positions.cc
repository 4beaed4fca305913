#include "text/text_positions.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "engram/base/lines.h"
#include "engram/error.h"

namespace engram {
namespace {

constexpr size_t kLongest = 8192;  // bytes of a line that are looked at
constexpr uint64_t kSpare = 2;     // lines drawn per position, because some have none to give

constexpr int kRounds = 8;  // through the drawn lines, where a short text has few

/// A line of the text; it is drawn as often as several of its bytes are.
struct DrawnLine {
  int64_t number = 0;
  std::string text;
};

/// Uniform in (0, 1).
double uniform(Random& random) {
  return (static_cast<double>(random.next() >> 11U) + 0.5) * 0x1.0p-53;
}

/// The lines of `count` different bytes of the text, drawn in one pass that jumps from one draw to
/// the next (Algorithm L, Li 1994): a text of any size streams through.
class LineSample {
 public:
  LineSample(uint64_t count, Random& random) : count_(count), random_(random) {}

  void offer(int64_t number, const std::string& line) {
    seen_ += line.size() + 1;  // its newline is a byte too
    while (next_ < seen_) {
      if (drawn_.size() < count_) {
        drawn_.push_back({number, line});
        ++next_;
        if (drawn_.size() == count_) jump(uniform(random_));
      } else {
        drawn_[random_.below(count_)] = {number, line};
        ++next_;
        jump(uniform(random_));
      }
    }
  }

  std::vector<DrawnLine> take() {
    random_.shuffle(drawn_);
    return std::move(drawn_);
  }

 private:
  void jump(double u) {
    largest_ *= std::exp(std::log(u) / static_cast<double>(count_));
    const double bytes = std::floor(std::log(uniform(random_)) / std::log1p(-largest_));
    next_ = bytes < 1e18 ? next_ + static_cast<uint64_t>(bytes) : UINT64_MAX;
  }

  uint64_t count_;
  Random& random_;
  std::vector<DrawnLine> drawn_;
  uint64_t seen_ = 0;   ///< bytes
  uint64_t next_ = 0;   ///< byte that is drawn next
  double largest_ = 1;  ///< of the random keys that the drawn bytes would have
};

std::vector<DrawnLine> draw_lines(const std::filesystem::path& path, uint64_t count,
                                  Random& random) {
  if (!std::filesystem::is_regular_file(path)) {
    throw FileError(path.string() + ": is not a regular file, expected lines of plain text");
  }
  LineReader reader(path, kLongest);
  LineSample sample(count, random);
  std::string line;
  int64_t number = 0;
  while (reader.next(line)) {
    Interrupt::check();
    ++number;
    // Where a long line was cut, the word at the cut is left out.
    if (reader.length() > line.size() + 2) line.resize(line.rfind(' ') + 1);
    sample.offer(number, line);
  }
  return sample.take();
}

/// Token ids without special tokens; none for a line that is no text.
std::vector<int64_t> plain_ids(const Tokenizer& tokenizer, const std::string& text) {
  try {
    return tokenizer.encode(text, false);
  } catch (const InputError&) {
    return {};
  }
}

/// Makes prompts of token ids around a position.
class Masker {
 public:
  Masker(const Tokenizer& tokenizer, const PromptForm& form, int64_t window)
      : tokenizer_(tokenizer), causal_(form.causal) {
    // The special tokens that stand around any text.
    const std::vector<int64_t> plain = tokenizer.encode("a", false);
    const std::vector<int64_t> whole = tokenizer.encode("a", true);
    const auto found = std::search(whole.begin(), whole.end(), plain.begin(), plain.end());
    before_.assign(whole.begin(), found);
    if (found != whole.end()) {
      after_.assign(found + static_cast<std::ptrdiff_t>(plain.size()), whole.end());
    }
    room_ =
        std::min(window, form.max_tokens) - static_cast<int64_t>(before_.size() + after_.size());
    if (room_ < 2) {
      throw InputError("text positions need room for at least two tokens, got " +
                       std::to_string(room_));
    }
  }

  /// May the token at `place` be asked for? A causal model needs something before it.
  [[nodiscard]] bool counts(const std::vector<int64_t>& ids, size_t place) const {
    if (causal_ && place == 0 && before_.empty()) return false;
    return !tokenizer_.is_special(ids[place]) && ids[place] != tokenizer_.unknown_id().value_or(-1);
  }

  [[nodiscard]] Cloze ask(const std::vector<int64_t>& ids, int64_t place) const {
    return causal_ ? up_to(ids, place) : mask(ids, place);
  }

 private:
  [[nodiscard]] Cloze up_to(const std::vector<int64_t>& ids, int64_t place) const {
    Cloze cloze;
    cloze.ids = before_;
    cloze.ids.insert(cloze.ids.end(), ids.begin() + std::max<int64_t>(0, place - room_),
                     ids.begin() + place);
    cloze.positions = {static_cast<int64_t>(cloze.ids.size()) - 1};
    cloze.answer = {ids[static_cast<size_t>(place)]};
    return cloze;
  }

  [[nodiscard]] Cloze mask(const std::vector<int64_t>& ids, int64_t place) const {
    const auto size = static_cast<int64_t>(ids.size());
    const int64_t length = std::min(room_, size);
    const int64_t begin = std::clamp<int64_t>(place - length / 2, 0, size - length);
    Cloze cloze;
    cloze.ids = before_;
    cloze.ids.insert(cloze.ids.end(), ids.begin() + begin, ids.begin() + begin + length);
    cloze.ids.insert(cloze.ids.end(), after_.begin(), after_.end());
    const int64_t position = static_cast<int64_t>(before_.size()) + place - begin;
    cloze.positions = {position};
    cloze.answer = {ids[static_cast<size_t>(place)]};
    cloze.ids[static_cast<size_t>(position)] = tokenizer_.mask_id();
    return cloze;
  }

  const Tokenizer& tokenizer_;
  bool causal_ = false;
  std::vector<int64_t> before_, after_;
  int64_t room_ = 0;  ///< tokens of the text that a prompt takes
};

}  // namespace

std::vector<Cloze> text_positions(const std::filesystem::path& path, const Tokenizer& tokenizer,
                                  const PromptForm& form, const TextPositionOptions& options) {
  const Masker masker(tokenizer, form, options.window);
  Random random(options.seed);
  std::vector<Cloze> clozes;
  if (options.count <= 0) return clozes;
  std::set<std::pair<int64_t, uint64_t>> taken;  // line and token
  const std::vector<DrawnLine> lines =
      draw_lines(path, kSpare * static_cast<uint64_t>(options.count), random);
  for (int round = 0; round < kRounds; ++round) {
    for (const DrawnLine& line : lines) {
      Interrupt::check();
      if (!std::cmp_less(clozes.size(), options.count)) return clozes;
      const std::vector<int64_t> ids = plain_ids(tokenizer, line.text);
      if (ids.size() < 2) continue;  // blank, or a token without anything around it
      const uint64_t place = random.below(ids.size());
      if (!masker.counts(ids, place) || !taken.emplace(line.number, place).second) continue;
      clozes.push_back(masker.ask(ids, static_cast<int64_t>(place)));
    }
  }
  if (clozes.empty()) {
    throw InputError(path.string() +
                     ": has no token that can be masked, expected lines of plain text");
  }
  return clozes;
}

}  // namespace engram
