"""Plays the line protocol of the competition with an agent of generals-bots: ``python generals_bots_launcher.py --agent NAME``.

It runs with the Python of an environment in which that package, or JAX for a checkout of it, is installed. It imports nothing
of this package: the standard library, numpy and generals-bots (2.5 on numpy, or 2.6 on JAX) suffice.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import pkgutil
import re
import sys
from typing import Any, BinaryIO

__all__ = ["main"]

#: Kinds of tiles in a frame.
MOUNTAIN, CASTLE, GENERAL, FOG_OBSTACLE = 2, 3, 4, 5

#: Versions whose agents play, by their beginnings.
VERSIONS = ("2.5", "2.6")

PASS = (1, 0, 0, 0, 0)
MAX_LINE = 16 * 1024  # bytes

#: One thread on the processor; libraries read these when they are imported.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "NPROC": "1",
    "PJRT_NPROC": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
}

#: Compiled functions of each size of the board are kept, as compiling takes seconds of the first move.
CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


class Unusable(Exception):  # noqa: N818 - the message alone is shown
    """The agent cannot be imported or made; the message says why."""


class NumpyPlayer:
    """An agent of generals-bots 2.5: ``act(observation)`` with arrays of numpy."""

    def __init__(self, agent: Any, observation_class: Any, seed: int) -> None:
        """Seed the generator of numpy, which these agents use."""
        import numpy as np  # here and below: libraries read ENVIRONMENT when they are imported

        np.random.seed(seed % 2**32)  # noqa: NPY002 - the agents draw from it
        self._agent, self._observation = agent, observation_class

    def act(self, fields: dict[str, Any]) -> Any:
        """Return the agent's action for the fields of an observation, which has integers for what is in fog."""
        fields["cities"] = fields.pop("castles")
        for name in ("fog_cells", "structures_in_fog"):
            fields[name] = fields[name].astype(int)
        return self._agent.act(self._observation(**fields))


class JaxPlayer:
    """An agent of generals-bots 2.6: ``act(observation, key)`` with arrays of JAX."""

    def __init__(self, agent: Any, observation_class: Any, seed: int) -> None:
        """Make the first key."""
        self._jax = importlib.import_module("jax")
        self._agent, self._observation = agent, observation_class
        self._key = self._jax.random.PRNGKey(seed)

    def act(self, fields: dict[str, Any]) -> Any:
        """Return the agent's action for the fields of an observation, with a new key."""
        jax = self._jax
        self._key, key = jax.random.split(self._key)
        arrays = {name: jax.numpy.asarray(value) for name, value in fields.items()}
        return self._agent.act(self._observation(**arrays), key)


