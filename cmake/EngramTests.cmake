# tests/<folder>/*_test.cc -> the executable <folder>_tests; other .cc files of the folder are its
# helpers, tests/support/*.cc is linked into all of them.

find_package(GTest REQUIRED)

file(GLOB support_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/support/*.cc")
if(support_sources)
  add_library(engram_test_support STATIC ${support_sources})
  target_include_directories(engram_test_support PUBLIC "${PROJECT_SOURCE_DIR}/tests")
  target_link_libraries(engram_test_support PRIVATE engram_warnings
                        PUBLIC engram::engram engram::torch GTest::gtest)
  target_compile_definitions(engram_test_support PRIVATE
    ENGRAM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ENGRAM_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  engram_link_json(engram_test_support)
  engram_make_quick(engram_test_support)
endif()

set(ENGRAM_TEST_ENVIRONMENT
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/cmake/lsan.supp:print_suppressions=0"
    # Short stacks of allocations and a small quarantine take a tenth less time.
    "ASAN_OPTIONS=detect_odr_violation=0:strict_string_checks=1:malloc_context_size=10:quarantine_size_mb=32"
    "UBSAN_OPTIONS=print_stacktrace=1" "GTEST_BRIEF=1"
    # Tests run side by side: a thread that waits must not keep the core from another process.
    "OMP_WAIT_POLICY=passive")

# What is long under a sanitizer and runs the same lines as its neighbours is left to the release
# build: long numerics and plain paths, the third and fourth kind of decoder, threads and parts, and
# programs that are started as such many times.
set(left_to_release
    "Block.PerturbedRunsOfEveryKindOfLayerAreThoseOfAutograd" "RunOnADevice.*"
    "Rules/FastEqualsNaive.OnRandomModels/1" "Rules/FastEqualsNaive.OnRandomModels/13"
    "Rules/FastEqualsNaive.OnRandomModels/21" "PlainSums.*"
    "Memory.BoundsTheWorkersWhereItMayNotChangeTheBatches"
    "RealPararel.CountsAndSplit"
    "Reproduce.KilledAtAnyMomentEndsTheSame" "Reproduce.InterveneWithARun"
    "Erase.RowsDoNotDependOnOrderOrThreads" "Export.LargeTablesAreWrittenInGroups"
    "Shipped.EveryAnswerIsOneTokenAndEveryPromptFits" "Page.IsFineInChromium"
    "TopTextsOf.StreamingKeepsWhatBruteForceFinds" "RunMemories.RowsAreTheMeasuresOfTheSameKeys"
    "All/Programs.*" "One/Pretrain.*" "One/Bench.*" "Interrupting.*"
    "Reproduce.CtrlCKeepsWhatIsDone" "Reproduce.ShardsMergedAreTheWholeRun"
    "Reproduce.ContentDependsNeitherOnThreadsNorOnMemory"
    "Reproduce.APackedCorpusGivesTheSameContent" "EditCommand.NeuronsComeOutOfAFileOrARun"
    "EditCommand.SideEffectsAreWarnedOfAndListed" "InterveneCommand.OrdinaryTextIsAScopeWhereItIsAskedFor"
    "InterveneCommand.WithAListTheShareOfTheFactSetCounts"
    "Attribute.SeveralPromptsAreAttributedAsEachAlone"
    "Block.TheDefaultRuleHoldsForEveryKindOfLayer" "Block.ExactAblationHoldsForEveryKindOfLayer"
    "Decoder.FixedNodesAreExtendedOnce" "Methods.SearchesTakeWhatLowersTheAnswerMost"
    "Parts.WhatComesOutDoesNotDependOnTheCut"
    "EveryCausal.*/gpt_neox_tiny" "EveryCausal.*/gemma_tiny"
    "EveryCausalNeuron.*/gpt_neox_tiny" "EveryCausalNeuron.*/gemma_tiny"
    "EveryMemory.*/gpt_neox_tiny" "EveryMemory.*/gemma_tiny"
    "EveryLens.*/gpt_neox_tiny" "EveryLens.*/gemma_tiny"
    "AtSubject.*/gpt_neox_tiny" "AtSubject.*/gemma_tiny" "AtSubject.TheDefaultRule*"
    "StoredAttribution.NaivePathAgrees/electra_tiny" "StoredAttribution.NaivePathAgrees/roberta_tiny"
    "StoredAttribution.NaivePathAgrees/distilbert_tiny" "StoredAttribution.NaivePathAgrees/g*"
    "StoredAttribution.NaivePathAgrees/bert_bf16_sharded_untied" "AtSubject.TheFastPathIsThePlainOne/bert"
    "Rules/FastEqualsNaive.OnRandomModels/22" "Update.RowsDoNotDependOnOrderOrThreads"
    "Editors.WithACorpusThereIsRome" "Methods.EffectsAreThoseOfTheSetsOneByOne"
    "Sizes.DoNotDependOnThreadsOrOrder" "RunTexts.PartsDependOnNothingButTheirFacts"
    "RemovalAudit.AttacksADeltaAndTheCheckpointThatItMakesAlike"
    "Audit.PlantsWhatScoresMustFind" "Truth.EveryEffectIsThatOfTheNeuronAlone"
    "Words.DoNotDependOnThreadsOrParts" "RunMemories.DoNotDependOnThreads")

