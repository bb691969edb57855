"""Compares what two environments gave."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.helpers import same


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return where two results differ, to the last bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        return [text for key in ours for text in differences(ours[key], theirs[key], f"{path} {key}")]
    if isinstance(ours, (tuple, list)) and isinstance(theirs, (tuple, list)) and len(ours) == len(theirs):
        return [text for i in range(len(ours)) for text in differences(ours[i], theirs[i], f"{path} {i}")]
    if same(ours, theirs):
        return []
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray) and ours.shape == theirs.shape:
        places = np.argwhere(ours != theirs).tolist()
        return [f"{path}: {ours.dtype} and {theirs.dtype} of {ours.shape} differ in {len(places)} places: {places[:5]}"]
    return [f"{path}: {ours!r:.200} and {theirs!r:.200}"]
