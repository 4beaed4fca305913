// Outputs that would replace what a command reads, or each other, by whatever names they go.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "cli/run_engram.h"

namespace engram::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class Overwriting : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = copy_of_model(folder_);
    write_text(facts_, R"({"relation":"P36","subject":"France","object":"Paris",)"
                       R"("prompts":["The capital of France is [MASK]."]})"
                       "\n");
    write_text(neurons_, "{}\n");
    write_text(corpus_, "The city is the capital.\n");
    for (const char* part : {"facts", "patterns"}) {
      fs::create_directories(pararel_ + "/" + part);
      write_text(pararel_ + "/" + part + "/P36.jsonl", "{}\n");
    }
  }
  /// Other names of an existing file: with dots, by links, by a link to its folder.
  Arguments names_of(const std::string& file) {
    const fs::path path(file);
    const std::string link = folder_.file("link" + std::to_string(++links_) + ".svg");
    const std::string hard = folder_.file("hard" + std::to_string(links_) + ".svg");
    const std::string beside = folder_.file("folder" + std::to_string(links_));
    fs::create_symlink(path, link);
    fs::create_hard_link(path, hard);
    fs::create_directory_symlink(path.parent_path(), beside);
    const std::string name = path.filename().string();
    return {file,
            (path.parent_path() / "." / name).string(),
            (path.parent_path() / ".." / path.parent_path().filename() / name).string(),
            link,
            hard,
            beside + "/" + name};
  }
  /// What every file of the folder holds.
  [[nodiscard]] std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path())) {
      if (entry.is_regular_file()) all[entry.path().string()] = read_text(entry.path());
    }
    return all;
  }
  /// Refused with a line that names the option, and everything left as it was.
  void expect_refused(Arguments arguments, const std::string& option, const std::string& path) {
    SCOPED_TRACE(option + " " + path);
    const auto before = contents();
    arguments.push_back(option);
    arguments.push_back(path);
    const Outcome outcome = run_engram(arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
    EXPECT_EQ(outcome.err.rfind("engram: error: " + option + ": got ", 0), 0U) << outcome.err;
    EXPECT_EQ(contents(), before);
  }

  TemporaryFolder folder_;
  std::string model_;
  std::string facts_ = folder_.file("facts.jsonl");
  std::string neurons_ = folder_.file("neurons.jsonl");
  std::string corpus_ = folder_.file("corpus.txt");
  std::string pararel_ = folder_.file("pararel");
  int links_ = 0;
};

TEST_F(Overwriting, LocateKeepsWhatItReads) {
  const Arguments with_file{"locate", model_, "--facts", facts_};
  const Arguments with_folder{"locate", model_, "--facts", pararel_};
  for (const char* option : {"--out", "--scores"}) {
    for (const std::string& name : names_of(facts_)) expect_refused(with_file, option, name);
    for (const char* part : {"/facts/P36.jsonl", "/patterns/P36.jsonl"}) {
      for (const std::string& name : names_of(pararel_ + part)) {
        expect_refused(with_folder, option, name);
      }
    }
    for (const auto& entry : fs::directory_iterator(model_)) {
      expect_refused(with_file, option, entry.path().string());
    }
  }
}

TEST_F(Overwriting, InterveneKeepsWhatItReads) {
  const Arguments all{"intervene", model_, "--facts",  facts_,     "--neurons",
                      neurons_,    "--do", "resample", "--corpus", corpus_};
  for (const std::string& file : {facts_, neurons_, corpus_, model_ + "/config.json"}) {
    for (const std::string& name : names_of(file)) expect_refused(all, "--out", name);
  }
}

TEST_F(Overwriting, AttributeKeepsTheModel) {
  write_text(model_ + "/card.svg", "<svg/>");
  const Arguments all{"attribute", model_, "--prompt", "The capital is [MASK].", "--predicted"};
  for (const std::string& name : names_of(model_ + "/card.svg")) {
    expect_refused(all, "--picture", name);
  }
}

TEST_F(Overwriting, TwoOutputsAreTwoFiles) {
  const std::string out = folder_.file("new.npy");
  const Arguments all{"locate", model_, "--facts", facts_, "--out", out};
  const fs::path folder = folder_.path();
  fs::create_directory_symlink(folder, folder_.file("again"));
  for (const std::string& same :
       {out, (folder / "." / "new.npy").string(), folder_.file("again/new.npy")}) {
    expect_refused(all, "--scores", same);
  }
  write_text(out, "old");
  for (const std::string& same : names_of(out)) expect_refused(all, "--scores", same);
}

TEST_F(Overwriting, AnOutputOfBeforeIsReplaced) {
  const std::string out = folder_.file("out.jsonl");
  write_text(out, "old");
  const Outcome outcome = run_engram({"locate", model_, "--facts", facts_, "--out", out});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(read_text(out), "old");
}

}  // namespace
}  // namespace engram::testing
