#include "engram/model/device.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <filesystem>
#include <optional>

#include "engram/error.h"
#include "model/stand_in.h"

namespace engram {
namespace {

/// Loads libtorch_cuda from beside libtorch_cpu; its initialisers register the kernels.
void load_cuda_kernels() {
  static const std::string failure = [] {
    Dl_info info{};
    // Any symbol of libtorch_cpu tells where it was loaded from.
    if (::dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) == 0) {
      return std::string("libtorch was not found in this process");
    }
    const auto library = std::filesystem::path(info.dli_fname).parent_path() / "libtorch_cuda.so";
    if (::dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return std::string();
    const char* reason = ::dlerror();
    return reason == nullptr ? library.string() : std::string(reason);
  }();
  if (!failure.empty()) {
    throw FileError("--device cuda: the CUDA kernels cannot be loaded; run `make cuda` once (" +
                    failure + ")");
  }
}

std::optional<at::Device>& stand_in() {
  static std::optional<at::Device> device;
  return device;
}

}  // namespace

void stand_in_for_cuda(at::Device device) { stand_in() = device; }

at::Device open_device(const std::string& name) {
  if (name == "cpu") return at::kCPU;
  const bool wanted = name == "cuda";
  if (!wanted && name != "auto") {
    throw UsageError("--device: got \"" + name + "\", expected cpu, cuda or auto");
  }
  if (stand_in()) return *stand_in();
  try {
    load_cuda_kernels();
    if (at::hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0) {
      return at::Device(at::kCUDA, 0);
    }
  } catch (const FileError&) {
    if (wanted) throw;
  }
  if (wanted) {
    throw InputError(
        "--device cuda: no usable GPU was found (expected an NVIDIA GPU and a driver)");
  }
  return at::kCPU;
}

}  // namespace engram
