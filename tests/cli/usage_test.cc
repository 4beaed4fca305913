// What the program says when it is asked for help or used wrongly.
#include <gtest/gtest.h>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

using Arguments = std::vector<std::string>;

const std::string kUsagePrompt = "The capital of France is [MASK].";

Arguments attribute_with(const Arguments& more) {
  Arguments all{"attribute", tiny_model(), "--prompt", kUsagePrompt};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// One line on stderr that starts like a message and holds `part`; nothing on stdout.
void expect_error(const Outcome& outcome, int code, const std::string& part) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  EXPECT_EQ(outcome.err.rfind("engram: error: ", 0), 0U) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
}

TEST(Help, NamesCommandsAndExitCodes) {
  for (const Arguments& arguments :
       {Arguments{"help"}, Arguments{"--help"}, Arguments{"-h"}, Arguments{}}) {
    const Outcome outcome = run_engram(arguments);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_EQ(outcome.err, "");
    for (const char* part : {"inspect", "predict", "attribute", "locate", "intervene", "Exit codes",
                             "130", "141", "70", "[MASK]"}) {
      EXPECT_NE(outcome.out.find(part), std::string::npos) << part;
    }
  }
}

class CommandHelp : public ::testing::TestWithParam<const char*> {};

TEST_P(CommandHelp, TeachesWithAnExampleAndAllSharedOptions) {
  const Outcome asked = run_engram({"help", GetParam()});
  const Outcome flagged = run_engram({GetParam(), "--help"});
  EXPECT_EQ(asked.code, 0);
  EXPECT_EQ(flagged.code, 0);
  EXPECT_EQ(asked.out, flagged.out);
  for (const char* part : {"Usage: engram ", "Example", "MODEL", "--json", "--device", "--threads",
                           "--memory", "--seed", "--quiet", "efault"}) {  // Default:, (default)
    EXPECT_NE(asked.out.find(part), std::string::npos) << part;
  }
  for (const std::string& line : lines_of(asked.out)) EXPECT_LE(line.size(), 100U) << line;
}

const std::vector<Arguments> kCommands{
    {"inspect"},       {"predict"},        {"attribute"},    {"locate"},         {"intervene"},
    {"lens"},          {"neuron"},         {"memories"},     {"reproduce"},      {"texts"},
    {"report"},        {"status"},         {"merge"},        {"export"},         {"help"},
    {"edit", "list"},  {"edit", "undo"},   {"edit", "diff"}, {"edit", "update"}, {"edit", "erase"},
    {"edit", "apply"}, {"edit", "export"}, {"edit", "rome"}, {"audit"},          {"compare"}};

TEST(Help, EveryCommandHasAnExampleAndTheSharedOptions) {
  for (const Arguments& command : kCommands) {
    Arguments words{"help"};
    words.insert(words.end(), command.begin(), command.end());
    const Outcome outcome = run_engram(words);
    EXPECT_EQ(outcome.code, 0);
    for (const char* part : {"Example", "  engram ", "--json", "--device", "--threads", "--memory",
                             "--seed", "--quiet"}) {
      EXPECT_NE(outcome.out.find(part), std::string::npos) << command.back() << " " << part;
    }
  }
}

TEST(Help, AGroupOfCommandsExplainsItself) {
  const Outcome bare = run_engram({"edit"});
  EXPECT_EQ(bare.code, 0);
  EXPECT_EQ(bare.err, "");
  EXPECT_EQ(bare.out, run_engram({"help", "edit"}).out);
  EXPECT_EQ(run_engram({}).out, run_engram({"help"}).out);
}

TEST(Usage, SharedOptionsThatChangeNothingAreRemarkedOn) {
  const Arguments shared{"--device", "cpu", "--threads", "1", "--memory", "64M", "--seed", "3"};
  const auto with_shared = [&](Arguments words) {
    words.insert(words.end(), shared.begin(), shared.end());
    return words;
  };
  const Outcome helped = run_engram(with_shared({"help", "status"}));
  EXPECT_EQ(helped.code, 0);
  EXPECT_EQ(helped.err,
            "engram: --device changes nothing in `help`\nengram: --threads changes nothing in "
            "`help`\nengram: --memory changes nothing in `help`\nengram: --seed changes nothing "
            "in `help`\n");
  const Outcome predicted = run_engram(with_shared({"predict", tiny_model(), kUsagePrompt}));
  EXPECT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_EQ(lines_of(predicted.err).size(), 2U) << predicted.err;
  EXPECT_NE(predicted.err.find("--seed changes nothing"), std::string::npos);
  EXPECT_EQ(run_engram(with_shared({"predict", tiny_model(), kUsagePrompt, "--quiet"})).err, "");
  // Each is checked all the same.
  expect_error(run_engram({"status", "none.db", "--threads", "0"}), 2, "--threads");
}

