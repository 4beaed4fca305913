// Models, prompts and places that cannot be used: one clear message each, and the right exit code.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"
#include "engram/model/model.h"
#include "engram/model/tensor_table.h"
#include "support/sanitizer.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;

using Arguments = std::vector<std::string>;
using nlohmann::json;

const std::string kPrompt = "The capital of France is [MASK].";

/// One line on stderr that holds every part, and nothing on stdout.
void expect_error(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  EXPECT_EQ(outcome.err.rfind("engram: error: ", 0), 0U) << outcome.err;
  for (const std::string& part : parts) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << " in " << outcome.err;
  }
}

Outcome attribute(const std::string& prompt, const std::string& answer,
                  const Arguments& more = {}) {
  Arguments all{"attribute", tiny_model(), "--prompt", prompt, "--answer", answer, "--quiet"};
  all.insert(all.end(), more.begin(), more.end());
  return run_engram(all);
}

TEST(ScarceMachine, MoreThreadsThanTheSystemGivesAreOneMessage) {
  if (kAddressSanitizer) GTEST_SKIP() << "its shadow alone is larger than any limit on memory";
  const TemporaryFolder folder;
  std::string facts;
  for (int i = 0; i < 400; ++i) {
    facts += R"({"relation":"P36","subject":"s)" + std::to_string(i) +
             R"(","object":"paris","prompts":["s)" + std::to_string(i) + R"( [MASK]."]})" + "\n";
  }
  write_text(folder.file("facts.jsonl"), facts);
  RunSetup scarce;
  scarce.address_space = size_t{3} << 30;
  const Arguments arguments{"locate",    tiny_model(), "--facts",      folder.file("facts.jsonl"),
                            "--threads", "400",        "--out",        folder.file("out.jsonl"),
                            "--quiet",   "--memory",   "1000000000000"};
  expect_error(run_engram(arguments, scarce), 2, {"cannot start", "threads", "--threads"});
  EXPECT_FALSE(fs::exists(folder.file("out.jsonl")));
}

TEST(BadPrompt, MasksAndAnswers) {
  expect_error(attribute("The capital of France is Paris.", "paris"), 3, {"--prompt", "[MASK]"});
  expect_error(attribute("[MASK] is the capital of [MASK].", "paris"), 3, {"--prompt"});
  expect_error(attribute(kPrompt, "[SEP]"), 3, {"--answer", "[SEP]"});
  expect_error(attribute(kPrompt, "[MASK]"), 3, {"--answer", "[MASK]"});
  expect_error(attribute(kPrompt, "東⊗"), 3, {"--answer", "東⊗"});
  expect_error(attribute(kPrompt, " "), 3, {"--answer"});
  expect_error(attribute("", "paris"), 3, {"--prompt"});
  std::string longer;
  for (int i = 0; i < 60; ++i) longer += "the ";
  expect_error(attribute(longer + "[MASK].", "paris"), 3, {"--prompt", "40"});
  expect_error(run_engram({"predict", tiny_model(), "No mask."}), 3, {"TEXT", "[MASK]"});
  expect_error(run_engram({"predict", tiny_model(), "[MASK] [MASK]"}), 3, {"TEXT"});
}

TEST(BadPrompt, Contrasts) {
  expect_error(attribute(kPrompt, "paris", {"--target", "logit-diff:[PAD]"}), 3, {"--target"});
  expect_error(attribute(kPrompt, "paris", {"--target", "logit-diff:paris"}), 3, {"--target"});
  expect_error(attribute(kPrompt, "paris", {"--target", "logit-diff:the city"}), 3,
               {"--target", "one token"});
}

TEST(BadPrompt, TextThatIsNotUtf8) {
  const Outcome outcome = attribute("caf\xe9 [MASK].", "paris");
  EXPECT_EQ(outcome.code, 3) << outcome.err;
  EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
}

class BadModel : public ::testing::Test {
 protected:
  TemporaryFolder folder;
  std::string model = copy_of_model(folder);
  Outcome predict() { return run_engram({"predict", model, kPrompt}); }
  json config() { return json::parse(read_text(model + "/config.json")); }
  void set_config(const json& value) { write_text(model + "/config.json", value.dump()); }
};

