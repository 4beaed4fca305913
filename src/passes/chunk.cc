#include "passes/chunk.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <tuple>

#include "engram/error.h"

namespace engram {
namespace {

constexpr double kRounding = 1e-9;  // of sums of shares
constexpr double kDealt = 4;        // chunks are dealt evenly to two workers, or to four
constexpr double kFewTokens = 48;   // chunks of fewer make products slow

/// Cuts prompts that may go together, in their order.
void cut_group(std::span<const PromptSize> prompts, const std::vector<size_t>& members,
               std::vector<std::vector<size_t>>& chunks) {
  double all = 0;
  double tokens = 0;
  for (const size_t i : members) {
    all += std::min(prompts[i].share, 1.0);
    tokens += static_cast<double>(prompts[i].tokens);
  }
  double count = std::ceil(std::max(all - kRounding, 1.0));
  count = std::max(count, std::min(kDealt, std::floor(tokens / kFewTokens)));
  if (count > 2) count = kDealt * std::ceil(count / kDealt);
  const double aim = all / count;
  double dealt = 0;   // of all
  double filled = 0;  // of the last chunk
  double full = aim;  // what is dealt when the last chunk is full
  chunks.emplace_back();
  for (const size_t i : members) {
    const double share = std::min(prompts[i].share, 1.0);
    const bool next = dealt >= full - kRounding || filled + share > 1 + kRounding;
    if (next && !chunks.back().empty()) {
      chunks.emplace_back();
      filled = 0;
      full += aim;
    }
    chunks.back().push_back(i);
    filled += share;
    dealt += share;
  }
}

/// Tokens at which the answer is asked or neurons are, ascending, each once.
std::vector<int64_t> target_positions(const Cloze& cloze) {
  std::vector<int64_t> rows = cloze.positions;
  if (!cloze.neurons_at) return rows;
  const auto place = std::ranges::lower_bound(rows, *cloze.neurons_at);
  if (place == rows.end() || *place != *cloze.neurons_at) rows.insert(place, *cloze.neurons_at);
  return rows;
}

}  // namespace

void check_clozes(const ModelConfig& config, std::span<const Cloze> clozes) {
  for (size_t i = 0; i < clozes.size(); ++i) {
    const Cloze& cloze = clozes[i];
    const auto tokens = static_cast<int64_t>(cloze.ids.size());
    const std::string name = "prompt " + std::to_string(i) + ": ";
    if (tokens < 1 || tokens > config.max_tokens()) {
      throw InputError(name + "has " + std::to_string(tokens) + " tokens, the model takes 1 to " +
                       std::to_string(config.max_tokens()));
    }
    if (cloze.positions.empty() || cloze.positions.size() != cloze.answer.size()) {
      throw InputError(name + "has " + std::to_string(cloze.positions.size()) + " positions and " +
                       std::to_string(cloze.answer.size()) + " answer tokens");
    }
    int64_t last = -1;
    for (const int64_t position : cloze.positions) {
      if (position <= last || position >= tokens) {
        throw InputError(name + "mask position " + std::to_string(position) +
                         " is out of the prompt or out of order");
      }
      last = position;
    }
    const int64_t at = cloze.neurons_at.value_or(0);
    if (at < 0 || at >= tokens) {
      throw InputError(name + "neurons at token " + std::to_string(at) + ", the prompt has " +
                       std::to_string(tokens));
    }
    for (const std::vector<int64_t>* ids : {&cloze.ids, &cloze.answer, &cloze.contrast}) {
      for (const int64_t id : *ids) {
        if (id < 0 || id >= config.vocabulary) {
          throw InputError(name + "token id " + std::to_string(id) +
                           " lies outside the vocabulary of " + std::to_string(config.vocabulary));
        }
      }
    }
  }
}

int64_t Chunk::longest() const {
  int64_t most = 0;
  for (int64_t i = 0; i < prompts; ++i) most = std::max(most, tokens(i));
  return most;
}

bool Chunk::targets_last() const {
  for (int64_t i = 0; i < prompts; ++i) {
    if (position[static_cast<size_t>(i * targets)] != tokens(i) - targets) return false;
  }
  return true;
}

std::vector<int64_t> Chunk::asked_rows(const std::vector<int64_t>& prompt) const {
  std::vector<int64_t> rows;
  rows.reserve(prompt.size() * static_cast<size_t>(asked));
  for (size_t i = 0; i < prompt.size(); ++i) {
    for (int64_t j = 0; j < asked; ++j) {
      const int64_t row =
          asked_row.empty() ? j : asked_row[static_cast<size_t>(prompt[i] * asked + j)];
      rows.push_back(static_cast<int64_t>(i) * targets + row);
    }
  }
  return rows;
}

Chunk make_chunk(std::span<const Cloze> clozes, const std::vector<size_t>& index) {
  const auto append = [](std::vector<int64_t>& to, const std::vector<int64_t>& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  Chunk chunk;
  for (const size_t i : index) {
    const Cloze& cloze = clozes[i];
    ++chunk.prompts;
    const std::vector<int64_t> rows = target_positions(cloze);
    chunk.targets = static_cast<int64_t>(rows.size());
    chunk.asked = static_cast<int64_t>(cloze.positions.size());
    append(chunk.ids, cloze.ids);
    chunk.begin.push_back(static_cast<int64_t>(chunk.ids.size()));
    append(chunk.position, rows);
    if (cloze.neurons_at) {
      const auto row_of = [&](int64_t position) {
        return std::ranges::find(rows, position) - rows.begin();
      };
      chunk.neuron_row.push_back(row_of(*cloze.neurons_at));
      for (const int64_t position : cloze.positions) chunk.asked_row.push_back(row_of(position));
    }
    append(chunk.answer, cloze.answer);
    append(chunk.contrast, cloze.contrast);
  }
  return chunk;
}

std::vector<PromptSize> sizes_of(std::span<const Cloze> clozes, int64_t most) {
  std::vector<PromptSize> sizes;
  for (const Cloze& cloze : clozes) {
    const auto tokens = static_cast<double>(cloze.ids.size());
    PromptSize size;
    size.tokens = static_cast<int64_t>(cloze.ids.size());
    const std::vector<int64_t> targets = target_positions(cloze);
    size.targets = static_cast<int64_t>(targets.size());
    size.last = targets.front() == size.tokens - size.targets;
    size.asked = static_cast<int64_t>(cloze.positions.size());
    size.apart = cloze.neurons_at.has_value();
    size.share = tokens / static_cast<double>(most);
    size.work = tokens;
    sizes.push_back(size);
  }
  return sizes;
}

std::vector<std::vector<size_t>> cut_chunks(std::span<const PromptSize> prompts) {
  std::map<std::tuple<int64_t, int64_t, bool>, std::vector<size_t>> groups;
  for (size_t i = 0; i < prompts.size(); ++i) {
    groups[{prompts[i].targets, prompts[i].asked, prompts[i].apart}].push_back(i);
  }
  std::vector<std::vector<size_t>> chunks;
  for (auto& [kind, members] : groups) {
    std::ranges::stable_sort(members, std::ranges::greater(),
                             [&](size_t i) { return prompts[i].tokens; });
    cut_group(prompts, members, chunks);
  }
  std::ranges::stable_sort(chunks, std::ranges::greater(), [&](const std::vector<size_t>& chunk) {
    return std::accumulate(chunk.begin(), chunk.end(), 0.0,
                           [&](double sum, size_t i) { return sum + prompts[i].work; });
  });
  return chunks;
}

}  // namespace engram
