"""Bytes of rollouts beside those of the buffer of sb3-contrib, and memory that a process keeps."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.paths import ROOT

KEEP = """
import platform, resource, sys
from generals_env.learning.training.memory_reuse import keep_freed_memory
import torch
if not keep_freed_memory():
    assert platform.libc_ver()[0] != "glibc"
    sys.exit(3)
def faults():
    for _ in range(20):
        torch.ones(6 << 18)  # 6 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(24 << 18)
faults()
print(faults() - faults())
"""


@pytest.mark.parametrize("board", [8, 20])
def test_entry_takes_at_most_a_thirtieth_of_the_bytes_of_sb3(board: int) -> None:
    pytest.importorskip("sb3_contrib")
    from benchmarks.learning import own_bytes, sb3_bytes

    assert 30 * own_bytes(board) <= sb3_bytes(board)


def test_freed_memory_is_not_faulted_in_again() -> None:
    run = subprocess.run([sys.executable, "-c", KEEP], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode == 3:
        pytest.skip("the system has no mallopt")
    assert run.returncode == 0, run.stderr
    assert -int(run.stdout) < 500  # of 20 tensors with 1,536 pages each
