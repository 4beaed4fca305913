# The Rust crate rust/ (the Rust libraries that we use, behind a C interface) as the imported static
# library engram_crates. The presets share one cargo target folder, so it is compiled once.

set(ENGRAM_HAS_RUST FALSE)
file(GLOB _crates_manifest CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.toml")
if(NOT _crates_manifest)
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
set(_crates_library "${CMAKE_BINARY_DIR}/lib/libengram_crates.a")
set(_crates_environment "CARGO_TARGET_DIR=${ENGRAM_CARGO_TARGET}")
if(ENGRAM_RUSTC)
  list(APPEND _crates_environment "RUSTC=${ENGRAM_RUSTC}")
endif()
file(GLOB_RECURSE _crates_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/rust/src/*.rs")
file(GLOB _crates_build_script "${CMAKE_CURRENT_SOURCE_DIR}/rust/build.rs")
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/lib")

# The copy has a fresh time stamp even where cargo found nothing to do.
add_custom_command(
  OUTPUT "${_crates_library}"
  COMMAND "${CMAKE_COMMAND}" -E env ${_crates_environment}
          "${ENGRAM_CARGO}" build --release --locked --quiet
          --manifest-path "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.toml"
  COMMAND "${CMAKE_COMMAND}" -E copy "${ENGRAM_CARGO_TARGET}/release/libengram_crates.a" "${_crates_library}"
  DEPENDS ${_crates_sources} ${_crates_build_script}
          "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.toml"
          "${CMAKE_CURRENT_SOURCE_DIR}/rust/Cargo.lock"
  WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}/rust"
  COMMENT "Building the Rust crate engram_crates"
  VERBATIM)
add_custom_target(engram_crates_build DEPENDS "${_crates_library}")

add_library(engram_crates STATIC IMPORTED GLOBAL)
set_target_properties(engram_crates PROPERTIES
  IMPORTED_LOCATION "${_crates_library}"
  INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_SOURCE_DIR}/rust"
  INTERFACE_LINK_LIBRARIES "${CMAKE_DL_LIBS};pthread;m")
add_dependencies(engram_crates engram_crates_build)