def version_of(checkout: str | None) -> str:
    """Return the version of a checkout, or of the installed package.

    Raises:
        Unusable: If there is none, or it is one whose agents do not play here.
    """
    if checkout is None:
        try:
            version = importlib.metadata.version("generals-bots")
        except importlib.metadata.PackageNotFoundError as error:
            raise Unusable(f"generals-bots is not installed for {sys.executable}") from error
    else:
        try:
            with open(os.path.join(checkout, "pyproject.toml"), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - as above
                project = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise Unusable(f"{checkout} is no checkout of generals-bots ({error})") from error
        named = re.search(r'^name *= *"generals-bots"', project, re.MULTILINE)
        found = re.search(r'^version *= *"([^"]*)"', project, re.MULTILINE)
        if not named or not found:
            raise Unusable(f"{checkout} is no checkout of generals-bots: its pyproject.toml names another package")
        version = found[1]
    if version.rpartition(".")[0] not in VERSIONS:
        raise Unusable(f"expected generals-bots {' or '.join(VERSIONS)}, got {version}")
    return version


def load_player(name: str, seed: int) -> NumpyPlayer | JaxPlayer:
    """Return a player with the agent of a name, for the version of generals-bots that is imported.

    Raises:
        Unusable: If generals-bots or the agent cannot be imported.
    """
    try:
        observation = importlib.import_module("generals.core.observation").Observation
    except Exception as error:  # whatever its import raises
        raise Unusable(f"generals-bots cannot be imported with {sys.executable} ({error!r:.300})") from error
    agent = find_class(name)
    try:
        made = agent()
    except Exception as error:  # the agent's own
        raise Unusable(f"agent {name!r} cannot be made without arguments ({error!r:.300})") from error
    if hasattr(made, "reset"):
        made.reset()
    on_numpy = "cities" in getattr(observation, "__dataclass_fields__", {})
    return NumpyPlayer(made, observation, seed) if on_numpy else JaxPlayer(made, observation, seed)


def find_class(name: str) -> Any:
    """Return the class of an agent: of the package (``hunter``: HunterAgent), or of the user (``module:Class``)."""
    module, colon, attribute = name.partition(":")
    if colon:
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:  # code of the user runs
            raise Unusable(f"agent {name!r} cannot be imported ({error!r:.300})") from error
    known = known_agents()
    if name not in known:
        raise Unusable(f"{name!r} is no agent of this version, which has {', '.join(sorted(known))}, and no module:Class")
    return known[name]


def known_agents() -> dict[str, Any]:
    """Return the agents of the package by their names: ``hunter`` is the HunterAgent of ``generals.agents.hunter_agent``."""
    package = importlib.import_module("generals.agents")
    found: dict[str, Any] = {}
    for entry in pkgutil.iter_modules(package.__path__):
        name = entry.name.removesuffix("_agent")
        if name == entry.name:
            continue
        module = importlib.import_module(f"{package.__name__}.{entry.name}")
        wanted = name.replace("_", "") + "agent"
        for attribute, value in vars(module).items():
            if attribute.lower() == wanted and isinstance(value, type):
                found[name] = value
    return found


def observation_fields(head: list[int], kind: Any, owner: Any, armies: Any) -> dict[str, Any]:
    """Return the fields of an observation of generals-bots from a frame.

    Args:
        head: Turns played, own land and army, the other's land and army.
        kind: (H, W) int32.
        owner: (H, W) int32.
        armies: (H, W) int32.
    """
    time, own_land, own_army, other_land, other_army = head
    hidden = (kind == 0) | (kind == FOG_OBSTACLE)
    return {
        "armies": armies,
        "generals": kind == GENERAL,
        "castles": kind == CASTLE,
        "mountains": kind == MOUNTAIN,
        "neutral_cells": (owner == 0) & ~hidden & (kind != MOUNTAIN),
        "owned_cells": owner == 1,
        "opponent_cells": owner == 2,
        "fog_cells": kind == 0,
        "structures_in_fog": kind == FOG_OBSTACLE,
        "owned_land_count": own_land,
        "owned_army_count": own_army,
        "opponent_land_count": other_land,
        "opponent_army_count": other_army,
        "timestep": time,
    }


def play(player: NumpyPlayer | JaxPlayer, lines: BinaryIO, replies: BinaryIO) -> None:
    """Answer frames until the input ends."""
    import numpy as np

    hello = lines.readline(MAX_LINE)
    if not hello:
        return
    _, height, width = map(int, hello.split())
    while head := lines.readline(MAX_LINE):
        text = b"".join([lines.readline(MAX_LINE) for _ in range(3 * height)])
        planes = np.array(text.split(), np.int32).reshape(3, height, width)
        action = player.act(observation_fields([int(word) for word in head.split()], *planes))
        reply = PASS if action is None else tuple(int(number) for number in np.asarray(action).reshape(-1))
        try:
            replies.write(b" ".join(b"%d" % number for number in reply) + b"\n")
            replies.flush()
        except BrokenPipeError:
            return  # the other side has ended


def main(arguments: list[str] | None = None) -> int:
    """Play one game on standard input and output; return the exit status.

    Args:
        arguments: Of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(prog="generals_bots_launcher", description="Plays with an agent of generals-bots.")
    parser.add_argument("--agent", required=True, help="expander, hunter, ..., or module:Class with a class of yours")
    parser.add_argument("--checkout", help="folder of a checkout of generals-bots; default: the installed package")
    parser.add_argument("--cache", help="folder for functions that JAX compiled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="print the version as JSON instead of playing")
    options = parser.parse_args(arguments)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if options.cache:
        os.environ.update({**CACHE, "JAX_COMPILATION_CACHE_DIR": options.cache})
    sys.path[:0] = [options.checkout] if options.checkout else []
    sys.path.append(os.getcwd())  # noqa: PTH109 - for agents of the user, after the package
    replies = sys.stdout.buffer
    sys.stdout = sys.stderr  # what an agent prints is no reply
    try:
        version = version_of(options.checkout)
        player = load_player(options.agent, options.seed)
        if options.check:
            replies.write(json.dumps({"version": version}).encode() + b"\n")
            return 0
        play(player, sys.stdin.buffer, replies)
    except Unusable as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
