#include "pretrain/evaluate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "engram/base/interrupt.h"
#include "engram/base/machine.h"
#include "engram/base/workers.h"
#include "engram/error.h"
#include "engram/text/prompt.h"
#include "pretrain/corpus.h"
#include "pretrain/random.h"
#include "src/base/json.h"

namespace engram::pretrain {
namespace fs = std::filesystem;
namespace {

/// Tokens of one batch: large enough for the matrix products, small enough for the cache.
constexpr size_t kBatchTokens = 1024;

/// One mask to be filled.
struct Blank {
  std::vector<int64_t> ids;
  int64_t position = 0;
  int64_t answer = 0;
  double log_p = 0;
  bool top = false;
};

/// Fills log_p and top of all blanks, in batches of equal length.
void fill_blanks(const Model& model, std::vector<Blank>& blanks, int threads) {
  std::vector<size_t> order(blanks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return blanks[a].ids.size() < blanks[b].ids.size(); });
  std::vector<std::pair<size_t, size_t>> batches;  // of `order`
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t length = blanks[order[i]].ids.size();
    if (batches.empty() || blanks[order[batches.back().first]].ids.size() != length ||
        (i + 1 - batches.back().first) * length > kBatchTokens) {
      batches.emplace_back(i, i);
    }
    batches.back().second = i + 1;
  }
  Workers workers(threads > 0 ? threads : usable_cores(), [] { at::set_num_threads(1); });
  workers.run(batches.size(), [&](size_t b, size_t /*worker*/) {
    if (Interrupt::requested()) return;
    const c10::InferenceMode guard(true);
    const auto [begin, end] = batches[b];
    const int64_t rows = static_cast<int64_t>(end - begin);
    std::vector<int64_t> ids, positions, answers;
    for (size_t i = begin; i < end; ++i) {
      const Blank& blank = blanks[order[i]];
      ids.insert(ids.end(), blank.ids.begin(), blank.ids.end());
      positions.push_back(blank.position);
      answers.push_back(blank.answer);
    }
    const at::Device device = model.device();
    const at::Tensor logits = model
                                  .logits_at(at::tensor(ids, at::kLong).view({rows, -1}).to(device),
                                             at::tensor(positions, at::kLong).to(device))
                                  .to(at::kCPU);
    const at::Tensor best = logits.argmax(1);
    const at::Tensor log_p =
        at::log_softmax(logits, 1).gather(1, at::tensor(answers, at::kLong).unsqueeze(1));
    for (size_t i = begin; i < end; ++i) {
      const int64_t row = static_cast<int64_t>(i - begin);
      blanks[order[i]].log_p = static_cast<double>(log_p.const_data_ptr<float>()[row]);
      blanks[order[i]].top = best.const_data_ptr<int64_t>()[row] == blanks[order[i]].answer;
    }
  });
  Interrupt::check();
}

