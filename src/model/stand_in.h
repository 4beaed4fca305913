#pragma once

#include <ATen/ATen.h>

namespace engram {

/// From here on open_device() gives `device` for "cuda" and "auto". For tests, on machines without
/// a GPU.
void stand_in_for_cuda(at::Device device);

}  // namespace engram
