#include "cli/score_file.h"

#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "engram/error.h"

namespace engram::cli {
namespace {

constexpr int64_t kNumpyHeader = 128;        // numpy.lib.format 1.0 wants a multiple of 64
constexpr int64_t kSafetensorsHeader = 256;  // its length in front, padded with blanks

std::string numpy_header(const std::string& shape) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + shape + "), }";
  constexpr size_t kPrefix = 10;  // magic, version, length of the rest
  header.resize(static_cast<size_t>(kNumpyHeader) - kPrefix - 1, ' ');
  header.push_back('\n');
  return std::string("\x93NUMPY\x01\x00\x76\x00", kPrefix) + header;  // 0x76 = 128 - 10
}

std::string safetensors_header(const std::string& shape, int64_t bytes) {
  std::string header = R"({"__metadata__":{"format":"engram"},"scores":{"dtype":"F32","shape":[)" +
                       shape + R"(],"data_offsets":[0,)" + std::to_string(bytes) + "]}}";
  constexpr uint64_t kLength = kSafetensorsHeader - 8;
  header.resize(kLength, ' ');
  std::string prefix(8, '\0');
  std::memcpy(prefix.data(), &kLength, sizeof kLength);
  return prefix + header;
}

}  // namespace

static_assert(std::endian::native == std::endian::little, "the header says little-endian");

ScoreFile::ScoreFile(std::filesystem::path path, int64_t layers, int64_t d_ff)
    : file_(std::move(path)),
      safetensors_(file_.path().extension() == ".safetensors"),
      layers_(layers),
      d_ff_(d_ff) {}

void ScoreFile::write_row(int64_t row, const at::Tensor& scores) {
  const at::Tensor values = scores.contiguous();
  if (values.scalar_type() != at::kFloat || values.numel() != layers_ * d_ff_) {
    throw InternalError("ScoreFile: scores must be float32 [layers, d_ff]");
  }
  const auto bytes = static_cast<int64_t>(sizeof(float)) * layers_ * d_ff_;
  const auto* data = reinterpret_cast<const char*>(values.const_data_ptr<float>());
  file_.write_at({data, static_cast<size_t>(bytes)},
                 (safetensors_ ? kSafetensorsHeader : kNumpyHeader) + row * bytes);
}

void ScoreFile::commit(int64_t rows, bool single) {
  if (single && rows != 1) throw InternalError("ScoreFile: a single row, and not one");
  const std::string shape = (single ? "" : std::to_string(rows) + ", ") + std::to_string(layers_) +
                            ", " + std::to_string(d_ff_);
  const auto bytes = static_cast<int64_t>(sizeof(float)) * rows * layers_ * d_ff_;
  const std::string whole = safetensors_ ? safetensors_header(shape, bytes) : numpy_header(shape);
  file_.write_at(whole, 0);
  file_.commit();
}

}  // namespace engram::cli
