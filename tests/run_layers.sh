#!/usr/bin/env bash
# The suite by layers, cheapest first; every layer runs, whatever an earlier one said, and its time is told at the end.
set -u
cd "$(dirname "$0")/.."
: "${PYTHON:=.venv/bin/python}" "${UV:=.tools/uv/bin/uv}"
export PYTHON UV
report=""
failed=0

mkdir -p build/test

layer() {
  local name=$1 start=$SECONDS code log="build/test/${1// /-}.log"
  shift
  printf '\n== %s\n' "$name"
  "$@" 2>&1 | tee "$log"
  code=${PIPESTATUS[0]}
  report+="$(printf '%-28s %5d s   %-11s %s' "$name" $((SECONDS - start)) \
    "$([ "$code" -eq 0 ] && echo passed || echo "FAILED ($code)")" "$(tail -n 1 "$log")")"$'\n'
  [ "$code" -eq 0 ] || failed=1
}

pytest_layer() {
  "$PYTHON" -W ignore::FutureWarning -m pytest -q --durations=5 -m "$1"
}

layer "lint" make --no-print-directory lint
layer "wheel in a clean environment" bash tests/wheel/check.sh
layer "numpy" pytest_layer "not tf and not pipeline"
layer "TensorFlow" pytest_layer "tf and not pipeline"
layer "pipelines" pytest_layer "pipeline"

printf '\n%s' "$report"
exit $failed
