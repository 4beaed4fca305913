#include "support/fake_device.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace engram::testing {
namespace {

constexpr c10::DeviceType kType = c10::DeviceType::PrivateUse1;

// A device pointer is that of host memory with a bit that no address of a process has: following
// it is a fault at once, and offsets can be added as ever.
constexpr uintptr_t kMark = uintptr_t{1} << 52U;
void* marked(void* host) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(host) | kMark);
}
void* unmarked(const void* device) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(device) & ~kMark);
}

void release(void* device) { std::free(unmarked(device)); }

class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    constexpr size_t kLine = 64;
    void* host =
        bytes == 0 ? nullptr : std::aligned_alloc(kLine, (bytes + kLine - 1) / kLine * kLine);
    if (bytes > 0 && host == nullptr) throw std::bad_alloc();
    void* device = host == nullptr ? nullptr : marked(host);
    return {device, device, host == nullptr ? nullptr : &release, c10::Device(kType, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(unmarked(to), unmarked(from), bytes);
  }
};

Memory& memory() {
  static Memory one;
  return one;
}

at::Tensor empty(c10::IntArrayRef size, std::optional<c10::ScalarType> type,
                 std::optional<c10::Layout> /*layout*/, std::optional<c10::Device> /*device*/,
                 std::optional<bool> /*pinned*/, std::optional<c10::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::IntArrayRef size, c10::IntArrayRef stride,
                         std::optional<c10::ScalarType> type, std::optional<c10::Layout> /*layout*/,
                         std::optional<c10::Device> /*device*/, std::optional<bool> /*pinned*/) {
  return at::detail::empty_strided_generic(size, stride, &memory(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           type.value_or(at::kFloat));
}

/// The same elements as a tensor of the CPU.
at::Tensor on_host(const at::Tensor& tensor) {
  return at::from_blob(tensor.numel() == 0 ? nullptr : unmarked(tensor.const_data_ptr()),
                       tensor.sizes(), tensor.strides(),
                       at::TensorOptions().dtype(tensor.scalar_type()));
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool /*asynchronous*/) {
  const auto host = [](const at::Tensor& tensor) {
    return tensor.device().type() == kType ? on_host(tensor) : tensor;
  };
  host(to).copy_(host(from));
  return to;
}

/// Arguments of one operation, taken to the host and its results back.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& operation) : operation_(operation) {}

  c10::IValue take(const c10::IValue& value) {
    if (value.isTensor()) return take(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(take(tensor));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        list.push_back(tensor ? std::optional(take(*tensor)) : std::nullopt);
      }
      return list;
    }
    if (value.isDevice()) return c10::Device(c10::DeviceType::CPU);
    return value;
  }

  c10::IValue give(const c10::IValue& value) const {
    if (value.isTensor()) return give(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& tensor : value.toTensorVector()) list.push_back(give(tensor));
      return list;
    }
    return value;
  }

  /// As CUDA does it: beside device tensors there may be single numbers of the CPU only.
  void refuse_a_mixture() const {
    TORCH_CHECK(arguments_.empty() || !foreign_, "tensors of two devices in ", name());
  }

 private:
  [[nodiscard]] std::string name() const { return c10::toString(operation_.operator_name()); }

  at::Tensor take(const at::Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    if (tensor.device().type() != kType) {
      foreign_ = foreign_ || tensor.dim() > 0;
      return tensor;
    }
    // What is empty may be an output that is to grow, which memory of others cannot.
    arguments_.emplace_back(tensor, tensor.numel() == 0
                                        ? at::empty(tensor.sizes(), tensor.scalar_type())
                                        : on_host(tensor));
    return arguments_.back().second;
  }

  [[nodiscard]] at::Tensor give(const at::Tensor& tensor) const {
    if (!tensor.defined()) return tensor;
    for (const auto& [device, host] : arguments_) {
      if (tensor.is_same(host)) {  // written in place
        if (!device.sizes().equals(host.sizes())) grow(device, host);
        return device;
      }
      TORCH_CHECK(tensor.numel() == 0 || !tensor.is_alias_of(host), "a view out of ", name());
    }
    return on_device(tensor);
  }

  static at::Tensor on_device(const at::Tensor& tensor) {
    at::Tensor result = at::empty_strided(tensor.sizes(), tensor.strides(),
                                          tensor.options().device(c10::Device(kType, 0)));
    copy_from(tensor, result, false);
    return result;
  }

  static void grow(const at::Tensor& device, const at::Tensor& host) {
    const at::Tensor grown = on_device(host);
    device.unsafeGetTensorImpl()->set_storage_keep_dtype(grown.storage());
    device.unsafeGetTensorImpl()->set_sizes_and_strides(grown.sizes(), grown.strides());
  }

  const c10::OperatorHandle& operation_;
  std::vector<std::pair<at::Tensor, at::Tensor>> arguments_;  ///< of the device, and on the host
  bool foreign_ = false;
};

void run_on_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  Call call(operation);
  const size_t arguments = operation.schema().arguments().size();
  for (size_t i = stack->size() - arguments; i < stack->size(); ++i) {
    (*stack)[i] = call.take((*stack)[i]);
  }
  call.refuse_a_mixture();
  operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  const size_t results = operation.schema().returns().size();
  for (size_t i = stack->size() - results; i < stack->size(); ++i) {
    (*stack)[i] = call.give((*stack)[i]);
  }
}

/// There is one device with one stream, on which all work is done when it is asked for.
class Guard final : public c10::impl::NoOpDeviceGuardImpl<kType> {
 public:
  c10::Device exchangeDevice(c10::Device /*other*/) const override { return {kType, 0}; }
  c10::Device getDevice() const override { return {kType, 0}; }
  c10::Stream getStream(c10::Device /*device*/) const noexcept override { return stream(); }
  c10::Stream getNewStream(c10::Device /*device*/, int /*priority*/) const override {
    return stream();
  }
  c10::Stream exchangeStream(c10::Stream /*other*/) const noexcept override { return stream(); }
  void record(void** /*event*/, const c10::Stream& /*stream*/, c10::DeviceIndex /*device*/,
              c10::EventFlag /*flag*/) const override {}
  void block(void* /*event*/, const c10::Stream& /*stream*/) const override {}
  bool queryEvent(void* /*event*/) const override { return true; }

 private:
  static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, c10::Device(kType, 0)); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex /*device*/) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex /*device*/) const override {
    static const at::Generator one = at::detail::createCPUGenerator();
    return one;
  }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex /*device*/) const override {}
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex /*device*/) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex /*device*/) const override { return 0; }
};

struct Registration {
  Registration() {
    c10::SetAllocator(kType, &memory());
    static Guard guard;
    c10::impl::registerDeviceGuard(kType, &guard);
    static Hooks hooks;
    at::RegisterPrivateUse1HooksInterface(&hooks);
    c10::register_privateuse1_backend("fake");
    aten.impl("empty.memory_format", &empty);
    aten.impl("empty_strided", &empty_strided);
    aten.impl("as_strided", &at::native::as_strided_tensorimpl);
    aten.impl("view", &at::native::view);
    aten.impl("_reshape_alias", &at::native::_reshape_alias);
    aten.impl("_copy_from", &copy_from);
    rest.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
  }
  torch::Library aten{torch::Library::IMPL, "aten", c10::DispatchKey::PrivateUse1, __FILE__,
                      __LINE__};
  torch::Library rest{torch::Library::IMPL, "_", c10::DispatchKey::PrivateUse1, __FILE__, __LINE__};
};

}  // namespace

at::Device fake_device() {
  static const Registration registration;
  return {kType, 0};
}

}  // namespace engram::testing
