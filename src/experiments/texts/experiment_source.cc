#include "experiments/texts/experiment_source.h"

#include <algorithm>
#include <set>

#include "base/random.h"
#include "engram/base/interrupt.h"
#include "text/jsonl.h"

namespace engram::experiments::texts {

TextSource::TextSource(const std::filesystem::path& folder, int64_t per_kind, uint64_t seed)
    : per_kind_(per_kind), seed_(seed), files_(distant_files(folder)) {
  using Ordered = std::pair<uint64_t, std::string>;
  for (const DistantFile& file : files_) {
    std::set<Ordered> pool;  // the first of a seeded order of all texts, each once
    read_distant(file, problems_.emplace_back(), [&](DistantFact&& fact) {
      for (std::vector<std::string>* list : {&fact.with_both, &fact.with_subject}) {
        for (std::string& text : *list) {
          pool.emplace(text_seed(seed_, "texts pool", text), std::move(text));
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
  order.erase(std::unique(order.begin(), order.end()), order.end());
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
  Random random(
      text_seed(seed_, "texts random", fact_key(fact.relation, fact.subject, fact.object)));
  std::vector<std::string> taken;
  // Some name the subject or the object by chance; far fewer than half do.
  for (const uint64_t i : random.sample(all.size(), 2 * static_cast<uint64_t>(per_kind_) + 20)) {
    if (std::cmp_equal(taken.size(), per_kind_)) break;
    if (text_holds(*all[i], TextKind::kRandom, fact.subject, fact.object)) taken.push_back(*all[i]);
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
        if (text_holds(text, TextKind::kTail, fact.subject, fact.object)) tails.push_back(text);
      }
    }
    const auto put = [&](TextKind kind, std::vector<std::string> list) {
      texts.texts[static_cast<size_t>(kind)] =
          sample(std::move(list), text_seed(seed_, text_kind_name(kind), key));
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

}  // namespace engram::experiments::texts
