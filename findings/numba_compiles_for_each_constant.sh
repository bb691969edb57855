#!/usr/bin/env bash
# numba 0.68.1: a compiled function that another one calls with constants is compiled once more for each constant, although its
# types are the same: first-compilation time grows with the number of different constants in calls. Called from Python with the
# same values it is compiled once.
# Output: "called by a function: 4, called from Python: 1": compilations of callee(value, k) for k = 0, 1, 2 and a variable.
# Exits with an error if numba behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cd "$folder"

echo 'import sys
import numba

@numba.njit
def callee(value, k):
    return value * k + 1

@numba.njit
def caller(value):
    return callee(value, 0) + callee(value, 1) + callee(value, 2) + callee(value, value)

if sys.argv[1] == "compiled":
    caller(3)
else:
    caller.py_func(3)
print(len(callee.signatures))' >constants.py

found="called by a function: $(venv/bin/python constants.py compiled), called from Python: $(venv/bin/python constants.py python)"
echo "$found"
[[ "$found" == "called by a function: 4, called from Python: 1" ]]
