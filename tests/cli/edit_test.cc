// edit from outside, on the shipped model: a delta is made, applied, listed, taken back, exported.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string shipped_model() { return ENGRAM_SOURCE_DIR "/models/engram-base"; }

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) files[entry.path().filename().string()] = read_text(entry.path());
  }
  return files;
}

/// The first facts of some relations of the shipped fact set.
std::string some_facts(const std::map<std::string, int>& wanted) {
  std::map<std::string, int> left = wanted;
  std::string text;
  for (const std::string& line : lines_of(read_text(shipped_model() + "/facts.jsonl"))) {
    for (auto& [relation, count] : left) {
      if (count > 0 && line.find("\"relation\":\"" + relation + "\"") != std::string::npos) {
        text += line + "\n";
        --count;
      }
    }
  }
  return text;
}

class EditCommand : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    write_text(facts(), some_facts({{"P36", 4}, {"P103", 2}}));
    subject_ = json::parse(lines_of(read_text(facts())).back()).at("subject");
    for (const std::string& line : lines_of(read_text(facts()))) {
      const json fact = json::parse(line);
      if (fact.at("relation") == "P36") subject_ = fact.at("subject");
    }
    made_ = run_engram({"edit", "update", shipped_model(), "--facts", facts(), "--relation", "P36",
                        "--subject", subject_, "--to", "Rome", "--out", delta(), "--json"});
  }
  static void TearDownTestSuite() { shared_.reset(); }
  static std::string facts() { return shared_->file("facts.jsonl"); }
  static std::string delta() { return shared_->file("rome.safetensors"); }
  static inline std::unique_ptr<TemporaryFolder> shared_;
  static inline std::string subject_;
  static inline Outcome made_;

  [[nodiscard]] Outcome edit(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "edit");
    return run_engram(arguments);
  }
  TemporaryFolder folder_;
  std::string copy_ = folder_.file("copy");
};

TEST_F(EditCommand, UpdateChangesTheAnswerOfItsFact) {
  ASSERT_EQ(made_.code, 0) << made_.err;
  const json made = json::parse(made_.out);
  EXPECT_EQ(made.at("schema"), "engram.edit/1");
  EXPECT_EQ(made.at("record"), "update");
  EXPECT_GT(made.at("neurons").size(), 0U);
  const json own = made.at("scopes").at(0);
  EXPECT_EQ(own.at("scope"), "own");
  const auto prompts = own.at("before").at("prompts").get<int>();
  EXPECT_GT(2 * own.at("before").at("top").get<int>(), prompts);
  EXPECT_LT(own.at("after").at("p").get<double>(), own.at("before").at("p").get<double>());
  EXPECT_GT(own.at("target_after").at("p").get<double>(),
            own.at("target_before").at("p").get<double>());
  EXPECT_LT(own.at("target_after").at("rank").get<double>(),
            own.at("target_before").at("rank").get<double>());
  EXPECT_EQ(made.at("prompts").size(),
            static_cast<size_t>(prompts) +
                made.at("scopes").at(1).at("before").at("prompts").get<size_t>());
}

/// Other facts that are answered rightly before and no longer after, out of the JSON record.
int64_t lost(const json& made) {
  int64_t all = 0;
  for (const json& one : made.at("side_effects")) all += one.at("lost").get<int64_t>();
  return all;
}

