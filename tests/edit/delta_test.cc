#include "engram/edit/delta.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoints.h"
#include "engram/error.h"
#include "engram/model/fingerprint.h"

namespace engram {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::checkpoint_names;
using testing::make_checkpoint;
using testing::random_delta;

bool same(const DeltaLayer& a, const DeltaLayer& b) {
  return a.layer == b.layer && a.storage == b.storage && a.neurons == b.neurons &&
         a.before == b.before && a.after == b.after;
}

TEST(Delta, ReadsBackAsWritten) {
  const testing::Scratch scratch;
  std::mt19937 random(3);
  for (const std::string& name : checkpoint_names()) {
    const fs::path model = make_checkpoint(scratch.path(), name);
    const std::string base = model_fingerprint(model);
    for (const EditKind kind : {EditKind::kUpdate, EditKind::kErase}) {
      Delta delta = random_delta(model, base, random);
      delta.why.kind = kind;
      delta.why.mode = EraseMode::kMean;
      delta.why.lambda1 = 0.1;
      delta.why.side_effects = {{"same relation", 200, 118, 62, 60}};
      delta.why.subject = "C\xC3\xB4te \"d'Ivoire\"\n";
      const fs::path file = scratch.path() / "delta.safetensors";
      write_delta(file, delta);
      const Delta read = read_delta(file);
      EXPECT_EQ(read.origin, file.string());
      EXPECT_EQ(read.base, base);
      EXPECT_EQ(read.d_model, delta.d_model);
      EXPECT_EQ(read.neurons(), delta.neurons());
      EXPECT_TRUE(std::ranges::equal(read.layers, delta.layers, same));
      EXPECT_EQ(read.why.kind, kind);
      EXPECT_EQ(read.why.relation, "P36");
      ASSERT_EQ(read.why.side_effects.size(), 1U);
      EXPECT_EQ(read.why.side_effects[0].scope, "same relation");
      EXPECT_EQ(read.why.side_effects[0].facts, 200);
      EXPECT_EQ(read.why.side_effects[0].right_before, 118);
      EXPECT_EQ(read.why.side_effects[0].right_after, 62);
      EXPECT_EQ(read.why.side_effects[0].lost, 60);
      EXPECT_EQ(read.why.score, "ig");
      if (kind == EditKind::kUpdate) {
        EXPECT_EQ(read.why.subject, delta.why.subject);
        EXPECT_EQ(read.why.lambda1, 0.1);
        EXPECT_EQ(read.why.lambda2, 8);
      } else {
        EXPECT_EQ(read.why.mode, EraseMode::kMean);
      }
      // The values before are the model's.
      const at::Tensor now = value_vectors(Model::load(model), read.neurons());
      Delta undone = read;
      for (DeltaLayer& layer : undone.layers) layer.after = layer.before;
      EXPECT_TRUE(undone.values().values.equal(now));
    }
  }
}

TEST(Delta, IsMadeOfNeuronsThatAreThereEachOnce) {
  const testing::Scratch scratch;
  const fs::path model = make_checkpoint(scratch.path(), "bert-tiny");
  const ModelConfig config = read_config(model);
  const auto make = [&](const std::vector<NeuronId>& neurons) {
    const auto count = static_cast<int64_t>(neurons.size());
    return make_delta(model, "sha256:", {neurons, at::zeros({count, config.d_model})}, {});
  };
  const auto d_ff = static_cast<int32_t>(config.d_ff);
  EXPECT_THROW(make({}), InputError);
  EXPECT_THROW(make({{0, d_ff}}), InputError);
  EXPECT_THROW(make({{static_cast<int32_t>(config.layers), 0}}), InputError);
  EXPECT_THROW(make({{0, -1}}), InputError);
  EXPECT_THROW(make({{0, 1}, {1, 1}, {0, 1}}), InputError);
  EXPECT_EQ(make({{1, 4}, {0, 2}, {1, 3}}).neurons(),
            (std::vector<NeuronId>{{0, 2}, {1, 3}, {1, 4}}));
  EXPECT_THROW(make_delta(model, "", {{{0, 1}}, at::zeros({1, config.d_model + 1})}, {}),
               InputError);
}

/// A delta file whose parts can be spoilt.
class Malformed : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path model = make_checkpoint(scratch_.path(), "bert-tiny");
    std::mt19937 random(5);
    write_delta(file_, random_delta(model, model_fingerprint(model), random));
    const std::string bytes = read_file(file_);
    uint64_t length = 0;
    std::memcpy(&length, bytes.data(), sizeof length);
    header_ = json::parse(bytes.substr(8, length));
    edit_ = json::parse(header_["__metadata__"]["edit"].get<std::string>());
    data_ = bytes.substr(8 + length);
    layer_ = "layer." + edit_["layers"][0]["layer"].dump() + ".";
  }
  /// Writes the parts and reads them; the message of the error.
  std::string read(const json& header, const std::string& data) const {
    const std::string text = header.dump();
    std::string bytes(8, '\0');
    const uint64_t length = text.size();
    std::memcpy(bytes.data(), &length, sizeof length);
    testing::write_text(file_, bytes + text + data);
    try {
      read_delta(file_);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  }
  std::string with_edit(const std::function<void(json&)>& spoil) const {
    json edit = edit_;
    spoil(edit);
    json header = header_;
    header["__metadata__"]["edit"] = edit.dump();
    return read(header, data_);
  }
  std::string with_header(const std::function<void(json&)>& spoil) const {
    json header = header_;
    spoil(header);
    return read(header, data_);
  }
  testing::Scratch scratch_;
  fs::path file_ = scratch_.path() / "delta.safetensors";
  json header_, edit_;
  std::string data_, layer_;
};

