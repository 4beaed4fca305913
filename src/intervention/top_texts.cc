#include "engram/intervention/top_texts.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "engram/base/interrupt.h"
#include "engram/base/lines.h"
#include "engram/base/utf8.h"
#include "engram/error.h"
#include "model/parallel.h"
#include "passes/chunk.h"
#include "passes/passes.h"
#include "text/jsonl.h"

namespace engram {
namespace {

// Texts that are run together: few at first, so that there soon is something to beat and little of
// what comes later has to be held until it is compared.
constexpr size_t kFirstTexts = 128;
constexpr size_t kMostTexts = 4096;
constexpr int64_t kTextTokens = 1024;  // products stay in the cache
constexpr size_t kEncodedTogether = 64;

struct Text {
  int64_t line = 0;
  std::string text;
  std::vector<int64_t> ids;
};

int64_t count_words(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\r';
    if (!space && !inside) ++words;
    inside = !space;
  }
  return words;
}

/// The sentences of a line: cut behind . ! ? (and closing signs) before a space and a capital.
std::vector<std::string_view> sentences_of(std::string_view line) {
  constexpr std::string_view kCloses = "\"')]";
  std::vector<std::string_view> sentences;
  size_t begin = 0;
  for (size_t at = 0; at < line.size(); ++at) {
    if (std::string_view(".!?").find(line[at]) == std::string_view::npos) continue;
    size_t end = at + 1;
    while (end < line.size() && kCloses.find(line[end]) != std::string_view::npos) ++end;
    if (end + 1 >= line.size() || line[end] != ' ') continue;
    const char next = line[end + 1];
    if (next != '"' && next != '(' && (next < 'A' || next > 'Z')) continue;
    sentences.push_back(line.substr(begin, end - begin));
    begin = end + 1;
    at = end;
  }
  if (begin < line.size()) sentences.push_back(line.substr(begin));
  return sentences;
}

/// Reads lines and makes texts of them that the model takes.
class TextReader {
 public:
  TextReader(const Tokenizer& tokenizer, int64_t longest, const std::filesystem::path& file,
             const TopTextsOptions& options, int workers)
      : tokenizer_(tokenizer),
        longest_(longest),
        lines_(file, kLongestLine),
        first_(options.first),
        limit_(options.limit),
        workers_(workers) {
    for (int64_t line = 0; line < first_ && lines_.next(line_); ++line) {
    }
  }

  /// About `count` more texts (a cut line gives several); empty at the end.
  std::vector<Text> next(size_t count, TopTexts& seen) {
    std::vector<Text> raw;
    while (raw.size() < count && (limit_ == 0 || seen.lines < limit_) && lines_.next(line_)) {
      ++seen.lines;
      if (!line_.empty() && line_.back() == '\r') line_.pop_back();
      if (is_blank(line_)) continue;
      if (lines_.length() > kLongestLine || invalid_utf8(line_) != std::string_view::npos) {
        ++seen.skipped;
        continue;
      }
      raw.push_back({first_ + seen.lines, line_, {}});
    }
    std::vector<std::vector<Text>> made(raw.size());
    std::vector<Counts> counts(raw.size());
    run_tasks((raw.size() + kEncodedTogether - 1) / kEncodedTogether, workers_, [&](size_t task) {
      const size_t end = std::min(raw.size(), (task + 1) * kEncodedTogether);
      for (size_t i = task * kEncodedTogether; i < end; ++i) {
        made[i] = encode(std::move(raw[i]), counts[i]);
      }
    });
    std::vector<Text> texts;
    std::set<std::string_view> known;  // a text that comes again within the chunk is one text
    for (size_t i = 0; i < made.size(); ++i) {
      seen.skipped += counts[i].skipped;
      seen.cut += counts[i].cut;
      for (Text& text : made[i]) {
        seen.words += count_words(text.text);
        // A tokenizer without special tokens can leave nothing of a text: it has no activation.
        seen.tokens += static_cast<int64_t>(text.ids.size());
        ++seen.texts;
        if (text.ids.empty()) continue;
        if (known.insert(text.text).second) texts.push_back(text);
      }
    }
    ended_ = made.empty();
    return texts;
  }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  struct Counts {
    int64_t cut = 0;
    int64_t skipped = 0;
  };
  [[nodiscard]] bool fits(const std::vector<int64_t>& ids) const {
    return std::cmp_less_equal(ids.size(), longest_);
  }
  [[nodiscard]] std::vector<Text> encode(Text whole, Counts& counts) const {
    whole.ids = tokenizer_.encode(whole.text);
    std::vector<Text> texts;
    if (fits(whole.ids)) {
      texts.push_back(std::move(whole));
      return texts;
    }
    ++counts.cut;
    Text piece{whole.line, "", {}};
    const auto close = [&] {
      if (!piece.text.empty()) texts.push_back(std::move(piece));
      piece = {whole.line, "", {}};
    };
    for (const std::string_view sentence : sentences_of(whole.text)) {
      std::string longer = piece.text;
      if (!longer.empty()) longer += ' ';
      longer += sentence;
      std::vector<int64_t> ids = tokenizer_.encode(longer);
      if (!fits(ids)) {
        close();
        longer = sentence;
        ids = tokenizer_.encode(longer);
      }
      if (!fits(ids)) {
        ++counts.skipped;
      } else if (!is_blank(longer)) {
        piece.text = std::move(longer);
        piece.ids = std::move(ids);
      }
    }
    close();
    return texts;
  }

