"""The agents that the package ships, ``trained`` and ``trained:NAME``: files of weights of networks, which numpy plays."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from generals_env.agents.numpy_policy_network import NumpyPolicyNetwork
from generals_env.agents.sampled_player import SampledPlayer
from generals_env.agents.weight_files import NetworkWeights, load_weights
from generals_env.errors import ConfigError

__all__ = ["TRAINED", "is_shipped", "shipped_agents", "shipped_file", "shipped_network", "shipped_player", "trained_boards"]

#: Name of the agent that ``DEFAULT`` is; another one follows a colon.
TRAINED = "trained"
DEFAULT = "8x8"

FOLDER = Path(__file__).parent / "shipped_agents"


def shipped_agents() -> list[str]:
    """Return the full names of all agents of the package."""
    return sorted(f"{TRAINED}:{path.stem}" for path in FOLDER.glob("*.npz"))


def is_shipped(name: Any) -> bool:
    """Return whether a name stands for an agent of the package.

    Raises:
        ConfigError: If it begins like one, and there is no such agent.
    """
    if not isinstance(name, str) or name.partition(":")[0] != TRAINED:
        return False
    shipped_file(name)
    return True


def shipped_file(name: str) -> Path:
    """Return the file of an agent of the package.

    Raises:
        ConfigError: If there is none.
    """
    agents = shipped_agents()
    full = f"{TRAINED}:{DEFAULT}" if name == TRAINED else name
    if full not in agents:
        raise ConfigError(
            f"agent: expected {TRAINED} or one of {', '.join(agents) or 'none'}, got {name!r:.200}: check its name"
        )
    return FOLDER / f"{full.partition(':')[2]}.npz"


@cache
def shipped_network(name: str) -> NetworkWeights:
    """Return the network of an agent of the package, read once; errors as of ``shipped_file``.

    Raises:
        StorageError: If its file cannot be read.
    """
    return load_weights(shipped_file(name))


def shipped_player(name: str, seed: int | None = None) -> SampledPlayer:
    """Return an agent of the package as a policy for batches of observations; errors as of ``shipped_network``.

    Args:
        name: Its name.
        seed: Seed of its draws; None for a random one.
    """
    network = shipped_network(name)
    return SampledPlayer(NumpyPolicyNetwork(network.weights), 1.0, seed, step=network.step, made=network.made)


def trained_boards(name: str) -> tuple[int, int]:
    """Return the smallest and the largest side of the boards that an agent was trained on; errors as of ``shipped_network``.

    Raises:
        ConfigError: If its file does not tell.
    """
    boards = shipped_network(name).boards
    if boards is None:
        raise ConfigError(f"agent: expected the boards of its training in {name}, got none: write it with tools/ship_agent.py")
    return boards
