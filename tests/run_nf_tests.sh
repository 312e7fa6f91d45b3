#!/bin/sh
# Runs the nf-test files, those named as arguments or all of them, these in two halves at once. Needs nf-test and nextflow
# on PATH, and the development environment's Python as python. Inputs are made afresh by tests/inputs/*.py.
set -eu

root=$(CDPATH='' cd -P "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/nf-tests.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export NF_TEST_INPUTS="$scratch/inputs"
for script in "$root"/tests/inputs/*_inputs.py; do
    name=$(basename "$script" _inputs.py)
    python "$script" "$NF_TEST_INPUTS/$name"
done
cd "$root"

# run NAME ARGUMENTS...: nf-test with a folder for its work and a log of its own.
run() {
    name=$1
    shift
    NFT_WORKDIR="$scratch/work-$name" nf-test test --log "$scratch/$name.log" "$@"
}

if [ "$#" -gt 0 ]; then
    run chosen "$@"
    exit
fi
# The second half has a copy of the project: at its end nf-test deletes the scripts .nf-test-*.nf that it would write for
# any test, and so the one that the other half runs.
mkdir "$scratch/copy"
tar -cf - --exclude=./.git --exclude=./.nextflow --exclude='./.nf-test*' --exclude=./build --exclude=./work \
    --exclude=./results . | tar -xf - -C "$scratch/copy"
run first --shard 1/2 --junitxml "$scratch/first.xml" modules subworkflows tests > "$scratch/first.txt" 2>&1 &
first=$!
failed=0
cd "$scratch/copy"
run second --shard 2/2 --junitxml "$scratch/second.xml" modules subworkflows tests || failed=1
wait "$first" || failed=1
cd "$root"
cat "$scratch/first.txt"
written=$(find modules subworkflows tests -name '*.nf.test' -exec grep -hE '^ *test\(' {} + | wc -l)
ran=$(cat "$scratch/first.xml" "$scratch/second.xml" | grep -o '<testcase ' | wc -l)
echo "$((ran)) of $((written)) nf-tests ran"
if [ "$ran" -ne "$written" ]; then
    failed=1
fi
exit "$failed"
