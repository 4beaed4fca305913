#include "pretrain/trainer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "engram/base/interrupt.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "model/stand_in.h"
#include "support/fake_device.h"
#include "tiny_data.h"

namespace engram::pretrain {
namespace {

namespace fs = std::filesystem;

// When the program is loaded: before autograd runs in any test.
const at::Device accelerator = testing::fake_device();

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Training : public ::testing::Test {
 protected:
  Training() {
    fs::create_directories(folder_.path() / "data");
    tiny_dataset().write(folder_.path() / "data/data.bin");
  }
  TrainOptions options(const std::string& out) const {
    return tiny_training(folder_.path() / "data", folder_.path() / out);
  }
  int64_t run(const TrainOptions& o) {
    return train(o, [this](const TrainProgress& p) {
      if (p.note.empty()) losses_.push_back(p.loss);
    });
  }
  std::string checkpoint(const std::string& out) const {
    return bytes_of(folder_.path() / out / "checkpoint.bin");
  }
  TemporaryFolder folder_;
  std::vector<double> losses_;
};

TEST_F(Training, AStoppedAndResumedRunHasTheBitsOfAnUninterruptedOne) {
  EXPECT_EQ(run(options("whole")), 30);
  TrainOptions parts = options("parts");
  for (const int64_t stop : {1, 11, 12}) {
    parts.stop_after = stop;
    parts.threads = static_cast<int>(1 + stop % 3);  // the number of workers plays no part either
    EXPECT_EQ(run(parts), stop);
    EXPECT_NE(checkpoint("parts"), checkpoint("whole"));
  }
  parts.stop_after = 0;
  EXPECT_EQ(run(parts), 30);
  EXPECT_FALSE(checkpoint("whole").empty());
  EXPECT_EQ(checkpoint("parts"), checkpoint("whole"));
  EXPECT_EQ(bytes_of(folder_.path() / "parts/model/model.safetensors"),
            bytes_of(folder_.path() / "whole/model/model.safetensors"));
}

TEST_F(Training, TheLossFallsAndTheFactsAreLearned) {
  TrainOptions o = options("long");
  o.steps = 300;
  run(o);
  ASSERT_GE(losses_.size(), 4U);
  EXPECT_GT(losses_.front(), 2.0);  // near log 40 at the start
  EXPECT_LT(losses_.back(), losses_.front() / 2);
  const Model model = Model::load(folder_.path() / "long/model");
  int right = 0;
  for (int64_t f = 0; f < 6; ++f) {
    const at::Tensor ids = at::tensor({int64_t{2}, 10 + f, int64_t{30}, int64_t{4}, int64_t{3}});
    const at::Tensor logits = model.logits_at(ids.unsqueeze(0), at::tensor({int64_t{3}}));
    right += logits.argmax(1).item<int64_t>() == 20 + f ? 1 : 0;
  }
  EXPECT_GE(right, 5);
}

TEST(TrainingOnADevice, ComesToTheLossesOfTheCpu) {
  stand_in_for_cuda(accelerator);
  TemporaryFolder folder;
  fs::create_directories(folder.path() / "data");
  tiny_dataset().write(folder.path() / "data/data.bin");
  std::map<std::string, std::vector<double>> losses;
  for (const char* device : {"cuda", "cpu"}) {
    TrainOptions o = tiny_training(folder.path() / "data", folder.path() / device);
    o.device = device;
    EXPECT_EQ(train(o,
                    [&](const TrainProgress& p) {
                      if (p.note.empty()) losses[device].push_back(p.loss);
                    }),
              30);
  }
  ASSERT_EQ(losses["cuda"].size(), losses["cpu"].size());
  ASSERT_FALSE(losses["cpu"].empty());
  for (size_t i = 0; i < losses["cpu"].size(); ++i) {
    EXPECT_NEAR(losses["cuda"][i], losses["cpu"][i], 1e-3 * losses["cpu"][i]) << i;
  }
}

TEST_F(Training, ACheckpointOfOtherOptionsOrDataIsRefused) {
  TrainOptions o = options("out");
  o.stop_after = 2;
  run(o);
  const std::string kept = checkpoint("out");
  TrainOptions other = o;
  other.sampler.seed = 9;
  EXPECT_THROW(run(other), InputError);
  other = o;
  other.d_ff = 64;
  EXPECT_THROW(run(other), InputError);
  Dataset data = tiny_dataset();
  data.openers = {};
  data.write(folder_.path() / "data/data.bin");
  EXPECT_THROW(run(o), InputError);
  EXPECT_EQ(checkpoint("out"), kept);
  tiny_dataset().write(folder_.path() / "data/data.bin");
  std::ofstream(folder_.path() / "out/checkpoint.bin", std::ios::binary | std::ios::trunc)
      << kept.substr(0, kept.size() - 1);
  EXPECT_THROW(run(o), InputError);
}

TEST_F(Training, AnInterruptKeepsACheckpointThatGoesOn) {
  run(options("whole"));
  TrainOptions o = options("stopped");
  Interrupt::request();
  EXPECT_THROW(run(o), Interrupted);
  Interrupt::clear();
  EXPECT_FALSE(checkpoint("stopped").empty());
  run(o);
  EXPECT_EQ(checkpoint("stopped"), checkpoint("whole"));
}

TEST(LearningRate, RisesStaysAndFallsToZero) {
  TrainOptions o;
  o.steps = 100;
  o.learning_rate = 1;
  o.warm_up = 0.1;
  o.decay = 0.4;
  EXPECT_LT(learning_rate_at(o, 0), 0.2);
  for (int64_t s = 0; s < 10; ++s) EXPECT_LT(learning_rate_at(o, s), learning_rate_at(o, s + 1));
  for (int64_t s = 10; s < 60; ++s) EXPECT_EQ(learning_rate_at(o, s), 1.0);
  for (int64_t s = 60; s < 99; ++s) EXPECT_GT(learning_rate_at(o, s), learning_rate_at(o, s + 1));
  EXPECT_GT(learning_rate_at(o, 99), 0);
  EXPECT_LT(learning_rate_at(o, 99), 0.05);
}

}  // namespace
}  // namespace engram::pretrain