TEST_F(BadModel, FolderThatIsMissingOrNoModel) {
  for (const char* command : {"predict", "inspect"}) {
    const auto run = [&](const std::string& place) {
      std::vector<std::string> arguments{command, place};
      if (arguments.front() == "predict") arguments.push_back(kPrompt);
      return run_engram(arguments);
    };
    expect_error(run(folder.file("nowhere")), 4, {"nowhere", "No such file"});
    expect_error(run(model + "/config.json"), 4, {"got no folder"});
    std::filesystem::create_directories(folder.file("empty"));
    const Outcome empty = run(folder.file("empty"));
    EXPECT_EQ(empty.code, 3);
    EXPECT_NE(empty.err.find("config.json"), std::string::npos) << empty.err;
  }
}

/// Ways to break a folder: what is left to describe must be described.
struct Damage {
  std::string what;
  std::function<void(const std::string& model)> make;
  std::string problem;  ///< a part of the first problem
  bool config, tensors, tokenizer;
};

void change_config(const std::string& model, const std::string& key, const json& value) {
  json config = json::parse(read_text(model + "/config.json"));
  config[key] = value;
  write_text(model + "/config.json", config.dump());
}

std::vector<Damage> damages() {
  const auto halve = [](const std::string& model) {
    const std::string file = model + "/model.safetensors";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  };
  const auto remove = [](const char* name) {
    return [name](const std::string& model) { std::filesystem::remove(model + "/" + name); };
  };
  return {
      {"truncated weights", halve, "cut off", true, false, true},
      {"no weights", remove("model.safetensors"), "no weights", true, false, true},
      {"no tokenizer", remove("tokenizer.json"), "no tokenizer", true, true, false},
      {"no config", remove("config.json"), "no config.json", false, true, true},
      {"unknown type", [](const auto& model) { change_config(model, "model_type", "mamba"); },
       "mamba", false, true, true},
      {"bad number", [](const auto& model) { change_config(model, "hidden_size", -1); },
       "hidden_size", false, true, true},
      {"no JSON", [](const auto& model) { write_text(model + "/config.json", "{"); }, "JSON", false,
       true, false},  // config.json may name the tokenizer's class
      {"tokenizer of nonsense",
       [](const auto& model) { write_text(model + "/tokenizer.json", "[]"); }, "tokenizer", true,
       true, false},
      {"fewer layers", [](const auto& model) { change_config(model, "num_hidden_layers", 2); },
       "got 3 layers", true, true, true},
  };
}

TEST(BrokenModel, IsDescribedAsFarAsPossible) {
  for (const Damage& damage : damages()) {
    SCOPED_TRACE(damage.what);
    const TemporaryFolder folder;
    const std::string model = copy_of_model(folder);
    damage.make(model);
    const Outcome predicted = run_engram({"predict", model, kPrompt});
    expect_error(predicted, 3, {damage.problem});
    const Outcome told = run_engram({"inspect", model, "--json"});
    EXPECT_EQ(told.code, 3);
    const json report = json::parse(told.out);
    EXPECT_EQ(report.at("usable"), false);
    ASSERT_FALSE(report.at("problems").empty());
    EXPECT_NE(report.at("problems").at(0).get<std::string>().find(damage.problem),
              std::string::npos)
        << report.at("problems");
    EXPECT_EQ(report.at("family").is_string(), damage.config);
    EXPECT_EQ(report.at("layers").is_number(), damage.config);
    EXPECT_EQ(report.at("tensors").is_object(), damage.tensors);
    EXPECT_EQ(report.at("tokenizer").is_object(), damage.tokenizer);
    const Outcome text = run_engram({"inspect", model});
    EXPECT_EQ(text.code, 3);
    const auto has = [&](const char* part) { return text.out.find(part) != std::string::npos; };
    EXPECT_EQ(has("\n  family "), damage.config) << text.out;
    EXPECT_EQ(has("\n  tensors "), damage.tensors) << text.out;
    EXPECT_EQ(has("\n  tokenizer "), damage.tokenizer) << text.out;
    EXPECT_TRUE(has("\n  problem ")) << text.out;
    EXPECT_EQ(lines_of(text.err).size(), 1U) << text.err;
    EXPECT_NE(text.err.find("cannot be used"), std::string::npos) << text.err;
    // The folder is named once.
    EXPECT_EQ(text.err.find(model), text.err.rfind(model)) << text.err;
  }
}

