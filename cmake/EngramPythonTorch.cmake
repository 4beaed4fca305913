# Python, nanobind, and the libtorch of the `torch` that this Python imports: ENGRAM_TORCH, unless
# it is given. Nothing is imported, since `import torch` takes seconds.
find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)

function(_engram_python_says out code)
  execute_process(COMMAND "${Python_EXECUTABLE}" -c "${code}"
                  OUTPUT_VARIABLE said OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    set(said "")
  endif()
  set(${out} "${said}" PARENT_SCOPE)
endfunction()

if(NOT ENGRAM_TORCH)
  _engram_python_says(_torch
    "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])")
  if(NOT _torch)
    message(FATAL_ERROR "${Python_EXECUTABLE} has no torch: pip install torch, or give the folder "
                        "of an installed one: -DENGRAM_TORCH=DIR")
  endif()
  set(ENGRAM_TORCH "${_torch}" CACHE PATH "libtorch: the folder that holds lib/ and include/")
endif()

# The version that the extension is made for; at import another one is refused.
file(STRINGS "${ENGRAM_TORCH}/version.py" _version REGEX "^__version__")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" ENGRAM_TORCH_VERSION "${_version}")
if(NOT ENGRAM_TORCH_VERSION)
  message(FATAL_ERROR "${ENGRAM_TORCH}/version.py names no version of torch")
endif()
if(NOT EXISTS "${ENGRAM_TORCH}/lib/libtorch_python.so")
  message(FATAL_ERROR "${ENGRAM_TORCH}/lib has no libtorch_python.so: the package needs a whole torch")
endif()
message(STATUS "torch ${ENGRAM_TORCH_VERSION} of ${ENGRAM_TORCH}")

_engram_python_says(_nanobind "import nanobind; print(nanobind.cmake_dir())")
if(NOT _nanobind)
  message(FATAL_ERROR "${Python_EXECUTABLE} has no nanobind: pip install nanobind")
endif()
list(APPEND CMAKE_PREFIX_PATH "${_nanobind}")
find_package(nanobind CONFIG REQUIRED)
