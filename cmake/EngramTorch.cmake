# libtorch as the imported target engram::torch, from an unpacked PyPI wheel or any other libtorch
# (ENGRAM_TORCH=DIR, the folder that holds lib/ and include/). The wheel's own TorchConfig.cmake asks
# for a CUDA toolkit, which neither the build nor a run on the CPU needs.
# This file is also installed beside engramConfig.cmake, which includes it.

if(TARGET engram::torch)
  return()
endif()

# A folder that was chosen before and has gone (another Python, a moved tree) is chosen anew.
if(ENGRAM_TORCH MATCHES "/build/venv" AND NOT EXISTS "${ENGRAM_TORCH}/lib/libtorch_cpu.so")
  unset(ENGRAM_TORCH CACHE)
  unset(ENGRAM_TORCH)
endif()
if(NOT ENGRAM_TORCH)
  file(GLOB _engram_torch_found
       "${CMAKE_CURRENT_LIST_DIR}/../build/venv/lib/python3*/site-packages/torch")
  foreach(_dir IN LISTS _engram_torch_found)
    if(NOT ENGRAM_TORCH AND EXISTS "${_dir}/lib/libtorch_cpu.so")
      get_filename_component(_dir "${_dir}" ABSOLUTE)
      set(ENGRAM_TORCH "${_dir}" CACHE PATH "libtorch: the folder that holds lib/ and include/")
    endif()
  endforeach()
endif()
if(NOT EXISTS "${ENGRAM_TORCH}/lib/libtorch_cpu.so" OR
   NOT EXISTS "${ENGRAM_TORCH}/include/ATen/ATen.h")
  message(FATAL_ERROR
    "No libtorch in '${ENGRAM_TORCH}'. Run `make setup`, or give the folder of a libtorch >= 2.11 "
    "that holds lib/libtorch_cpu.so and include/ATen/ATen.h: -DENGRAM_TORCH=DIR")
endif()

# The wheel says which std::string it was built for only through its symbols.
file(STRINGS "${ENGRAM_TORCH}/lib/libc10.so" _engram_torch_cxx11
     REGEX "__cxx1112basic_string" LIMIT_COUNT 1)
if(_engram_torch_cxx11)
  set(_engram_torch_abi 1)
else()
  set(_engram_torch_abi 0)
endif()

add_library(engram::c10 SHARED IMPORTED)
set_target_properties(engram::c10 PROPERTIES
  IMPORTED_LOCATION "${ENGRAM_TORCH}/lib/libc10.so")
add_library(engram::torch SHARED IMPORTED)
set_target_properties(engram::torch PROPERTIES
  IMPORTED_LOCATION "${ENGRAM_TORCH}/lib/libtorch_cpu.so"
  INTERFACE_INCLUDE_DIRECTORIES
    "${ENGRAM_TORCH}/include;${ENGRAM_TORCH}/include/torch/csrc/api/include"
  INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=${_engram_torch_abi}"
  INTERFACE_LINK_LIBRARIES "engram::c10")