  const Tokenizer& tokenizer_;
  int64_t longest_;
  LineReader lines_;
  std::string line_;
  int64_t first_;
  int64_t limit_;
  int workers_;
  bool ended_ = false;
};

/// The wanted neurons of one layer.
struct LayerNeurons {
  std::vector<size_t> index;  ///< among all wanted ones
  at::Tensor rows;            ///< [n] int64 on the model's device
};

/// A text that may be among a neuron's best.
struct Candidate {
  size_t neuron = 0;
  float value = 0;
  size_t text = 0;  ///< of the chunk
  std::vector<float> values;
};

/// A text that is.
struct Kept {
  float value = 0;
  int64_t line = 0;
  std::string text;
  std::vector<float> values;  ///< [tokens]
};

/// The extreme texts of one end, for every neuron.
class Leaders {
 public:
  Leaders(size_t neurons, int64_t top, bool lowest)
      : top_(static_cast<size_t>(top)), lowest_(lowest), kept_(neurons) {}

  [[nodiscard]] bool better(float a, float b) const { return lowest_ ? a < b : a > b; }
  /// May a text with this value still get in?
  [[nodiscard]] bool open(size_t neuron, float value) const {
    const std::vector<Kept>& list = kept_[neuron];
    return list.size() < top_ || better(value, list.back().value);
  }
  /// Texts must come in the order of the file where values are equal.
  void add(Candidate&& candidate, const Text& text) {
    if (!open(candidate.neuron, candidate.value)) return;
    std::vector<Kept>& list = kept_[candidate.neuron];
    if (std::ranges::find(list, text.text, &Kept::text) != list.end()) return;
    const auto place = std::ranges::find_if(
        list, [&](const Kept& kept) { return better(candidate.value, kept.value); });
    list.insert(place, {candidate.value, text.line, text.text, std::move(candidate.values)});
    if (list.size() > top_) list.pop_back();
  }
  [[nodiscard]] const std::vector<Kept>& of(size_t neuron) const { return kept_[neuron]; }
  [[nodiscard]] bool lowest() const { return lowest_; }
  [[nodiscard]] size_t top() const { return top_; }

 private:
  size_t top_;
  bool lowest_;
  std::vector<std::vector<Kept>> kept_;
};

class TextRunner {
 public:
  TextRunner(const Model& model, const Tokenizer& tokenizer, std::span<const NeuronId> neurons)
      : tokenizer_(tokenizer) {
    model.prepare_products();
    layers_.resize(static_cast<size_t>(model.config().layers));
    std::vector<std::vector<int64_t>> rows(layers_.size());
    for (size_t i = 0; i < neurons.size(); ++i) {
      const auto layer = static_cast<size_t>(neurons[i].layer);
      layers_[layer].index.push_back(i);
      rows[layer].push_back(neurons[i].neuron);
      highest_ = std::max<int64_t>(highest_, neurons[i].layer);
    }
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      layers_[layer].rows = at::tensor(rows[layer], at::kLong).to(model.device());
    }
  }

