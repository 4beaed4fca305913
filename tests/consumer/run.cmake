# cmake -DBUILD=DIR -DSOURCE=DIR -DWORK=DIR -DCOMPILER=FILE -DFLAGS=TEXT -P run.cmake
# Installs the build tree BUILD into an empty folder, then configures, builds and runs the consumer
# project SOURCE against it.
function(step)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed with ${status}: ${ARGN}")
  endif()
endfunction()

file(REMOVE_RECURSE "${WORK}")
step("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix")
step("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${WORK}/build" -G Ninja
     "-DCMAKE_PREFIX_PATH=${WORK}/prefix" "-DCMAKE_CXX_COMPILER=${COMPILER}"
     "-DCMAKE_CXX_FLAGS=${FLAGS}")
step("${CMAKE_COMMAND}" --build "${WORK}/build")
step("${WORK}/build/consumer")
if(EXISTS "${BUILD}/bin/engram")
  step("${WORK}/prefix/bin/engram" --help)
endif()
file(REMOVE_RECURSE "${WORK}")
