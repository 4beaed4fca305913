// The program on the models of `make real-models`, as a user has them. Skipped where they are not
// there: `make test-real` sets $ENGRAM_REAL_MODELS.
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engram/model/hub.h"
#include "engram/model/model.h"
#include "engram/neurons/compare.h"
#include "engram/neurons/locate.h"
#include "engram/text/causal_prompt.h"
#include "engram/text/facts.h"
#include "engram/text/prompt.h"
#include "engram/text/tokenizer.h"
#include "support/temporary.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class RealModels : public ::testing::Test {
 protected:
  /// The folder of a model; empty: not there.
  static fs::path folder_of(const std::string& name) {
    const char* real = std::getenv("ENGRAM_REAL_MODELS");
    if (real == nullptr) return {};
    const fs::path folder = fs::absolute(fs::path(real) / name);
    return fs::exists(folder / "model.safetensors") ? folder : fs::path();
  }

  /// The most probable answer in the place of the mask, and its P.
  static std::pair<std::string, double> top(const fs::path& folder, const std::string& prompt) {
    const Tokenizer tokenizer = Tokenizer::load(folder);
    const Model model = Model::load(folder);
    const Cloze encoded =
        encode_prompt(tokenizer, prompt, 1, model.config().max_tokens(), "prompt");
    const c10::InferenceMode guard;
    const at::Tensor logits = model.logits_at(at::tensor(encoded.ids, at::kLong).unsqueeze(0),
                                              at::tensor(encoded.positions, at::kLong));
    const at::Tensor p = logits.softmax(-1)[0];
    const auto id = p.argmax().item<int64_t>();
    return {tokenizer.token_of(id), p[id].item<double>()};
  }

  static constexpr const char* kPrompt = "The capital of France is [MASK].";
};

#define ENGRAM_NEEDS(folder)                                        \
  if ((folder).empty())                                             \
  GTEST_SKIP() << "the model is not there (make real-models, make " \
                  "test-real)"

TEST_F(RealModels, KnowTheCapitalOfFrance) {
  const fs::path cased = folder_of("bert-base-cased");
  ENGRAM_NEEDS(cased);
  const auto [token, p] = top(cased, kPrompt);
  EXPECT_EQ(token, "Paris");
  EXPECT_NEAR(p, 0.4447, 5e-5);
}

TEST_F(RealModels, UncasedToo) {
  const fs::path uncased = folder_of("bert-base-uncased");
  ENGRAM_NEEDS(uncased);
  const auto [token, p] = top(uncased, kPrompt);
  EXPECT_EQ(token, "paris");
  EXPECT_NEAR(p, 0.4168, 5e-5);
}

// The top next tokens and their P, and how the text goes on, as transformers has them in float64.
TEST_F(RealModels, ADecoderKnowsItAndGoesOnAsTransformersDoes) {
  const fs::path folder = folder_of("smollm2-135m");
  ENGRAM_NEEDS(folder);
  const Tokenizer tokenizer = Tokenizer::load(folder);
  const Model model = Model::load(folder);
  std::vector<int64_t> ids =
      causal_prompt(tokenizer, kPrompt, model.config().max_tokens(), "prompt").ids;
  EXPECT_EQ(ids, (std::vector<int64_t>{504, 3575, 282, 4649, 314}));
  const c10::InferenceMode guard;
  const auto last_logits = [&] {
    const at::Tensor row = at::tensor(ids, at::kLong).unsqueeze(0);
    return model.logits(model.encode(row)[0].narrow(0, row.size(1) - 1, 1))[0];
  };
  const at::Tensor p = last_logits().softmax(-1);
  const auto [values, order] = p.topk(5);
  const std::vector<std::pair<std::string, double>> expected{{"\u0120Paris", 0.772532},
                                                             {"\u0120the", 0.064522},
                                                             {"\u0120London", 0.012471},
                                                             {"\u0120Le", 0.009854},
                                                             {"\u0120New", 0.009299}};
  for (int64_t i = 0; i < 5; ++i) {
    const auto& [token, share] = expected[static_cast<size_t>(i)];
    EXPECT_EQ(tokenizer.token_of(order[i].item<int64_t>()), token);
    EXPECT_NEAR(values[i].item<double>(), share, 2e-5);
  }
  const auto read = static_cast<std::ptrdiff_t>(ids.size());
  for (int i = 0; i < 8; ++i) ids.push_back(last_logits().argmax().item<int64_t>());
  ids.erase(ids.begin(), ids.begin() + read);
  EXPECT_EQ(tokenizer.decode(ids, false), " Paris.\n\nThe answer is:");
}