  /// True for a token that stands for a piece of the text.
  [[nodiscard]] bool counts(int64_t id) const {
    return !tokenizer_.is_special(id) || id == tokenizer_.unknown_id();
  }

  /// Candidates of a batch for both ends, at most as many for a neuron as can be kept.
  void run(Passes& passes, const std::vector<Text>& texts, std::span<const size_t> batch,
           const Leaders& high, const Leaders& low, std::vector<Candidate>& highs,
           std::vector<Candidate>& lows) const {
    const at::NoGradGuard no_grad;
    Chunk chunk;
    std::vector<bool> special;
    for (const size_t i : batch) {
      chunk.ids.insert(chunk.ids.end(), texts[i].ids.begin(), texts[i].ids.end());
      chunk.begin.push_back(static_cast<int64_t>(chunk.ids.size()));
      ++chunk.prompts;
      for (const int64_t token : texts[i].ids) special.push_back(!counts(token));
    }
    passes.read_activations(chunk, highest_, [&](int64_t layer, const at::Tensor& a) {
      const LayerNeurons& wanted = layers_[static_cast<size_t>(layer)];
      if (wanted.index.empty()) return;
      // [n, rows]
      const at::Tensor values = a.index_select(1, wanted.rows).t().to(at::kCPU).contiguous();
      collect(values, special, wanted, chunk, batch, high, highs);
      collect(values, special, wanted, chunk, batch, low, lows);
    });
  }

 private:
  static void collect(const at::Tensor& values, const std::vector<bool>& special,
                      const LayerNeurons& wanted, const Chunk& chunk, std::span<const size_t> batch,
                      const Leaders& leaders, std::vector<Candidate>& candidates) {
    const float* row = values.const_data_ptr<float>();
    for (const size_t neuron : wanted.index) {
      std::vector<std::pair<float, size_t>> open;  // value and place in the batch
      for (size_t b = 0; b < batch.size(); ++b) {
        bool any = false;
        float extreme = 0;
        for (int64_t t = chunk.begin[b]; t < chunk.begin[b + 1]; ++t) {
          if (special[static_cast<size_t>(t)] || (any && !leaders.better(row[t], extreme))) {
            continue;
          }
          extreme = row[t];
          any = true;
        }
        if (any && leaders.open(neuron, extreme)) open.emplace_back(extreme, b);
      }
      std::ranges::stable_sort(
          open, [&](const auto& x, const auto& y) { return leaders.better(x.first, y.first); });
      if (open.size() > leaders.top()) open.resize(leaders.top());
      for (const auto& [value, b] : open) {
        candidates.push_back(
            {neuron, value, batch[b], {row + chunk.begin[b], row + chunk.begin[b + 1]}});
      }
      row += chunk.rows();
    }
  }

  const Tokenizer& tokenizer_;
  std::vector<LayerNeurons> layers_;
  int64_t highest_ = 0;
};

/// Texts of about equal lengths in batches, those with the most work first.
std::vector<std::vector<size_t>> batches_of(const std::vector<Text>& texts) {
  std::vector<PromptSize> sizes;
  for (const Text& text : texts) {
    const auto tokens = static_cast<double>(text.ids.size());
    PromptSize size;
    size.tokens = static_cast<int64_t>(text.ids.size());
    size.share = tokens / static_cast<double>(kTextTokens);
    size.work = tokens * tokens;
    sizes.push_back(size);
  }
  return cut_chunks(sizes);
}

void check_neurons(const ModelConfig& config, std::span<const NeuronId> neurons) {
  std::set<NeuronId> seen;
  for (const NeuronId id : neurons) {
    const std::string name = "neuron " + neuron_name(id);
    if (id.layer < 0 || id.layer >= config.layers || id.neuron < 0 || id.neuron >= config.d_ff) {
      throw InputError(name + " does not exist: the model has layers 0.." +
                       std::to_string(config.layers - 1) + " of neurons 0.." +
                       std::to_string(config.d_ff - 1));
    }
    if (!seen.insert(id).second) throw InputError(name + " appears twice");
  }
  if (neurons.empty()) throw InputError("got no neuron, expected at least one");
}

