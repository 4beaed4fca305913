#!/bin/sh
# check_model.sh PYTHON [MODEL]
# Has transformers compute logits, activations, gradients and scores for a model folder (default: the
# shipped model) and runs our parity tests against them. PYTHON has torch and transformers
# (`make oracle`).
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ $# -ge 1 ] && [ $# -le 2 ] || { echo "usage: check_model.sh PYTHON [MODEL]" >&2; exit 2; }
python=$1
model=${2:-$root/models/engram-base}
tests=${ENGRAM_TEST_BIN:-$root/build/release/bin}/model_tests
[ -x "$tests" ] || { echo "check_model: $tests is not built (make build)" >&2; exit 4; }

work=$(mktemp -d "${TMPDIR:-/tmp}/engram-check.XXXXXX") || exit 4
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir "$work/live" && cp -r "$model" "$work/live/model" || exit 4
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
"$python" "$here/expect.py" --brief "$work/live/model" || exit 1
ENGRAM_ORACLE_DIR=$work/live "$tests" --gtest_filter='LiveParity.*'
