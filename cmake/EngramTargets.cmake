# Functions that make the library's and the programs' targets.

set(ENGRAM_LIBRARIES "")  # targets made so far; engram_add_umbrella links and exports them

# The torch headers take 20 s to parse: one precompiled header for all targets that include them.
# The same compile options everywhere keep it usable.
file(WRITE "${CMAKE_BINARY_DIR}/engram_pch.cc.in" "// carries the precompiled header\n")
function(_engram_add_pch name)
  configure_file("${CMAKE_BINARY_DIR}/engram_pch.cc.in" "${CMAKE_BINARY_DIR}/${name}.cc" COPYONLY)
  add_library(${name} OBJECT "${CMAKE_BINARY_DIR}/${name}.cc")
  target_link_libraries(${name} PRIVATE engram::torch engram_warnings ${ARGN})
  target_precompile_headers(${name} PRIVATE
    <ATen/ATen.h>
    <ATen/Parallel.h>
    <c10/core/InferenceMode.h>
    <torch/csrc/autograd/autograd.h>
    <torch/csrc/autograd/variable.h>
    <algorithm> <array> <cmath> <cstdint> <cstring> <filesystem> <functional> <map> <memory>
    <numeric> <optional> <span> <sstream> <string> <string_view> <unordered_map> <utility> <vector>)
endfunction()
_engram_add_pch(engram_pch)
# clang does not take one that was made at another level of optimisation, GCC does.
set(ENGRAM_QUICK_PCH engram_pch)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(ENGRAM_QUICK_PCH engram_quick_pch)
  _engram_add_pch(engram_quick_pch engram_quick)
endif()

# engram_make_quick(target): for code that computes nothing; see engram_quick.
function(engram_make_quick target)
  target_link_libraries(${target} PRIVATE engram_quick)
  target_precompile_headers(${target} REUSE_FROM ${ENGRAM_QUICK_PCH})
endfunction()

# Links the parts that exist out of `ARGN` (folder names) to target.
function(_engram_link_parts target scope)
  foreach(part IN LISTS ARGN)
    if(TARGET engram_${part})
      target_link_libraries(${target} ${scope} engram_${part})
    endif()
  endforeach()
endfunction()

# Kernels have flags of their own, those without an exponential may reorder sums; they never include
# torch, so the precompiled header would only get in the way.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # clang says of each loop that it does not vectorise, as it cannot where a sanitizer counts.
  list(APPEND ENGRAM_KERNEL_FLAGS -Wno-pass-failed)
endif()
if(ENGRAM_FUZZ)
  # No input decides what a kernel does.
  list(APPEND ENGRAM_KERNEL_FLAGS -fno-sanitize-coverage=${ENGRAM_COVERAGE})
endif()
function(_engram_kernel_flags)
  foreach(file IN LISTS ARGN)
    if(file MATCHES "/kernels_(cpu|attention)\\.cc$")
      set_source_files_properties("${file}" PROPERTIES
        COMPILE_OPTIONS "${ENGRAM_KERNEL_FLAGS};${ENGRAM_REORDER_FLAGS}"
        SKIP_PRECOMPILE_HEADERS ON)
    elseif(file MATCHES "/kernels_exp\\.cc$")
      set_source_files_properties("${file}" PROPERTIES
        COMPILE_OPTIONS "${ENGRAM_KERNEL_FLAGS}" SKIP_PRECOMPILE_HEADERS ON)
    endif()
  endforeach()
endfunction()

