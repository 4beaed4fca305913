# Flags of the build types, warnings and sanitizers. Warnings go through the interface target
# engram_warnings, linked PRIVATE by our own targets, so that no header of others is held to them.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# -g1 keeps function names and lines for profiles and backtraces at little size. NDEBUG as in the
# wheel, so that inline code of the torch headers is the same on both sides.
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -g1 -DNDEBUG")
# A debugger wants more than lines; the sanitizers' reports do not, and half of their build is that.
if(ENGRAM_SANITIZE)
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
else()
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g")
endif()

add_library(engram_warnings INTERFACE)
target_compile_options(engram_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  # GCC 12's libstdc++ trips these on plain string concatenation (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>
  # GCC 13 and later take a reference that was found by a temporary name for one into that name.
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_GREATER_EQUAL:$<CXX_COMPILER_VERSION>,13>>:-Wno-dangling-reference>
  $<$<BOOL:${ENGRAM_WERROR}>:-Werror>)

if(CMAKE_UNITY_BUILD)
  # Several sources as one: what is private to one of them looks to GCC like a header's.
  target_compile_options(engram_warnings INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>)
endif()

if(ENGRAM_SANITIZE)
  # Function multiversioning resolves its targets before the sanitizer run time is up.
  add_compile_definitions(ENGRAM_NO_MULTIVERSION)
  add_compile_options(-fsanitize=${ENGRAM_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  # The checks that GCC weaves in look to it like reads of unset variables.
  target_compile_options(engram_warnings INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_link_options(-fsanitize=${ENGRAM_SANITIZE})
endif()

# The libraries that the fuzz targets read with count which branches an input takes: what
# -fsanitize=fuzzer-no-link means, spelled so that the precompiled header goes with it.
set(ENGRAM_FUZZED base text model store edit report)
set(ENGRAM_COVERAGE inline-8bit-counters,indirect-calls,trace-cmp,pc-table)
if(ENGRAM_FUZZ AND NOT (CMAKE_CXX_COMPILER_ID MATCHES "Clang" AND ENGRAM_SANITIZE))
  message(FATAL_ERROR "ENGRAM_FUZZ needs clang and ENGRAM_SANITIZE: configure with "
                      "-DCMAKE_CXX_COMPILER=clang++ -DENGRAM_SANITIZE=address,undefined")
endif()

# Loops that sum and compare floats vectorise only when the compiler may reorder sums; NaN and Inf
# keep their meaning (no -ffinite-math-only), because NaN weights must be reported.
set(ENGRAM_KERNEL_FLAGS -O3 -fno-math-errno -fno-trapping-math -fno-signed-zeros)
set(ENGRAM_REORDER_FLAGS -fassociative-math)

# For code that computes nothing: tests and the command line compile in half of the time. What the
# sanitizers weave in doubles what an optimiser has to look at, so they get none here.
add_library(engram_quick INTERFACE)
if(ENGRAM_SANITIZE)
  target_compile_options(engram_quick INTERFACE -O0)
else()
  target_compile_options(engram_quick INTERFACE $<$<CONFIG:Release>:-O1>)
endif()
