#include "engram/model/product.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <cstdlib>
#include <string_view>

#include "engram/error.h"
#include "engram_crates.h"

namespace engram {
namespace {

constexpr int64_t kRowsPerThread = 32;

bool use_gemm() {
  static const bool gemm = [] {
    if (const char* name = std::getenv("ENGRAM_PRODUCTS")) {
      if (std::string_view(name) == "gemm") return true;
      if (std::string_view(name) == "mkl") return false;
      throw UsageError(std::string("ENGRAM_PRODUCTS: got \"") + name + "\", expected gemm or mkl");
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") != 0 && !__builtin_cpu_is("intel");
#else
    return false;
#endif
  }();
  return gemm;
}

bool plain(const at::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.scalar_type() == at::kFloat;
}

/// REQUIRES: float32 on the CPU.
void multiply(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add) {
  const float* left = a.const_data_ptr<float>();
  const float* right = b.const_data_ptr<float>();
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(0, a.size(0), kRowsPerThread, [&](int64_t begin, int64_t end) {
    engram_crates_sgemm(static_cast<size_t>(end - begin), static_cast<size_t>(b.size(1)),
                        static_cast<size_t>(a.size(1)), left + begin * a.stride(0), a.stride(0),
                        a.stride(1), right, b.stride(0), b.stride(1), to + begin * out.stride(0),
                        out.stride(0), out.stride(1), add);
  });
}

}  // namespace

const char* product_library() { return use_gemm() ? "gemm" : "mkl"; }

void matrix_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add) {
  if (a.size(0) == 0) return;
  if (use_gemm() && plain(a) && plain(b) && plain(out)) {
    multiply(a, b, out, add);
    return;
  }
  at::Tensor target = out;
  if (add) {
    target.addmm_(a, b);
  } else {
    at::mm_out(target, a, b);
  }
}

bool product_wants_columns(const at::Tensor& weight) { return use_gemm() && plain(weight); }

at::Tensor affine(const at::Tensor& x, const at::Tensor& columns, const at::Tensor& bias) {
  if (at::GradMode::is_enabled() || !use_gemm() || !plain(x) || !plain(columns) || x.dim() < 2 ||
      x.numel() == 0) {
    return at::linear(x, columns.t(), bias);
  }
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = columns.size(1);
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  // clone(): one row expanded would still be the bias itself.
  const at::Tensor out =
      bias.defined()
          ? bias.expand({rows.size(0), columns.size(1)}).clone(at::MemoryFormat::Contiguous)
          : at::empty({rows.size(0), columns.size(1)}, rows.options());
  multiply(rows, columns, out, bias.defined());
  return out.view(shape);
}

}  // namespace engram