get_property(programs GLOBAL PROPERTY ENGRAM_PROGRAMS)
file(GLOB test_folders CONFIGURE_DEPENDS LIST_DIRECTORIES true "${PROJECT_SOURCE_DIR}/tests/*")
foreach(dir IN LISTS test_folders)
  get_filename_component(folder "${dir}" NAME)
  file(GLOB test_sources CONFIGURE_DEPENDS "${dir}/*_test.cc")
  if(NOT IS_DIRECTORY "${dir}" OR NOT test_sources OR folder STREQUAL "support")
    continue()
  endif()
  file(GLOB all_sources CONFIGURE_DEPENDS "${dir}/*.cc")
  set(target ${folder}_tests)
  add_executable(${target} ${all_sources})
  # Tests may look at private headers of src/ and at the shared helpers in tests/.
  target_include_directories(${target} PRIVATE
    "${PROJECT_SOURCE_DIR}/tests" "${PROJECT_SOURCE_DIR}/src" "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${target} PRIVATE
    ENGRAM_SOURCE_DIR="${PROJECT_SOURCE_DIR}" ENGRAM_BIN_DIR="${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  target_link_libraries(${target} PRIVATE engram_warnings GTest::gtest_main)
  if(TARGET engram_test_support)
    target_link_libraries(${target} PRIVATE engram_test_support)
  endif()
  if(TARGET engram_${folder}_program)
    target_link_libraries(${target} PRIVATE engram_${folder}_program)
  endif()
  target_link_libraries(${target} PRIVATE engram::engram engram::torch)
  if(ENGRAM_HAS_RUST)
    target_link_libraries(${target} PRIVATE engram_crates)
    add_dependencies(${target} engram_crates_build)
  endif()
  engram_link_json(${target})
  engram_make_quick(${target})
  if(programs)
    add_dependencies(${target} ${programs})
  endif()
  # A process takes a quarter of a second to start, a whole one under a sanitizer: a few processes,
  # many tests in each. The long ones are cut and begin first, so that no core waits for the other.
  set(shards 1)
  if(folder MATCHES "^(run|passes|intervention|attribution)$")
    set(shards 2)
  elseif(folder STREQUAL "cli")
    set(shards 8)
  endif()
  math(EXPR last "${shards} - 1")
  set(filter "")
  if(ENGRAM_SANITIZE)
    list(JOIN left_to_release ":" left_out)
    set(filter ";GTEST_FILTER=-${left_out}")
  endif()
  foreach(shard RANGE ${last})
    set(name "${folder}")
    if(shards GREATER 1)
      string(APPEND name ".${shard}")
    endif()
    add_test(NAME ${name} COMMAND ${target})
    set_tests_properties(${name} PROPERTIES TIMEOUT 1800 COST ${shards} ENVIRONMENT
      "${ENGRAM_TEST_ENVIRONMENT};GTEST_TOTAL_SHARDS=${shards};GTEST_SHARD_INDEX=${shard}${filter}")
  endforeach()
endforeach()

# The shipped model's files are the ones that its card speaks of.
add_test(NAME shipped.checksums COMMAND sha256sum --check --quiet SHA256SUMS
         WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}/models/engram-base")

# An installed tree serves a project of somebody else.
set(consumer_flags "")
if(ENGRAM_SANITIZE)
  set(consumer_flags "-fsanitize=${ENGRAM_SANITIZE}")
endif()
add_test(NAME package.consumer
  COMMAND "${CMAKE_COMMAND}" "-DBUILD=${CMAKE_BINARY_DIR}"
          "-DSOURCE=${PROJECT_SOURCE_DIR}/tests/consumer" "-DWORK=${CMAKE_BINARY_DIR}/consumer"
          "-DCOMPILER=${CMAKE_CXX_COMPILER}"
          "-DFLAGS=${consumer_flags}"
          -P "${PROJECT_SOURCE_DIR}/tests/consumer/run.cmake")
set_tests_properties(package.consumer PROPERTIES TIMEOUT 900
  ENVIRONMENT "${ENGRAM_TEST_ENVIRONMENT}")