/// How many batches may be held at once.
int workers_for(const Model& model, size_t neurons, const MeasureOptions& options) {
  const ModelConfig& c = model.config();
  const int64_t tokens = std::max<int64_t>(kTextTokens, c.max_tokens());
  const int64_t bytes =
      static_cast<int64_t>(sizeof(float)) * tokens *
      (3 * c.d_ff + 12 * c.d_model + c.heads * c.max_tokens() + 2 * static_cast<int64_t>(neurons));
  const int64_t fitting = memory_budget(options.memory_bytes) / bytes;
  return static_cast<int>(
      std::clamp<int64_t>(fitting, 1, model.device().is_cpu() ? worker_count(options.threads) : 1));
}

std::vector<TextExample> examples(const std::vector<Kept>& list, const Tokenizer& tokenizer,
                                  const TextRunner& runner) {
  std::vector<TextExample> result;
  for (const Kept& kept : list) {
    TextExample& example = result.emplace_back();
    example.activation = kept.value;
    example.line = kept.line;
    example.text = kept.text;
    const std::vector<int64_t> ids = tokenizer.encode(kept.text);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!runner.counts(ids[i])) continue;
      example.tokens.emplace_back(tokenizer.token_of(ids[i]), kept.values[i]);
    }
  }
  return result;
}

/// Puts the candidates of all batches in the order of the file.
void add_all(std::vector<std::vector<Candidate>>& batches, const std::vector<Text>& texts,
             Leaders& leaders) {
  std::vector<Candidate> all;
  for (std::vector<Candidate>& batch : batches) {
    std::ranges::move(batch, std::back_inserter(all));
  }
  std::ranges::stable_sort(all, {}, &Candidate::text);
  for (Candidate& candidate : all) {
    const Text& text = texts[candidate.text];
    leaders.add(std::move(candidate), text);
  }
}

}  // namespace

TopTexts top_texts(const Model& model, const Tokenizer& tokenizer,
                   const std::filesystem::path& file, std::span<const NeuronId> neurons,
                   const TopTextsOptions& options, const TopTextsProgress& progress) {
  if (options.top < 1) {
    throw UsageError("got " + std::to_string(options.top) + " texts to keep, expected 1 or more");
  }
  check_neurons(model.config(), neurons);
  const int workers = workers_for(model, neurons.size(), options.measure);
  const TextRunner runner(model, tokenizer, neurons);
  std::deque<Passes> passes;
  for (int i = 0; i < workers; ++i) passes.emplace_back(model, Target::kProbability);
  Leaders high(neurons.size(), options.top, false);
  Leaders low(neurons.size(), options.top, true);
  TopTexts result;
  TextReader reader(tokenizer, model.config().max_tokens(), file, options, workers);
  for (size_t size = kFirstTexts;; size = std::min(2 * size, kMostTexts)) {
    const std::vector<Text> texts = reader.next(size, result);
    if (reader.ended()) break;
    const std::vector<std::vector<size_t>> batches = batches_of(texts);
    std::vector<std::vector<Candidate>> highs(batches.size());
    std::vector<std::vector<Candidate>> lows(batches.size());
    run_tasks(batches.size(), workers, 1, [&](size_t task, size_t worker) {
      runner.run(passes[worker], texts, batches[task], high, low, highs[task], lows[task]);
    });
    add_all(highs, texts, high);
    add_all(lows, texts, low);
    if (progress) progress(result.lines, result.words);
  }
  if (result.texts == 0 && options.need_text) {
    throw InputError(file.string() + ": got no text in " + std::to_string(result.lines) +
                     " lines, expected one sentence or paragraph per line");
  }
  for (size_t i = 0; i < neurons.size(); ++i) {
    result.neurons.push_back({neurons[i], examples(high.of(i), tokenizer, runner),
                              examples(low.of(i), tokenizer, runner)});
  }
  return result;
}

}  // namespace engram
