#include "engram/attribution/scorer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engram/error.h"

namespace engram {

Scorer::Scorer(const Model& model, AttributionOptions options)
    : model_(model), options_(std::move(options)) {}

void Scorer::prompts(std::span<const std::vector<Cloze>> bags, const PromptSink& sink) const {
  std::vector<Cloze> clozes;
  std::vector<std::pair<size_t, size_t>> place;  // of each cloze: its bag, its place there
  for (size_t bag = 0; bag < bags.size(); ++bag) {
    for (size_t prompt = 0; prompt < bags[bag].size(); ++prompt) place.emplace_back(bag, prompt);
    std::ranges::copy(bags[bag], std::back_inserter(clozes));
  }
  attribute(model_, clozes, options_, [&](size_t i, Attribution&& attribution) {
    sink(place[i].first, place[i].second, std::move(attribution));
  });
}

std::vector<at::Tensor> Scorer::bags(std::span<const std::vector<Cloze>> bags) const {
  std::vector<std::vector<at::Tensor>> scores;
  for (const std::vector<Cloze>& bag : bags) {
    if (bag.empty()) throw InternalError("a bag without prompts");
    scores.emplace_back(bag.size());
  }
  prompts(bags, [&](size_t bag, size_t prompt, Attribution&& attribution) {
    scores[bag][prompt] = std::move(attribution.scores);
  });
  std::vector<at::Tensor> means;
  for (std::vector<at::Tensor>& of_bag : scores) {
    // In the order of the prompts, whichever was done first: the same bits every time.
    at::Tensor mean = at::zeros_like(of_bag.front());
    for (const at::Tensor& one : of_bag) mean += one;
    mean /= static_cast<double>(of_bag.size());
    means.push_back(std::move(mean));
    of_bag.clear();
  }
  return means;
}

}  // namespace engram
