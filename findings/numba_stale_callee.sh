#!/usr/bin/env bash
# numba 0.68.1: a function with cache=True does not notice that a function it calls, in another file, was edited.
# The cache entry of the caller depends on the content of its own file only, so the old callee runs without a warning.
# Output: "1 1 2": the first run, the run after callee.py was edited to return 2, and the same with an empty cache.
# Exits with an error if numba behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cd "$folder"
unset NUMBA_CACHE_DIR
export PYTHONDONTWRITEBYTECODE=1 # so that Python reads the edited file

echo 'import numba

@numba.njit
def number():
    return 1' >callee.py
echo 'import numba
from callee import number

@numba.njit(cache=True)
def ask():
    return number()

print(ask())' >caller.py

first=$(venv/bin/python caller.py)
sed -i 's/return 1/return 2/' callee.py
edited=$(venv/bin/python caller.py)
fresh=$(NUMBA_CACHE_DIR="$folder/empty" venv/bin/python caller.py)
echo "$first $edited $fresh"
[[ "$first $edited $fresh" == "1 1 2" ]]
