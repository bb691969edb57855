#!/usr/bin/env bash
# Ray 2.60.0 and numba 0.68.1: an array that comes from Ray's object store is read-only, if it was contiguous, and numba compiles
# every kernel a second time for it: the type of a read-only array is another one. Strided arrays arrive writeable, as copies.
# A writeable view of the same memory, made with ctypes, takes the kernel that is there.
#
# Output: "contiguous: writeable False, kernels 2; strided: writeable True, kernels 1; view: writeable True, kernels 1".
# Exits with an error if Ray or numba behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ray==2.60.0 numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cat >"$folder/kernels.py" <<'CODE'
import ctypes
import sys

import numba
import numpy as np
import ray


def compiled(array):
    kernel = numba.njit(lambda values: values.sum())
    kernel(np.ones(10))
    kernel(array)
    return f"writeable {array.flags.writeable}, kernels {len(kernel.signatures)}"


ray.init(
    address="local", num_cpus=1, include_dashboard=False, object_store_memory=100_000_000, logging_level="error",
    _temp_dir=sys.argv[1],
)
contiguous = ray.get(ray.put(np.ones(100_000)))
strided = ray.get(ray.put(np.ones(200_000)[::2]))
memory = (ctypes.c_char * contiguous.nbytes).from_address(contiguous.ctypes.data)
view = np.ndarray(contiguous.shape, contiguous.dtype, memory)
arrays = {"contiguous": contiguous, "strided": strided, "view": view}
print("; ".join(f"{name}: {compiled(array)}" for name, array in arrays.items()))
ray.shutdown()
CODE
export HOME="$folder" RAY_USAGE_STATS_ENABLED=0 # Ray writes a token under HOME
found=$("$folder/venv/bin/python" "$folder/kernels.py" "$folder/ray" 2>"$folder/errors") || { cat "$folder/errors"; exit 1; }
echo "ray 2.60.0, numba 0.68.1: $found"
[[ "$found" == "contiguous: writeable False, kernels 2; strided: writeable True, kernels 1; view: writeable True, kernels 1" ]]
