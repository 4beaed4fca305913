// Weights that lie in a checkpoint in other ways than [out, in], and tensors out of memory.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/model/tensor_source.h"
#include "engram/model/tensor_table.h"
#include "support/oracle.h"

namespace engram {
namespace {

using Shape = std::vector<int64_t>;

at::Tensor numbered(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return at::arange(count, at::kFloat).view(shape);
}

TEST(Layout, TransposedAsInGpt2) {
  Layout layout;
  layout.transposed = true;
  EXPECT_EQ(stored_shape({6, 4}, layout), (Shape{4, 6}));
  EXPECT_EQ(stored_shape({6}, layout), (Shape{6}));
  const at::Tensor stored = numbered({4, 6});
  EXPECT_TRUE(take_weight(stored, {6, 4}, layout).equal(stored.t()));
}

TEST(Layout, OneOfThreeThatAreFused) {
  // GPT-2's c_attn: [in, q k v].
  const at::Tensor stored = numbered({4, 18});
  const at::Tensor bias = numbered({18});
  for (int64_t part = 0; part < 3; ++part) {
    const Layout layout{true, part * 6, 18, 1};
    EXPECT_EQ(stored_shape({6, 4}, layout), (Shape{4, 18}));
    EXPECT_TRUE(take_weight(stored, {6, 4}, layout).equal(stored.narrow(1, part * 6, 6).t()));
    EXPECT_TRUE(take_weight(bias, {6}, layout).equal(bias.narrow(0, part * 6, 6)));
  }
}

TEST(Layout, InterleavedByHeadAsInGptNeoX) {
  // query_key_value: [heads, (q k v), head_size, in] with 2 heads of size 3.
  const at::Tensor stored = numbered({18, 4});
  const at::Tensor by_head = stored.view({2, 3, 3, 4});
  for (int64_t part = 0; part < 3; ++part) {
    const Layout layout{false, part * 3, 18, 2};
    const at::Tensor expected = by_head.select(1, part).reshape({6, 4});
    EXPECT_TRUE(take_weight(stored, {6, 4}, layout).equal(expected));
    EXPECT_TRUE(take_weight(stored.select(1, 0), {6}, layout).equal(expected.select(1, 0)));
  }
}

TEST(Layout, WhatIsTakenCanBePutBack) {
  for (const Layout& layout : {Layout{true, 0, 0, 1}, Layout{true, 6, 18, 1},
                               Layout{false, 2, 9, 1}, Layout{false, 3, 18, 2}}) {
    const at::Tensor stored = numbered(stored_shape({6, 4}, layout));
    const at::Tensor weight = take_weight(stored, {6, 4}, layout).clone();
    const at::Tensor other = stored.clone();
    put_weight(weight * -1, layout, other);
    EXPECT_TRUE(take_weight(other, {6, 4}, layout).equal(weight * -1));
    // Nothing else has changed.
    put_weight(weight, layout, other);
    EXPECT_TRUE(other.equal(stored));
  }
}

/// The tensors that a checkpoint of the model has, in memory.
std::map<std::string, at::Tensor> tensors_of(const Model& model) {
  std::map<std::string, at::Tensor> tensors;
  ModelWeights weights = model.weights();
  for (const TensorSpec& spec : tensor_table(model.config(), weights)) {
    if (!spec.required) continue;
    at::Tensor& stored = tensors[spec.names.front()];
    if (!stored.defined()) stored = at::full(spec.stored_shape(model.config()), NAN);
    put_weight(*spec.destination - spec.shift, spec.layout, stored);
  }
  return tensors;
}

TEST(TensorSource, AModelOfTensorsInMemoryIsTheSame) {
  for (const std::string& name : testing::stored_oracles()) {
    SCOPED_TRACE(name);
    const Model model = Model::load(testing::stored_oracle(name));
    std::map<std::string, at::Tensor> tensors = tensors_of(model);
    const Model again = Model::load(model.config(), memory_source(tensors));
    tensors.clear();  // the model keeps what it needs
    const at::Tensor ids = at::tensor({1, 5, 9, 2}, at::kLong).unsqueeze(0);
    EXPECT_TRUE(again.logits(again.encode(ids)[0]).equal(model.logits(model.encode(ids)[0])));
  }
}

TEST(TensorSource, RefusesByName) {
  const Model model = Model::load(testing::stored_oracle("bert-tiny"));
  std::map<std::string, at::Tensor> tensors = tensors_of(model);
  const auto message = [&] {
    try {
      Model::load(model.config(), memory_source(tensors));
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  at::Tensor& weight = tensors.at("bert.encoder.layer.0.output.dense.weight");
  const at::Tensor own = weight;
  weight = own.t();
  EXPECT_EQ(message(),
            "memory: tensor \"bert.encoder.layer.0.output.dense.weight\": got shape [50, 24], "
            "expected [24, 50] from config.json");
  weight = own.to(at::kDouble);
  EXPECT_NE(message().find("got dtype Double, expected F32, F16 or BF16"), std::string::npos);
}

}  // namespace
}  // namespace engram
