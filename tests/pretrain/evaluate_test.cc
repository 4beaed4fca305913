#include "pretrain/evaluate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "engram/error.h"
#include "engram/text/prompt.h"
#include "pretrain/trainer.h"
#include "tiny_data.h"

namespace engram::pretrain {
namespace {

namespace fs = std::filesystem;

TEST(WikiText, IsJoinedToOrdinaryText) {
  EXPECT_EQ(join_wikitext(" It cost $ 1 @,@ 200 @.@ 50 ( about 30 % ) in a well @-@ known shop . "),
            "It cost $1,200.50 (about 30%) in a well-known shop.");
  EXPECT_EQ(join_wikitext(" \" We do n't know , \" she said ; John 's <unk> was \" new \" . "),
            "\"We don't know,\" she said; John's [UNK] was \"new\".");
  EXPECT_EQ(join_wikitext(""), "");
}

/// A trained tiny model with a vocabulary of words w5..w39.
class Evaluation : public ::testing::Test {
 protected:
  Evaluation() {
    const fs::path data = folder_.path() / "data";
    fs::create_directories(data);
    tiny_dataset().write(data / "data.bin");
    std::ofstream vocabulary(data / "vocab.txt");
    for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
      vocabulary << token << "\n";
    }
    for (int i = 5; i < 40; ++i) vocabulary << "w" << i << "\n";
    vocabulary.close();
    std::ofstream(data / "tokenizer_config.json") << R"({"do_lower_case": false})";
    TrainOptions options = tiny_training(data, folder_.path() / "out");
    options.steps = 60;
    train(options, [](const TrainProgress&) {});
    model_path_ = folder_.path() / "out/model";
  }
  TemporaryFolder folder_;
  fs::path model_path_;
};

TEST_F(Evaluation, AgreesWithOnePromptAtATime) {
  const Model model = Model::load(model_path_);
  const Tokenizer tokenizer = Tokenizer::load(model_path_);
  std::vector<Fact> facts;
  for (int f = 0; f < 6; ++f) {
    facts.push_back({f < 3 ? "A" : "B",
                     "w" + std::to_string(10 + f),
                     "w" + std::to_string(20 + f),
                     {},
                     {},
                     "here"});
  }
  std::vector<Question> questions;
  double sum = 0, right = 0;
  for (const Fact& fact : facts) {
    for (const std::string& prompt :
         {fact.subject + " w30 [MASK]", "[MASK] w31 w32 " + fact.subject + " w7"}) {
      questions.push_back({&fact, prompt});
      const Cloze one = encode_prompt(tokenizer, prompt, fact.object, 32, "here");
      const at::Tensor logits =
          model.logits_at(at::tensor(one.ids).unsqueeze(0), at::tensor(one.positions));
      sum += logits.softmax(1)[0][one.answer[0]].item<double>();
      right += logits.argmax(1).item<int64_t>() == one.answer[0] ? 1 : 0;
    }
  }
  Fact unknown = facts[0];
  unknown.object = "elsewhere";
  questions.push_back({&unknown, "w10 w30 [MASK]"});
  for (const int threads : {1, 3}) {
    const AnswerQuality q = ask(model, tokenizer, questions, threads);
    EXPECT_EQ(q.prompts, 12);
    EXPECT_EQ(q.facts, 6);
    EXPECT_EQ(q.skipped, 1);
    EXPECT_NEAR(q.mean_p, sum / 12, 1e-6);
    EXPECT_DOUBLE_EQ(q.top1, right / 12);
    EXPECT_LE(q.p10, q.p50);
    EXPECT_LE(q.p50, q.p90);
    ASSERT_EQ(q.relations.size(), 2U);
    EXPECT_NEAR((q.relations.at("A").mean_p + q.relations.at("B").mean_p) / 2, q.mean_p, 1e-9);
  }
}

TEST_F(Evaluation, PatternsOfTheFactsRelationsAreAsked) {
  const fs::path patterns = folder_.path() / "patterns";
  fs::create_directories(patterns);
  std::ofstream(patterns / "A.jsonl") << "{\"pattern\": \"[X] w30 [Y]\", \"lemma\": \"x\"}\n"
                                      << "{\"pattern\": \"[Y] w31 [X]\"}\n";
  const std::vector<Fact> facts = {{"A", "w10", "w20", {}, {}, ""},
                                   {"B", "w11", "w21", {}, {}, ""}};
  const std::vector<Question> questions = pararel_questions(facts, patterns);
  ASSERT_EQ(questions.size(), 2U);
  EXPECT_EQ(questions[0].prompt, "w10 w30 [MASK]");
  EXPECT_EQ(questions[1].prompt, "[MASK] w31 w10");
  std::ofstream(patterns / "B.jsonl") << "{\"pattern\": 3}\n";
  EXPECT_THROW(pararel_questions(facts, patterns), InputError);
}

TEST_F(Evaluation, PseudoPerplexityMasksEveryKnownTokenOnce) {
  const fs::path file = folder_.path() / "text.txt";
  std::ofstream(file) << " = w33 w34 = \n \n w33 w34 w35 <unk> w37 w33 w34 w35 w36 \n";
  const Model model = Model::load(model_path_);
  const Tokenizer tokenizer = Tokenizer::load(model_path_);
  const PseudoPerplexity p = pseudo_perplexity(model, tokenizer, file, 32, 0, 0, 1);
  EXPECT_EQ(p.windows, 1);
  EXPECT_EQ(p.tokens, 8);  // nine words, one of them unknown; the heading is left out
  const std::vector<int64_t> ids = {2, 33, 34, 35, 1, 37, 33, 34, 35, 36, 3};
  double sum = 0;
  for (const int64_t at : {1, 2, 3, 5, 6, 7, 8, 9}) {
    std::vector<int64_t> masked = ids;
    masked[static_cast<size_t>(at)] = 4;
    const at::Tensor logits = model.logits_at(at::tensor(masked).unsqueeze(0), at::tensor({at}));
    sum += logits.log_softmax(1)[0][ids[static_cast<size_t>(at)]].item<double>();
  }
  EXPECT_NEAR(std::log(p.value), -sum / 8, 1e-5);
  EXPECT_EQ(pseudo_perplexity(model, tokenizer, file, 32, 3, 0, 2).tokens, 3);
  EXPECT_THROW(pseudo_perplexity(model, tokenizer, file, 64, 0, 0, 1), UsageError);
}

}  // namespace
}  // namespace engram::pretrain
