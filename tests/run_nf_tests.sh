#!/bin/sh
# Runs the nf-test files, all of them or those named as arguments. Needs nf-test and nextflow on PATH, and the
# development environment's Python as python. Inputs are made afresh by tests/inputs/*.py.
set -eu

root=$(CDPATH='' cd -P "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/nf-tests.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export NF_TEST_INPUTS="$scratch/inputs" NFT_WORKDIR="$scratch/work"
for script in "$root"/tests/inputs/*_inputs.py; do
    name=$(basename "$script" _inputs.py)
    python "$script" "$NF_TEST_INPUTS/$name"
done
cd "$root"
if [ "$#" -eq 0 ]; then
    set -- modules subworkflows tests
fi
nf-test test --log "$scratch/nf-test.log" "$@"
