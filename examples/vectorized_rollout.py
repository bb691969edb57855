"""Plays many games at once in three ways, and prints the turns a second of each.

Run it with ``python examples/vectorized_rollout.py``; ``--help`` shows the arguments.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

import generals_env
from generals_env.vector import GeneralsVector

CHUNK = 16  # turns between updates of the progress bar


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    num_envs: int = 64
    turns: int = 512
    size: int = 20
    max_turns: int = 1000
    seed: int = 0
    threads: int = 0  # 0: one a core


def any_legal(masks: npt.NDArray[np.int8], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return one random legal action for each game and player, all with the same probability.

    Args:
        masks: (num_envs, players, 8*H*W + 1) int8.
        rng: Random generator.

    Returns:
        (num_envs, players) int64.
    """
    rows = masks.view(np.bool_).reshape(-1, masks.shape[-1])
    counts = rows.sum(axis=1)
    legal = np.nonzero(rows)[1]  # the legal actions of the first row, then of the second, ...
    chosen: npt.NDArray[np.int64] = legal[counts.cumsum() - counts + rng.integers(counts)]
    return chosen.reshape(masks.shape[:-1])


def step_own_actions(venv: GeneralsVector, turns: int, rng: np.random.Generator) -> None:
    """Step with actions of a policy written here, as a learner does."""
    masks = venv.observe()["action_mask"]
    for _ in range(turns):
        observations, _rewards, _terminated, _truncated, _infos = venv.step(any_legal(masks, rng))
        masks = observations["action_mask"]


def step_built_in(venv: GeneralsVector, turns: int) -> None:
    """Step with actions of a built-in policy."""
    for _ in range(turns):
        venv.step(venv.act(["expander", "random"]))


def play_built_in(venv: GeneralsVector, turns: int) -> None:
    """Let the engine play built-in policies; only counts return to Python."""
    venv.play(turns, ["expander", "random"])


def turns_per_second(name: str, way: Callable[[GeneralsVector, int], None], arguments: Arguments) -> float:
    """Return the turns a second, summed over games."""
    venv = generals_env.make_vec(
        arguments.num_envs,
        height=arguments.size,
        width=arguments.size,
        max_turns=arguments.max_turns,
        threads=arguments.threads or None,
    )
    venv.reset(seed=arguments.seed)
    way(venv, CHUNK)  # the first turns compile
    chunks = max(arguments.turns // CHUNK, 1)
    began = time.perf_counter()
    for _ in track(range(chunks), description=name):
        way(venv, CHUNK)
    seconds = time.perf_counter() - began
    venv.close()
    return arguments.num_envs * chunks * CHUNK / seconds


def main(arguments: Arguments) -> None:
    """Measure, and print a table."""
    ways: dict[str, Callable[..., None]] = {
        "step, own random actions": partial(step_own_actions, rng=np.random.default_rng(arguments.seed)),
        "step, built-in policies": step_built_in,
        "play, built-in policies": play_built_in,
    }
    table = Table("way", "turns a second", title=f"{arguments.num_envs} games on {arguments.size}x{arguments.size}")
    for name, way in ways.items():
        table.add_row(name, f"{turns_per_second(name, way, arguments):,.0f}")
    Console().print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
