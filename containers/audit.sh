#!/bin/sh
# Lists known holes in the packages of the image. Fails when there are some; says so in one line, and does not fail, where
# the list of holes cannot be had. Runs among the tools of tests (`make audit`).
set -eu
cd "$(CDPATH='' cd -P "$(dirname "$0")" && pwd)"

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
if pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off --timeout 20 \
    --output "$found/holes" > "$found/output" 2>&1; then
    echo "immune-aging: no known hole in the $(grep -c == requirements.lock) packages of requirements.lock"
elif [ -s "$found/holes" ]; then
    cat "$found/holes"
    echo "immune-aging: packages of requirements.lock have known holes; \`make lock\` takes newer versions" >&2
    exit 1
else
    echo "immune-aging: the packages were not audited: $(tail -n 1 "$found/output" | cut -c 1-120)"
fi
