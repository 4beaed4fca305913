// The commands on causal models.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

json json_of(Words words) {
  words.emplace_back("--json");
  const Outcome outcome = run_engram(words);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return json::parse(outcome.out);
}

void expect_refused(const Outcome& outcome, const Words& parts) {
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  for (const std::string& part : parts) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << " in: " << outcome.err;
  }
}

class EveryCausal : public ::testing::TestWithParam<const char*> {
 protected:
  const std::string model_ = tiny_model(GetParam());
  const json expected_ = json::parse(read_text(model_ + "/expected.json"));
};

TEST_P(EveryCausal, PredictIsTheReferencesSoftmax) {
  for (const json& one : expected_.at("cases")) {
    if (!one.at("parity")) continue;
    SCOPED_TRACE(one.at("prompt"));
    const json result = json_of({"predict", model_, one.at("prompt"), "--top", "1000000"});
    EXPECT_EQ(result.at("tokens").size(), one.at("ids").size());
    EXPECT_EQ(result.at("position"), one.at("positions").at(0));
    double sum = 0;
    bool found = false;
    for (const json& prediction : result.at("predictions")) {
      sum += prediction.at("p").get<double>();
      if (prediction.at("id") != one.at("answer").at(0)) continue;
      found = true;
      EXPECT_NEAR(prediction.at("p").get<double>(), one.at("p").get<double>(), 2e-5);
    }
    EXPECT_TRUE(found);
    EXPECT_NEAR(sum, 1, 1e-9);
  }
}

TEST_P(EveryCausal, AnAnswersPIsThatOfItsTokensOneAfterTheOther) {
  const std::string prompt = "The capital of France is";
  const json result = json_of(
      {"predict", model_, prompt + " [MASK].", "--answer", "Berlin, Paris", "--top", "1000000"});
  const json& answer = result.at("answer");
  double product = 1;
  for (size_t i = 0; i < answer.at("tokens").size(); ++i) {
    product *= answer.at("tokens").at(i).at("p").get<double>();
  }
  ASSERT_GT(answer.at("tokens").size(), 1U);
  EXPECT_NEAR(answer.at("product").get<double>(), product, 1e-9 * product);
  const auto k = static_cast<double>(answer.at("tokens").size());
  EXPECT_NEAR(answer.at("p").get<double>(), std::pow(product, 1 / k), 1e-9);
  // The first token's P is that of the prompt alone.
  const json& first = answer.at("tokens").at(0);
  int64_t rank = 0;
  for (const json& prediction : result.at("predictions")) {
    ++rank;
    if (prediction.at("id") != first.at("id")) continue;
    EXPECT_NEAR(prediction.at("p").get<double>(), first.at("p").get<double>(), 1e-6);
    EXPECT_EQ(rank, first.at("rank").get<int64_t>());
  }
}

TEST_P(EveryCausal, GoesOnWithTheTopTokenEachTime) {
  const std::string prompt = "The capital of France is";
  const json result = json_of({"predict", model_, prompt, "--tokens", "4", "--top", "1"});
  const json& more = result.at("continuation").at("tokens");
  ASSERT_FALSE(more.empty());
  ASSERT_LE(more.size(), 4U);
  EXPECT_EQ(more.at(0).at("id"), result.at("predictions").at(0).at("id"));
  const Outcome text = run_engram({"predict", model_, prompt, "--tokens", "4"});
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("goes on: "), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("mask"), std::string::npos) << text.out;
  // Up to the longest prompt, and no further.
  const json all = json_of({"predict", model_, prompt, "--tokens", "1000"});
  EXPECT_LE(all.at("continuation").at("tokens").size() + all.at("tokens").size(),
            json_of({"inspect", model_}).at("max_tokens").get<size_t>() + 1);
}

TEST_P(EveryCausal, InspectSaysWhatItIs) {
  const json report = json_of({"inspect", model_});
  const json config = json::parse(read_text(model_ + "/config.json"));
  EXPECT_EQ(report.at("usable"), true);
  EXPECT_EQ(report.at("family"), config.at("model_type"));
  EXPECT_EQ(report.at("attention"), "causal");
  EXPECT_EQ(report.at("norm"), "pre");
  EXPECT_TRUE(report.at("head_activation").is_null());
  EXPECT_TRUE(report.at("tensors").at("missing").empty());
  EXPECT_TRUE(report.at("tensors").at("unexpected").empty());
  EXPECT_EQ(report.at("rotary").is_null(), config.at("model_type") == "gpt2");
  const bool begins = std::string(GetParam()) == "llama-tiny" || config["model_type"] == "gemma";
  EXPECT_EQ(report.at("tokenizer").at("begins").size(), begins ? 1U : 0U);
  // The memory that was foretold from the headers is what the weights took.
  EXPECT_EQ(report.at("memory").at("weights_mapped").get<int64_t>() +
                report.at("memory").at("weights_copied").get<int64_t>(),
            4 * report.at("parameters").get<int64_t>());
  const Outcome text = run_engram({"inspect", model_});
  EXPECT_NE(text.out.find(", causal LM"), std::string::npos) << text.out;
  EXPECT_EQ(text.out.find("masked"), std::string::npos) << text.out;
}