# engram_add_library(folder [TORCH] [CRATES] [DEPENDS folder...] [LINK target...] [FILES pattern...])
# src/<folder>/*.cc, and src/<pattern>, -> static library engram_<folder>. Transitive over folders
# that are missing.
function(engram_add_library folder)
  cmake_parse_arguments(ARG "TORCH;CRATES" "" "DEPENDS;LINK;FILES" ${ARGN})
  list(TRANSFORM ARG_FILES PREPEND "${PROJECT_SOURCE_DIR}/src/")
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/${folder}/*.cc" ${ARG_FILES})
  set(target engram_${folder})
  if(NOT sources)
    # An empty part still carries its dependencies.
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
    _engram_link_parts(${target} INTERFACE ${ARG_DEPENDS})
  else()
    add_library(${target} STATIC ${sources})
    target_include_directories(${target}
      PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>
      PRIVATE "${PROJECT_SOURCE_DIR}/src")
    target_compile_features(${target} PUBLIC cxx_std_20)
    target_link_libraries(${target} PRIVATE $<BUILD_INTERFACE:engram_warnings>)
    engram_link_json(${target})
    _engram_link_parts(${target} PUBLIC ${ARG_DEPENDS})
    _engram_kernel_flags(${sources})
    if(ENGRAM_FUZZ AND folder IN_LIST ENGRAM_FUZZED)
      target_compile_options(${target} PRIVATE -fsanitize-coverage=${ENGRAM_COVERAGE})
    endif()
    if(ARG_TORCH)
      target_link_libraries(${target} PUBLIC engram::torch)
      target_precompile_headers(${target} REUSE_FROM engram_pch)
    endif()
    if(ARG_CRATES AND ENGRAM_HAS_RUST)
      target_link_libraries(${target} PRIVATE engram_crates)
      add_dependencies(${target} engram_crates_build)
    endif()
    if(ARG_LINK)
      target_link_libraries(${target} PUBLIC ${ARG_LINK})
    endif()
  endif()
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${folder})
  add_library(engram::${folder} ALIAS ${target})
  set(ENGRAM_LIBRARIES ${ENGRAM_LIBRARIES} ${target} PARENT_SCOPE)
endfunction()

# nlohmann::json is used in .cc files only: its include path, where it is not a system one, and
# nothing that a consumer of the installed package would have to find.
find_package(nlohmann_json REQUIRED)
get_target_property(_json_include nlohmann_json::nlohmann_json INTERFACE_INCLUDE_DIRECTORIES)
function(engram_link_json target)
  if(_json_include AND NOT _json_include MATCHES "^/usr/include/*$")
    target_include_directories(${target} SYSTEM PRIVATE "${_json_include}")
  endif()
endfunction()

# engram::engram, everything there is.
function(engram_add_umbrella)
  add_library(engram_all INTERFACE)
  target_link_libraries(engram_all INTERFACE ${ENGRAM_LIBRARIES})
  set_target_properties(engram_all PROPERTIES EXPORT_NAME engram)
  add_library(engram::engram ALIAS engram_all)
endfunction()

# engram_add_program(name FOLDER folder): <folder>/*.cc -> program; all but main.cc as the static
# library engram_<folder>_program, for the tests.
function(engram_add_program name)
  cmake_parse_arguments(ARG "" "FOLDER" "" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/*.cc")
  set(main "${PROJECT_SOURCE_DIR}/${ARG_FOLDER}/main.cc")
  if(NOT sources)
    return()
  endif()
  if(NOT main IN_LIST sources)
    message(STATUS "${ARG_FOLDER}/main.cc is missing: ${name} is not built")
    return()
  endif()
  list(REMOVE_ITEM sources "${main}")
  _engram_kernel_flags(${sources})
  set(deps engram::engram)
  if(sources)
    set(library engram_${ARG_FOLDER}_program)
    add_library(${library} STATIC ${sources})
    _engram_program_options(${library} PUBLIC)
    if(ARG_FOLDER STREQUAL "cli" OR ENGRAM_SANITIZE)
      engram_make_quick(${library})
    else()
      target_precompile_headers(${library} REUSE_FROM engram_pch)
    endif()
    set(deps ${library})
  endif()
  if(ENGRAM_PYTHON)
    return()
  endif()
  add_executable(${name} "${main}")
  _engram_program_options(${name} PRIVATE)
  if(ENGRAM_SANITIZE)
    engram_make_quick(${name})
  else()
    target_precompile_headers(${name} REUSE_FROM engram_pch)
  endif()
  target_link_libraries(${name} PRIVATE ${deps})
  # Tensors of ever other shapes leave glibc's heap in pieces: `engram texts` took twice the memory.
  # The sanitizers bring an allocator of their own.
  if(NOT ENGRAM_SANITIZE)
    target_link_options(${name} PRIVATE LINKER:--no-as-needed,${ENGRAM_JEMALLOC},--as-needed)
  endif()
  set_property(GLOBAL APPEND PROPERTY ENGRAM_PROGRAMS ${name})
endfunction()

find_package(CLI11 REQUIRED)
function(_engram_program_options target scope)
  target_include_directories(${target} ${scope} "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${target} PRIVATE ENGRAM_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${target} PRIVATE engram_warnings ${scope} engram::engram engram::torch
                                          CLI11::CLI11)
  engram_link_json(${target})
endfunction()
