#include "engram/edit/values.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "engram/error.h"
#include "engram/model/tensor_table.h"
#include "intervention/random_model.h"

namespace engram {
namespace {

using testing::random_cloze;
using testing::random_model;

const std::vector<NeuronId> kNeurons = {{0, 3}, {2, 39}, {0, 0}, {1, 17}};

/// The column of neuron `id`, element by element.
std::vector<double> column(const Model& model, NeuronId id) {
  const at::Tensor& weight = model.weights().layers[static_cast<size_t>(id.layer)].ffn_out_weight;
  std::vector<double> values;
  for (int64_t i = 0; i < weight.size(0); ++i) {
    values.push_back(weight[i][id.neuron].item<double>());
  }
  return values;
}

/// Mean of the tokens' embeddings.
std::vector<double> mean_embedding(const Model& model, const std::vector<int64_t>& tokens) {
  std::vector<double> mean(static_cast<size_t>(model.config().d_model), 0.0);
  for (const int64_t token : tokens) {
    for (size_t i = 0; i < mean.size(); ++i) {
      mean[i] += model.weights().token_embedding[token][static_cast<int64_t>(i)].item<double>() /
                 static_cast<double>(tokens.size());
    }
  }
  return mean;
}

double norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

double at_place(const at::Tensor& values, size_t row, size_t column) {
  return values[static_cast<int64_t>(row)][static_cast<int64_t>(column)].item<double>();
}

TEST(Values, AreTheColumnsOfTheSecondMatrix) {
  const Model model = random_model(1);
  const at::Tensor values = value_vectors(model, kNeurons);
  ASSERT_EQ(values.sizes(), at::IntArrayRef({4, 16}));
  for (size_t n = 0; n < kNeurons.size(); ++n) {
    const std::vector<double> expected = column(model, kNeurons[n]);
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(at_place(values, n, i), expected[i]);
  }
  EXPECT_EQ(value_vectors(model, {}).sizes(), at::IntArrayRef({0, 16}));
}

TEST(Values, UpdateIsTheFormulaOfTheMethod) {
  const Model model = random_model(2);
  const std::vector<int64_t> old_answer = {7};
  const std::vector<int64_t> new_answer = {11, 30};
  const ValueEdit edit = update_values(model, kNeurons, old_answer, new_answer, 1.5, 8.0);
  const std::vector<double> from = mean_embedding(model, old_answer);
  const std::vector<double> to = mean_embedding(model, new_answer);
  EXPECT_EQ(edit.neurons, kNeurons);
  for (size_t n = 0; n < kNeurons.size(); ++n) {
    const std::vector<double> value = column(model, kNeurons[n]);
    for (size_t i = 0; i < value.size(); ++i) {
      const double expected = value[i] - 1.5 * norm(value) / norm(from) * from[i] +
                              8.0 * norm(value) / norm(to) * to[i];
      EXPECT_NEAR(at_place(edit.values, n, i), expected, 1e-6 * (1 + std::abs(expected)));
    }
  }
}

TEST(Values, EraseSetsWhatItsModeSays) {
  const Model model = random_model(3);
  const ValueEdit zero = erase_values(model, kNeurons, EraseMode::kZero, {});
  const ValueEdit unknown = erase_values(model, kNeurons, EraseMode::kUnknown, 5);
  const ValueEdit mean = erase_values(model, kNeurons, EraseMode::kMean, {});
  for (size_t n = 0; n < kNeurons.size(); ++n) {
    const at::Tensor& weight =
        model.weights().layers[static_cast<size_t>(kNeurons[n].layer)].ffn_out_weight;
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_EQ(at_place(zero.values, n, i), 0.0);
      EXPECT_EQ(at_place(unknown.values, n, i),
                model.weights().token_embedding[5][static_cast<int64_t>(i)].item<double>());
      double sum = 0;
      for (int64_t k = 0; k < 40; ++k) sum += weight[static_cast<int64_t>(i)][k].item<double>();
      EXPECT_NEAR(at_place(mean.values, n, i), sum / 40, 1e-6);
    }
  }
  for (const EraseMode mode : {EraseMode::kZero, EraseMode::kUnknown, EraseMode::kMean}) {
    EXPECT_EQ(parse_erase_mode(erase_mode_name(mode)), mode);
  }
  const ValueEdit token = token_values(model, kNeurons, 9, 5);
  const at::Tensor& embeddings = model.weights().token_embedding;
  const double factor = embeddings[5].norm().item<double>() / embeddings[9].norm().item<double>();
  for (size_t n = 0; n < kNeurons.size(); ++n) {
    for (size_t i = 0; i < 16; ++i) {
      EXPECT_NEAR(at_place(token.values, n, i),
                  factor * embeddings[9][static_cast<int64_t>(i)].item<double>(), 1e-6);
    }
  }
  EXPECT_THROW(parse_erase_mode("none"), UsageError);
  EXPECT_THROW(erase_values(model, kNeurons, EraseMode::kUnknown, {}), InputError);
}

TEST(Values, AnUpdateMovesAlongTheEmbeddingThatIsAskedFor) {
  Model model = random_model(6);
  model.mutable_weights().decoder_weight = model.weights().token_embedding.flip(0).clone();
  const std::vector<NeuronId> one = {{1, 4}};
  const std::vector<int64_t> from = {7};
  const std::vector<int64_t> to = {11};
  const int64_t last = model.config().vocabulary - 1;
  const std::vector<int64_t> from_flipped = {last - 7};
  const std::vector<int64_t> to_flipped = {last - 11};
  const auto update = [&](const std::vector<int64_t>& a, const std::vector<int64_t>& b,
                          std::optional<AnswerEmbedding> embedding) {
    return update_values(model, one, a, b, 1, 8, embedding).values;
  };
  const at::Tensor output = update(from, to, AnswerEmbedding::kOutput);
  EXPECT_TRUE(output.equal(update(from_flipped, to_flipped, AnswerEmbedding::kInput)));
  EXPECT_FALSE(output.equal(update(from, to, AnswerEmbedding::kInput)));
  EXPECT_TRUE(update(from, to, {}).equal(update(from, to, AnswerEmbedding::kInput)))
      << "of a masked model";
  model.mutable_weights().decoder_weight = at::ones({model.config().vocabulary, 3});
  EXPECT_THROW(update(from, to, AnswerEmbedding::kOutput), InputError);
  for (const char* name : {"input", "output"}) {
    EXPECT_STREQ(answer_embedding_name(parse_answer_embedding(name)), name);
  }
  EXPECT_THROW(parse_answer_embedding("both"), UsageError);
}

TEST(Values, EditedModelSharesAllButTheEditedMatrices) {
  const Model model = random_model(4);
  const at::Tensor before = model.weights().layers[0].ffn_out_weight.clone();
  const ValueEdit edit = update_values(model, std::vector<NeuronId>{{0, 3}, {2, 1}},
                                       std::vector<int64_t>{1}, std::vector<int64_t>{2}, 1, 8);
  Model edited = with_values(model, edit);
  Model base = model;
  std::vector<TensorSpec> mine = tensor_table(model.config(), base.mutable_weights());
  const std::vector<TensorSpec> theirs = tensor_table(model.config(), edited.mutable_weights());
  ASSERT_EQ(mine.size(), theirs.size());
  int own = 0;
  for (size_t i = 0; i < mine.size(); ++i) {
    if (mine[i].destination->data_ptr() == theirs[i].destination->data_ptr()) continue;
    ++own;
    EXPECT_NE(mine[i].names.front().find(".output.dense.weight"), std::string::npos);
  }
  EXPECT_EQ(own, 2);
  EXPECT_TRUE(model.weights().layers[0].ffn_out_weight.equal(before)) << "the model is as it was";
  EXPECT_TRUE(value_vectors(edited, edit.neurons).equal(edit.values));
  // All other columns stay.
  at::Tensor rest = edited.weights().layers[0].ffn_out_weight.clone();
  rest.select(1, 3).copy_(before.select(1, 3));
  EXPECT_TRUE(rest.equal(before));
}

TEST(Values, ZeroedValueIsASilencedNeuron) {
  const Model model = random_model(5);
  const Cloze cloze = random_cloze(6, 9);
  const Model erased = with_values(model, erase_values(model, kNeurons, EraseMode::kZero, {}));
  std::vector<ActivationChange> silence;
  for (const NeuronId id : kNeurons) {
    silence.push_back({id.layer, id.neuron, ActivationChange::kEveryPrompt,
                       ActivationChange::kEveryToken, ActivationChange::Kind::kSet, 0.0});
  }
  InterventionHook hook(silence, 3, 40);
  const at::Tensor ids = at::tensor(cloze.ids).unsqueeze(0);
  const at::Tensor by_hook = model.logits_at(ids, at::tensor(cloze.positions), &hook);
  const at::Tensor by_weights = erased.logits_at(ids, at::tensor(cloze.positions));
  EXPECT_LT((by_hook - by_weights).abs().max().item<float>(), 1e-5);
  EXPECT_GT((by_hook - model.logits_at(ids, at::tensor(cloze.positions))).abs().max().item<float>(),
            1e-3);
}

TEST(Values, RefuseWhatTheModelDoesNotHave) {
  const Model model = random_model(7);
  for (const NeuronId id : {NeuronId{3, 0}, NeuronId{0, 40}, NeuronId{-1, 0}, NeuronId{0, -1}}) {
    EXPECT_THROW(value_vectors(model, std::vector<NeuronId>{id}), InputError);
    EXPECT_THROW(erase_values(model, std::vector<NeuronId>{id}, EraseMode::kZero, {}), InputError);
    EXPECT_THROW(with_values(model, {{id}, at::zeros({1, 16})}), InputError);
  }
  const std::vector<NeuronId> twice = {{0, 1}, {0, 1}};
  EXPECT_THROW(value_vectors(model, twice), InputError);
  EXPECT_THROW(with_values(model, {{{0, 1}}, at::zeros({1, 15})}), InputError);
  EXPECT_THROW(with_values(model, {{{0, 1}}, at::zeros({2, 16})}), InputError);
  const std::vector<NeuronId> one = {{0, 1}};
  EXPECT_THROW(update_values(model, one, std::vector<int64_t>{50}, std::vector<int64_t>{1}, 1, 8),
               InputError);
  EXPECT_THROW(update_values(model, one, {}, std::vector<int64_t>{1}, 1, 8), InputError);
}

}  // namespace
}  // namespace engram