INSTANTIATE_TEST_SUITE_P(Commands, CommandHelp,
                         ::testing::Values("inspect", "predict", "attribute", "locate",
                                           "intervene"),
                         [](const auto& parameter) { return std::string(parameter.param); });

TEST(Help, Version) {
  const Outcome outcome = run_engram({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out.rfind("engram ", 0), 0U) << outcome.out;
}

TEST(Usage, CommandsThatDoNotExist) {
  expect_error(run_engram({"atribute"}), 2, "no command \"atribute\" (did you mean attribute?)");
  expect_error(run_engram({"frobnicate"}), 2, "no command \"frobnicate\"; see `engram help`");
  expect_error(run_engram({"help", "atribute"}), 2, "no command \"atribute\" (did you mean");
  expect_error(run_engram({"edit", "udno"}), 2, "no command \"edit udno\" (did you mean undo?)");
}

TEST(Usage, UnknownOptionsComeFirstInTheirOrder) {
  // --prompt and an answer are missing, too, and --steps is invalid.
  expect_error(
      run_engram({"attribute", tiny_model(), "--steps", "0", "--promt", "x", "--anwser=y"}), 2,
      "unknown options --promt (did you mean --prompt?), --anwser (did you mean "
      "--answer?); see `engram help attribute`");
  expect_error(run_engram({"attribute", "--zzzzzz"}), 2, "unknown option --zzzzzz; see");
  expect_error(run_engram({"locate", "m", "--held-out", "0.3"}), 2, "mean --held-out-share?");
  expect_error(run_engram({"report", "run.db", "-x"}), 2, "unknown option -x");
  expect_error(run_engram({"edit", "undo", "d", "--qiet"}), 2,
               "--qiet (did you mean --quiet?); see `engram help edit undo`");
  expect_error(run_engram({"--threads", "2", "locate"}), 2,
               "unknown option --threads (options stand after the command)");
  // What looks like an option is the value of the one before it.
  expect_error(run_engram({"predict", tiny_model(), kUsagePrompt, "--top", "--json"}), 2,
               "--top: got \"--json\"");
  expect_error(run_engram({"inspect", tiny_model(), "first", "second"}), 2,
               "unexpected argument \"first\" (see `engram help inspect`)");
}

TEST(Usage, InvalidOptions) {
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"--answer", "paris", "--steps", "0"}, "--steps"},
      {{"--answer", "paris", "--steps", "10001"}, "from 1 to 10000"},
      {{"--answer", "paris", "--steps", "abc"}, "got \"abc\""},
      {{"--answer", "paris", "--steps", "1.5"}, "--steps"},
      {{"--answer", "paris", "--max-steps", "0"}, "--max-steps"},
      {{"--answer", "paris", "--threads", "0"}, "--threads"},
      {{"--answer", "paris", "--threads", "-1"}, "--threads"},
      {{"--answer", "paris", "--threads", "two"}, "--threads"},
      {{"--answer", "paris", "--memory", "lots"}, "--memory"},
      {{"--answer", "paris", "--seed", "-1"}, "--seed"},
      {{"--answer", "paris", "--tolerance", "0"}, "--tolerance"},
      {{"--answer", "paris", "--tolerance", "nan"}, "--tolerance"},
      {{"--answer", "paris", "--device", "tpu"}, "--device"},
      {{"--answer", "paris", "--score", "shap"}, "shap"},
      {{"--answer", "paris", "--rule", "simpson"}, "simpson"},
      {{"--answer", "paris", "--target", "loss"}, "--target"},
      {{"--answer", "paris", "--target", "logit-diff:"}, "--target"},
      {{"--answer", "paris", "--top", "0"}, "--top"},
      {{"--answer", "paris", "--top", "some"}, "--top"},
      {{"--answer", "paris", "--picture", "a.gif"}, "ending in .svg"},
      {{"--answer", "paris", "--scores", "a.csv"}, ".npy or .safetensors"},
      {{"--answer", "paris", "--by", "size"}, "--by: got \"size\", expected score or magnitude"},
      {{"--answer", "paris", "--theme", "blue"}, "expected auto, light or dark"},
      {{"--answer", "a", "--answer", "b", "--prompt", "x", "--prompt", "y"}, "got 2 for 3 prompts"},
      {{"--answer", "a", "--answer", "b", "--picture", "a.svg"}, "a picture shows one prompt"},
      {{"--answer", "paris", "--prompts", "none.jsonl"}, "--prompt and --prompts"},
      {{"--answer", "paris", "--nonsense"}, "--nonsense"},
      {{"--answer", "paris", "--predicted"}, "--predicted"},
      {{}, "--answer"},
  };
  for (const auto& [more, part] : cases) {
    SCOPED_TRACE(part);
    expect_error(run_engram(attribute_with(more)), 2, part);
  }
  expect_error(run_engram({"attribute", tiny_model(), "--answer", "paris"}), 2, "--prompt");
  expect_error(run_engram({"attribute"}), 2, "MODEL");
  expect_error(run_engram({"predict", tiny_model(), kUsagePrompt, "--top", "0"}), 2, "--top");
  expect_error(run_engram({"predict", tiny_model()}), 2, "TEXT");
}

