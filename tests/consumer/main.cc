// Uses a part of every kind of the installed library: headers, ours, the Rust crate's and libtorch.
#include <ATen/ATen.h>

#include <cstdio>
#include <filesystem>

#include "engram/attribution/attribution.h"
#include "engram/error.h"
#include "engram/model/model.h"
#include "engram/text/tokenizer.h"

namespace {

// True when `load` refuses a folder that does not exist with one of our typed errors.
template <typename Load>
bool refuses(Load load) {
  try {
    load(std::filesystem::path("no-such-model"));
  } catch (const engram::Error& error) {
    std::printf("refused as it should be: %s\n", error.what());
    return true;
  }
  return false;
}

}  // namespace

int main() {
  const at::Tensor halves =
      engram::apply_activation(engram::Activation::kRelu, at::full({2, 3}, 0.5f));
  const bool sums = halves.sum().item<float>() == 3.0f;
  const bool names =
      engram::parse_rule(engram::rule_name(engram::Rule::kGaussRadau)) == engram::Rule::kGaussRadau;
  const bool typed = refuses([](const auto& path) { (void)engram::Model::load(path); }) &&
                     refuses([](const auto& path) { (void)engram::Tokenizer::load(path); });
  std::printf("sums %d, names %d, typed errors %d\n", sums, names, typed);
  return sums && names && typed ? 0 : 1;
}