TEST(PaddedVocabulary, RowsWithoutATokenAreNoAnswers) {
  const TemporaryFolder folder;
  const std::string model = copy_of_model(folder);
  json tokenizer = json::parse(read_text(model + "/tokenizer.json"));
  json& vocabulary = tokenizer["model"]["vocab"];
  const auto size = vocabulary.size();
  const Outcome before = run_engram({"predict", model, kPrompt, "--top", "1000", "--json"});
  ASSERT_EQ(before.code, 0) << before.err;
  // Tokens that the prompt does not need: the last ten, and one in the middle.
  std::vector<std::string> gone;
  for (const auto& [token, id] : vocabulary.items()) {
    if (id.get<size_t>() + 10 >= size || id.get<size_t>() == size - 20) gone.push_back(token);
  }
  ASSERT_EQ(gone.size(), 11U);
  for (const std::string& token : gone) vocabulary.erase(token);
  write_text(model + "/tokenizer.json", tokenizer.dump());
  const Outcome after = run_engram({"predict", model, kPrompt, "--top", "1000", "--json"});
  ASSERT_EQ(after.code, 0) << after.err;
  ASSERT_EQ(json::parse(before.out).at("tokens"), json::parse(after.out).at("tokens"));
  // The same answers with the same P: the softmax is over all rows.
  json expected = json::array();
  const json all = json::parse(before.out);
  for (const json& answer : all.at("predictions")) {
    if (std::ranges::find(gone, answer.at("token").get<std::string>()) == gone.end()) {
      expected.push_back(answer);
    }
  }
  EXPECT_EQ(json::parse(after.out).at("predictions"), expected);
  EXPECT_EQ(run_engram({"predict", model, kPrompt, "--top", "1000"}).code, 0);
}

TEST_F(BadModel, UnknownArchitecture) {
  json changed = config();
  changed["model_type"] = "mamba";
  changed["architectures"] = {"MambaForCausalLM"};
  set_config(changed);
  expect_error(predict(), 3, {"config.json", "mamba"});
}

TEST_F(BadModel, ConfigThatIsNoJson) {
  write_text(model + "/config.json", "{\"model_type\": ");
  expect_error(predict(), 3, {"config.json"});
}

TEST_F(BadModel, FolderInPlaceOfAFile) {
  std::filesystem::remove(model + "/model.safetensors");
  std::filesystem::create_directory(model + "/model.safetensors");
  expect_error(predict(), 4, {"model.safetensors"});
}

TEST_F(BadModel, TruncatedWeights) {
  const std::string file = model + "/model.safetensors";
  const auto size = std::filesystem::file_size(file);
  for (const auto left : {size - 1, size / 2, uintmax_t{100}, uintmax_t{7}, uintmax_t{0}}) {
    std::filesystem::resize_file(file, left);
    SCOPED_TRACE(left);
    expect_error(predict(), 3, {"model.safetensors"});
  }
}

TEST_F(BadModel, WrongShapeAndMissingTensorAreInspected) {
  json changed = config();
  changed["intermediate_size"] = 52;
  changed["num_hidden_layers"] = 4;
  set_config(changed);
  expect_error(predict(), 3, {"model.safetensors"});
  const Outcome inspected = run_engram({"inspect", model, "--json"});
  EXPECT_EQ(inspected.code, 3);
  const json report = json::parse(inspected.out);
  EXPECT_EQ(report.at("usable"), false);
  EXPECT_EQ(report.at("tensors").at("missing").size(), 16U) << "one layer";
  bool told = false;
  for (const json& problem : report.at("problems")) {
    told = told || problem.get<std::string>().find("expected [52, 24]") != std::string::npos;
  }
  EXPECT_TRUE(told) << report.at("problems");
}

TEST_F(BadModel, UnreadableFile) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  ::chmod((model + "/config.json").c_str(), 0);
  expect_error(predict(), 4, {"config.json"});
}

