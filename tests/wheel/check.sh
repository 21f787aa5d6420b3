#!/usr/bin/env bash
# Builds the wheel, installs it with the locked versions into a clean environment, and uses it from another directory.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
rm -rf build/wheel
mkdir -p build/wheel
"$UV" build --quiet --wheel --out-dir build/wheel
"$UV" export --quiet --frozen --no-dev --all-extras --no-emit-project --no-hashes >build/wheel/constraints.txt
"$UV" venv --quiet --seed build/wheel/environment
env -u UV_COMPILE_BYTECODE "$UV" pip install --quiet --python build/wheel/environment/bin/python -c build/wheel/constraints.txt build/wheel/*.whl
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
cd "$elsewhere"
"$root/build/wheel/environment/bin/python" -W ignore "$root/tests/wheel/check_installed.py"
"$root/build/wheel/environment/bin/tfx-explain" --help >/dev/null
rm -rf "$root/build/wheel/environment"
