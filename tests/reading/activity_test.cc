// A neuron on a corpus against a search through all of it with the model's own forward.
#include "engram/reading/activity.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engram/error.h"
#include "reading/small_corpus.h"
#include "support/oracle.h"
#include "support/temporary.h"

namespace engram {
namespace {

using testing::TemporaryFolder;

constexpr int64_t kWindow = 14;
constexpr float kClose = 2e-5F;

/// A window as the search sees it.
struct Searched {
  int64_t line = 0;
  std::vector<int64_t> ids;  ///< the text's
  std::vector<float> values;
};

class EveryActivity : public ::testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() { at::set_num_threads(1); }

  CorpusOptions corpus(const std::vector<std::string>& lines) const {
    CorpusOptions options;
    options.file = folder_.file("corpus.txt");
    options.window = kWindow;
    testing::write_corpus(options.file, testing::joined_lines(lines));
    return options;
  }

  /// Cuts lines into windows of kWindow tokens and runs each alone.
  std::vector<Searched> search(const std::vector<std::string>& lines, NeuronId neuron) const {
    const std::vector<int64_t> whole = tokenizer_.encode("sea", true);
    const std::vector<int64_t> plain = tokenizer_.encode("sea", false);
    const auto found = std::search(whole.begin(), whole.end(), plain.begin(), plain.end());
    const std::vector<int64_t> before(whole.begin(), found);
    std::vector<int64_t> behind(found + std::ssize(plain), whole.end());
    if (model_.config().causal()) behind.clear();
    const size_t room = static_cast<size_t>(kWindow) - before.size() - behind.size();
    std::vector<Searched> all;
    for (size_t line = 0; line < lines.size(); ++line) {
      const std::vector<int64_t> ids = tokenizer_.encode(lines[line], false);
      for (size_t begin = 0; begin < ids.size(); begin += room) {
        const size_t end = std::min(ids.size(), begin + room);
        std::vector<int64_t> read = before;
        read.insert(read.end(), ids.begin() + static_cast<int64_t>(begin),
                    ids.begin() + static_cast<int64_t>(end));
        read.insert(read.end(), behind.begin(), behind.end());
        const at::Tensor a =
            testing::plain_activations(model_, read)[static_cast<size_t>(neuron.layer)];
        Searched& one = all.emplace_back();
        one.line = static_cast<int64_t>(line) + 1;
        for (size_t t = begin; t < end; ++t) {
          one.ids.push_back(ids[t]);
          one.values.push_back(
              a[static_cast<int64_t>(before.size() + t - begin)][neuron.neuron].item<float>());
        }
      }
    }
    return all;
  }

  /// The extreme activations of different texts, the extreme one first.
  static std::vector<float> extremes(const std::vector<Searched>& all, bool lowest, bool prefix,
                                     size_t top) {
    std::vector<std::pair<float, std::vector<int64_t>>> found;
    for (const Searched& one : all) {
      const auto at =
          lowest ? std::ranges::min_element(one.values) : std::ranges::max_element(one.values);
      std::vector<int64_t> ids = one.ids;
      if (prefix) ids.resize(static_cast<size_t>(at - one.values.begin()) + 1);
      if (std::ranges::none_of(found, [&](const auto& known) { return known.second == ids; })) {
        found.emplace_back(*at, std::move(ids));
      }
    }
    std::vector<float> values;
    for (const auto& one : found) values.push_back(one.first);
    std::ranges::sort(values);
    if (!lowest) std::ranges::reverse(values);
    values.resize(std::min(top, values.size()));
    return values;
  }

