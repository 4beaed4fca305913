#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS (60) on a copy of its corpus; a crasher stays in
# build/fuzz/ and belongs into the tests.
set -u
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
failed=0
for target in build/fuzz/bin/fuzz_*; do
  [ -x "$target" ] || continue
  name=${target##*/fuzz_}
  work=build/fuzz/work/$name
  mkdir -p "$work"
  seeds=fuzz/corpus/$name
  [ -d "$seeds" ] || seeds=
  echo "fuzz: $name for $seconds s"
  "$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$name-" "$work" $seeds > "build/fuzz/$name.log" 2>&1 || {
    failed=1
    echo "fuzz: $name FAILED:"
    tail -40 "build/fuzz/$name.log"
  }
  grep -E 'stat::number_of_executed_units|stat::average_exec_per_sec' "build/fuzz/$name.log"
done
exit "$failed"
