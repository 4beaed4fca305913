#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS (60) on a copy of its corpus, as many at a time as there
# are cores; a crasher stays in build/fuzz/ and belongs into the tests. FUZZ_SEED: 0 (default) draws
# one; with another the inputs come in the same order each time, as far as the machine gets.
set -u
cd "$(dirname "$0")/.."
export FUZZ_SECONDS="${FUZZ_SECONDS:-60}" FUZZ_SEED="${FUZZ_SEED:-0}"
one() {
  target=$1
  name=${target##*/fuzz_}
  work=build/fuzz/work/$name
  mkdir -p "$work"
  seeds=fuzz/corpus/$name
  [ -d "$seeds" ] || seeds=
  status=0
  "$target" -seed="$FUZZ_SEED" -max_total_time="$FUZZ_SECONDS" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$name-" "$work" $seeds > "build/fuzz/$name.log" 2>&1 || status=1
  if [ "$status" -ne 0 ]; then
    echo "fuzz: $name FAILED:"
    tail -40 "build/fuzz/$name.log"
  else
    echo "fuzz: $name for $FUZZ_SECONDS s: $(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$name.log") inputs"
  fi
  return "$status"
}
if [ $# -gt 0 ]; then
  one "$1"
  exit
fi
ls build/dev/bin/fuzz_* | grep -v _tests | xargs -P "$(nproc)" -n 1 "$0"
