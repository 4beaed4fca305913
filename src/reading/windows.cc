#include "reading/windows.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "engram/base/utf8.h"
#include "engram/error.h"
#include "model/parallel.h"
#include "text/jsonl.h"

namespace engram {
namespace {

constexpr int64_t kBatchTokens = 1024;  // products stay in the cache

int64_t words_of(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\r';
    if (!space && !inside) ++words;
    inside = !space;
  }
  return words;
}

/// How many batches may be held at once.
int workers_for(const Model& model, int threads, int64_t memory_bytes) {
  const ModelConfig& c = model.config();
  const int64_t tokens = std::max<int64_t>(kBatchTokens, c.max_tokens());
  const int64_t bytes = static_cast<int64_t>(sizeof(float)) * tokens *
                        (4 * c.d_ff + 12 * c.d_model + c.heads * c.max_tokens());
  const int64_t fitting = memory_budget(memory_bytes) / bytes;
  return static_cast<int>(
      std::clamp<int64_t>(fitting, 1, model.device().is_cpu() ? worker_count(threads) : 1));
}

}  // namespace

bool is_text(const Tokenizer& tokenizer, int64_t id) {
  return !tokenizer.is_special(id) || id == tokenizer.unknown_id();
}

WindowReader::WindowReader(const Tokenizer& tokenizer, const ModelConfig& config,
                           const CorpusOptions& options)
    : tokenizer_(tokenizer), limit_(options.limit), lines_(options.file, kLongestLine) {
  const std::vector<int64_t> whole = tokenizer.encode("a", true);
  const std::vector<int64_t> plain = tokenizer.encode("a", false);
  const auto found = std::search(whole.begin(), whole.end(), plain.begin(), plain.end());
  if (plain.empty() || found == whole.end()) {
    throw InputError("the tokenizer changes a text where it puts special tokens around it");
  }
  before_.assign(whole.begin(), found);
  if (!config.causal()) behind_.assign(found + std::ssize(plain), whole.end());
  const auto special = static_cast<int64_t>(before_.size() + behind_.size());
  room_ = std::min(options.window, config.max_tokens()) - special;
  if (room_ < 1) {
    throw UsageError("got windows of " + std::to_string(options.window) +
                     " tokens, expected more than the " + std::to_string(special) +
                     " special ones around a text");
  }
}

void WindowReader::add_line(std::vector<Window>& windows) {
  const std::vector<int64_t> ids = tokenizer_.encode(line_, false);
  counts_.words += words_of(line_);
  const auto all = static_cast<int64_t>(ids.size());
  if (all > room_) ++counts_.cut;
  for (int64_t begin = 0; begin < all; begin += room_) {
    const int64_t end = std::min(all, begin + room_);
    Window window;
    window.line = counts_.lines;
    window.ids = before_;
    window.first = static_cast<int64_t>(before_.size());
    window.ids.insert(window.ids.end(), ids.begin() + begin, ids.begin() + end);
    window.ids.insert(window.ids.end(), behind_.begin(), behind_.end());
    window.count = end - begin;
    if (end < all) window.next = ids[static_cast<size_t>(end)];
    ++counts_.windows;
    counts_.tokens += window.count;
    windows.push_back(std::move(window));
  }
}

std::vector<Window> WindowReader::next(int64_t tokens) {
  std::vector<Window> windows;
  const int64_t wanted = counts_.tokens + tokens;
  while (counts_.tokens < wanted && (limit_ == 0 || counts_.lines < limit_) && lines_.next(line_)) {
    ++counts_.lines;
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    if (lines_.length() > kLongestLine || invalid_utf8(line_) != std::string_view::npos) {
      ++counts_.skipped;
      continue;
    }
    if (!is_blank(line_)) add_line(windows);
  }
  return windows;
}

WindowRunner::WindowRunner(const Model& model, int threads, int64_t memory_bytes)
    : workers_(workers_for(model, threads, memory_bytes)) {
  model.prepare_products();
  for (int i = 0; i < workers_; ++i) passes_.emplace_back(model, Target::kProbability);
}

void WindowRunner::run(std::span<const Window> windows,
                       const std::function<void(const std::vector<size_t>& members,
                                                const Chunk& chunk, Passes& passes)>& work) {
  std::vector<PromptSize> sizes;
  for (const Window& window : windows) {
    const auto tokens = static_cast<double>(window.ids.size());
    PromptSize size;
    size.tokens = static_cast<int64_t>(window.ids.size());
    size.share = tokens / static_cast<double>(kBatchTokens);
    size.work = tokens * tokens;
    sizes.push_back(size);
  }
  const std::vector<std::vector<size_t>> batches = cut_chunks(sizes);
  run_tasks(batches.size(), workers_, 1, [&](size_t task, size_t worker) {
    const at::NoGradGuard no_grad;
    Chunk chunk;
    for (const size_t i : batches[task]) {
      chunk.ids.insert(chunk.ids.end(), windows[i].ids.begin(), windows[i].ids.end());
      chunk.begin.push_back(static_cast<int64_t>(chunk.ids.size()));
      ++chunk.prompts;
    }
    work(batches[task], chunk, passes_[worker]);
  });
}

}  // namespace engram
