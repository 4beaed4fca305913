# engram::zstd: libzstd. Debian's package has no CMake files of its own.
find_path(ENGRAM_ZSTD_INCLUDE zstd.h)
find_library(ENGRAM_ZSTD_LIBRARY zstd)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(EngramZstd DEFAULT_MSG ENGRAM_ZSTD_LIBRARY ENGRAM_ZSTD_INCLUDE)
mark_as_advanced(ENGRAM_ZSTD_INCLUDE ENGRAM_ZSTD_LIBRARY)
if(EngramZstd_FOUND AND NOT TARGET engram::zstd)
  add_library(engram::zstd UNKNOWN IMPORTED)
  set_target_properties(engram::zstd PROPERTIES
    IMPORTED_LOCATION "${ENGRAM_ZSTD_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${ENGRAM_ZSTD_INCLUDE}")
endif()