double quantile(const std::vector<double>& sorted, double q) {
  if (sorted.empty()) return 0;
  const double at = q * static_cast<double>(sorted.size() - 1);
  const size_t low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

AnswerQuality ask(const Model& model, const Tokenizer& tokenizer,
                  const std::vector<Question>& questions, int threads) {
  AnswerQuality result;
  std::vector<Blank> blanks;
  std::vector<const Fact*> facts;
  for (const Question& question : questions) {
    const Fact& fact = *question.fact;
    try {
      Cloze prompt = encode_prompt(tokenizer, question.prompt, fact.object,
                                   model.config().max_tokens(), fact.origin);
      if (prompt.answer.size() == 1) {
        blanks.push_back({std::move(prompt.ids), prompt.positions[0], prompt.answer[0], 0, false});
        facts.push_back(&fact);
      } else {
        ++result.skipped;
      }
    } catch (const InputError&) {  // a prompt that the model cannot take: counted, not fatal
      ++result.skipped;
    }
  }
  fill_blanks(model, blanks, threads);
  std::vector<double> p;
  for (size_t i = 0; i < blanks.size(); ++i) {
    p.push_back(std::exp(blanks[i].log_p));
    result.mean_p += p.back();
    result.top1 += blanks[i].top ? 1 : 0;
    AnswerQuality::Relation& relation = result.relations[facts[i]->relation];
    ++relation.prompts;
    relation.mean_p += p.back();
    relation.top1 += blanks[i].top ? 1 : 0;
  }
  result.prompts = static_cast<int64_t>(blanks.size());
  result.facts = static_cast<int64_t>(std::set<const Fact*>(facts.begin(), facts.end()).size());
  if (result.prompts > 0) {
    result.mean_p /= static_cast<double>(result.prompts);
    result.top1 /= static_cast<double>(result.prompts);
  }
  for (auto& [name, relation] : result.relations) {
    relation.mean_p /= static_cast<double>(relation.prompts);
    relation.top1 /= static_cast<double>(relation.prompts);
  }
  std::sort(p.begin(), p.end());
  result.p10 = quantile(p, 0.10);
  result.p25 = quantile(p, 0.25);
  result.p50 = quantile(p, 0.50);
  result.p75 = quantile(p, 0.75);
  result.p90 = quantile(p, 0.90);
  return result;
}

std::vector<Question> pararel_questions(const std::vector<Fact>& facts, const fs::path& patterns) {
  std::map<std::string, std::vector<std::string>> by_relation;
  std::vector<Question> questions;
  for (const Fact& fact : facts) {
    const auto [entry, fresh] = by_relation.try_emplace(fact.relation);
    const fs::path file = patterns / (fact.relation + ".jsonl");
    std::vector<std::string>& found = entry->second;
    if (fresh && fs::exists(file)) {
      int64_t number = 0;
      for_each_line(file, [&](std::string_view line) {
        ++number;
        try {
          if (!line.empty()) {
            found.push_back(parse_json(line, file.string() + ":" + std::to_string(number))
                                .at("pattern")
                                .get<std::string>());
          }
        } catch (const nlohmann::json::exception& error) {
          throw InputError(file.string() + ":" + std::to_string(number) + ": " + error.what());
        }
        return true;
      });
    }
    for (const std::string& pattern : entry->second) {
      questions.push_back({&fact, fill_phrasing(pattern, fact.subject)});
    }
  }
  return questions;
}

std::string join_wikitext(std::string_view line) {
  std::vector<std::string> words;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) words.emplace_back(line.substr(at, end - at));
    at = end + 1;
  }
  static const std::set<std::string> kNoSpaceBefore = {".",   ",",   ";",   ":",  "!",  "?",
                                                       ")",   "]",   "%",   "'",  "'s", "n't",
                                                       "'re", "'ve", "'ll", "'d", "'m"};
  static const std::set<std::string> kNoSpaceBehind = {"(", "[", "$", "£"};
  std::string text;
  bool glue = true;     // the next word follows without a space
  bool quoted = false;  // inside straight double quotes
  for (const std::string& word : words) {
    if (word.size() == 3 && word.front() == '@' && word.back() == '@') {  // @-@ @,@ @.@
      text += word[1];
      glue = true;
      continue;
    }
    const bool closing = word == "\"" && quoted;
    if (!glue && !closing && !kNoSpaceBefore.contains(word)) text += ' ';
    text += word == "<unk>" ? "[UNK]" : word;
    glue = kNoSpaceBehind.contains(word);
    if (word == "\"") {
      glue = !quoted;
      quoted = !quoted;
    }
  }
  return text;
}

PseudoPerplexity pseudo_perplexity(const Model& model, const Tokenizer& tokenizer,
                                   const fs::path& file, int64_t window, int64_t tokens,
                                   uint64_t seed, int threads) {
  if (window < 8 || window > model.config().max_tokens()) {
    throw UsageError("the window must be between 8 and " +
                     std::to_string(model.config().max_tokens()) + " tokens");
  }
  const size_t inner = static_cast<size_t>(window) - 2;
  const std::vector<int64_t> ends = tokenizer.encode("", true);
  if (ends.size() != 2) throw InputError("the tokenizer does not put two tokens around a text");
  std::vector<std::vector<int64_t>> windows;
  for_each_line(file, [&](std::string_view line) {
    const size_t first = line.find_first_not_of(' ');
    if (first == std::string_view::npos || line[first] == '=') return true;  // empty or heading
    const std::vector<int64_t> ids = tokenizer.encode(join_wikitext(line), false);
    for (size_t at = 0; at < ids.size(); at += inner) {
      std::vector<int64_t> piece = {ends[0]};
      piece.insert(piece.end(), ids.begin() + static_cast<int64_t>(at),
                   ids.begin() + static_cast<int64_t>(std::min(ids.size(), at + inner)));
      piece.push_back(ends[1]);
      if (piece.size() >= 8) windows.push_back(std::move(piece));
    }
    return true;
  });
  struct Place {
    size_t window;
    int64_t position;
  };
  std::vector<Place> places;
  for (size_t w = 0; w < windows.size(); ++w) {
    for (size_t i = 1; i + 1 < windows[w].size(); ++i) {
      if (!tokenizer.is_special(windows[w][i])) places.push_back({w, static_cast<int64_t>(i)});
    }
  }
  if (places.empty()) throw InputError(file.string() + ": no text");
  const size_t wanted =
      tokens > 0 ? std::min(places.size(), static_cast<size_t>(tokens)) : places.size();
  std::vector<Blank> blanks;
  for (size_t k = 0; k < wanted; ++k) {
    const Place& place =
        wanted < places.size() ? places[shuffled(seed, k, places.size())] : places[k];
    Blank blank;
    blank.ids = windows[place.window];
    blank.position = place.position;
    blank.answer =
        std::exchange(blank.ids[static_cast<size_t>(place.position)], tokenizer.mask_id());
    blanks.push_back(std::move(blank));
  }
  fill_blanks(model, blanks, threads);
  PseudoPerplexity result;
  double sum = 0;
  for (const Blank& blank : blanks) sum += blank.log_p;
  result.tokens = static_cast<int64_t>(wanted);
  result.windows = static_cast<int64_t>(windows.size());
  result.value = std::exp(-sum / static_cast<double>(wanted));
  return result;
}

}  // namespace engram::pretrain
