"""Measures the learner beside masked PPO of sb3-contrib: bytes an entry, samples a second, and where the time goes.

``python -m benchmarks learning``. Both train the network of ``examples/train_sb3.py`` (32 features, one residual block)
on 8x8 against ``expander``, in four passes over all entries; SB3 in batches of 512 as in its example. All cores are used.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import generals_env
from benchmarks.pairs import Figures, cell, in_turn, keep, ratios
from generals_env.concurrency.thread_pool import available_cores
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.rollouts import collector as collecting
from generals_env.learning.rollouts.game_group import GameGroup
from generals_env.learning.rollouts.rollout_buffer import RolloutBuffer
from generals_env.version import __version__

EXAMPLES = Path(__file__).parent.parent / "examples"
OPPONENT = "expander"

#: Games and turns of the rollouts of which memory is measured: those of SB3's example.
GAMES, STEPS = 128, 32

#: The network and the passes of SB3's example, for our learner.
ALIKE: dict[str, Any] = {
    "board": 8, "opponents": OPPONENT, "channels": 32, "blocks": 1, "epochs": 4, "top_advantages": 1.0, "batch_size": 2048,
}  # fmt: skip
SB3, FLOAT32, BFLOAT16 = "sb3-contrib, float32", "generals_env, float32", "generals_env, bfloat16"

#: What belongs to environment, masks and observations: where each function is found.
ENVIRONMENT: tuple[tuple[Any, str], ...] = (
    (GameGroup, "play"),
    (GameGroup, "observations"),
    (RolloutBuffer, "put_boards"),
    (RolloutBuffer, "states"),
    (collecting, "divided"),
)


def main(rounds: int = 5, seconds: float = 20.0) -> None:
    """Measure and print.

    Args:
        rounds: Rounds in turn; tables show the median and the range.
        seconds: Of each measurement of a round, at least.
    """
    console = Console(width=160)
    console.print(", ".join(versions()))
    with Progress(console=console, transient=True) as bar:
        console.print(memory_table(bar))
        console.print(speed_table(rounds, seconds, bar))
        console.print(profile_table(seconds, bar))


def versions() -> list[str]:
    """Return the versions of what is measured, and the machine."""
    found = [f"generals_env {__version__}", f"Python {platform.python_version()}", f"numpy {np.__version__}"]
    found += [f"{name} {importlib.import_module(name).__version__}" for name in ("torch", "stable_baselines3", "sb3_contrib")]
    return [*found, f"{available_cores()} cores", f"{torch.get_num_threads()} threads of torch", processor()]


def processor() -> str:
    """Return the name of the processor, as far as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# --- Memory -----------------------------------------------------------------------------------------------------------


def memory_table(bar: Progress) -> Table:
    """Return the bytes of an entry of the rollout buffers."""
    table = Table("board", SB3, "generals_env", "ratio", title=f"bytes an entry of {GAMES} games of {STEPS} turns, layout full")
    for board in bar.track((8, 20), description="memory"):
        theirs, ours = sb3_bytes(board), own_bytes(board)
        table.add_row(f"{board}x{board}", f"{theirs:,.0f}", f"{ours:,.0f}", f"{theirs / ours:.1f}")
    return table


def sb3_bytes(board: int) -> float:
    """Return the bytes an entry of SB3's buffer for dicts with masks; all arrays are allocated when it is made."""
    from sb3_contrib.common.maskable.buffers import MaskableDictRolloutBuffer

    games = gymnasium.make_vec(generals_env.ENV_ID, num_envs=1, height=board, width=board, observation="full")
    space, actions = games.unwrapped.single_observation_space, games.unwrapped.single_action_space
    buffer = MaskableDictRolloutBuffer(STEPS, space, actions, n_envs=GAMES)
    games.close()
    arrays = [*buffer.observations.values(), *(value for value in vars(buffer).values() if isinstance(value, np.ndarray))]
    return sum(array.nbytes for array in arrays) / (STEPS * GAMES)


def own_bytes(board: int) -> float:
    """Return the bytes an entry of our buffer after a rollout in which games ended and began."""
    config = PPOConfig(board=board, opponents=OPPONENT, games=GAMES, steps=STEPS, channels=4, blocks=0)
    trainer = PPO(config)
    trainer.collector.collect(trainer.network, 0.0)
    buffer = trainer.collector.buffer
    return buffer.nbytes / (buffer.steps * buffer.seats)


# --- Speed ------------------------------------------------------------------------------------------------------------


