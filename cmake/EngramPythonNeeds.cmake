# pip shows the end of CMake's output only: what is missing is said at once, with the line that
# brings it.
file(STRINGS "${PROJECT_SOURCE_DIR}/tools/packages.txt" _lines)
set(_section "")
set(_missing "")
foreach(_line IN LISTS _lines)
  if(_line MATCHES "^\\[(.*)\\]")
    set(_section "${CMAKE_MATCH_1}")
  elseif(_section STREQUAL "build" AND _line MATCHES "^([^ #]+) +header:([^ ]+)")
    set(_package "${CMAKE_MATCH_1}")
    set(_header "${CMAKE_MATCH_2}")
    # Tests and the allocator are of the programs alone.
    if(NOT _package MATCHES "^libgtest|^libjemalloc")
      find_path(_place "${_header}" NO_CACHE)
      if(NOT _place)
        list(APPEND _missing "${_package}")
      endif()
      unset(_place)
    endif()
  endif()
endforeach()
execute_process(
  COMMAND "${Python_EXECUTABLE}" -c
          "import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('include'), 'Python.h').stat()"
  RESULT_VARIABLE _headers OUTPUT_QUIET ERROR_QUIET)
if(Python_EXECUTABLE AND NOT _headers EQUAL 0)
  list(APPEND _missing "python3-dev")
endif()
find_program(_cargo NAMES "${ENGRAM_CARGO}" cargo HINTS "$ENV{HOME}/.cargo/bin" NO_CACHE)
if(NOT _cargo)
  list(APPEND _missing "cargo")
endif()
if(_missing)
  list(JOIN _missing ", " _missing)
  message(FATAL_ERROR "Missing on this system: ${_missing} (names of Debian and Ubuntu). "
                      "`python3 tools/setup.py system` installs them, or says what to do.")
endif()
