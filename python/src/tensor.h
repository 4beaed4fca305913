#pragma once

#include <ATen/ATen.h>
#include <nanobind/nanobind.h>

namespace engram::python {

/// The Python object of a tensor: the same storage. None for an undefined one.
PyObject* wrap_tensor(const at::Tensor& tensor);

/// The tensor of a Python object; null where it is none.
const at::Tensor* find_tensor(PyObject* object);

/// `tensor` as one that autograd takes: tensors made in inference mode share their memory with it.
at::Tensor plain(const at::Tensor& tensor);

}  // namespace engram::python

namespace nanobind::detail {

template <>
struct type_caster<at::Tensor> {
  NB_TYPE_CASTER(at::Tensor, const_name("torch.Tensor"))

  bool from_python(handle source, uint8_t /*flags*/, cleanup_list* /*cleanup*/) noexcept {
    if (source.is_none()) {
      value = at::Tensor();
      return true;
    }
    const at::Tensor* found = engram::python::find_tensor(source.ptr());
    if (found == nullptr) return false;
    value = *found;
    return true;
  }

  static handle from_cpp(const at::Tensor& tensor, rv_policy /*policy*/,
                         cleanup_list* /*cleanup*/) noexcept {
    return engram::python::wrap_tensor(tensor);
  }
};

}  // namespace nanobind::detail
