// The same on a stand-in for an accelerator, whose memory the host cannot read.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engram/reading/activity.h"
#include "engram/reading/lens.h"
#include "engram/reading/memories.h"
#include "engram/reading/values.h"
#include "reading/small_corpus.h"
#include "support/fake_device.h"
#include "support/oracle.h"
#include "support/temporary.h"

namespace engram {
namespace {

const at::Device reading_device = testing::fake_device();

class EveryDevice : public ::testing::TestWithParam<std::string> {
 protected:
  const std::filesystem::path path_ = testing::stored_oracle(GetParam());
  const Model here_ = Model::load(path_);
  const Model there_ = Model::load(path_, reading_device);
  const Tokenizer tokenizer_ = Tokenizer::load(path_);
  const testing::TemporaryFolder folder_;
};

TEST_P(EveryDevice, LensAndValues) {
  const testing::OracleCase one = testing::read_oracle(path_).cases.front();
  const Cloze cloze{one.ids, one.positions, one.answer};
  const Lens here = logit_lens(here_, cloze, 2);
  const Lens there = logit_lens(there_, cloze, 2);
  ASSERT_EQ(here.stages.size(), there.stages.size());
  EXPECT_EQ(here.bias_share.has_value(), there.bias_share.has_value());
  for (size_t i = 0; i < here.stages.size(); ++i) {
    EXPECT_NEAR(here.stages[i].logit, there.stages[i].logit, 1e-4);
    EXPECT_NEAR(here.stages[i].p, there.stages[i].p, 1e-5);
    if (here.bias_share) {
      EXPECT_NEAR(here.stages[i].share, there.stages[i].share, 1e-4);
    }
  }
  const at::Tensor logits = read_vectors(there_, value_vectors(there_, 1, {2, 5}));
  EXPECT_EQ(logits.device(), reading_device);
  EXPECT_LE(testing::relative_error(logits.to(at::kCPU),
                                    read_vectors(here_, value_vectors(here_, 1, {2, 5}))),
            1e-5);
  const Neighbours near_here = nearest_neurons(here_, {1, 4}, 5);
  const Neighbours near_there = nearest_neurons(there_, {1, 4}, 5);
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(near_here.by_key[i].cosine, near_there.by_key[i].cosine, 1e-6);
    EXPECT_NEAR(near_here.by_value[i].cosine, near_there.by_value[i].cosine, 1e-6);
  }
  EXPECT_NEAR(neuron_norms(here_, {1, 4}).value, neuron_norms(there_, {1, 4}).value, 1e-6);
}

TEST_P(EveryDevice, CorpusIsReadThere) {
  MemoriesOptions how;
  how.corpus.file = folder_.file("corpus.txt");
  how.corpus.window = 16;
  how.keys = 3;
  testing::write_corpus(how.corpus.file, testing::joined_lines(testing::made_up_lines(20, 20, 31)));
  const Activity here = neuron_activity(here_, tokenizer_, {1, 3}, 3, how.corpus);
  const Activity there = neuron_activity(there_, tokenizer_, {1, 3}, 3, how.corpus);
  ASSERT_EQ(here.most.size(), there.most.size());
  for (size_t i = 0; i < here.most.size(); ++i) {
    EXPECT_NEAR(here.most[i].activation, there.most[i].activation, 1e-5);
    EXPECT_NEAR(here.least[i].activation, there.least[i].activation, 1e-5);
  }
  const Memories one = measure_memories(here_, tokenizer_, how);
  const Memories other = measure_memories(there_, tokenizer_, how);
  ASSERT_EQ(one.keys.size(), other.keys.size());
  for (size_t i = 0; i < one.keys.size(); ++i) {
    EXPECT_EQ(one.keys[i].neuron, other.keys[i].neuron);
    ASSERT_EQ(one.keys[i].triggers.size(), other.keys[i].triggers.size());
    for (size_t t = 0; t < one.keys[i].triggers.size(); ++t) {
      EXPECT_NEAR(one.keys[i].triggers[t].activation, other.keys[i].triggers[t].activation, 1e-5);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, EveryDevice,
                         ::testing::Values("bert-tiny", "gpt2-tiny", "gpt-neox-tiny", "llama-tiny"),
                         testing::test_name);

}  // namespace
}  // namespace engram
