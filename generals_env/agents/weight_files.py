"""Files of weights (``.npz``): the layers of a network and what it is, read and written with numpy alone."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.errors import StorageError

__all__ = ["POLICY_NETWORK", "Q_NETWORK", "NetworkWeights", "load_weights", "weights_bytes"]

# Kinds of networks.
POLICY_NETWORK, Q_NETWORK = "policy_network", "q_network"

#: Name of the array that holds what is not weights, as a text of JSON.
ABOUT = "about"

MAX_BYTES = 2**26  # of one layer in a file


@dataclass(frozen=True)
class NetworkWeights:
    """A network as arrays.

    Attributes:
        kind: ``"policy_network"`` or ``"q_network"``.
        weights: Arrays by the names of torch's ``state_dict``.
        options: Arguments that make the network in torch.
        made: How it was made: plain values. ``"boards"`` is a list of the smallest and the largest side of its boards; without
            it, ``"options"`` of a trainer tell ``"board"``.
        step: Entries or steps that it was trained on.
    """

    kind: str
    weights: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    step: int = 0

    @property
    def boards(self) -> tuple[int, int] | None:
        """The smallest and the largest side of the boards of its training; None if ``made`` does not tell."""
        options = self.made.get("options")
        side = options.get("board") if isinstance(options, Mapping) else None  # of a trainer, whose last boards are the largest
        sides = self.made.get("boards", [side, side])
        known = isinstance(sides, list | tuple) and len(sides) == 2
        if known and all(type(side) is int and 1 <= side <= 64 for side in sides):
            return min(sides), max(sides)
        return None


def weights_bytes(network: NetworkWeights) -> bytes:
    """Return a network as the content of an ``.npz`` file; equal networks give equal bytes."""
    about = {"kind": network.kind, "options": dict(network.options), "made": dict(network.made), "step": network.step}
    arrays = {name: np.asarray(network.weights[name]) for name in sorted(network.weights)}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{ABOUT: np.array(json.dumps(about, sort_keys=True))}, **arrays)
    return file.getvalue()


def load_weights(path: Path) -> NetworkWeights:
    """Read a network from an ``.npz`` file. A file without a description, of an earlier version, holds a Q-network.

    Raises:
        StorageError: If it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            large = [entry.filename for entry in archive.infolist() if entry.file_size > MAX_BYTES]
        if not large:
            with np.load(path, allow_pickle=False) as arrays:
                weights = {name: arrays[name] for name in arrays.files}
            about = json.loads(str(weights.pop(ABOUT, '{"kind": "q_network"}')))
            kind, options, made = about["kind"], about.get("options", {}), about.get("made", {})
            if kind not in (POLICY_NETWORK, Q_NETWORK) or not isinstance(options, dict) or not isinstance(made, dict):
                raise ValueError(f"a network of the kind {kind!r:.80}")  # noqa: TRY301 - reported with the others
            return NetworkWeights(kind, weights, options, made, int(about.get("step", 0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise StorageError(
            f"policy: expected a file of weights that generals-env export or pack wrote, got {str(path)!r} ({error})"
        ) from error
    raise StorageError(f"policy: expected layers of at most {MAX_BYTES:,} bytes, got more in {large[0]} of {str(path)!r}")
