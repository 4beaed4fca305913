#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace engram::testing {

/// A text with the ids and tokens that transformers gives it.
struct OracleText {
  std::string text;
  std::vector<int64_t> ids;
  std::vector<std::string> tokens;
};

/// A prompt and what transformers computes for it, in float64, rounded to float32 at the end.
struct OracleCase {
  std::string prompt;        ///< written with [MASK]; of a causal model it ends there
  std::vector<int64_t> ids;  ///< with one mask per token of the answer, or its tokens but the last
  std::vector<int64_t> positions;  ///< whose logits predict the answer
  std::vector<int64_t> answer;     ///< [positions]
  std::vector<int64_t> contrast;   ///< [positions] another answer
  double p = 0;                    ///< of the answer; exp of the mean log P for several tokens
  bool parity = false;             ///< the following are given (answers of one token only)
  std::vector<int64_t> rows;       ///< positions whose logits are given
  at::Tensor logits;               ///< [rows, vocabulary]
  at::Tensor activations;          ///< [layers, tokens, d_ff]
  at::Tensor gradients;            ///< [layers, d_ff] of P with respect to a_l there
  double gradient_error = 0;       ///< transformers' own in float32; 0: not measured
};

/// The scores of one run of a plain PyTorch loop.
struct OracleAttribution {
  size_t case_index = 0;
  std::string score, rule, target;  ///< by the names of the command line; rule "" where none
  int64_t steps = 0;
  double f = 0;                ///< F(a)
  std::vector<double> deltas;  ///< [layers] F(a) - F_l(0)
  at::Tensor scores;           ///< [layers, d_ff]
  double float32_error = 0;    ///< transformers' own, where it is not the gradient's; 0: it is
};

/// A checkpoint with its expected results (tools/oracle/expect.py).
struct Oracle {
  std::filesystem::path folder;
  std::vector<OracleText> texts;
  std::vector<OracleCase> cases;
  std::vector<OracleAttribution> attributions;
};

/// Reads expected.json and expected.safetensors of `folder`.
Oracle read_oracle(const std::filesystem::path& folder);

/// Names of the stored checkpoints, folders of tests/data/oracle.
std::vector<std::string> stored_oracles();
std::filesystem::path stored_oracle(const std::string& name);

/// A test-name suffix for such a name.
std::string test_name(const ::testing::TestParamInfo<std::string>& parameter);

/// The checkpoints below $ENGRAM_ORACLE_DIR, made anew by tools/oracle/remake.sh; none if unset.
std::vector<std::filesystem::path> live_oracles();

/// Largest |got - expected| over the largest |expected|; infinite on another shape or a NaN.
double relative_error(const at::Tensor& got, const at::Tensor& expected);

}  // namespace engram::testing
