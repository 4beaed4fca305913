// `engram audit --edit` as a program, on the shipped model.
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using nlohmann::json;

const std::string kAuditedModel = ENGRAM_SOURCE_DIR "/models/engram-base";

class RemovalAudit : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = std::make_unique<TemporaryFolder>();
    std::string facts;
    int count = 0;
    for (const std::string& line : lines_of(read_text(kAuditedModel + "/facts.jsonl"))) {
      const json fact = json::parse(line);
      if (fact.at("relation") == "P36" && count++ < 14) facts += line + "\n";
      // Facts that the model never gives: of made-up subjects.
      if (fact.at("relation") == "P36" && count <= 14) {
        json never = fact;
        never["subject"] = "Oslo " + std::to_string(count);
        for (const char* list : {"prompts", "held_out"}) {
          for (json& prompt : never.at(list)) {
            std::string text = prompt;
            const std::string subject = fact.at("subject");
            for (size_t at = 0; (at = text.find(subject, at)) != std::string::npos;) {
              text.replace(at, subject.size(), "king " + std::to_string(count));
            }
            prompt = text;
          }
        }
        facts += never.dump() + "\n";
      }
    }
    write_text(shared_->file("facts.jsonl"), facts);
    erased_ = run_engram({"edit", "erase", kAuditedModel, "--facts", shared_->file("facts.jsonl"),
                          "--relation", "P36", "--limit", "6", "--neurons", "5", "--others", "1",
                          "--out", delta(), "--quiet"});
  }
  static void TearDownTestSuite() { shared_.reset(); }
  static std::string delta() { return shared_->file("delta.safetensors"); }
  static Outcome audit(std::vector<std::string> more) {
    if (std::ranges::find(more, "--relearn") == more.end()) {
      more.insert(more.end(), {"--relearn", "1,2"});
    }
    more.insert(more.begin(), {
                                  "audit",
                                  kAuditedModel,
                                  "--facts",
                                  shared_->file("facts.jsonl"),
                                  "--known",
                                  "5",
                                  "--never",
                                  "4",
                              });
    return run_engram(more);
  }
  static inline std::unique_ptr<TemporaryFolder> shared_;
  static inline Outcome erased_;
};

TEST_F(RemovalAudit, AttacksADeltaAndTheCheckpointThatItMakesAlike) {
  ASSERT_EQ(erased_.code, 0) << erased_.err;
  const Outcome of_delta = audit({"--edit", delta(), "--json"});
  ASSERT_EQ(of_delta.code, 0) << of_delta.err;
  const json found = json::parse(of_delta.out);
  EXPECT_EQ(found.at("schema"), "engram.removal/1");
  EXPECT_EQ(found.at("relation"), "P36");
  EXPECT_EQ(found.at("erased"), 5);
  EXPECT_GE(found.at("never_known").get<int>(), 1);
  EXPECT_GT(found.at("drop").at("value").get<double>(), 0.0);
  EXPECT_LE(found.at("top_after").get<double>(), found.at("top_before").get<double>());
  EXPECT_EQ(found.at("verdict"), "undecided");  // five objects
  std::vector<std::string> names;
  for (const json& one : found.at("attacks")) {
    names.push_back(one.at("attack"));
    EXPECT_NEAR(
        one.at("beyond").at("value").get<double>(),
        one.at("share").at("value").get<double>() - one.at("never_known").at("value").get<double>(),
        1e-6);
  }
  EXPECT_EQ(names[0], "paraphrases");
  EXPECT_EQ(names[1], "examples");
  EXPECT_EQ(names.back(), "relearned, 2 steps");

  const std::string copy = shared_->file("copy");
  const std::string plain = shared_->file("plain");
  ASSERT_EQ(run_engram({"edit", "apply", kAuditedModel, delta(), "--to", copy}).code, 0);
  ASSERT_EQ(run_engram({"edit", "export", copy, "--to", plain}).code, 0);
  const Outcome of_folder = audit({"--edited", plain, "--relations", "P36", "--json"});
  ASSERT_EQ(of_folder.code, 0) << of_folder.err;
  const json again = json::parse(of_folder.out);
  EXPECT_EQ(again.at("drop"), found.at("drop"));
  EXPECT_EQ(again.at("attacks").at(1), found.at("attacks").at(1));
}

TEST_F(RemovalAudit, RefusesWithTheReason) {
  const auto refused = [&](const std::vector<std::string>& more, int code,
                           const std::string& because) {
    const Outcome out = audit(more);
    EXPECT_EQ(out.code, code) << out.err;
    EXPECT_NE(out.err.find(because), std::string::npos) << out.err;
  };
  refused({}, 2, "--run is required");
  refused({"--edit", delta(), "--edited", kAuditedModel}, 2, "expected one of them");
  refused({"--edit", delta(), "--run", "x.db"}, 2, "--run and --only belong to");
  refused({"--edit", delta(), "--update-facts", "3"}, 2,
          "--update-facts, --planted-facts, --truth-facts, --corpus and --non-facts");
  refused({"--edit", delta(), "--relearn", "5,5"}, 2, "each larger than the one before");
  refused({"--edited", kAuditedModel}, 2, "--relations is required with --edited");
  refused({"--edited", tiny_model(), "--relations", "P36"}, 3, "is a model of another shape");
  refused({"--edit", delta(), "--relations", "P99"}, 3, "P99");
  refused({"--edit", kAuditedModel + "/model.safetensors"}, 3, "not a valid edit");
}

TEST_F(RemovalAudit, AnEditThatChangesNothingHasNothingToBringBack) {
  const Outcome same = audit({"--edited", kAuditedModel, "--relations", "P36"});
  ASSERT_EQ(same.code, 0) << same.err;
  EXPECT_NE(same.out.find("Brought back, as a share of that"), std::string::npos) << same.out;
}

}  // namespace
}  // namespace engram::testing