def speed_table(rounds: int, seconds: float, bar: Progress) -> Table:
    """Return samples a second in training."""
    learners: dict[str, Callable[[], int]] = {
        SB3: sb3_learner(),
        FLOAT32: own_learner(PPOConfig(**ALIKE, bfloat16=False)),
        BFLOAT16: own_learner(PPOConfig(**ALIKE, bfloat16=True)),
    }
    figures: Figures = {}
    task = bar.add_task("samples a second", total=rounds * len(learners))
    for number in range(rounds):
        for name in in_turn(list(learners), number):
            wall, core = rate(learners[name], seconds)
            keep(figures, name, "wall", wall)
            keep(figures, name, "core", core)
            bar.advance(task)
    title = f"samples a second in training, 8x8, four passes; median (range) of {rounds} rounds of {seconds:g} s"
    table = Table("learner", "samples a second", "over SB3", "a second of CPU time", "over SB3", title=title)
    for name, found in figures.items():
        cells = [(cell(found[kind]), ratios(found[kind], figures[SB3][kind])) for kind in ("wall", "core")]
        table.add_row(name, *cells[0], *cells[1])
    return table


def rate(learn: Callable[[], int], seconds: float) -> tuple[float, float]:
    """Return the rates of a function that collects samples, learns from them, and returns their number.

    Returns:
        Samples a second, and samples a second of CPU time of all threads, which other work on the machine changes little.
    """
    start, used, samples = time.perf_counter(), time.process_time(), 0
    while (spent := time.perf_counter() - start) < seconds or not samples:
        samples += learn()
    return samples / spent, samples / (time.process_time() - used)


def own_learner(config: PPOConfig) -> Callable[[], int]:
    """Return one iteration of our learner; the first one, which compiles, is over."""
    trainer = PPO(config)

    def learn() -> int:
        before = trainer.samples
        trainer.iterate()
        return trainer.samples - before

    learn()
    return learn


def sb3_learner() -> Callable[[], int]:
    """Return one iteration of SB3's learner as its example makes it, with the built-in opponent; the first one is over."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        example = importlib.import_module("train_sb3")
    finally:
        sys.path.remove(str(EXAMPLES))
    from sb3_contrib import MaskablePPO
    from stable_baselines3.common.vec_env import VecMonitor

    from generals_env.wrappers import SB3VecEnv

    arguments = example.Arguments(opponent=OPPONENT, num_envs=GAMES, n_steps=STEPS)
    games = gymnasium.make_vec(generals_env.ENV_ID, num_envs=GAMES, opponent=OPPONENT, **arguments.options())
    network = {
        "armies": [k for k, name in enumerate(games.unwrapped.config.channels) if name.endswith(("_army", "_total"))],
        "channels": arguments.channels,
        "blocks": arguments.blocks,
    }
    names = ("n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "ent_coef", "seed", "learning_rate")
    model = MaskablePPO(
        example.BoardPolicy,
        VecMonitor(SB3VecEnv(games)),
        policy_kwargs={
            "net_arch": [],
            "features_extractor_class": example.BoardFeatures,
            "features_extractor_kwargs": network,
        },
        device="cpu",
        **{name: getattr(arguments, name) for name in names},
    )

    def learn() -> int:
        model.learn(GAMES * STEPS, reset_num_timesteps=False)
        return GAMES * STEPS

    learn()
    return learn


# --- Where the time goes ----------------------------------------------------------------------------------------------


def profile_table(seconds: float, bar: Progress) -> Table:
    """Return the shares of the time of an iteration that environment, masks and observations take."""
    recipes = {
        "four passes over all entries, float32": PPOConfig(**ALIKE, bfloat16=False),
        "four passes over all entries, bfloat16": PPOConfig(**ALIKE, bfloat16=True),
        "the default recipe": PPOConfig(),
    }
    columns = [f"{getattr(owner, '__name__', owner).rpartition('.')[2]}.{name}" for owner, name in ENVIRONMENT]
    title = "share of the time of an iteration that takes environment, masks and observations"
    table = Table("recipe", *columns, "together", "samples a second", title=title)
    for recipe, config in bar.track(recipes.items(), description="profile"):
        learn = own_learner(config)
        with timed(ENVIRONMENT) as spent:
            start = time.perf_counter()
            found, _ = rate(learn, seconds)
            whole = time.perf_counter() - start
        shares = [value / whole for value in spent]
        table.add_row(recipe, *(f"{share:.1%}" for share in (*shares, sum(shares))), f"{found:,.0f}")
    return table


@contextlib.contextmanager
def timed(functions: tuple[tuple[Any, str], ...]) -> Iterator[list[float]]:
    """Yield a list of the seconds that each function takes while the block runs; calls within another one count for that."""
    spent = [0.0] * len(functions)
    inside = [False]
    before = [vars(owner)[name] for owner, name in functions]

    def wrapped(k: int) -> Callable[..., Any]:
        @functools.wraps(before[k])
        def call(*arguments: Any, **options: Any) -> Any:
            if inside[0]:
                return before[k](*arguments, **options)
            inside[0] = True
            start = time.perf_counter()
            try:
                return before[k](*arguments, **options)
            finally:
                spent[k] += time.perf_counter() - start
                inside[0] = False

        return call

    for k, (owner, name) in enumerate(functions):
        setattr(owner, name, wrapped(k))
    try:
        yield spent
    finally:
        for (owner, name), function in zip(functions, before, strict=True):
            setattr(owner, name, function)


if __name__ == "__main__":
    main()
