#include "engram/model/hub.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "engram/error.h"
#include "support/temporary.h"

namespace engram {
namespace {

namespace fs = std::filesystem;

/// A cache as huggingface_hub lays it out, in a folder of its own.
class Hub : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      const char* value = std::getenv(name);
      if (value != nullptr) before_[name] = value;
      unsetenv(name);
    }
    cache_ = folder_.path() / "hub";
    setenv("HF_HUB_CACHE", cache_.c_str(), 1);
  }
  void TearDown() override {
    for (const char* name :
         {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      if (before_.contains(name)) {
        setenv(name, before_[name].c_str(), 1);
      } else {
        unsetenv(name);
      }
    }
  }

  static void write(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  /// A snapshot whose config.json is a link into blobs/, and a reference to it.
  fs::path add(const std::string& folder, const std::string& reference, const std::string& commit) {
    const fs::path repository = cache_ / folder;
    write(repository / "blobs" / "abc", "{}");
    write(repository / "refs" / reference, commit);
    const fs::path snapshot = repository / "snapshots" / commit;
    fs::create_directories(snapshot);
    fs::create_symlink("../../blobs/abc", snapshot / "config.json");
    return snapshot;
  }
  static std::string message(const std::string& name) {
    try {
      find_checkpoint(name);
    } catch (const FileError& error) {
      return error.what();
    }
    return "";
  }

  testing::TemporaryFolder folder_;
  fs::path cache_;
  std::map<std::string, std::string> before_;
};

TEST_F(Hub, NamesAreReadAsTheHubGivesThem) {
  const auto name = parse_hub_name("google-bert/bert-base-cased@refs/pr/3");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->repository, "google-bert/bert-base-cased");
  EXPECT_EQ(name->revision, "refs/pr/3");
  EXPECT_EQ(parse_hub_name("gpt2")->revision, "main");
  for (const char* text : {"", "/a/b", "a/b/c", "./a", "../a", "a/..", "a/", "a b/c", "a--b/c",
                           "a/b@", "a/b@../../x", "a/b@/etc", "~/x", "-a/b"}) {
    EXPECT_FALSE(parse_hub_name(text)) << text;
  }
}

TEST_F(Hub, TheSnapshotOfAReferenceIsFound) {
  const fs::path main = add("models--google-bert--bert-base-cased", "main", "1111");
  const fs::path other = add("models--google-bert--bert-base-cased", "refs/pr/1", "2222");
  EXPECT_EQ(find_checkpoint("google-bert/bert-base-cased"), main);
  EXPECT_EQ(find_checkpoint("google-bert/bert-base-cased@main"), main);
  EXPECT_EQ(find_checkpoint("google-bert/bert-base-cased@refs/pr/1"), other);
  EXPECT_EQ(find_checkpoint("google-bert/bert-base-cased@2222"), other);
  EXPECT_TRUE(fs::is_regular_file(main / "config.json"));
}

TEST_F(Hub, AReferenceMayEndInANewline) {
  const fs::path snapshot = add("models--gpt2", "main", "33");
  write(cache_ / "models--gpt2" / "refs" / "main", "33\n");
  EXPECT_EQ(find_checkpoint("gpt2"), snapshot);
}

TEST_F(Hub, APathWinsOverAName) {
  add("models--a--b", "main", "1111");
  const fs::path before = fs::current_path();
  fs::create_directories(folder_.path() / "a" / "b");
  fs::current_path(folder_.path());
  const fs::path found = find_checkpoint("a/b");
  fs::current_path(before);
  EXPECT_EQ(found, "a/b");
}

TEST_F(Hub, WhatIsMissingNamesTheDownload) {
  EXPECT_NE(message("a/b").find("hf download a/b`"), std::string::npos) << message("a/b");
  EXPECT_NE(message("a/b@v2").find("hf download a/b --revision v2`"), std::string::npos);
  add("models--a--b", "main", "1111");
  EXPECT_NE(message("a/b@v2").find("revision \"v2\""), std::string::npos) << message("a/b@v2");
  // One word that is nowhere is no name for sure, and a path is none at all.
  EXPECT_EQ(find_checkpoint("nowhere"), "nowhere");
  EXPECT_EQ(find_checkpoint("/no/such/folder"), "/no/such/folder");
}

TEST_F(Hub, AReferenceLeadsNowhereElse) {
  add("models--a--b", "main", "1111");
  write(cache_ / "models--a--b" / "refs" / "evil", "../../../..");
  EXPECT_NE(message("a/b@evil").find("revision \"evil\""), std::string::npos);
}

TEST_F(Hub, TheCacheIsWhereHuggingFaceHasIt) {
  EXPECT_EQ(hub_cache(), cache_);
  unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(hub_cache(), "");
  setenv("HOME", "/h", 1);
  EXPECT_EQ(hub_cache(), "/h/.cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(hub_cache(), "/x/huggingface/hub");
  setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(hub_cache(), "/hf/hub");
  setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  EXPECT_EQ(hub_cache(), "/old");
}

}  // namespace
}  // namespace engram
