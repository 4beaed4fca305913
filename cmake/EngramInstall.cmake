# The installed package: find_package(engram) gives engram::engram and one target per folder.
include(CMakePackageConfigHelpers)
set(_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/engram")

install(TARGETS engram_all ${ENGRAM_LIBRARIES} EXPORT engramTargets
        ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT engramTargets NAMESPACE engram:: DESTINATION "${_package_dir}")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/engram" DESTINATION include)

get_property(_programs GLOBAL PROPERTY ENGRAM_PROGRAMS)
list(REMOVE_ITEM _programs engram-bench)
if(_programs)
  install(TARGETS ${_programs} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()
if(ENGRAM_HAS_RUST)
  install(FILES "${CMAKE_BINARY_DIR}/lib/libengram_crates.a" DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/engramConfig.cmake.in"
  "${CMAKE_BINARY_DIR}/engramConfig.cmake" INSTALL_DESTINATION "${_package_dir}")
# Interfaces still change with every minor version.
write_basic_package_version_file("${CMAKE_BINARY_DIR}/engramConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_BINARY_DIR}/engramConfig.cmake" "${CMAKE_BINARY_DIR}/engramConfigVersion.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/EngramTorch.cmake"
              "${PROJECT_SOURCE_DIR}/cmake/FindEngramZstd.cmake"
        DESTINATION "${_package_dir}")
