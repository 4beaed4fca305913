#include "support/oracle.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "engram/base/file.h"
#include "engram/model/safetensors.h"

namespace engram::testing {
namespace {

using nlohmann::json;

at::Tensor tensor_of(const std::map<std::string, StoredTensor>& tensors, const std::string& name) {
  const StoredTensor& stored = tensors.at(name);
  if (stored.storage != Storage::kF32) throw std::runtime_error(name + " is not float32");
  return at::from_blob(const_cast<std::byte*>(stored.data), stored.shape, at::kFloat).clone();
}

}  // namespace

Oracle read_oracle(const std::filesystem::path& folder) {
  Oracle oracle;
  oracle.folder = folder;
  const json root = json::parse(read_file(folder / "expected.json"));
  if (root.at("schema") != "engram.oracle/1") throw std::runtime_error("unknown oracle schema");
  const auto tensors = open_safetensors(folder / "expected.safetensors");
  for (const json& entry : root.at("texts")) {
    oracle.texts.push_back({entry.at("text"), entry.at("ids"), entry.at("tokens")});
  }
  for (const json& entry : root.at("cases")) {
    OracleCase c;
    c.prompt = entry.at("prompt");
    c.ids = entry.at("ids").get<std::vector<int64_t>>();
    c.positions = entry.at("positions").get<std::vector<int64_t>>();
    c.answer = entry.at("answer").get<std::vector<int64_t>>();
    c.contrast = entry.at("contrast").get<std::vector<int64_t>>();
    c.p = entry.at("p");
    c.parity = entry.at("parity");
    if (c.parity) {
      const std::string name = "case." + std::to_string(oracle.cases.size());
      c.rows = entry.at("rows").get<std::vector<int64_t>>();
      c.logits = tensor_of(tensors, name + ".logits");
      c.activations = tensor_of(tensors, name + ".activations");
      c.gradients = tensor_of(tensors, name + ".gradients");
      c.gradient_error = entry.value("gradient_error", 0.0);
    }
    oracle.cases.push_back(std::move(c));
  }
  for (const json& entry : root.at("attributions")) {
    OracleAttribution a;
    a.case_index = entry.at("case");
    a.score = entry.at("score");
    a.rule = entry.at("rule");
    a.target = entry.at("target");
    a.steps = entry.at("steps");
    a.f = entry.at("f");
    a.deltas = entry.at("deltas").get<std::vector<double>>();
    a.scores = tensor_of(tensors, entry.at("tensor"));
    a.float32_error = entry.value("float32_error", 0.0);
    oracle.attributions.push_back(std::move(a));
  }
  return oracle;
}

std::filesystem::path stored_oracle(const std::string& name) {
  return std::filesystem::path(ENGRAM_SOURCE_DIR) / "tests/data/oracle" / name;
}

std::vector<std::string> stored_oracles() {
  return {"bert-tiny",    "roberta-tiny", "distilbert-tiny", "bert-bf16-sharded-untied",
          "electra-tiny", "gpt2-tiny",    "gpt-neox-tiny",   "llama-tiny",
          "gemma-tiny"};
}

std::string test_name(const ::testing::TestParamInfo<std::string>& parameter) {
  std::string name = parameter.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::filesystem::path> live_oracles() {
  std::vector<std::filesystem::path> folders;
  const char* root = std::getenv("ENGRAM_ORACLE_DIR");
  if (root == nullptr || *root == '\0') return folders;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (std::filesystem::exists(entry.path() / "expected.json")) folders.push_back(entry.path());
  }
  if (folders.empty()) throw std::runtime_error(std::string(root) + " holds no checkpoint");
  std::sort(folders.begin(), folders.end());
  return folders;
}

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  if (!got.sizes().equals(expected.sizes())) return std::numeric_limits<double>::infinity();
  const at::Tensor difference = (got.to(at::kDouble) - expected.to(at::kDouble)).abs().max();
  const double error = difference.item<double>() / expected.abs().max().item<double>();
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

}  // namespace engram::testing
