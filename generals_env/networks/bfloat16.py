"""Tells whether a device computes in bfloat16 faster than in float32: ``has_bfloat16``."""

from __future__ import annotations

from functools import cache

from llvmlite import binding

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'bfloat16: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["has_bfloat16"]

#: Features of processors with instructions for bfloat16, as LLVM names them: of x86, and of ARM.
FEATURES = ("avx512bf16", "amx-bf16", "bf16")


@cache
def processor_has_bfloat16() -> bool:
    """Return whether the processor has such instructions: without them, torch converts every number back and forth."""
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know the features of this processor
        return False
    return any(features.get(name, False) for name in FEATURES)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether bfloat16 pays on a device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and processor_has_bfloat16()
