#include "tensor.h"

#include <torch/csrc/autograd/python_variable.h>

namespace engram::python {

PyObject* wrap_tensor(const at::Tensor& tensor) {
  if (!tensor.defined()) Py_RETURN_NONE;
  return THPVariable_Wrap(tensor);
}

const at::Tensor* find_tensor(PyObject* object) {
  return THPVariable_Check(object) ? &THPVariable_Unpack(object) : nullptr;
}

at::Tensor plain(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.is_inference()) return tensor;
  return at::from_blob(
      tensor.data_ptr(), tensor.sizes(), tensor.strides(), [kept = tensor](void*) {},
      tensor.options());
}

}  // namespace engram::python
