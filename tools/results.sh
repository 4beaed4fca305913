#!/bin/sh
# Runs the experiments on the shipped model and writes docs/results.md and build/report.html.
#   tools/results.sh [OPTION OF engram reproduce...]      for example --limit 600
set -eu
cd "$(dirname "$0")/.."
model=models/engram-base
build/release/bin/engram reproduce "$model" --facts "$model/facts.jsonl" --run build/run.db "$@"
build/release/bin/engram report build/run.db -o build/report.html --markdown build/results.md
{
  printf '# Results\n\n'
  printf 'The tables of one run on the shipped model, as `engram report` writes them, the disappointing ones\n'
  printf 'included. Made by\n\n    tools/results.sh%s\n\n' "${*:+ $*}"
  printf 'which writes the page with the figures, too (`build/report.html`).\n\n'
  sed '1d' build/results.md
} > build/results.part
mv build/results.part docs/results.md
