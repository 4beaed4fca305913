#!/bin/sh
# test.sh PRESET JOBS: runs the tests, then says of all processes together how many tests passed
# and which were skipped, with the reason.
preset=$1
ctest --preset "$preset" -j "$2"
status=$?
awk '
  /^\[  PASSED  \]/ { passed += $4 }
  /^\[  SKIPPED \] [0-9]+ test/ { skipped += $4 }
  /^\[  FAILED  \] [^0-9]/ { failed++ }
  /: Skipped$/ { reason = 1; next }
  reason { reasons[$0]++; reason = 0 }
  END {
    printf "tests: %d passed, %d failed, %d skipped\n", passed, failed, skipped
    for (text in reasons) printf "  skipped %d: %s\n", reasons[text], text
  }' "build/$preset/Testing/Temporary/LastTest.log"
exit "$status"
