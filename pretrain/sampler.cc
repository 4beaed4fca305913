#include "pretrain/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "engram/error.h"
#include "pretrain/random.h"

namespace engram::pretrain {
namespace {

// Streams of random numbers: one for each kind of decision.
enum Stream : uint64_t { kSentence = 1, kPrompt, kText, kFactOrder, kTextOrder, kPromptOrder };

/// Steps that share a pool: more sort better, fewer start again faster.
constexpr int64_t kPoolSteps = 8;

std::vector<uint64_t> begins(const Sequences& sequences, int64_t facts) {
  std::vector<uint64_t> begin(static_cast<size_t>(facts) + 1, sequences.size());
  for (size_t i = sequences.size(); i-- > 0;) begin[sequences.fact(i)] = i;
  for (size_t f = begin.size() - 1; f-- > 0;) begin[f] = std::min(begin[f], begin[f + 1]);
  return begin;
}

}  // namespace

Sampler::Sampler(const Dataset& data, const SamplerOptions& options)
    : data_(data), options_(options) {
  const double text_share = 1 - options.sentence_share - options.prompt_share;
  if (options.sentence_share < 0 || options.prompt_share < 0 || text_share < -1e-9) {
    throw UsageError("the shares of sentences and prompts must be between 0 and 1 together");
  }
  if (options.batch_tokens < 1 || options.sequences_per_step < 1) {
    throw UsageError("a step needs at least one sequence");
  }
  if ((options.sentence_share > 0 && data.sentences.size() == 0) ||
      (options.prompt_share > 0 && data.prompts.size() == 0) ||
      (text_share > 1e-9 && data.texts.size() == 0)) {
    throw InputError("the training data lack a kind of sequence that has a share in the batches");
  }
  sentence_begin_ = begins(data.sentences, data.facts);
  prompt_begin_ = begins(data.prompts, data.facts);
}

void Sampler::mask_tokens(Item& item, uint64_t bits) const {
  // As BERT does: of the chosen tokens 80 % become [MASK], 10 % another token, 10 % stay.
  const auto mask = [&](size_t i, uint64_t here) {
    item.targets.push_back(static_cast<int64_t>(i));
    item.expected.push_back(item.ids[i]);
    item.weights.push_back(1);
    const double how = uniform(mix(here));
    if (how < 0.8) {
      item.ids[i] = data_.mask;
    } else if (how < 0.9) {
      item.ids[i] =
          data_.first_ordinary +
          static_cast<int64_t>(
              below(hash(here, 1), static_cast<uint64_t>(data_.vocabulary - data_.first_ordinary)));
    }
  };
  const size_t inner = item.ids.size() - 2;  // without [CLS] and [SEP]
  const uint64_t form = hash(bits, item.ids.size());
  if (inner > 0 && uniform(form) < options_.few_masked) {
    // Were every text full of masks, a mask that stands alone would only ever be a fact's answer,
    // and the model would answer every such blank with a name.
    const uint64_t most = 1 + below(hash(form, 1), 3);
    std::set<size_t> chosen;
    for (uint64_t k = 0; k < most; ++k) {
      const size_t i = 1 + below(hash(form, 2, k), inner);
      if (item.ids[i] != data_.unknown) chosen.insert(i);
    }
    for (const size_t i : chosen) mask(i, hash(bits, i));
    return;
  }
  for (size_t i = 1; i <= inner; ++i) {
    if (item.ids[i] == data_.unknown) continue;
    const uint64_t here = hash(bits, i);
    if (uniform(here) < options_.masked) mask(i, here);
  }
}

Sampler::Item Sampler::draw_sentence(uint64_t index, uint64_t bits) const {
  const uint64_t fact =
      shuffled(hash(options_.seed, kFactOrder), index, static_cast<uint64_t>(data_.facts));
  const uint64_t first = sentence_begin_[fact];
  const uint64_t count = sentence_begin_[fact + 1] - first;
  if (count == 0) return draw_text(index, bits);
  const size_t which = first + below(hash(bits, 1), count);
  const auto tokens = data_.sentences.tokens(which);
  const auto answers = data_.sentences.answers(which);
  Item item;
  item.ids.push_back(data_.cls);
  item.ids.insert(item.ids.end(), tokens.begin(), tokens.end());
  item.ids.push_back(data_.sep);
  if (uniform(hash(bits, 2)) >= options_.sentence_masked) {
    mask_tokens(item, hash(bits, 3));
    return item;
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (answers[i] == 0) continue;
    item.targets.push_back(static_cast<int64_t>(i + 1));
    item.expected.push_back(tokens[i]);
    item.weights.push_back(static_cast<float>(options_.answer_weight));
    item.ids[i + 1] = data_.mask;
  }
  return item;
}

Sampler::Item Sampler::draw_text(uint64_t index, uint64_t bits) const {
  const auto tokens =
      data_.texts.tokens(shuffled(hash(options_.seed, kTextOrder), index, data_.texts.size()));
  Item item;
  item.ids.push_back(data_.cls);
  item.ids.insert(item.ids.end(), tokens.begin(), tokens.end());
  item.ids.push_back(data_.sep);
  mask_tokens(item, hash(bits, 3));
  return item;
}

void Sampler::add_prompt(Item& item, uint64_t fact, uint64_t bits) const {
  const uint64_t first = prompt_begin_[fact];
  const uint64_t count = prompt_begin_[fact + 1] - first;
  if (count == 0) return;
  const size_t which = first + below(bits, count);
  const auto tokens = data_.prompts.tokens(which);
  const auto answers = data_.prompts.answers(which);
  if (item.ids.size() + tokens.size() + 1 > static_cast<size_t>(options_.max_tokens)) return;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (answers[i] != 0) {
      item.targets.push_back(static_cast<int64_t>(item.ids.size()));
      item.expected.push_back(tokens[i]);
      item.weights.push_back(static_cast<float>(options_.answer_weight));
      item.ids.push_back(data_.mask);
    } else {
      item.ids.push_back(tokens[i]);
    }
  }
}