TEST_F(EditCommand, SideEffectsAreWarnedOfAndListed) {
  // Both relations' other facts are looked at; the numbers are those of the scopes.
  const json made = json::parse(made_.out);
  ASSERT_EQ(made.at("side_effects").size(), 2U);
  for (const json& one : made.at("side_effects")) {
    for (const json& scope : made.at("scopes")) {
      if (scope.at("scope") != one.at("scope")) continue;
      EXPECT_EQ(scope.at("before").at("prompts"), one.at("facts"));
      EXPECT_EQ(scope.at("before").at("top"), one.at("right_before"));
      EXPECT_EQ(scope.at("after").at("top"), one.at("right_after"));
    }
  }
  // An edit that overwrites everything: lambda2 far above the paper's, no filter.
  const std::string rude = folder_.file("rude.safetensors");
  const Outcome made_rudely =
      edit({"update", shipped_model(), "--facts", facts(), "--relation", "P36", "--subject",
            subject_, "--to", "Rome", "--lambda2", "500", "--filter-facts", "0", "--quiet", "--out",
            rude, "--json"});
  ASSERT_EQ(made_rudely.code, 0) << made_rudely.err;
  const json record = json::parse(made_rudely.out);
  EXPECT_GT(lost(record), 0);
  EXPECT_NE(made_rudely.err.find("warning: other facts change: 3 facts of the relation: "),
            std::string::npos)
      << made_rudely.err;
  ASSERT_EQ(edit({"apply", shipped_model(), rude, "--to", copy_}).code, 0);
  EXPECT_EQ(json::parse(edit({"list", copy_, "--json"}).out).at("edits").at(0).at("side_effects"),
            record.at("side_effects"));
  const std::string list = edit({"list", copy_}).out;
  EXPECT_NE(list.find("3 facts of the relation: "), std::string::npos) << list;
  EXPECT_NE(list.find("2 facts of other relations: "), std::string::npos) << list;
  // Nothing looked at, nothing to warn of.
  const Outcome blind = edit({"update",
                              shipped_model(),
                              "--facts",
                              facts(),
                              "--relation",
                              "P36",
                              "--subject",
                              subject_,
                              "--to",
                              "Rome",
                              "--lambda2",
                              "500",
                              "--others",
                              "0",
                              "--filter-facts",
                              "0",
                              "--quiet",
                              "--out",
                              folder_.file("blind.safetensors"),
                              "--json"});
  ASSERT_EQ(blind.code, 0) << blind.err;
  EXPECT_EQ(json::parse(blind.out).at("side_effects").size(), 0U);
  EXPECT_EQ(blind.err, "");
}

TEST_F(EditCommand, LocatesTheFactAndASampleOfOthersAlone) {
  const auto update = [&](std::vector<std::string> more) {
    more.insert(more.begin(),
                {"update", shipped_model(), "--facts", facts(), "--relation", "P36", "--subject",
                 subject_, "--to", "Rome", "--out", folder_.file("out"), "--json"});
    return edit(more);
  };
  for (const auto& [number, text] : std::map<std::string, std::string>{
           {"0", "1 fact of"}, {"2", "3 facts of"}, {"50", "4 facts of"}}) {
    const Outcome made = update({"--filter-facts", number});
    ASSERT_EQ(made.code, 0) << made.err;
    const std::string selection = json::parse(made.out).at("selection");
    EXPECT_NE(selection.find(text), std::string::npos) << selection;
    EXPECT_NE(
        made.err.find("locating the fact and " + std::to_string(std::min(3, std::stoi(number))) +
                      " of the relation's 3 other facts"),
        std::string::npos)
        << made.err;
  }
}

TEST_F(EditCommand, NeuronsComeOutOfAFileOrARun) {
  const std::string file = folder_.file("neurons.jsonl");
  ASSERT_EQ(run_engram({"locate", shipped_model(), "--facts", facts(), "--out", file}).code, 0);
  const std::string run = folder_.file("run.db");
  ASSERT_EQ(run_engram({"locate", shipped_model(), "--facts", facts(), "--run", run}).code, 0);
  const auto update = [&](const std::string& option, const std::string& path) {
    return edit({"update", shipped_model(), "--facts", facts(), "--relation", "P36", "--subject",
                 subject_, "--to", "Rome", "--out", folder_.file("out"), "--json", option, path});
  };
  const json expected = json::parse(made_.out);
  for (const auto& [option, path] :
       {std::pair<std::string, std::string>{"--neurons", file}, {"--run", run}}) {
    const Outcome made = update(option, path);
    ASSERT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(made.err.find("locating"), std::string::npos) << made.err;
    EXPECT_EQ(json::parse(made.out).at("neurons"), expected.at("neurons"));
    EXPECT_EQ(json::parse(made.out).at("prompts").size(), expected.at("prompts").size());
    EXPECT_NE(json::parse(made.out).at("selection").get<std::string>().find(path),
              std::string::npos);
  }
  // Another fact's file, another model's run.
  const std::string few = folder_.file("few.jsonl");
  std::string text;
  for (const std::string& line : lines_of(read_text(file))) {
    if (line.find("\"" + subject_ + "\"") == std::string::npos) text += line + "\n";
  }
  write_text(few, text);
  EXPECT_EQ(update("--neurons", few).code, 3);
  EXPECT_NE(update("--neurons", few).err.find(subject_), std::string::npos);
  EXPECT_EQ(update("--run", file).code, 4);
}

TEST_F(EditCommand, AModelWithoutFactsNamesTheOption) {
  for (const char* command : {"update", "erase"}) {
    std::vector<std::string> arguments = {command, tiny_model("bert-tiny"), "--relation", "P36",
                                          "--out", folder_.file("out")};
    if (command == std::string("update")) {
      arguments.insert(arguments.end(), {"--subject", "France", "--to", "Rome"});
    }
    const Outcome outcome = edit(arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find("--facts"), std::string::npos) << outcome.err;
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  }
}