// A tokenizer.json that lowercases, and beside it "do_lower_case": false, which wins in
// transformers. Read by tokenizer.json alone the answer is Barcelona.
TEST_F(RealModels, SettingsBesideTheTokenizerWin) {
  const fs::path cased = folder_of("bert-base-cased");
  ENGRAM_NEEDS(cased);
  const testing::TemporaryFolder folder;
  for (const auto& entry : fs::directory_iterator(cased)) {
    fs::create_symlink(entry.path(), folder.path() / entry.path().filename());
  }
  const auto change = [&](const std::string& name, const auto& edit) {
    json file = json::parse(std::ifstream(cased / name));
    edit(file);
    fs::remove(folder.path() / name);
    std::ofstream(folder.path() / name) << file.dump();
  };
  change("tokenizer.json", [](json& file) { file["normalizer"]["lowercase"] = true; });
  change("tokenizer_config.json", [](json& file) { file["do_lower_case"] = false; });
  const auto [token, p] = top(folder.path(), kPrompt);
  EXPECT_EQ(token, "Paris");
  EXPECT_NEAR(p, 0.4447, 5e-5);
  change("tokenizer_config.json", [](json& file) { file["do_lower_case"] = true; });
  EXPECT_NE(top(folder.path(), kPrompt).first, "Paris") << "what lowercasing does to a cased model";
}

TEST_F(RealModels, AreFoundByTheirNameOnTheHub) {
  const fs::path cased = folder_of("bert-base-cased");
  ENGRAM_NEEDS(cased);
  const testing::TemporaryFolder cache;
  const fs::path place = cache.path() / "models--google-bert--bert-base-cased";
  fs::create_directories(place / "refs");
  fs::create_directories(place / "snapshots/abc");
  std::ofstream(place / "refs/main") << "abc";
  for (const auto& entry : fs::directory_iterator(cased)) {
    fs::create_symlink(entry.path(), place / "snapshots/abc" / entry.path().filename());
  }
  const char* before = std::getenv("HF_HUB_CACHE");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("HF_HUB_CACHE", cache.path().c_str(), 1);
  const fs::path found = find_checkpoint("google-bert/bert-base-cased");
  if (before == nullptr) {
    ::unsetenv("HF_HUB_CACHE");
  } else {
    ::setenv("HF_HUB_CACHE", kept.c_str(), 1);
  }
  EXPECT_EQ(top(found, kPrompt).first, "Paris");
}

// Three of EleutherAI's published sets, by the rule that made them.
TEST_F(RealModels, GiveThePublishedNeurons) {
  const fs::path uncased = folder_of("bert-base-uncased");
  ENGRAM_NEEDS(uncased);
  const fs::path data = fs::path(ENGRAM_SOURCE_DIR) / "../shared/data";
  const fs::path published = data / "eleutherai/bert-base-uncased.jsonl.xz";
  if (!fs::exists(published)) GTEST_SKIP() << published << " is not there";
  FactSetOptions how;
  how.held_out_share = 0;
  how.choice.relations = {"P30", "P36", "P37"};
  how.choice.per_relation = 1;
  const FactSet set = read_facts(data / "pararel", how);
  LocateOptions options;
  options.attribution.integration.rule = Rule::kLinspace;
  options.attribution.integration.steps = 20;
  options.selection = selection_preset("eleuther-pararel", Score::kIntegratedGradients);
  LocatedFile mine;
  mine.path = "located here";
  LocateSink sink;
  sink.on_relation = [&](LocatedRelation&&, std::vector<LocatedFact>&& facts) {
    for (const LocatedFact& fact : facts) {
      LocatedSet one;
      one.relation = fact.relation;
      one.subject = fact.subject;
      one.object = fact.object;
      one.uuid = fact.uuid;
      for (const CountedNeuron& neuron : fact.neurons) one.neurons.push_back(neuron.id);
      mine.facts.push_back(std::move(one));
    }
  };
  const Model model = Model::load(uncased);
  (void)locate(model, Tokenizer::load(uncased), set.facts, options, sink);
  ASSERT_EQ(mine.facts.size(), 3U);
  const Comparison found = compare_located(mine, read_neuron_sets(published));
  EXPECT_EQ(found.all.identical, found.all.facts);
  EXPECT_GE(found.all.facts, 2);
}

}  // namespace
}  // namespace engram