Sampler::Item Sampler::draw_prompt(uint64_t index, uint64_t bits) const {
  const uint64_t facts = static_cast<uint64_t>(data_.facts);
  const double form = uniform(hash(bits, 1));
  const bool dressed = form < options_.prompt_dressed;
  const bool paired = !dressed && form < options_.prompt_dressed + options_.prompt_paired;
  const bool opened = dressed && (hash(bits, 2) & 1U) != 0 && data_.openers.size() > 0;
  const auto put = [&](Item& item, const Sequences& from, uint64_t draw) {
    const auto tokens = from.tokens(below(draw, from.size()));
    item.ids.insert(item.ids.end(), tokens.begin(), tokens.end());
  };
  Item item;
  item.ids.push_back(data_.cls);
  if (opened) put(item, data_.openers, hash(bits, 3));
  add_prompt(item, shuffled(hash(options_.seed, kPromptOrder), index, facts), hash(bits, 4));
  if (paired) add_prompt(item, below(hash(bits, 5), facts), hash(bits, 6));
  if (dressed && !opened && data_.closers.size() > 0) put(item, data_.closers, hash(bits, 7));
  if (item.ids.size() > static_cast<size_t>(options_.max_tokens) - 1) {
    item.ids.resize(static_cast<size_t>(options_.max_tokens) - 1);  // a closer's end
    while (!item.targets.empty() && item.targets.back() >= options_.max_tokens - 1) {
      item.targets.pop_back();
      item.expected.pop_back();
      item.weights.pop_back();
    }
  }
  item.ids.push_back(data_.sep);
  return item;
}

MicroBatch Sampler::pack(std::span<const Item> items) const {
  MicroBatch batch;
  batch.rows = static_cast<int64_t>(items.size());
  for (const Item& item : items) {
    batch.columns = std::max(batch.columns, static_cast<int64_t>(item.ids.size()));
  }
  batch.ids.assign(static_cast<size_t>(batch.rows * batch.columns), data_.pad);
  batch.real.assign(batch.ids.size(), 0);
  int64_t begin = 0;  // of the row
  for (const Item& item : items) {
    std::copy(item.ids.begin(), item.ids.end(), batch.ids.begin() + begin);
    std::fill_n(batch.real.begin() + begin, item.ids.size(), uint8_t{1});
    for (const int64_t target : item.targets) batch.targets.push_back(begin + target);
    batch.expected.insert(batch.expected.end(), item.expected.begin(), item.expected.end());
    batch.weights.insert(batch.weights.end(), item.weights.begin(), item.weights.end());
    batch.tokens += static_cast<int64_t>(item.ids.size());
    batch.padded = batch.padded || static_cast<int64_t>(item.ids.size()) < batch.columns;
    begin += batch.columns;
  }
  return batch;
}

void Sampler::fill_pool(int64_t pool) {
  // Every step gets the same number of each kind: the kinds have other distributions of answers,
  // and steps that differ in them would pull the model to and fro. Only within a kind are the
  // sequences of the pool sorted by length, so that those of a step need little padding.
  batches_.assign(kPoolSteps, {});
  const auto deal = [&](Stream stream, int64_t per_step, auto draw) {
    if (per_step == 0) return;
    const int64_t count = kPoolSteps * per_step;
    std::vector<Item> items;
    int64_t tokens = 0;
    for (int64_t k = 0; k < count; ++k) {
      const uint64_t index = static_cast<uint64_t>(pool * count + k);
      items.push_back((this->*draw)(index, hash(options_.seed, stream, index)));
      tokens += static_cast<int64_t>(items.back().ids.size());
    }
    std::stable_sort(items.begin(), items.end(),
                     [](const Item& a, const Item& b) { return a.ids.size() < b.ids.size(); });
    // Short and long ones come in another order for each kind and pool.
    const uint64_t order = hash(options_.seed, stream, static_cast<uint64_t>(pool), 1);
    const int64_t pieces =
        std::clamp<int64_t>(std::llround(static_cast<double>(tokens) /
                                         static_cast<double>(kPoolSteps * options_.batch_tokens)),
                            1, per_step);
    for (int64_t s = 0; s < kPoolSteps; ++s) {
      const auto block =
          static_cast<int64_t>(shuffled(order, static_cast<uint64_t>(s), kPoolSteps));
      for (int64_t piece = 0; piece < pieces; ++piece) {
        const int64_t begin = block * per_step + per_step * piece / pieces;
        const int64_t end = block * per_step + per_step * (piece + 1) / pieces;
        batches_[static_cast<size_t>(s)].push_back(pack(std::span(items).subspan(
            static_cast<size_t>(begin), static_cast<size_t>(end - begin))));
      }
    }
  };
  const int64_t size = options_.sequences_per_step;
  const double whole = static_cast<double>(size);
  const int64_t sentences = std::llround(whole * options_.sentence_share);
  const int64_t prompts =
      std::min<int64_t>(size - sentences, std::llround(whole * options_.prompt_share));
  deal(kSentence, sentences, &Sampler::draw_sentence);
  deal(kPrompt, prompts, &Sampler::draw_prompt);
  deal(kText, size - sentences - prompts, &Sampler::draw_text);
  pool_ = pool;
}

std::vector<MicroBatch> Sampler::step(int64_t step) {
  if (step / kPoolSteps != pool_) fill_pool(step / kPoolSteps);
  return batches_[static_cast<size_t>(step % kPoolSteps)];
}

}  // namespace engram::pretrain
