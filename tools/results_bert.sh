#!/bin/sh
# The paper's experiments on its own model, bert-base-cased, over its 34 relations of ParaRel: once
# as published and once as engram does by default. Writes build/bert/*.md and *.html.
#   tools/results_bert.sh [FACTS OF A RELATION, default 40]
# It takes hours and goes on where it was: start it again after Ctrl-C. Needs `make real-models`,
# ParaRel and the texts about facts (PARAREL, TEXTS, CORPUS; the defaults lie beside the checkout).
set -eu
cd "$(dirname "$0")/.."
facts=${1:-40}
pararel=${PARAREL:-../shared/data/pararel}
texts=${TEXTS:-../shared/data/distant}
corpus=${CORPUS:-../shared/data/wikitext2/test.txt}
model=${MODEL:-build/real/bert-base-cased}
out=build/bert
for need in "$model" "$pararel" "$texts" "$corpus"; do
  if [ ! -e "$need" ]; then
    echo "results_bert.sh: $need is not there; make real-models brings the model, PARAREL, TEXTS and CORPUS name the data" >&2
    exit 1
  fi
done
mkdir -p "$out"
# Those of the paper; ParaRel has five more.
relations=P19,P20,P27,P30,P36,P37,P39,P47,P101,P103,P106,P108,P127,P136,P138,P140,P159,P176,P178
relations=$relations,P190,P264,P279,P364,P407,P413,P449,P463,P495,P530,P740,P937,P1303,P1376,P1412

reproduce() {
  run=$1
  shift
  build/release/bin/engram reproduce "$model" --facts "$pararel" --relations "$relations" \
    --per-relation "$facts" --texts "$texts" --corpus "$corpus" --run "$out/$run.db" "$@"
  build/release/bin/engram report "$out/$run.db" -o "$out/$run.html" --markdown "$out/$run.md"
}

# Few side prompts of each fact and few positions of text: over more than a thousand facts it is the facts that
# the intervals come from.
reproduce published --as-published --interpolate --only locate,effects,update,erase,texts \
  --same-relation 3 --other-relations 6 --update-facts 10
reproduce engram --same-relation 2 --other-relations 4 --sentences 2 --update-facts 5 \
  --stability-facts 1 --text-positions 300
