#!/bin/sh
# Facts in a small decoder, SmolLM2-135M: ParaRel's prompts that end with the answer, the factual
# relations of LRE, and the known facts of ROME. Writes build/smollm2/*.md and *.html.
#   tools/results_smollm2.sh [FACTS OF A RELATION, default 6]   (docs/results-smollm2.md: 4)
# It goes on where it was: start it again after Ctrl-C. Needs `make real-models` and the data
# (PARAREL, FACTUAL, KNOWN, CORPUS; the defaults lie beside the checkout).
set -eu
cd "$(dirname "$0")/.."
facts=${1:-6}
data=../shared/data
pararel=${PARAREL:-$data/pararel}
factual=${FACTUAL:-$data/relations/factual}
known=${KNOWN:-$data/known/known_1000.json.xz}
corpus=${CORPUS:-$data/wikitext2/test.txt}
model=${MODEL:-build/real/smollm2-135m}
engram=${ENGRAM:-build/release/bin/engram}
out=${OUT:-build/smollm2}
for need in "$model" "$pararel" "$factual" "$known" "$corpus"; do
  if [ ! -e "$need" ]; then
    echo "results_smollm2.sh: $need is not there; make real-models brings the model, PARAREL, FACTUAL, KNOWN and CORPUS name the data" >&2
    exit 1
  fi
done
mkdir -p "$out"

reproduce() {
  run=$1
  shift
  "$engram" reproduce "$model" --run "$out/$run.db" --corpus "$corpus" --draws 5 --same-relation 2 \
    --other-relations 4 --sentences 1 "$@"
  "$engram" report "$out/$run.db" -o "$out/$run.html" --markdown "$out/$run.md"
}

reproduce pararel --facts "$pararel" --per-relation "$facts" --only locate,effects,update,memories \
  --update-facts 2 --text-positions 100
reproduce factual --facts "$factual" --per-relation "$facts" --only locate,effects
reproduce known --facts "$known" --limit 200 --only locate,effects
