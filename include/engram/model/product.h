#pragma once

#include <ATen/ATen.h>

// Matrix products of inference. libtorch's MKL takes its AVX2 kernels on processors that are not
// Intel's, half the rate of those with AVX-512; there the `gemm` crate computes them.
namespace engram {

/// The library that computes products on this machine: "gemm" or "mkl" (whatever libtorch has).
/// $ENGRAM_PRODUCTS names one of them instead.
const char* product_library();

/// out = a b, or out += a b with `add`. a [m, k], b [k, n], out [m, n], float32, any strides, on
/// one device; `out` overlaps neither. Not recorded for autograd. Runs on at::get_num_threads()
/// threads.
void matrix_product(const at::Tensor& a, const at::Tensor& b, const at::Tensor& out, bool add);

/// x columns + bias (at::linear): x [..., k], columns [k, n], bias [n] or
/// undefined. Recorded for autograd where
/// that is on.
at::Tensor affine(const at::Tensor& x, const at::Tensor& columns, const at::Tensor& bias);

/// Whether products with the columns of `weight` [n, k] (its transpose) gain from a copy [k, n] of
/// it: gemm rearranges a right factor at every call unless its rows are contiguous.
bool product_wants_columns(const at::Tensor& weight);

}  // namespace engram
