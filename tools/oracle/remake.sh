#!/bin/sh
# remake.sh --check|--store PYTHON
#   --check  makes the stored checkpoints and results anew and compares; edits and exports these
#            checkpoints and compares; then makes a larger set, up to BERT-base's size, and runs the
#            parity tests of build/release on it. Changes nothing.
#   --store  replaces tests/data/oracle by what is made anew.
# PYTHON has torch and transformers (`make oracle`). Takes about 1 GB in $TMPDIR for a while.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
stored=$root/tests/data/oracle
tests=${ENGRAM_TEST_BIN:-$root/build/release/bin}

usage() { echo "usage: remake.sh --check|--store PYTHON" >&2; exit 2; }
[ $# -eq 2 ] || usage
mode=$1
python=$2
case $mode in --check|--store) ;; *) usage ;; esac

work=$(mktemp -d "${TMPDIR:-/tmp}/engram-oracle.XXXXXX") || exit 4
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
fail() { echo "oracle: FAILED: $1" >&2; exit 1; }

export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
"$python" "$here/make_checkpoints.py" --set stored "$work/stored" || fail "making the checkpoints"
"$python" "$here/expect.py" --brief "$work"/stored/* || fail "running transformers"

if [ "$mode" = --store ]; then
  rm -rf "$stored" && cp -r "$work/stored" "$stored" && chmod -R u=rwX,go=rX "$stored" ||
    fail "replacing $stored"
  echo "oracle: stored $(ls "$stored" | wc -l) checkpoints with their results in $stored"
  exit 0
fi

"$python" "$here/compare.py" "$stored" "$work/stored" || fail "the stored results differ"
for program in engram model_tests attribution_tests; do
  [ -x "$tests/$program" ] || fail "$tests/$program is not built (make build)"
done
"$python" "$here/check_edit.py" "$tests/engram" "$work"/stored/* ||
  fail "an edited checkpoint is another one in transformers"
"$python" "$here/check_rome.py" "$tests/engram" "$work"/stored/* ||
  fail "ROME in plain PyTorch makes another edit"
"$python" "$here/make_checkpoints.py" --set live "$work/live" || fail "making the larger set"
"$python" "$here/expect.py" "$work"/live/* || fail "running transformers on the larger set"
for program in model_tests:LiveParity attribution_tests:LiveAttribution; do
  ENGRAM_ORACLE_DIR=$work/live "$tests/${program%%:*}" --gtest_filter="${program##*:}.*" \
    --gtest_brief=1 > "$work/log" 2>&1
  status=$?
  cat "$work/log"
  [ $status -eq 0 ] || fail "${program%%:*} disagrees with transformers"
  if grep -q 'SKIPPED' "$work/log"; then fail "${program%%:*} skipped the larger set"; fi
done
echo "oracle: passed: $(ls "$work/stored" | wc -l) stored checkpoints are as transformers makes" \
  "them, and we agree with it on $(ls "$work/live" | wc -l) more"
