#pragma once

#include <ATen/ATen.h>

#include <string>

namespace engram {

/// The device for "cpu", "cuda" or "auto"; loads the CUDA kernels that lie beside this process's
/// libtorch where they are wanted. "auto" takes the CPU when there is no usable GPU. The first call
/// decides: libtorch looks for its CUDA hooks once, so no tensor may be asked for a GPU before.
/// Throws FileError (kernels not installed: says `make cuda`), InputError (no GPU), UsageError (any
/// other name).
at::Device open_device(const std::string& name);

}  // namespace engram