  const std::filesystem::path path_ = testing::stored_oracle(GetParam());
  const Model model_ = Model::load(path_);
  const Tokenizer tokenizer_ = Tokenizer::load(path_);
  const TemporaryFolder folder_;
};

TEST_P(EveryActivity, TextsAreThoseOfASearchThroughAll) {
  const std::vector<std::string> lines = testing::made_up_lines(40, 25, 11);
  const bool causal = model_.config().causal();
  for (const NeuronId neuron : {NeuronId{0, 3}, NeuronId{1, 17}}) {
    SCOPED_TRACE(neuron_name(neuron));
    const Activity found = neuron_activity(model_, tokenizer_, neuron, 6, corpus(lines));
    const std::vector<Searched> all = search(lines, neuron);
    for (const bool lowest : {false, true}) {
      const std::vector<Trigger>& triggers = lowest ? found.least : found.most;
      const std::vector<float> expected = extremes(all, lowest, causal, 6);
      ASSERT_EQ(triggers.size(), expected.size());
      for (size_t i = 0; i < triggers.size(); ++i) {
        const Trigger& trigger = triggers[i];
        EXPECT_NEAR(trigger.activation, expected[i], kClose) << i;
        EXPECT_EQ(trigger.values.at(static_cast<size_t>(trigger.at)), trigger.activation);
        if (causal) {
          EXPECT_EQ(trigger.at, static_cast<int64_t>(trigger.ids.size()) - 1);
        }
        // Its tokens and their activations are those of a window of its line.
        const auto own = std::ranges::find_if(all, [&](const Searched& one) {
          return one.line == trigger.line && one.ids.size() >= trigger.ids.size() &&
                 std::equal(trigger.ids.begin(), trigger.ids.end(), one.ids.begin());
        });
        ASSERT_NE(own, all.end());
        for (size_t t = 0; t < trigger.values.size(); ++t) {
          EXPECT_NEAR(trigger.values[t], own->values[t], kClose);
        }
      }
    }
  }
}

TEST_P(EveryActivity, TheDistributionIsThatOfEveryToken) {
  const std::vector<std::string> lines = testing::made_up_lines(25, 25, 12);
  const NeuronId neuron{1, 5};
  const Activity found = neuron_activity(model_, tokenizer_, neuron, 2, corpus(lines));
  std::vector<float> values;
  for (const Searched& one : search(lines, neuron)) {
    values.insert(values.end(), one.values.begin(), one.values.end());
  }
  EXPECT_EQ(found.distribution.count(), static_cast<int64_t>(values.size()));
  EXPECT_EQ(found.counts.tokens, static_cast<int64_t>(values.size()));
  EXPECT_NEAR(found.distribution.least(), *std::ranges::min_element(values), kClose);
  EXPECT_NEAR(found.distribution.largest(), *std::ranges::max_element(values), kClose);
  double sum = 0;
  for (const float value : values) sum += value;
  EXPECT_NEAR(found.distribution.mean(), sum / static_cast<double>(values.size()), kClose);
}

TEST_P(EveryActivity, HangsOnNoThreadAndOnNoMemory) {
  const std::vector<std::string> lines = testing::made_up_lines(60, 25, 13);
  CorpusOptions options = corpus(lines);
  options.threads = 1;
  const Activity one = neuron_activity(model_, tokenizer_, {0, 1}, 5, options);
  options.threads = 3;
  options.memory_bytes = 1;
  const Activity other = neuron_activity(model_, tokenizer_, {0, 1}, 5, options);
  ASSERT_EQ(one.most.size(), other.most.size());
  for (size_t i = 0; i < one.most.size(); ++i) {
    EXPECT_EQ(one.most[i].ids, other.most[i].ids);
    EXPECT_EQ(one.most[i].values, other.most[i].values);
    EXPECT_EQ(one.least[i].values, other.least[i].values);
  }
}

TEST_P(EveryActivity, ATextThatComesAgainCountsOnce) {
  std::vector<std::string> lines = testing::made_up_lines(5, 6, 14);
  const size_t different = lines.size();
  for (int again = 0; again < 3; ++again) {
    for (size_t i = 0; i < different; ++i) lines.push_back(lines[i]);
  }
  CorpusOptions options = corpus(lines);
  options.window = 64;  // holds a line
  const Activity found = neuron_activity(model_, tokenizer_, {0, 2}, 50, options);
  EXPECT_LE(found.least.size(), different);
  EXPECT_GT(found.least.size(), 0U);
  for (size_t i = 0; i < found.most.size(); ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_NE(found.most[i].ids, found.most[j].ids);
    EXPECT_LE(found.most[i].line, static_cast<int64_t>(different));
  }
}

INSTANTIATE_TEST_SUITE_P(, EveryActivity,
                         ::testing::Values("bert-tiny", "roberta-tiny", "distilbert-tiny",
                                           "electra-tiny", "gpt2-tiny", "gpt-neox-tiny",
                                           "llama-tiny", "gemma-tiny"),
                         testing::test_name);

TEST(Activity, RefusesWhatCannotBeMeant) {
  const auto path = testing::stored_oracle("gpt2-tiny");
  const Model model = Model::load(path);
  const Tokenizer tokenizer = Tokenizer::load(path);
  const TemporaryFolder folder;
  CorpusOptions options;
  options.file = folder.file("corpus.txt");
  testing::write_corpus(options.file, "\n \n");
  EXPECT_THROW(neuron_activity(model, tokenizer, {0, 0}, 1, options), InputError);
  EXPECT_THROW(neuron_activity(model, tokenizer, {0, 0}, 0, options), UsageError);
  EXPECT_THROW(neuron_activity(model, tokenizer, {99, 0}, 1, options), InputError);
  EXPECT_THROW(neuron_activity(model, tokenizer, {0, 100'000}, 1, options), InputError);
  options.file = folder.file("none");
  EXPECT_THROW(neuron_activity(model, tokenizer, {0, 0}, 1, options), FileError);
}

}  // namespace
}  // namespace engram
