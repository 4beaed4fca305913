#!/bin/sh
# test_real.sh PYTHON: tests on the models of `make real-models`, in build/real: token ids, logits,
# activations, gradients and attributions against transformers in float64, then what is done with
# the program. PYTHON has torch and transformers (`make oracle`). A model that is not there is
# skipped in plain sight; without any it fails.
set -u
[ $# -eq 1 ] || { echo "usage: test_real.sh PYTHON" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
real=${ENGRAM_REAL_MODELS:-$root/build/real}
tests=$root/build/release/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/engram-real.XXXXXX") || exit 4
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
fail() { echo "test-real: FAILED: $1" >&2; exit 1; }

export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
found=0
for name in bert-base-cased bert-base-uncased smollm2-135m; do
  if [ ! -f "$real/$name/model.safetensors" ]; then
    echo "test-real: SKIPPED $name: $real/$name is not there (make real-models)"
    continue
  fi
  mkdir -p "$work/oracle/$name" && ln -s "$real/$name"/* "$work/oracle/$name/" || exit 4
  "$1" "$root/tools/oracle/expect.py" "$work/oracle/$name" || fail "running transformers on $name"
  found=$((found + 1))
done
[ "$found" -gt 0 ] || fail "there is no model in $real (make real-models)"
for program in model_tests:LiveParity attribution_tests:LiveAttribution; do
  ENGRAM_ORACLE_DIR=$work/oracle "$tests/${program%%:*}" --gtest_filter="${program##*:}.*" \
    --gtest_brief=1 || fail "${program%%:*} disagrees with transformers"
done
ENGRAM_REAL_MODELS=$real "$tests/real_tests" || fail "the program on real models"
echo "test-real: passed on $found models"