TEST_F(BadModel, TokenizerOfAnotherModel) {
  std::filesystem::copy_file(tiny_model("bert-tiny") + "/tokenizer.json", model + "/tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  json tokenizer = json::parse(read_text(model + "/tokenizer.json"));
  tokenizer["model"]["vocab"]["surplus"] = 330;
  write_text(model + "/tokenizer.json", tokenizer.dump());
  expect_error(predict(), 3, {"331", "330"});
}

TEST(BadPlace, PictureIsRefusedBeforeAnyWork) {
  const TemporaryFolder folder;
  const Outcome missing =
      attribute(kPrompt, "no matter", {"--picture", folder.file("no/where.svg")});
  expect_error(missing, 4, {folder.file("no")});
  std::filesystem::create_directory(folder.file("folder.svg"));
  expect_error(attribute(kPrompt, "paris", {"--picture", folder.file("folder.svg")}), 4,
               {"folder.svg"});
  if (::geteuid() != 0) {
    ::chmod(folder.path().c_str(), 0500);
    expect_error(attribute(kPrompt, "paris", {"--picture", folder.file("a.svg")}), 4, {"a.svg"});
    ::chmod(folder.path().c_str(), 0700);
  }
}

TEST(BadPlace, StandardOutput) {
  const Arguments predict{"predict", tiny_model(), kPrompt};
  RunSetup setup;
  setup.stdout_path = "/dev/full";
  expect_error(run_engram(predict, setup), 4, {"stdout"});
  expect_error(run_engram({"help"}, setup), 4, {"stdout"});
  expect_error(run_engram({"--help"}, setup), 4, {"stdout"});
  setup.stdout_path = "-";
  expect_error(run_engram(predict, setup), 4, {"stdout"});
}

TEST(BadInput, FilesOfPrompts) {
  const TemporaryFolder folder;
  const std::string file = folder.file("p");
  const auto expect = [&](const std::string& text, const std::string& place,
                          const std::string& message) {
    write_text(file, text);
    expect_error(run_engram({"attribute", tiny_model(), "--prompts", file}), 3,
                 {file + place, message});
  };
  const std::string good = "{\"prompt\": \"a [MASK]\", \"answer\": \"paris\"}\n";
  expect("", "", "got no line, expected prompts");
  expect(good + "{\"prompt\": 3}", ":2", "got a JSON number as \"prompt\", expected a string");
  expect(good + "{\"answer\": \"x\"}", ":2", "got no \"prompt\"");
  expect(good + "{\"prompt\": \"a [MASK]\", \"anwser\": \"x\"}", ":2", "\"anwser\"");
  expect(good + "\n[MASK] is text", ":3", "not valid JSON");
  expect(good + std::string(200'000, '['), ":2", "nested more than 100 deep");
  expect("a [MASK]\tx\nb [MASK]\t\n", ":2", "expected PROMPT or PROMPT<tab>ANSWER");
  expect("a [MASK]\tparis\nb [MASK]\n", ":2", "got a prompt without an answer");
  expect("a [MASK]\tparis\nno mask\tparis\n", ":2", "[MASK]");
  expect("caf\xe9 [MASK]\tparis\n", ":1", "UTF-8");
  expect_error(run_engram({"attribute", tiny_model(), "--prompts", folder.file("none")}), 4,
               {"none"});
}

TEST(BadPlace, AReaderThatLeavesEndsTheProgramSilently) {
  RunSetup leaving;
  leaving.reader_leaves = true;
  for (const Arguments& arguments :
       {Arguments{"help"}, Arguments{"--help"}, Arguments{},
        Arguments{"predict", tiny_model(), kPrompt},
        Arguments{"attribute", tiny_model(), "--prompt", kPrompt, "--predicted", "--top", "all"}}) {
    const Outcome outcome = run_engram(arguments, leaving);
    EXPECT_EQ(outcome.code, 141) << outcome.err;
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Device, CudaWithoutItsKernelsSaysWhatToDo) {
  const Outcome outcome = run_engram({"predict", tiny_model(), kPrompt, "--device", "cuda"});
  if (outcome.code == 0) GTEST_SKIP() << "a GPU is there and usable";
  EXPECT_TRUE(outcome.code == 3 || outcome.code == 4) << outcome.err;
  EXPECT_TRUE(outcome.err.find("make cuda") != std::string::npos ||
              outcome.err.find("no usable GPU") != std::string::npos)
      << outcome.err;
  const Outcome fallback = run_engram({"predict", tiny_model(), kPrompt, "--device", "auto"});
  EXPECT_EQ(fallback.code, 0) << fallback.err;
  EXPECT_EQ(fallback.out, run_engram({"predict", tiny_model(), kPrompt}).out);
}

/// A model that is big enough for minutes of work.
class Interrupting : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelConfig config;
    config.layers = 12;
    config.d_model = 192;
    config.d_ff = 768;
    config.heads = 6;
    config.head_size = 32;
    config.vocabulary = 330;
    config.positions = 64;
    config.token_types = 2;
    ModelWeights weights;
    for (const TensorSpec& spec : tensor_table(config, weights)) {
      const std::vector<int64_t> shape = spec.shape(config);
      *spec.destination = at::full(shape, 0.01, at::kFloat);
      if (shape.size() == 2) spec.destination->normal_(0, 0.05);
    }
    weights.decoder_weight = weights.token_embedding;
    save_model(Model(config, std::move(weights)), folder.path(), false);
    std::filesystem::copy(tiny_model() + "/tokenizer.json", folder.file("tokenizer.json"));
  }
  Outcome run(const RunSetup& setup) {
    return run_engram(
        {"attribute", folder.path().string(), "--prompt", kPrompt, "--answer", "paris", "--rule",
         "riemann-left", "--steps", "10000", "--picture", folder.file("picture.svg")},
        setup);
  }
  TemporaryFolder folder;
};

TEST_F(Interrupting, StopsWithinASecondAndLeavesNothing) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    RunSetup setup;
    setup.signal_after = std::chrono::milliseconds(4000);
    setup.signals = {number};
    const Outcome outcome = run(setup);
    EXPECT_EQ(outcome.code, 130) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err.find("engram: interrupted: "), std::string::npos) << outcome.err;
    // Slow machines and sanitizers get some room beyond the second that is promised.
    EXPECT_LT(outcome.seconds, 4.0 + 3.0);
    EXPECT_FALSE(std::filesystem::exists(folder.file("picture.svg")));
  }
}

