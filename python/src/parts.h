#pragma once

#include <nanobind/nanobind.h>

// The parts of the module, each in a source of its own.
namespace engram::python {

void add_model(nanobind::module_& module);
void add_attribution(nanobind::module_& module);
void add_facts(nanobind::module_& module);
void add_measuring(nanobind::module_& module);
void add_reading(nanobind::module_& module);
void add_edits(nanobind::module_& module);
void add_command(nanobind::module_& module);

}  // namespace engram::python
