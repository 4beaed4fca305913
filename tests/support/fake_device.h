#pragma once

#include <ATen/ATen.h>

namespace engram::testing {

/// An accelerator that every machine has: libtorch's slot for devices of others (PrivateUse1),
/// computed by the CPU's kernels. Its pointers cannot be followed, and an operation that mixes its
/// tensors with the CPU's throws c10::Error, as CUDA would. What runs on it has no operation on the
/// wrong device and no host access to device memory. Registered for the process at the first call,
/// which has to come before autograd has run anywhere: its threads are those of the devices that it
/// knows by then.
at::Device fake_device();

}  // namespace engram::testing
