"""Reads the weights of a checkpoint of ``generals-env train`` as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["checkpoint_weights"]


def checkpoint_weights(checkpoint: str | Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of the network of a checkpoint by name.

    Raises:
        StorageError: If there is no such file, it is damaged, or it is of another network.
    """
    from generals_env.recorders.training.network_policy import load_network

    network, _ = load_network(checkpoint)
    return {name: tensor.detach().float().cpu().numpy() for name, tensor in network.state_dict().items()}
