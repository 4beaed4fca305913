#include "engram/edit/moments.h"

#include <gtest/gtest.h>

#include "engram/error.h"
#include "support/tiny_texts.h"

namespace engram {
namespace {

class KeyMomentsTest : public testing::TinyTexts {
 protected:
  static constexpr int64_t kLayer = 1;

  [[nodiscard]] std::filesystem::path corpus() const {
    Random random(7);
    std::string text = "\n";
    for (int line = 0; line < 40; ++line) text += sentence(random, 4 + random.below(5)) + "\n";
    return write("corpus.txt", text);
  }
  [[nodiscard]] static KeyMoments read(const std::filesystem::path& file, int threads = 2,
                                       int64_t tokens = 0) {
    MomentsOptions options;
    options.corpus.file = file;
    options.corpus.threads = threads;
    options.tokens = tokens;
    options.texts = 6;
    return key_moments(model(), tokenizer(), "sha256:" + std::string(64, '0'), kLayer, options);
  }
};

TEST_F(KeyMomentsTest, AreTheMeanOfProductsOverTheTokensOfAText) {
  const std::filesystem::path file = corpus();
  const KeyMoments found = read(file);
  const int64_t d_ff = model().config().d_ff;
  at::Tensor sum = at::zeros({d_ff, d_ff}, at::kDouble);
  int64_t tokens = 0;
  std::ifstream lines(file);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) continue;
    const std::vector<int64_t> ids = tokenizer().encode(line, true);
    const at::Tensor a = plain(ids)[kLayer].to(at::kDouble);
    for (int64_t t = 1; t + 1 < a.size(0); ++t, ++tokens) sum += a[t].outer(a[t]);
  }
  EXPECT_EQ(found.tokens, tokens);
  EXPECT_EQ(found.layer, kLayer);
  EXPECT_EQ(found.corpus, "corpus.txt");
  const at::Tensor expected = sum / static_cast<double>(tokens);
  EXPECT_LT((found.moment - expected).abs().max().item<double>(),
            1e-6 * expected.abs().max().item<double>());
  EXPECT_TRUE(found.moment.equal(found.moment.t()));
}

TEST_F(KeyMomentsTest, DoNotDependOnThreads) {
  const std::filesystem::path file = corpus();
  const KeyMoments one = read(file, 1);
  const KeyMoments three = read(file, 3);
  EXPECT_TRUE(one.moment.allclose(three.moment, 1e-6, 1e-9));
  EXPECT_EQ(one.texts, three.texts);
}

TEST_F(KeyMomentsTest, KeepBeginningsOfLines) {
  const std::filesystem::path file = corpus();
  const KeyMoments found = read(file);
  ASSERT_EQ(found.texts.size(), 6U);
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  for (size_t i = 0; i < found.texts.size(); ++i) {
    const auto begins = [&](const std::string& line) {
      std::vector<int64_t> ids = tokenizer().encode(line, false);
      const size_t length = i % 2 == 0 ? 5 : 10;
      if (ids.size() < length) return false;
      ids.resize(length);
      return tokenizer().decode(ids, true) == found.texts[i];
    };
    EXPECT_TRUE(std::ranges::any_of(lines, begins)) << found.texts[i];
  }
}

TEST_F(KeyMomentsTest, StopsWhereEnoughIsRead) {
  Random random(3);
  std::string text;
  for (int line = 0; line < 1500; ++line) text += sentence(random, 8) + "\n";
  const std::filesystem::path file = write("long.txt", text);
  const int64_t all = read(file).tokens;
  const int64_t some = read(file, 2, 5000).tokens;
  EXPECT_GE(some, 5000);
  EXPECT_LT(some, 5000 + 4200);
  EXPECT_GT(all, some);
}

TEST_F(KeyMomentsTest, ComeBackFromTheirFile) {
  const KeyMoments found = read(corpus());
  const std::filesystem::path file = folder_ / "moments.safetensors";
  write_key_moments(file, found);
  const KeyMoments back = read_key_moments(file);
  EXPECT_EQ(back.base, found.base);
  EXPECT_EQ(back.corpus, found.corpus);
  EXPECT_EQ(back.layer, found.layer);
  EXPECT_EQ(back.tokens, found.tokens);
  EXPECT_EQ(back.texts, found.texts);
  EXPECT_TRUE(back.moment.equal(found.moment));
}

TEST_F(KeyMomentsTest, RefusesWhatIsNoSecondMoment) {
  const KeyMoments found = read(corpus());
  const auto refused = [&](const std::string& because, auto&& change) {
    KeyMoments bad = found;
    bad.moment = found.moment.clone();
    change(bad);
    const std::filesystem::path file = folder_ / "bad.safetensors";
    write_key_moments(file, bad);
    try {
      (void)read_key_moments(file);
      ADD_FAILURE() << "accepted: " << because;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("bad.safetensors"), std::string::npos);
      EXPECT_NE(std::string(error.what()).find(because), std::string::npos) << error.what();
    }
  };
  refused("symmetric", [](KeyMoments& bad) { bad.moment[0][1] += 1; });
  refused("square", [](KeyMoments& bad) { bad.moment = bad.moment.narrow(0, 0, 3); });
  refused("NaN", [](KeyMoments& bad) { bad.moment[0][0] = NAN; });
  refused("more than 0", [](KeyMoments& bad) { bad.tokens = 0; });
  refused("\"layer\"", [](KeyMoments& bad) { bad.layer = -1; });
  const std::filesystem::path weights = tiny() / "model.safetensors";
  EXPECT_THROW((void)read_key_moments(weights), InputError);
  EXPECT_THROW((void)read_key_moments(write("text.txt", "no tensor")), InputError);
  EXPECT_THROW((void)read_key_moments(folder_ / "absent"), FileError);
}

TEST_F(KeyMomentsTest, NeedsAsManyTokensAsNeurons) {
  const std::filesystem::path file = write("short.txt", "Rome is old.\n");
  try {
    (void)read(file);
    FAIL() << "three tokens are enough";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("short.txt"), std::string::npos);
  }
  MomentsOptions options;
  options.corpus.file = file;
  EXPECT_THROW((void)key_moments(model(), tokenizer(), "", 99, options), InputError);
}

}  // namespace
}  // namespace engram
