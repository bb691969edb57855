#!/usr/bin/env bash
# numba 0.68.1: a function that does not set forceinline or _nrt is compiled with the settings of its first caller, and all later
# callers in the process get that code: what is compiled and cached depends on the order of calls.
# Output: "0 1": whether the callee is marked alwaysinline if its first caller is a plain function, and if it is one with
# forceinline=True. With forceinline=False on the callee, "0 0".
# Exits with an error if numba behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cd "$folder"

echo 'import sys
import numba

options = {"forceinline": False} if sys.argv[1] == "set" else {}

@numba.njit(**options)
def callee(value):
    return value + 1

@numba.njit
def plain(value):
    return callee(value)

@numba.njit(forceinline=True)
def inlined(value):
    return callee(value)

for name in sys.argv[2:]:
    globals()[name](1)
(code,) = callee.inspect_llvm().values()
print(int("alwaysinline" in code))' >order.py

open="$(venv/bin/python order.py open plain inlined) $(venv/bin/python order.py open inlined plain)"
set="$(venv/bin/python order.py set plain inlined) $(venv/bin/python order.py set inlined plain)"
echo "open: $open, set: $set"
[[ "$open" == "0 1" && "$set" == "0 0" ]]
