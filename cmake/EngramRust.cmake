# The Rust crate rust/ (tokenizers and safetensors behind a C interface) as the imported static
# library engram_hf. The presets share one cargo target folder, so it is compiled once.

set(ENGRAM_HAS_RUST FALSE)
file(GLOB _hf_manifest CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.toml")
if(NOT _hf_manifest)
  message(STATUS "rust/Cargo.toml is missing: configuring without the Rust crate")
  return()
endif()
set(ENGRAM_HAS_RUST TRUE)

find_program(ENGRAM_CARGO cargo HINTS "$ENV{HOME}/.cargo/bin" DOC "cargo")
if(NOT ENGRAM_CARGO)
  message(FATAL_ERROR "cargo was not found. Run `make setup`, or give it with -DENGRAM_CARGO=FILE")
endif()

set(ENGRAM_CARGO_TARGET "${CMAKE_CURRENT_SOURCE_DIR}/build/cargo" CACHE PATH
    "Folder of cargo's own build tree")
set(_hf_library "${CMAKE_BINARY_DIR}/lib/libengram_hf.a")
set(_hf_environment "CARGO_TARGET_DIR=${ENGRAM_CARGO_TARGET}")
if(ENGRAM_RUSTC)
  list(APPEND _hf_environment "RUSTC=${ENGRAM_RUSTC}")
endif()
file(GLOB_RECURSE _hf_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/rust/src/*.rs")
file(GLOB _hf_build_script "${CMAKE_CURRENT_SOURCE_DIR}/rust/build.rs")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

# The copy has a fresh time stamp even where cargo found nothing to do.
add_custom_command(
  OUTPUT "${_hf_library}"
  COMMAND "${CMAKE_COMMAND}" -E env ${_hf_environment}
          "${ENGRAM_CARGO}" build --release --locked --quiet
          --manifest-path "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.toml"
  COMMAND "${CMAKE_COMMAND}" -E copy "${ENGRAM_CARGO_TARGET}/release/libengram_hf.a" "${_hf_library}"
  DEPENDS ${_hf_sources} ${_hf_build_script}
          "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.toml"
          "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.lock"
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/rust"
  COMMENT "Building the Rust crate engram_hf"
  VERBATIM)
add_custom_target(engram_hf_build DEPENDS "${_hf_library}")

add_library(engram_hf STATIC IMPORTED GLOBAL)
set_target_properties(engram_hf PROPERTIES
  IMPORTED_LOCATION "${_hf_library}"
  INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_SOURCE_DIR}/rust"
  INTERFACE_LINK_LIBRARIES "${CMAKE_DL_LIBS};pthread;m")
add_dependencies(engram_hf engram_hf_build)
