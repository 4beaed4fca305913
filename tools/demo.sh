#!/bin/sh
# The main job on the shipped model: where does it keep a fact, and what happens when that is
# switched off or doubled? Everything that is written goes to build/demo/.
set -eu
cd "$(dirname "$0")/.."
model=models/engram-base
out=build/demo
mkdir -p "$out"

show() {
  printf '\n$ engram %s\n' "$*"
  build/release/bin/engram "$@"
}

prompt='The capital of France is [MASK].'
show inspect "$model"
show predict "$model" "$prompt" --top 5
show attribute "$model" --prompt "$prompt" --answer Paris --top 10 --picture "$out/paris.svg"
show locate "$model" --facts "$model/facts.jsonl" --limit 200 --out "$out/neurons.jsonl"
show intervene "$model" --facts "$model/facts.jsonl" --limit 200 \
  --neurons "$out/neurons.jsonl" --do zero
show intervene "$model" --facts "$model/facts.jsonl" --limit 200 \
  --neurons "$out/neurons.jsonl" --do double
show edit update "$model" --subject 'Greece' --relation P30 --to Asia \
  --out "$out/greece.delta"
rm -f "$out/run.db" "$out/run.db-lock" "$out/run.db-wal" "$out/run.db-shm"
show reproduce "$model" --facts "$model/facts.jsonl" --limit 24 --draws 5 --update-facts 4 \
  --text-positions 100 --run "$out/run.db"
show report "$out/run.db" -o "$out/report.html"
printf '\nThe picture of the attribution: %s\nThe knowledge neurons: %s\nThe report on a few facts: %s\n' \
  "$out/paris.svg" "$out/neurons.jsonl" "$out/report.html"