TEST_F(EditCommand, WhatWasMeasuredIsWhatTheCopyAnswers) {
  ASSERT_EQ(edit({"apply", shipped_model(), delta(), "--to", copy_}).code, 0);
  const json made = json::parse(made_.out);
  for (const char* which : {"top_before", "top_after"}) {
    const std::string model = which == std::string("top_before") ? shipped_model() : copy_;
    const json& row = made.at("prompts").at(0);
    const Outcome predicted = run_engram({"predict", model, row.at("prompt"), "--json"});
    ASSERT_EQ(predicted.code, 0) << predicted.err;
    EXPECT_EQ(json::parse(predicted.out).at("predictions").at(0).at("token"), row.at(which));
  }
}

TEST_F(EditCommand, AppliesListsUndoesAndExports) {
  const auto original = files_of(shipped_model());
  const Outcome applied = edit({"apply", shipped_model(), delta(), "--to", copy_, "--json"});
  ASSERT_EQ(applied.code, 0) << applied.err;
  EXPECT_EQ(json::parse(applied.out).at("new"), true);
  EXPECT_EQ(json::parse(applied.out).at("edits").at(0).at("replaced"), 0);
  const Outcome again = edit({"apply", copy_, delta(), "--to", copy_, "--json"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(json::parse(again.out).at("edits").at(0).at("changed"), 0);
  const Outcome list = edit({"list", copy_, "--json"});
  ASSERT_EQ(json::parse(list.out).at("edits").size(), 2U);
  EXPECT_EQ(json::parse(list.out).at("edits").at(1).at("target"), "Rome");
  EXPECT_NE(edit({"list", copy_}).out.find(subject_), std::string::npos);

  const Outcome oldest = edit({"undo", copy_, "1"});
  EXPECT_EQ(oldest.code, 2);
  EXPECT_NE(oldest.err.find("not the newest"), std::string::npos) << oldest.err;
  EXPECT_EQ(edit({"undo", copy_, "2"}).code, 0);
  const std::string plain = folder_.file("plain");
  ASSERT_EQ(edit({"export", copy_, "--to", plain}).code, 0);
  EXPECT_EQ(files_of(plain), files_of(copy_));
  EXPECT_FALSE(fs::exists(fs::path(plain) / "engram-edits"));

  const Outcome diff = edit({"diff", shipped_model(), plain, "--json"});
  const json difference = json::parse(diff.out);
  size_t neurons = 0;
  for (const json& tensor : difference.at("changed")) neurons += tensor.at("neurons").size();
  EXPECT_EQ(neurons, json::parse(made_.out).at("neurons").size());
  EXPECT_NE(edit({"diff", shipped_model(), plain}).out.find("value vector"), std::string::npos);

  EXPECT_EQ(edit({"undo", copy_}).code, 0);
  EXPECT_EQ(edit({"undo", copy_}).code, 3);
  EXPECT_EQ(json::parse(edit({"diff", shipped_model(), copy_, "--json"}).out).at("changed").size(),
            0U);
  for (const auto& [name, bytes] : files_of(copy_)) EXPECT_EQ(bytes, original.at(name)) << name;
  EXPECT_EQ(files_of(shipped_model()), original);
}

TEST_F(EditCommand, EraseSetsTheRelationsNeurons) {
  for (const char* mode : {"unk", "mean"}) {
    const std::string out = folder_.file(std::string(mode) + ".safetensors");
    const Outcome made = edit({"erase", shipped_model(), "--facts", facts(), "--relation", "P36",
                               "--mode", mode, "--neurons", "3", "--out", out, "--json"});
    ASSERT_EQ(made.code, 0) << made.err;
    const json erased = json::parse(made.out);
    EXPECT_EQ(erased.at("mode"), mode);
    EXPECT_EQ(erased.at("neurons").size(), 3U);
    std::vector<std::string> scopes;
    for (const json& scope : erased.at("scopes")) {
      scopes.push_back(scope.at("scope"));
      EXPECT_GE(scope.at("after").at("perplexity").get<double>(), 1.0);
    }
    EXPECT_EQ(scopes, (std::vector<std::string>{"own", "held out", "other relations"}));
    if (mode != std::string("unk")) continue;
    const std::string copy = folder_.file(mode);
    ASSERT_EQ(edit({"apply", shipped_model(), out, delta(), "--to", copy}).code, 0);
    EXPECT_EQ(json::parse(edit({"list", copy, "--json"}).out).at("edits").at(0).at("mode"), mode);
  }
}

TEST_F(EditCommand, RefusesWithTheReason) {
  const auto refused = [](const Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  };
  const auto update = [&](const std::string& relation, const std::string& subject,
                          const std::string& to, std::vector<std::string> more = {}) {
    more.insert(more.begin(),
                {"update", shipped_model(), "--facts", facts(), "--relation", relation, "--subject",
                 subject, "--to", to, "--out", folder_.file("out"), "--quiet"});
    return edit(more);
  };
  refused(update("P999", subject_, "Rome"), 3, "P36");
  refused(update("P36", "Atlantis", "Rome"), 3, "no fact of subject");
  refused(update("P36", subject_, "Rome", {"--object", "Nowhere"}), 3, "no object");
  refused(update("P36", subject_, "\xE6\xBC\xA2zebra"), 3, "--to");
  const json fact = json::parse(made_.out);
  refused(update("P36", subject_, fact.at("object")), 2, "already");
  refused(update("P36", subject_, "Rome", {"--facts", folder_.file("none")}), 2, "--facts");

  // A fact that the model does not know: refused, unless forced.
  json wrong = json::parse(lines_of(read_text(facts())).front());
  for (const std::string& line : lines_of(read_text(facts()))) {
    if (json::parse(line).at("subject") == subject_) wrong = json::parse(line);
  }
  wrong["object"] = "Berlin";
  const std::string wrong_facts = folder_.file("wrong.jsonl");
  write_text(wrong_facts, wrong.dump() + "\n");
  std::vector<std::string> unknown = {
      "update",    shipped_model(), "--facts", wrong_facts, "--relation", "P36",
      "--subject", subject_,        "--to",    "Rome",      "--out",      folder_.file("w")};
  refused(edit(unknown), 3, "--force");
  EXPECT_FALSE(fs::exists(folder_.file("w")));

  refused(edit({"apply", shipped_model(), folder_.file("none"), "--to", copy_}), 4, "none");
  refused(edit({"apply", shipped_model(), facts(), "--to", copy_}), 3, "safetensors");
  refused(edit({"apply", shipped_model(), delta(), "--to", shipped_model()}), 2, "outside it");
  const Outcome other = edit({"apply", tiny_model(), delta(), "--to", copy_});
  refused(other, 3, fact.at("base"));
  refused(other, 3, "expected sha256:");
  EXPECT_FALSE(fs::exists(copy_));
  refused(edit({"list", shipped_model()}), 3, "no working copy");
  refused(edit({"remove"}), 2, "remove");
  refused(edit({"erase", shipped_model(), "--relation", "P36", "--mode", "none", "--out", "x"}), 2,
          "zero, unk, mean");
}

TEST_F(EditCommand, AnEditThatWasCutOffIsToldAndTakenBack) {
  ASSERT_EQ(edit({"apply", shipped_model(), delta(), "--to", copy_}).code, 0);
  const fs::path history = fs::path(copy_) / "engram-edits";
  fs::rename(history / "0001.safetensors", history / "pending.safetensors");
  const Outcome predict = run_engram({"predict", copy_, "The capital is [MASK]."});
  EXPECT_EQ(predict.code, 3);
  EXPECT_NE(predict.err.find("engram edit list"), std::string::npos) << predict.err;
  const Outcome list = edit({"list", copy_});
  EXPECT_EQ(list.code, 0);
  EXPECT_NE(list.err.find("cut off"), std::string::npos) << list.err;
  EXPECT_EQ(read_text(fs::path(copy_) / "model.safetensors"),
            read_text(shipped_model() + "/model.safetensors"));
  EXPECT_EQ(run_engram({"predict", copy_, "The capital is [MASK]."}).code, 0);
}

TEST_F(EditCommand, HelpKnowsItsCommands) {
  const Outcome group = run_engram({"help", "edit"});
  for (const char* command : {"update", "erase", "apply", "list", "undo", "diff", "export"}) {
    EXPECT_NE(group.out.find(std::string("\n  ") + command), std::string::npos);
  }
  const Outcome one = run_engram({"help", "edit", "apply"});
  EXPECT_EQ(one.out, run_engram({"edit", "apply", "--help"}).out);
  EXPECT_NE(one.out.find("engram edit apply"), std::string::npos);
  EXPECT_EQ(run_engram({"help", "edit", "remove"}).code, 2);
}

}  // namespace
}  // namespace engram::testing
