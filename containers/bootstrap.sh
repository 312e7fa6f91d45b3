#!/bin/sh
# Finds a Python that can run bootstrap.py (3.8 or later; 3.11 first) and hands the arguments to it.
set -eu

folder=$(CDPATH='' cd -P "$(dirname "$0")" && pwd)
# The interpreter's own path, because a name on PATH may be a slow shim, or one that finds no Python behind it.
probe='import sys; sys.version_info >= (3, 8) or sys.exit(1); print(sys.executable)'
for name in python3.11 python3 python; do
    if python=$("$name" -I -S -c "$probe" 2>/dev/null); then
        exec "$python" -I -S -B "$folder/bootstrap.py" "$@"
    fi
done
echo "immune-aging: no Python 3.8 or later on PATH; install Python 3.11 with pip and venv" >&2
exit 1