TEST(Usage, RangesSayWhetherTheirEndsBelongToThem) {
  struct Case {
    Arguments arguments;
    std::string expected;
  };
  const Arguments locate{"locate", tiny_model(), "--facts", "none"};
  const auto with = [](Arguments all, const Arguments& more) {
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  for (const char* outside : {"0", "1", "-0.5", "2"}) {
    expect_error(
        run_engram(attribute_with({"--answer", "paris", "--tolerance", outside})), 2,
        "--tolerance: got \"" + std::string(outside) + "\", expected a number above 0 and below 1");
  }
  for (const char* option : {"--ratio", "--step"}) {
    for (const char* outside : {"0", "-1", "1.01"}) {
      expect_error(run_engram(with(locate, {option, outside})), 2,
                   std::string(option) + ": got \"" + outside +
                       "\", expected a number above 0 and at most 1");
    }
    // In the range: the missing file is what is wrong.
    expect_error(run_engram(with(locate, {option, "1"})), 4, "none");
  }
  expect_error(run_engram(with(locate, {"--share", "1.5"})), 2, "expected a number from 0 to 1");
}

TEST(Usage, EmptyPaths) {
  const Arguments locate{"locate", tiny_model(), "--facts", "none"};
  const Arguments intervene{"intervene", tiny_model(), "--facts", "none",
                            "--neurons", "0:1",        "--do",    "mean"};
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"inspect", ""}, "MODEL"},
      {{"predict", "", kUsagePrompt}, "MODEL"},
      {{"attribute", "", "--prompt", kUsagePrompt, "--predicted"}, "MODEL"},
      {{"locate", "", "--facts", "none"}, "MODEL"},
      {{"intervene", "", "--facts", "none", "--neurons", "0:1", "--do", "zero"}, "MODEL"},
      {{"locate", tiny_model(), "--facts", ""}, "--facts"},
      {{"intervene", tiny_model(), "--facts", "none", "--neurons", "", "--do", "zero"},
       "--neurons"},
      {attribute_with({"--predicted", "--picture", ""}), "--picture"},
      {attribute_with({"--predicted", "--picture="}), "--picture"}};
  for (const auto& [arguments, option] : cases) expect_error(run_engram(arguments), 2, option);
  const auto with_empty = [](Arguments all, const std::string& option) {
    all.push_back(option);
    all.emplace_back();
    return run_engram(all);
  };
  for (const char* option : {"--out", "--scores"}) {
    expect_error(with_empty(locate, option), 2, std::string(option) + ": got \"\"");
  }
  for (const char* option : {"--out", "--corpus"}) {
    expect_error(with_empty(intervene, option), 2, std::string(option) + ": got \"\"");
  }
}

TEST(Usage, ControlCharactersOfArgumentsDoNotReachTheTerminal) {
  expect_error(run_engram({"\x1b[31mred"}), 2, "\\x1b[31mred");
}

}  // namespace
}  // namespace engram::testing
