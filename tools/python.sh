#!/bin/sh
# python.sh [test]: builds the Python package into a virtual environment of its own,
# build/venv-python, and with `test` runs its tests there. torch and transformers are those of
# build/venv (`make oracle`), so that they are not downloaded twice.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
oracle=$root/build/venv
venv=$root/build/venv-python
export PYTHONDONTWRITEBYTECODE=1

if [ ! -x "$venv/bin/python" ]; then
  echo "[python] making $venv"
  "$oracle/bin/python" -m venv "$venv"
fi
site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
site "$oracle" > "$(site "$venv")/engram-torch.pth"

wanted=$root/tools/requirements-python.txt
if ! cmp -s "$wanted" "$venv/requirements-python.txt"; then
  echo "[python] installing what $wanted names"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
  cp "$wanted" "$venv/requirements-python.txt"
fi

# cargo, where `make setup` has put it.
PATH=$PATH:$HOME/.cargo/bin
export PATH CMAKE_BUILD_PARALLEL_LEVEL="${JOBS:-$(nproc 2>/dev/null || echo 2)}"
echo "[python] building and installing the package (the first time some minutes)"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
  --force-reinstall --config-settings=build-dir="$root/build/python-wheel" "$root"

[ "${1:-}" = test ] || exit 0
cd "$root/python/tests"
# Not from the root: the package is what was installed, not the sources.
exec "$venv/bin/python" -m pytest -p no:cacheprovider -q -rs "$root/python/tests"
