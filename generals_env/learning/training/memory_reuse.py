"""Lets the process keep the memory of freed tensors, instead of giving it back to the system: ``keep_freed_memory``.

glibc (Linux) serves large blocks by ``mmap`` and unmaps them when they are freed, and trims its heap when much of it is free.
A step of training frees and allocates the same megabytes again and again, and every page is faulted in and set to zero anew.
``mallopt`` raises both thresholds, as the environment variables ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` do
before a process starts. The price: memory that was needed once stays with the process.
"""

from __future__ import annotations

import ctypes
import platform
import sys

__all__ = ["keep_freed_memory"]

# Parameters of mallopt, from malloc.h of glibc.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3

#: glibc refuses more on 64 bits (``DEFAULT_MMAP_THRESHOLD_MAX``); larger blocks are mapped as before.
LARGEST = 32 << 20

#: Free memory at the end of the heap that is kept.
KEPT = 1 << 30


def keep_freed_memory() -> bool:
    """Keep freed blocks of up to 32 MiB for later ones, in the whole process; return whether the system has this.

    It does nothing, and returns False, except on Linux with glibc.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT))
