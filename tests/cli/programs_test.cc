// The trainer and the bench program are used wrongly: told as engram itself tells it.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using Arguments = std::vector<std::string>;

class Programs : public ::testing::TestWithParam<const char*> {
 protected:
  static Outcome run(const Arguments& arguments, const std::string& stdout_path = "") {
    RunSetup setup;
    setup.program = GetParam();
    setup.stdout_path = stdout_path;
    return run_engram(arguments, setup);
  }
  /// One line that starts with the program's name and is short enough to read.
  static void expect_error(const Outcome& outcome, int code, const std::string& part) {
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
    EXPECT_EQ(outcome.err.rfind(std::string(GetParam()) + ": error: ", 0), 0U) << outcome.err;
    EXPECT_NE(outcome.err.find(part), std::string::npos) << part << " in " << outcome.err;
    EXPECT_LT(outcome.err.size(), 250U) << outcome.err;
  }
};

TEST_P(Programs, CommandsThatDoNotExist) {
  EXPECT_EQ(run({}).code, 0);
  EXPECT_EQ(run({}).out, run({"--help"}).out);
  expect_error(run({"trian"}), 2, "no command \"trian\"");
}

TEST_P(Programs, HelpGoesToStdout) {
  const Outcome outcome = run({"--help"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.err, "");
  EXPECT_NE(outcome.out.find(GetParam()), std::string::npos);
  expect_error(run({"--help"}, "/dev/full"), 4, "stdout");
}

INSTANTIATE_TEST_SUITE_P(All, Programs, ::testing::Values("engram-pretrain", "engram-bench"),
                         [](const auto& parameter) {
                           return std::string(parameter.param).substr(7);
                         });

class Pretrain : public Programs {};

TEST_P(Pretrain, OptionsThatCannotBeMeant) {
  const std::vector<std::pair<std::string, std::string>> counts{
      {"--steps", "1"}, {"--layers", "1"}, {"--seed", "0"}, {"--export-steps", "0"}};
  for (const auto& [option, low] : counts) {
    for (const char* wrong : {"-1", "many", "1.5", "99999999999999999999"}) {
      expect_error(run({"train", "data", "--out", "out", option, wrong}), 2,
                   option + ": got \"" + wrong + "\", expected a whole number from " + low);
    }
  }
  expect_error(run({"train", "data", "--out", "out", "--steps", "0"}), 2,
               "expected a whole number from 1 to ");
  expect_error(run({"train", "data", "--out", "out", "--clip", "0"}), 2, "a number above 0");
  expect_error(run({"train", "data", "--out", "out", "--warm-up", "2"}), 2, "from 0 to 1");
  expect_error(run({"train", "data", "--out", "out", "--device", "tpu"}), 2, "tpu");
  expect_error(run({"train", "data"}), 2, "--out");
  expect_error(run({"train", "", "--out", "out"}), 2, "DATA");
  expect_error(run({"prepare", "source", "--out", ""}), 2, "--out");
  expect_error(run({"evaluate", tiny_model(), "--window", "7"}), 2, "from 8 to 4096");
}

TEST_P(Pretrain, InputsThatAreNotThere) {
  const TemporaryFolder folder;
  expect_error(run({"evaluate", folder.file("none")}), 4, "none");
  expect_error(run({"train", folder.file("none"), "--out", folder.file("out")}), 4, "none");
  write_text(folder.file("facts.jsonl"), "{}\n");
  expect_error(run({"evaluate", tiny_model(), "--facts", folder.file("facts.jsonl")}), 3,
               "facts.jsonl");
}

INSTANTIATE_TEST_SUITE_P(One, Pretrain, ::testing::Values("engram-pretrain"));

class Bench : public Programs {};

TEST_P(Bench, OptionsAndInputs) {
  const TemporaryFolder folder;
  expect_error(run({"attribute", tiny_model(), "--facts", "f", "--steps", "0"}), 2,
               "--steps: got \"0\", expected a whole number from 1 to 10000");
  expect_error(run({"attribute", tiny_model(), "--facts", "f", "--tolerance", "1"}), 2,
               "above 0 and below 1");
  expect_error(run({"sgemm", "--threads", "-1"}), 2, "--threads");
  expect_error(run({"load", folder.file("none")}), 4, "none");
  expect_error(run({"load", folder.path().string()}), 3, "config.json");
}

INSTANTIATE_TEST_SUITE_P(One, Bench, ::testing::Values("engram-bench"));

}  // namespace
}  // namespace engram::testing
