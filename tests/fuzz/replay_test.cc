#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/targets.h"

namespace engram {
namespace {

using Target = void (*)(const uint8_t* data, size_t size);

struct Replay {
  std::string name;
  Target run;
};

class Corpus : public ::testing::TestWithParam<Replay> {};

/// Every seed and every crasher that was ever found, and all their beginnings: a file that breaks
/// off is the commonest broken file.
TEST_P(Corpus, KeepsThePromises) {
  const std::filesystem::path folder =
      std::filesystem::path(ENGRAM_SOURCE_DIR) / "fuzz" / "corpus" / GetParam().name;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    // Not by our own readers: they refuse some of the seeds.
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), {});
    const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
    EXPECT_NO_THROW(GetParam().run(data, bytes.size()));
    const size_t step = 1 + bytes.size() / 64;
    for (size_t size = 0; size < bytes.size(); size += step) {
      ASSERT_NO_THROW(GetParam().run(data, size)) << "first " << size << " bytes";
    }
    ++files;
  }
  EXPECT_GE(files, 5);
}

INSTANTIATE_TEST_SUITE_P(
    , Corpus,
    ::testing::Values(Replay{"safetensors", fuzz::safetensors}, Replay{"facts", fuzz::facts},
                      Replay{"pararel", fuzz::pararel}, Replay{"config", fuzz::config},
                      Replay{"delta", fuzz::delta}, Replay{"moments", fuzz::moments},
                      Replay{"text", fuzz::text}, Replay{"run", fuzz::run},
                      Replay{"tokenizer", fuzz::tokenizer}, Replay{"fact_formats", fuzz::facts},
                      Replay{"table", fuzz::facts}),
    [](const auto& replay) { return replay.param.name; });

}  // namespace
}  // namespace engram