TEST_F(Malformed, IsRefusedWithFileGotAndExpected) {
  ASSERT_EQ(read(header_, data_), "") << "the parts are whole";
  const auto refused = [&](const std::string& message, const std::string& part) {
    EXPECT_TRUE(message.starts_with(file_.string() + ": ")) << message;
    EXPECT_NE(message.find(part), std::string::npos) << message << " / " << part;
    EXPECT_NE(message.find("valid"), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  };
  // The description.
  for (const char* name : {"base", "kind", "relation", "version", "neurons_by", "layers", "subject",
                           "object", "target", "lambda1", "lambda2"}) {
    refused(with_edit([&](json& edit) { edit.erase(name); }), name);
    refused(with_edit([&](json& edit) { edit[name] = json::array(); }), name);
  }
  refused(with_edit([](json& edit) { edit["kind"] = "replace"; }), "update, erase or rome");
  refused(with_edit([](json& edit) {
            edit["kind"] = "erase";
            edit["mode"] = "none";
          }),
          "zero, unk or mean");
  for (const char* base : {"", "sha256:12", "md5:1", "x"}) {
    refused(with_edit([&](json& edit) { edit["base"] = base; }), "64 hexadecimal digits");
  }
  // The list of neurons.
  const auto layer = [](json& edit) -> json& { return edit["layers"][0]; };
  for (const json& value : {json(-1), json(1.5), json("0"), json(1e18), json(nullptr)}) {
    refused(with_edit([&](json& edit) { layer(edit)["layer"] = value; }), "whole number");
    refused(with_edit([&](json& edit) { layer(edit)["neurons"][0] = value; }), "whole number");
  }
  refused(with_edit([&](json& edit) { edit["layers"].push_back(layer(edit)); }), "ascending");
  refused(with_edit([&](json& edit) { edit["layers"] = {layer(edit)}; }), "tensors");
  refused(with_edit([&](json& edit) { layer(edit)["neurons"] = json::array(); }),
          "list of neurons");
  refused(with_edit([&](json& edit) { layer(edit)["neurons"] = {3, 3}; }), "each once");
  refused(with_edit([&](json& edit) { layer(edit)["neurons"].push_back(2000000); }), "shape");
  refused(with_edit([&](json& edit) { edit["layers"][0] = 5; }), "objects");
  // The file around it.
  refused(with_header([](json& header) { header.erase("__metadata__"); }), "__metadata__");
  refused(with_header([](json& header) { header["__metadata__"].erase("schema"); }), "schema");
  refused(with_header([](json& header) { header["__metadata__"]["schema"] = "engram.delta/2"; }),
          "engram.delta/1");
  refused(with_header([](json& header) { header["__metadata__"]["edit"] = "{"; }), "JSON");
  refused(
      with_header([](json& header) { header["__metadata__"]["edit"] = std::string(100000, '['); }),
      "JSON");
  refused(with_header([&](json& header) {
            header["extra"] = header[layer_ + "after"];
            header.erase(layer_ + "after");
          }),
          "missing");
  refused(with_header([&](json& header) { header[layer_ + "after"]["dtype"] = "I32"; }), "I32");
  refused(
      with_header([&](json& header) {
        json& shape = header[layer_ + "after"]["shape"];
        shape = {shape[1], shape[0]};
      }),
      edit_["layers"][0]["neurons"].size() == header_[layer_ + "after"]["shape"][1] ? "" : "shape");
  std::string infinite = data_;
  const uint32_t bits = 0x7F800000U;
  std::memcpy(infinite.data(), &bits, sizeof bits);
  refused(read(header_, infinite), "infinite");
  refused(read(header_, data_.substr(1)), "not a valid safetensors file");
  refused(read(json{{"__metadata__", header_["__metadata__"]}}, ""), "no tensor");
}

}  // namespace
}  // namespace engram
