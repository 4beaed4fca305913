#include "call.h"
#include "parts.h"

NB_MODULE(_core, module) {
  using namespace engram::python;
  // The module's tensors are those of `import torch`, which engram/__init__.py has done.
  register_errors(module);
  module.attr("version") = ENGRAM_VERSION;
  module.attr("torch_version") = ENGRAM_TORCH_VERSION;
  add_model(module);
  add_attribution(module);
  add_facts(module);
  add_measuring(module);
  add_reading(module);
  add_edits(module);
  add_command(module);
}
