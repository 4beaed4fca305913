// What the commands compute and print on tiny checkpoints.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "cli/convert.h"
#include "cli/run_engram.h"
#include "engram/error.h"

namespace engram::testing {
namespace {

using Arguments = std::vector<std::string>;
using nlohmann::json;

const std::string kPrompt = "The capital of France is [MASK].";

json run_json(Arguments arguments) {
  arguments.emplace_back("--json");
  const Outcome outcome = run_engram(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(lines_of(outcome.out).size(), 1U) << "one object on one line";
  return json::parse(outcome.out);
}

json attribute(const Arguments& more, const std::string& model = "bert-tiny") {
  Arguments all{"attribute", tiny_model(model), "--prompt", kPrompt};
  all.insert(all.end(), more.begin(), more.end());
  return run_json(all);
}

class EveryFamily : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryFamily, Inspect) {
  const json report = run_json({"inspect", tiny_model(GetParam())});
  const json config = json::parse(read_text(tiny_model(GetParam()) + "/config.json"));
  EXPECT_EQ(report.at("schema"), "engram.inspect/1");
  EXPECT_EQ(report.at("usable"), true);
  EXPECT_EQ(report.at("family"), config.at("model_type"));
  EXPECT_EQ(report.at("vocabulary"), config.at("vocab_size"));
  EXPECT_EQ(report.at("neurons").get<int64_t>(),
            report.at("layers").get<int64_t>() * report.at("d_ff").get<int64_t>());
  EXPECT_GT(report.at("parameters").get<int64_t>(), 0);
  int64_t stored = 0;
  for (const auto& [name, count] : report.at("tensors").at("storage").items()) {
    stored += count.get<int64_t>();
  }
  EXPECT_EQ(report.at("tensors").at("count").get<int64_t>(), stored);
  EXPECT_EQ(report.at("tensors").at("missing").size(), 0U);
  EXPECT_EQ(report.at("problems").size(), 0U);
  const json& special = report.at("tokenizer").at("special");
  EXPECT_NE(std::find(special.begin(), special.end(), report.at("tokenizer").at("mask")),
            special.end());
  const Outcome text = run_engram({"inspect", tiny_model(GetParam())});
  EXPECT_EQ(text.code, 0);
  for (const char* part :
       {"family", "layers", "tensors", "missing", "unexpected", "tokenizer", "memory"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part;
  }
}

TEST_P(EveryFamily, PredictIsTheReferencesSoftmax) {
  const json expected = json::parse(read_text(tiny_model(GetParam()) + "/expected.json"));
  const json& first = expected.at("cases").at(0);
  const json result =
      run_json({"predict", tiny_model(GetParam()), first.at("prompt"), "--top", "1000000"});
  EXPECT_EQ(result.at("schema"), "engram.predict/1");
  const json& predictions = result.at("predictions");
  double sum = 0;
  double before = 1;
  std::set<int64_t> ids;
  bool found = false;
  for (const json& prediction : predictions) {
    const double p = prediction.at("p");
    EXPECT_LE(p, before);
    before = p;
    sum += p;
    ids.insert(prediction.at("id").get<int64_t>());
    if (prediction.at("id") == first.at("answer").at(0)) {
      found = true;
      EXPECT_NEAR(p, first.at("p").get<double>(), 2e-5);
    }
  }
  EXPECT_TRUE(found);
  EXPECT_NEAR(sum, 1, 1e-9);
  EXPECT_EQ(ids.size(), predictions.size());
  EXPECT_EQ(result.at("tokens").size(), first.at("ids").size());
}

TEST_P(EveryFamily, AttributePrintsOneCompleteObject) {
  const json result = attribute({"--predicted", "--top", "all"}, GetParam());
  const json report = run_json({"inspect", tiny_model(GetParam())});
  EXPECT_EQ(result.at("schema"), "engram.attribute/1");
  EXPECT_EQ(result.at("prompt"), kPrompt);
  EXPECT_EQ(result.at("target"), "prob");
  EXPECT_EQ(result.at("score"), "ig");
  EXPECT_EQ(result.at("predicted"), true);
  EXPECT_EQ(result.at("rank"), 1);
  EXPECT_EQ(result.at("p"), result.at("f"));
  const int64_t position = result.at("positions").at(0);
  EXPECT_EQ(result.at("tokens").at(static_cast<size_t>(position)),
            report.at("tokenizer").at("mask"));
  ASSERT_EQ(result.at("layers").size(), report.at("layers").get<size_t>());
  ASSERT_EQ(result.at("neurons").size(), report.at("neurons").get<size_t>());
  std::vector<double> sums(result.at("layers").size());
  std::set<std::pair<int64_t, int64_t>> seen;
  double before = INFINITY;
  for (const json& neuron : result.at("neurons")) {
    const double score = neuron.at("score");
    EXPECT_LE(score, before);
    before = score;
    sums.at(neuron.at("layer").get<size_t>()) += score;
    seen.emplace(neuron.at("layer"), neuron.at("neuron"));
    EXPECT_TRUE(neuron.at("activation").is_number());
  }
  EXPECT_EQ(seen.size(), result.at("neurons").size());
  bool converged = true;
  for (size_t i = 0; i < sums.size(); ++i) {
    const json& layer = result.at("layers").at(i);
    EXPECT_EQ(layer.at("layer"), i);
    EXPECT_NEAR(layer.at("sum").get<double>(), sums[i], 1e-5);
    EXPECT_NEAR(layer.at("gap").get<double>(),
                std::fabs(layer.at("sum").get<double>() - layer.at("delta").get<double>()), 1e-9);
    // What is called converged met the tolerance; a layer of a few random neurons may not.
    const double scale =
        std::max(std::fabs(layer.at("delta").get<double>()), 1e-3 * result.at("p").get<double>());
    if (layer.at("converged")) {
      EXPECT_LE(layer.at("gap").get<double>(), 0.01 * scale);
    }
    converged = converged && layer.at("converged");
    EXPECT_GE(layer.at("nodes").get<int64_t>(), 1);
  }
  EXPECT_EQ(result.at("totals").at("converged"), converged);
}

INSTANTIATE_TEST_SUITE_P(Tiny, EveryFamily,
                         ::testing::Values("bert-tiny", "roberta-tiny", "distilbert-tiny",
                                           "bert-bf16-sharded-untied", "electra-tiny"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Attribute, TokensAreWrittenAsInTheVocabulary) {
  const json bert = attribute({"--answer", "paris"});
  EXPECT_EQ(bert.at("tokens"),
            json({"[CLS]", "the", "capital", "of", "france", "is", "[MASK]", ".", "[SEP]"}));
  const json roberta = attribute({"--predicted"}, "roberta-tiny");
  const json& tokens = roberta.at("tokens");
  EXPECT_EQ(tokens.front(), "<s>");
  EXPECT_EQ(tokens.back(), "</s>");
  EXPECT_TRUE(std::any_of(tokens.begin(), tokens.end(), [](const json& token) {
    return token.get<std::string>().rfind("Ġ", 0) == 0;
  })) << tokens;
}

TEST(Attribute, TheModelsOwnMaskTokenIsAcceptedToo) {
  const Arguments own{"attribute", tiny_model("roberta-tiny"), "--prompt",
                      "The capital of France is <mask>.", "--predicted"};
  json result = run_json(own);
  json other = attribute({"--predicted"}, "roberta-tiny");
  result.erase("prompt");
  other.erase("prompt");
  EXPECT_EQ(result, other);
}

TEST(Attribute, TheDefaultMeetsItsTolerance) {
  for (const char* model : {"bert-tiny", "roberta-tiny"}) {
    EXPECT_EQ(attribute({"--predicted"}, model).at("totals").at("converged"), true) << model;
  }
}

TEST(Attribute, TopCutsTheSameList) {
  const json all = attribute({"--answer", "paris", "--top", "all"}).at("neurons");
  const json five = attribute({"--answer", "paris", "--top", "5"}).at("neurons");
  ASSERT_EQ(five.size(), 5U);
  EXPECT_EQ(five, json(std::vector<json>(all.begin(), all.begin() + 5)));
  EXPECT_EQ(attribute({"--answer", "paris"}).at("neurons").size(), 20U);
}

TEST(Attribute, StepsFixTheNodes) {
  for (const char* rule :
       {"riemann-left", "riemann-right", "linspace", "trapezoid", "gauss-legendre"}) {
    const json result = attribute({"--answer", "paris", "--rule", rule, "--steps", "7"});
    EXPECT_EQ(result.at("rule"), rule);
    for (const json& layer : result.at("layers")) {
      const int64_t nodes = layer.at("nodes");
      EXPECT_GE(nodes, 6) << rule;  // a node at t = 1 is shared by all layers
      EXPECT_LE(nodes, 8) << rule;
    }
  }
}

TEST(Attribute, ScoresThatAreNotIntegralsHaveNoRule) {
  for (const char* score : {"activation", "activation-norm", "value-norm", "gradient-x-activation",
                            "relp", "ablation"}) {
    const json result = attribute({"--answer", "paris", "--score", score});
    EXPECT_EQ(result.at("score"), score);
    EXPECT_TRUE(result.at("rule").is_null());
  }
  const json patching = attribute({"--answer", "paris", "--score", "attribution-patching"});
  EXPECT_EQ(patching.at("score"), "gradient-x-activation");
  const json activation = attribute({"--answer", "paris", "--score", "activation"});
  for (const json& neuron : activation.at("neurons")) {
    EXPECT_EQ(neuron.at("score"), neuron.at("activation"));
  }
}

TEST(Attribute, TargetsAreDifferentFunctionsOfTheSameAnswer) {
  const json p = attribute({"--answer", "paris"});
  const json log_p = attribute({"--answer", "paris", "--target", "logprob"});
  const json difference = attribute({"--answer", "paris", "--target", "logit-diff:berlin"});
  const json back = attribute({"--answer", "berlin", "--target", "logit-diff:paris"});
  EXPECT_NEAR(log_p.at("f").get<double>(), std::log(p.at("p").get<double>()), 1e-5);
  EXPECT_EQ(log_p.at("target"), "logprob");
  EXPECT_EQ(difference.at("target"), "logit-diff:berlin");
  EXPECT_NEAR(difference.at("f").get<double>(), -back.at("f").get<double>(), 1e-5);
  EXPECT_NEAR(difference.at("f").get<double>(),
              std::log(p.at("p").get<double>() / back.at("p").get<double>()), 1e-4);
}

TEST(Attribute, AnswersOfSeveralTokensSayWhatIsScored) {
  const json result = attribute({"--answer", "german city"});
  EXPECT_EQ(result.at("target"), "mean-logprob");
  EXPECT_EQ(result.at("answer_ids").size(), 2U);
  EXPECT_EQ(result.at("positions").size(), 2U);
  EXPECT_TRUE(result.at("rank").is_null());
  EXPECT_NEAR(result.at("p").get<double>(), std::exp(result.at("f").get<double>()), 1e-6);
  const auto& tokens = result.at("tokens");
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), "[MASK]"), 2);
  const Outcome text =
      run_engram({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "german city"});
  EXPECT_NE(text.out.find("mean log P over 2 masks"), std::string::npos) << text.out;
}

TEST(Attribute, OutputDoesNotDependOnTheRun) {
  const Arguments arguments{"attribute", tiny_model(), "--prompt", kPrompt,
                            "--answer",  "paris",      "--quiet"};
  Arguments as_json = arguments;
  as_json.insert(as_json.end(), {"--json", "--top", "all"});
  EXPECT_EQ(run_engram(as_json).out, run_engram(as_json).out);
  EXPECT_EQ(run_engram(arguments).out, run_engram(arguments).out);
  Arguments one = as_json;
  one.insert(one.end(), {"--threads", "1", "--memory", "64M"});
  Arguments three = as_json;
  three.insert(three.end(), {"--threads", "3"});
  const json a = json::parse(run_engram(one).out);
  const json b = json::parse(run_engram(three).out);
  double largest = 0;
  for (const json& neuron : a.at("neurons")) {
    largest = std::max(largest, std::fabs(neuron.at("score").get<double>()));
  }
  for (size_t i = 0; i < a.at("neurons").size(); ++i) {
    EXPECT_NEAR(a["neurons"][i]["score"].get<double>(), b["neurons"][i]["score"].get<double>(),
                1e-5 * largest);
  }
}

TEST(Attribute, TextForPeople) {
  const Outcome outcome =
      run_engram({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* part : {"\"paris\"", "P = ", "rank ", "Top 20 of 150 neurons", "activation",
                           "Layers", "F(a)-F(0)", "gap", "nodes"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << "\n" << outcome.out;
  }
  EXPECT_NE(outcome.err.find("attributed in"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find('\r'), std::string::npos) << "no progress when piped";
  const Outcome quiet =
      run_engram({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris", "--quiet"});
  EXPECT_EQ(quiet.err, "");
  EXPECT_EQ(quiet.out, outcome.out);
}

/// The objects of --json, one a line.
std::vector<json> attribute_lines(Arguments arguments) {
  arguments.insert(arguments.end(), {"--json", "--top", "all"});
  const Outcome outcome = run_engram(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::vector<json> objects;
  for (const std::string& line : lines_of(outcome.out)) objects.push_back(json::parse(line));
  return objects;
}

const std::string kOther = "[MASK] is the capital of Germany.";

TEST(Attribute, SeveralPromptsAreAttributedAsEachAlone) {
  const TemporaryFolder folder;
  write_text(folder.file("p.jsonl"), json{{"prompt", kPrompt}, {"answer", "paris"}}.dump() +
                                         "\n\n" +
                                         json{{"prompt", kOther}, {"answer", "berlin"}}.dump());
  write_text(folder.file("p.txt"), kPrompt + "\tparis\r\n" + kOther + "\n");
  const std::vector<Arguments> ways{
      {"--prompt", kPrompt, "--answer", "paris", "--prompt", kOther, "--answer", "berlin"},
      {"--prompts", folder.file("p.jsonl")},
      {"--prompts", folder.file("p.txt"), "--answer", "berlin"}};
  const std::vector<json> alone{attribute({"--answer", "paris", "--top", "all"}),
                                run_json({"attribute", tiny_model(), "--prompt", kOther, "--answer",
                                          "berlin", "--top", "all"})};
  for (const Arguments& way : ways) {
    Arguments arguments{"attribute", tiny_model()};
    arguments.insert(arguments.end(), way.begin(), way.end());
    const std::vector<json> both = attribute_lines(arguments);
    ASSERT_EQ(both.size(), 2U);
    for (size_t i = 0; i < 2; ++i) {
      for (const char* key : {"prompt", "answer", "answer_ids", "rank", "tokens"}) {
        EXPECT_EQ(both[i].at(key), alone[i].at(key)) << key;
      }
      EXPECT_NEAR(both[i].at("totals").at("sum").get<double>(),
                  alone[i].at("totals").at("sum").get<double>(), 1e-6);
    }
  }
  // One prompt, several answers; the model's own for each line.
  EXPECT_EQ(attribute_lines({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris",
                             "--answer", "berlin"})
                .size(),
            2U);
  const std::vector<json> own = attribute_lines(
      {"attribute", tiny_model(), "--prompts", folder.file("p.txt"), "--predicted"});
  ASSERT_EQ(own.size(), 2U);
  EXPECT_EQ(own[0].at("rank"), 1);
}

TEST(Attribute, PromptsComeFromStandardInput) {
  const TemporaryFolder folder;
  write_text(folder.file("p.txt"), kPrompt + "\tparis\n");
  const int before = ::dup(STDIN_FILENO);  // the program inherits the test's
  const int file = ::open(folder.file("p.txt").c_str(), O_RDONLY);
  ASSERT_GE(file, 0);
  ::dup2(file, STDIN_FILENO);
  const Outcome outcome = run_engram({"attribute", tiny_model(), "--prompts", "-", "--json"});
  ::dup2(before, STDIN_FILENO);
  ::close(before);
  ::close(file);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(json::parse(outcome.out).at("answer"), "paris");
}

/// The header of a score file and the float32 values behind it.
std::pair<std::string, std::vector<float>> score_file(const std::string& file) {
  const std::string bytes = read_text(file);
  size_t begin = 128;
  std::string header = bytes.substr(0, begin);
  if (file.ends_with(".safetensors")) {
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    begin = 8 + length;
    header = bytes.substr(8, length);
  }
  std::vector<float> values((bytes.size() - begin) / sizeof(float));
  std::memcpy(values.data(), bytes.data() + begin, values.size() * sizeof(float));
  return {header, values};
}

TEST(Attribute, WritesAllScoresForNumpyAndSafetensors) {
  const TemporaryFolder folder;
  const json one =
      attribute({"--answer", "paris", "--top", "all", "--scores", folder.file("one.npy")});
  run_json({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris", "--scores",
            folder.file("one.safetensors")});
  attribute_lines({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris", "--answer",
                   "berlin", "--scores", folder.file("two.npy")});
  const auto layers = one.at("layers").size();
  const size_t d_ff = one.at("neurons").size() / layers;
  const std::string shape = std::to_string(layers) + ", " + std::to_string(d_ff);
  const auto [header, values] = score_file(folder.file("one.npy"));
  EXPECT_NE(header.find("'<f4', 'fortran_order': False, 'shape': (" + shape + ")"), header.npos);
  ASSERT_EQ(values.size(), layers * d_ff);
  for (const json& neuron : one.at("neurons")) {
    const size_t at = neuron.at("layer").get<size_t>() * d_ff + neuron.at("neuron").get<size_t>();
    EXPECT_EQ(values[at], neuron.at("score").get<float>());
  }
  const auto [tensors, same] = score_file(folder.file("one.safetensors"));
  const json described = json::parse(tensors).at("scores");
  EXPECT_EQ(described.at("dtype"), "F32");
  EXPECT_EQ(described.at("shape"), (json{layers, d_ff}));
  EXPECT_EQ(described.at("data_offsets"), (json{0, 4 * layers * d_ff}));
  EXPECT_EQ(same, values);
  const auto [pair, both] = score_file(folder.file("two.npy"));
  EXPECT_NE(pair.find("'shape': (2, " + shape + ")"), pair.npos) << pair;
  EXPECT_EQ(both.size(), 2 * values.size());
}

TEST(Attribute, ByMagnitudeListsNegativeNeuronsToo) {
  const json all = attribute({"--answer", "paris", "--top", "all"}).at("neurons");
  const json by = attribute({"--answer", "paris", "--top", "all", "--by", "magnitude"});
  EXPECT_EQ(by.at("by"), "magnitude");
  ASSERT_EQ(by.at("neurons").size(), all.size());
  double before = INFINITY;
  for (const json& neuron : by.at("neurons")) {
    const double size = std::fabs(neuron.at("score").get<double>());
    EXPECT_LE(size, before);
    before = size;
  }
  // By score the most negative one is the last of all, and named under the table.
  const json& last = all.back();
  ASSERT_LT(last.at("score").get<double>(), 0);
  const Outcome text = run_engram(
      {"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris", "--top", "3"});
  EXPECT_NE(text.out.find("most negative: neuron " + std::to_string(last.at("layer").get<int>()) +
                          ":" + std::to_string(last.at("neuron").get<int>()) + ","),
            std::string::npos)
      << text.out;
}

/// Left and right end of every number of a picture, by its height.
std::map<std::string, std::vector<std::pair<double, double>>> label_spans(const std::string& svg) {
  std::map<std::string, std::vector<std::pair<double, double>>> spans;
  const std::regex label(
      "<text x=\"([0-9.]+)\" y=\"([0-9.]+)\" class=\"label num\"[^>]*>([0-9]+)</text>");
  for (std::sregex_iterator at(svg.begin(), svg.end(), label), end; at != end; ++at) {
    const double x = std::stod((*at)[1]);
    const double half = 2.8 * static_cast<double>((*at)[3].length());  // half a digit at 10 px
    spans[(*at)[2]].emplace_back(x - half, x + half);
  }
  return spans;
}

TEST(Picture, NumbersDoNotOverlapAndLieOnTop) {
  const TemporaryFolder folder;
  const std::string file = folder.file("fact.svg");
  ASSERT_EQ(run_engram({"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris",
                        "--picture", file})
                .code,
            0);
  const std::string svg = read_text(file);
  size_t labels = 0;
  for (auto& [height, spans] : label_spans(svg)) {
    std::ranges::sort(spans);
    labels += spans.size();
    for (size_t i = 1; i < spans.size(); ++i) EXPECT_LT(spans[i - 1].second, spans[i].first);
  }
  EXPECT_GT(labels, 3U);
  const size_t first = svg.find("class=\"label num\"");
  for (const char* mark : {"<circle", "<rect", "<line"}) EXPECT_LT(svg.rfind(mark), first) << mark;
  // Every mark is explained.
  for (const char* part :
       {"largest |score|", "positive score", "negative score", "numbered", "not drawn",
        "sum of the scores", "negative", "F(a) − F(0)</text>", "nodes: "}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
}

TEST(Picture, Themes) {
  const TemporaryFolder folder;
  const auto picture = [&](const std::string& name, const std::string& theme) {
    const std::string file = folder.file(name);
    const Outcome outcome = run_engram({"attribute", tiny_model(), "--prompt", kPrompt, "--answer",
                                        "paris", "--picture", file, "--theme", theme});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return read_text(file);
  };
  for (const std::string name : {"a.svg", "a.html"}) {
    const std::string media = "prefers-color-scheme";
    const std::string dark = ".paper{fill:#12161c}";
    EXPECT_NE(picture(name, "auto").find(media), std::string::npos);
    EXPECT_EQ(picture(name, "light").find(media), std::string::npos);
    EXPECT_EQ(picture(name, "light").find(dark), std::string::npos);
    EXPECT_EQ(picture(name, "dark").find(media), std::string::npos);
    EXPECT_NE(picture(name, "dark").find(dark), std::string::npos);
  }
}

TEST(Picture, PngAndPdf) {
  const TemporaryFolder folder;
  bool there = true;
  try {
    cli::check_converter();
  } catch (const FileError&) {
    there = false;
  }
  const std::vector<std::pair<std::string, std::string>> formats{{"fact.png", "\x89PNG\r\n"},
                                                                 {"fact.pdf", "%PDF-"}};
  for (const auto& [name, magic] : formats) {
    const std::string file = folder.file(name);
    const Outcome outcome = run_engram(
        {"attribute", tiny_model(), "--prompt", kPrompt, "--answer", "paris", "--picture", file});
    if (there) {
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      EXPECT_EQ(read_text(file).rfind(magic, 0), 0U);
      EXPECT_GT(read_text(file).size(), 5000U);
    } else {
      EXPECT_EQ(outcome.code, 4);
      EXPECT_NE(outcome.err.find("librsvg2-bin"), std::string::npos) << outcome.err;
    }
  }
  // Without the program the message names the package, before any work.
  const char* before = std::getenv("PATH");
  ASSERT_NE(before, nullptr);
  const std::string path = before;
  ::setenv("PATH", folder.path().c_str(), 1);
  const Outcome outcome = run_engram({"attribute", "no-model", "--prompt", kPrompt, "--answer",
                                      "paris", "--picture", folder.file("a.png")});
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(outcome.code, 4);
  EXPECT_NE(outcome.err.find("librsvg2-bin"), std::string::npos) << outcome.err;
}

TEST(Picture, IsSelfContainedAndEscaped) {
  const TemporaryFolder folder;
  for (const char* name : {"fact.svg", "fact.html"}) {
    const std::string file = folder.file(name);
    const Outcome outcome =
        run_engram({"attribute", tiny_model(), "--prompt", "<b>\"is\" & [MASK].", "--answer",
                    "paris", "--picture", file});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const std::string picture = read_text(file);
    EXPECT_NE(picture.find("<svg"), std::string::npos);
    EXPECT_NE(picture.find("&lt;b&gt;&quot;is&quot; &amp; "), std::string::npos);
    EXPECT_EQ(picture.find("<b>"), std::string::npos);
    EXPECT_NE(picture.find("<title>layer "), std::string::npos) << "titles on hover";
    EXPECT_NE(picture.find("prefers-color-scheme:dark"), std::string::npos);
    for (const char* outside : {"<script", "href=", "url(", "@import", "src="}) {
      EXPECT_EQ(picture.find(outside), std::string::npos) << outside;
    }
    // The name space is the only address.
    std::string rest = picture;
    const std::string space = "http://www.w3.org/2000/svg";
    rest.erase(rest.find(space), space.size());
    EXPECT_EQ(rest.find("http"), std::string::npos);
  }
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  EXPECT_EQ(files, 2U) << "nothing temporary is left";
}

}  // namespace
}  // namespace engram::testing
