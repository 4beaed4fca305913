#pragma once

// Loops with an exponential, and what loops of all kernel files are compiled for.

#include <cstdint>

#if !defined(__x86_64__) || defined(ENGRAM_NO_MULTIVERSION)
#define ENGRAM_CLONES
#elif !defined(__clang__) && __GNUC__ >= 12
#define ENGRAM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else  // compilers that dispatch by single features only
#define ENGRAM_CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#endif

// Buffers are either the same or apart, never overlapping in part, so loops carry no dependences.
#if defined(__clang__)
#define ENGRAM_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define ENGRAM_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace engram::kernels {

/// out = exp(x - largest), to 2e-7 of itself; `largest` is no smaller than any x. For what is
/// further below it than 87, exp(-87) = 1.6e-38; NaN for NaN. `out` may be x.
void exp_row(const float* x, float largest, float* out, int64_t count);
/// x = -factor * exp(x - largest), likewise.
void minus_softmax(float* x, float largest, float factor, int64_t count);

/// a = activation(u) and d = its derivative; u and a may be the same.
void gelu(const float* u, float* a, float* d, int64_t count);
void gelu_tanh(const float* u, float* a, float* d, int64_t count);
void silu(const float* u, float* a, float* d, int64_t count);

}  // namespace engram::kernels