TEST_P(EveryCausal, AttributeGivesTheReferencesScores) {
  int compared = 0;
  for (const json& run : expected_.at("attributions")) {
    if (run.at("score") != "ig" || run.at("steps") != 64 || run.at("target") != "prob") continue;
    const json& one = expected_.at("cases").at(run.at("case").get<size_t>());
    const json result = json_of({"attribute", model_, "--prompt", one.at("prompt"), "--predicted",
                                 "--tolerance", "0.001", "--top", "all"});
    ASSERT_EQ(result.at("answer_ids"), one.at("answer")) << "the case asks for the top token";
    EXPECT_EQ(result.at("positions"), one.at("positions"));
    EXPECT_NEAR(result.at("p").get<double>(), one.at("p").get<double>(), 2e-5);
    double size = 0;
    for (const json& sum : run.at("sums")) size = std::max(size, std::abs(sum.get<double>()));
    for (size_t layer = 0; layer < run.at("sums").size(); ++layer) {
      EXPECT_NEAR(result.at("layers").at(layer).at("sum").get<double>(),
                  run.at("sums").at(layer).get<double>(), 2e-3 * size);
      EXPECT_EQ(result.at("layers").at(layer).at("cheap_nodes"), 0) << "F is G";
    }
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST_P(EveryCausal, AttributeSpeaksOfTokensNotOfMasks) {
  const std::string prompt = "The capital of France is [MASK].";
  const TemporaryFolder folder;
  const Outcome outcome = run_engram({"attribute", model_, "--prompt", prompt, "--answer",
                                      "Berlin, Paris", "--picture", folder.file("picture.svg")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("mean log P over "), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find(" tokens\n"), std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.out.find(" masks"), std::string::npos) << outcome.out;
  EXPECT_NE(read_text(folder.file("picture.svg")).find("Berlin, Paris"), std::string::npos);
  const Outcome difference = run_engram(
      {"attribute", model_, "--prompt", prompt, "--predicted", "--target", "logit-diff:Berlin"});
  EXPECT_TRUE(difference.code == 0 || difference.err.find("one token") != std::string::npos)
      << difference.err;
}

/// Facts of two relations; one prompt of each does not end with the answer.
std::string write_facts(const TemporaryFolder& folder) {
  std::string text;
  const auto add = [&](const char* relation, const char* subject, const char* object,
                       const Words& prompts, const Words& held_out) {
    json fact = {{"relation", relation}, {"subject", subject}, {"object", object}};
    for (const auto& [key, list] :
         {std::pair("prompts", &prompts), std::pair("held_out", &held_out)}) {
      fact[key] = json::array();
      for (const std::string& prompt : *list) fact[key].push_back(subject + prompt);
    }
    text += fact.dump() + "\n";
  };
  const Words capital = {" has the capital [MASK].", " is run from", " and its capital,",
                         " has [MASK] as its capital."};
  const Words language = {" speaks [MASK].", " writes in", " learns"};
  add("P36", "France", "Paris", capital, {" is ruled from"});
  add("P36", "Germany", "Berlin", capital, {" is ruled from"});
  add("P36", "Spain", "Madrid", capital, {" is ruled from"});
  add("P37", "France", "French", language, {" sings in"});
  add("P37", "Spain", "Spanish", language, {" sings in"});
  const std::string path = folder.file("facts.jsonl");
  write_text(path, text);
  return path;
}

// A random model agrees with itself on little: nearly every neuron counts.
const Words kLoose = {"--ratio", "0.05", "--share", "0.5", "--no-adapt"};

TEST_P(EveryCausal, FactsAreLocatedChangedAndPutBack) {
  const TemporaryFolder folder;
  const std::string facts = write_facts(folder);
  const std::string neurons = folder.file("neurons.jsonl");
  Words locate = {"locate", model_, "--facts", facts, "--out", neurons};
  locate.insert(locate.end(), kLoose.begin(), kLoose.end());
  const Outcome located = run_engram(locate);
  ASSERT_EQ(located.code, 0) << located.err;
  EXPECT_NE(located.err.find("3 of 23 prompts are left out: the model is causal"),
            std::string::npos)
      << located.err;
  EXPECT_EQ(located.out.find("mask"), std::string::npos) << located.out;
  EXPECT_EQ(json::parse(lines_of(read_text(neurons)).front()).at("left_out_prompts"), 3);

  const json effects = json_of({"intervene", model_, "--facts", facts, "--neurons", neurons, "--do",
                                "zero", "--draws", "3", "--side-draws", "1"});
  EXPECT_EQ(effects.at("schema"), "engram.intervene/1");

  const std::string delta = folder.file("delta.safetensors");
  const json update = json_of({"edit", "update", model_, "--facts", facts, "--relation", "P36",
                               "--subject", "France", "--to", "Berlin", "--neurons", neurons,
                               "--force", "--lambda2", "40", "--out", delta});
  EXPECT_EQ(update.at("embedding"), "output");
  EXPECT_FALSE(update.at("neurons").empty());
  const json& own = update.at("scopes").at(0);
  EXPECT_EQ(own.at("scope"), "own");
  EXPECT_NE(own.at("target_before").at("p"), own.at("target_after").at("p"));

  const std::string copy = folder.file("edited");
  ASSERT_EQ(run_engram({"edit", "apply", model_, delta, "--to", copy}).code, 0);
  const std::string prompt = "France is run from";
  const auto p_of = [&](const std::string& model) {
    return json_of({"predict", model, prompt, "--answer", "Berlin"}).at("answer").at("p");
  };
  const json before = p_of(model_);
  EXPECT_NE(p_of(copy), before);
  ASSERT_EQ(run_engram({"edit", "undo", copy}).code, 0);
  EXPECT_EQ(p_of(copy), before);
  for (const auto& file : std::filesystem::directory_iterator(model_)) {
    const std::string name = file.path().filename();
    if (file.path().extension() != ".safetensors" || name.starts_with("expected")) continue;
    EXPECT_EQ(read_text(copy + "/" + name), read_text(file.path())) << name;
  }
}

TEST_P(EveryCausal, ReproduceRunsEveryExperimentAndTheReportKnowsNoMask) {
  const TemporaryFolder folder;
  const std::string facts = write_facts(folder);
  const std::string corpus = folder.file("corpus.txt");
  std::string text;
  for (int i = 0; i < 12; ++i) text += "The capital of France is Paris and the city is old.\n";
  write_text(corpus, text);
  const std::string run = folder.file("run.db");
  const Words words = {"reproduce",
                       model_,
                       "--facts",
                       facts,
                       "--run",
                       run,
                       "--corpus",
                       corpus,
                       "--draws",
                       "2",
                       "--same-relation",
                       "1",
                       "--other-relations",
                       "1",
                       "--sentences",
                       "1",
                       "--stability-facts",
                       "1",
                       "--text-positions",
                       "6",
                       "--update-facts",
                       "1"};
  const Outcome done = run_engram(words);
  ASSERT_EQ(done.code, 0) << done.err;
  const std::string page = folder.file("report.md");
  ASSERT_EQ(run_engram({"report", run, "-o", folder.file("r.html"), "--markdown", page}).code, 0);
  const std::string report = read_text(page);
  EXPECT_EQ(report.find("at the mask"), std::string::npos);
  // Done once: the second time nothing is left to do.
  Words again = words;
  again.emplace_back("--json");
  EXPECT_EQ(run_engram(again).code, 0);
  EXPECT_EQ(run_engram({"report", run, "-o", folder.file("s.html"), "--markdown", page}).code, 0);
  const Outcome texts = run_engram({"texts", model_, "--neurons", "0:1", "--corpus", corpus});
  EXPECT_EQ(texts.code, 0) << texts.err;
  EXPECT_NE(texts.out.find("capital"), std::string::npos) << texts.out;
}

INSTANTIATE_TEST_SUITE_P(, EveryCausal,
                         ::testing::Values("gpt2-tiny", "gpt-neox-tiny", "llama-tiny",
                                           "gemma-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(MaskedModel, DoesNotGoOn) {
  const Outcome outcome =
      run_engram({"predict", tiny_model(), "The capital is [MASK].", "--tokens", "3"});
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_NE(outcome.err.find("--tokens"), std::string::npos) << outcome.err;
}

TEST(MaskedModel, PredictTellsAnAnswersP) {
  const std::string prompt = "The capital of France is [MASK].";
  const json result =
      json_of({"predict", tiny_model(), prompt, "--answer", "paris", "--top", "1000"});
  const json& answer = result.at("answer");
  ASSERT_EQ(answer.at("tokens").size(), 1U);
  for (const json& prediction : result.at("predictions")) {
    if (prediction.at("id") != answer.at("tokens").at(0).at("id")) continue;
    EXPECT_NEAR(prediction.at("p").get<double>(), answer.at("p").get<double>(), 1e-6);
  }
}

TEST(CausalPrompts, AreRefusedByName) {
  const std::string model = tiny_model("llama-tiny");
  expect_refused(run_engram({"predict", model, "[MASK] is the capital."}),
                 {"TEXT", "text behind the mask"});
  std::string longest;
  for (int i = 0; i < 60; ++i) longest += "city ";
  expect_refused(run_engram({"predict", model, longest}), {"TEXT", "expected at most 40"});
}

class BrokenCausal : public ::testing::Test {
 protected:
  /// A copy of a stored model, to be damaged.
  std::string copy(const std::string& name) { return copy_of_model(folder_, name); }
  static void change(const std::string& file, const std::function<void(json&)>& edit) {
    json value = json::parse(read_text(file));
    edit(value);
    write_text(file, value.dump());
  }
  TemporaryFolder folder_;
};

TEST_F(BrokenCausal, AShardThatIsCutOffOrGone) {
  const std::string model = copy("llama-tiny");
  const std::string shard = model + "/model-00002-of-00002.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
  for (const char* command : {"predict", "inspect"}) {
    Words words{command, model};
    if (words.front() == "predict") words.emplace_back("Paris is");
    const Outcome outcome = run_engram(words);
    EXPECT_EQ(outcome.code, 3);
    EXPECT_NE(outcome.err.find("model-00002-of-00002.safetensors"), std::string::npos)
        << outcome.err;
  }
  std::filesystem::remove(shard);
  const Outcome gone = run_engram({"predict", model, "Paris is"});
  EXPECT_EQ(gone.code, 4);
  EXPECT_NE(gone.err.find("model-00002-of-00002.safetensors"), std::string::npos) << gone.err;
}

TEST_F(BrokenCausal, AnIndexThatLacksATensorOrNamesOneThatIsNotThere) {
  const std::string model = copy("llama-tiny");
  const std::string index = model + "/model.safetensors.index.json";
  const std::string text = read_text(index);
  change(index, [](json& value) {
    value["weight_map"]["model.layers.9.ghost"] = "model-00001-of-00002.safetensors";
  });
  expect_refused(run_engram({"predict", model, "Paris is"}),
                 {"model.layers.9.ghost", "missing", "index.json"});
  write_text(index, text);
  change(index, [](json& value) { value["weight_map"]["model.norm.weight"] = 3; });
  expect_refused(run_engram({"predict", model, "Paris is"}), {"index.json", "model.norm.weight"});
}

TEST_F(BrokenCausal, WrongShapesNameTheTensorOnce) {
  const std::string model = copy("gpt2-tiny");
  change(model + "/config.json", [](json& value) { value["n_embd"] = 33; });
  const Outcome outcome = run_engram({"inspect", model, "--json"});
  EXPECT_EQ(outcome.code, 3);
  int told = 0;
  const json report = json::parse(outcome.out);
  for (const json& problem : report.at("problems")) {
    const auto text = problem.get<std::string>();
    if (text.starts_with("transformer.h.0.attn.c_attn.weight")) {
      ++told;
      EXPECT_NE(text.find("got shape [30, 90], expected [33, 99]"), std::string::npos) << text;
    }
  }
  EXPECT_EQ(told, 1);
}

TEST_F(BrokenCausal, MissingTensorsAndTooManyLayers) {
  const std::string llama = copy("llama-tiny");
  const std::string config = llama + "/config.json";
  change(config, [](json& value) { value["attention_bias"] = true; });
  expect_refused(run_engram({"predict", llama, "Paris is"}),
                 {"model.layers.0.self_attn.q_proj.bias", "missing", "[30]"});
  change(config, [](json& value) {
    value["attention_bias"] = false;
    value["num_hidden_layers"] = 2;
  });
  expect_refused(run_engram({"predict", llama, "Paris is"}),
                 {"got 3 layers", "expected the 2", "num_hidden_layers"});
  const std::string gpt2 = copy("gpt2-tiny");
  change(gpt2 + "/config.json", [](json& value) { value["n_layer"] = 1; });
  expect_refused(run_engram({"predict", gpt2, "Paris is"}),
                 {"got 3 layers", "expected the 1", "n_layer"});
}

TEST_F(BrokenCausal, ADecoderWithoutItsHead) {
  const std::string model = copy("llama-tiny");  // is tied, and so has none of its own
  change(model + "/config.json", [](json& value) { value["tie_word_embeddings"] = false; });
  expect_refused(run_engram({"predict", model, "Paris is"}),
                 {"no LM head", "lm_head.weight", "tie_word_embeddings"});
}

TEST_F(BrokenCausal, AScalingThatIsNotComputed) {
  const std::string model = copy("llama-tiny");
  change(model + "/config.json",
         [](json& value) { value["rope_parameters"]["rope_type"] = "yarn"; });
  expect_refused(run_engram({"predict", model, "Paris is"}),
                 {"config.json: rope_parameters", "rope_type", "\"yarn\"", "linear or llama3"});
}

}  // namespace
}  // namespace engram::testing