TEST_F(Interrupting, AClosedTerminalMaySaySoTwice) {
  RunSetup setup;
  setup.signal_after = std::chrono::milliseconds(3000);
  setup.signals = {SIGHUP, SIGHUP};
  const Outcome outcome = run(setup);
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_NE(outcome.err.find("no file was written"), std::string::npos) << outcome.err;
}

TEST_F(Interrupting, ASecondSignalStopsAtOnce) {
  RunSetup setup;
  setup.signal_after = std::chrono::milliseconds(3000);
  setup.signals = {SIGINT, SIGINT};
  const Outcome outcome = run(setup);
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_LT(outcome.seconds, 3.0 + 2.0);
}

// The cache's files are links into blobs/; what a command prints names the folder that was read.
TEST(Input, AModelIsFoundByItsNameOnTheHub) {
  const TemporaryFolder folder;
  const fs::path repository = folder.path() / "models--someone--tiny";
  fs::create_directories(repository / "refs");
  fs::create_directories(repository / "snapshots" / "c0ffee");
  write_text(repository / "refs" / "main", "c0ffee");
  fs::copy(tiny_model(), repository / "blobs", fs::copy_options::recursive);
  for (const auto& file : fs::directory_iterator(repository / "blobs")) {
    const fs::path name = file.path().filename();
    fs::create_symlink(fs::path("../../blobs") / name, repository / "snapshots" / "c0ffee" / name);
  }
  ::setenv("HF_HUB_CACHE", folder.path().c_str(), 1);
  const Outcome found = run_engram({"inspect", "someone/tiny", "--json"});
  const Outcome pinned = run_engram({"inspect", "someone/tiny@c0ffee", "--json"});
  const Outcome missing = run_engram({"inspect", "someone/other"});
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(found.code, 0) << found.err;
  EXPECT_NE(found.out.find("snapshots/c0ffee"), std::string::npos);
  EXPECT_EQ(found.out, pinned.out);
  EXPECT_EQ(missing.code, run_engram({"inspect", "/no/such/folder"}).code);
  EXPECT_NE(missing.err.find("hf download someone/other"), std::string::npos) << missing.err;
}

}  // namespace
}  // namespace engram::testing
