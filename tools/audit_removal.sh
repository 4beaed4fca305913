#!/bin/sh
# audit_removal.sh MODEL FACTS OUT RELATION...: erases each relation (value vectors of its 20 most
# frequent neurons set to zero, located on 30 seeded facts) and asks whether its facts are gone
# (docs/method.md, "Is it gone?"). OUT gets RELATION.safetensors, RELATION.json and RELATION.txt;
# what is there already is not made again. ENGRAM: the program.
set -eu
[ $# -ge 4 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
engram=${ENGRAM:-build/release/bin/engram}
model=$1 facts=$2 out=$3
shift 3
mkdir -p "$out"
for relation in "$@"; do
  delta=$out/$relation.safetensors
  [ -e "$delta" ] || "$engram" edit erase "$model" --facts "$facts" --relation "$relation" \
    --limit 30 --out "$delta" > "$out/$relation.erase.txt"
  [ -e "$out/$relation.json" ] || {
    "$engram" audit "$model" --facts "$facts" --edit "$delta" --json > "$out/$relation.json.new"
    mv "$out/$relation.json.new" "$out/$relation.json"
  }
done
