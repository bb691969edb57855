"""Trains a Q-network from a stream: one process plays and records, one serves the log, one learns; then measures wins.

Run it with ``python examples/train_from_stream.py``; ``--help`` shows the arguments. It needs
``pip install "generals_env[stream,torch]"``, and draws a curve where matplotlib is installed. Run it again with the same
``--out`` to continue a run that was stopped or killed. A limit of samples for each experience keeps the processes in step.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import generals_env
from generals_env.learning.evaluation import PeriodicEvaluation, result_table, win_text
from generals_env.recorders import (
    DistributedTrainer,
    ExperienceConsumer,
    ExperienceLog,
    ExperienceRecorder,
    ExperienceServer,
    InsertLimiter,
    InsertLimits,
    QNetwork,
    Retry,
    TrainerConfig,
    load_policy,
)
from generals_env.recorders.training.network_policy import NetworkPolicy

#: Gaining land is an early signal of victory; the reward of a victory exceeds what a longer game could bring.
REWARD = generals_env.RewardConfig(territory_gained=0.05, territory_lost=-0.03, win_game=3.0, lose_game=-1.0)

OPPONENTS = ("random", "expander")

MIN_SIZE = 5000  # experiences before the first step

EVALUATIONS = 12  # during training

RANDOM_MOVES = 0.05  # share in evaluations: a policy without memory may otherwise move back and forth for ever


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    board: int = 6
    max_turns: int = 300
    minutes: float = 5.0
    seed: int = 0
    out: Path = Path("runs/train_from_stream")
    address: str = "127.0.0.1:50051"
    games: int = 1000  # against each opponent, at the end
    num_envs: int = 32
    samples_per_insert: float = 5.0  # draws of each experience: the player waits while the learner is behind
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.97
    n_step: int = 5
    channels: int = 32
    blocks: int = 2

    def options(self) -> dict[str, Any]:
        """Return the options of the games."""
        size = {"height": self.board, "width": self.board, "max_turns": self.max_turns}
        return {**size, "observation": "full", "reward": REWARD}

    def model(self) -> QNetwork:
        """Return the network."""
        torch.manual_seed(self.seed)
        return QNetwork((21, self.board, self.board), self.channels, self.blocks)

    @property
    def log(self) -> Path:
        """Folder of the log of experience."""
        return self.out / "log"

    def limiter(self) -> InsertLimiter:
        """Return the limits that the player and the learner share."""
        return InsertLimiter(self.out / "limits", InsertLimits(self.samples_per_insert, MIN_SIZE))

    @property
    def checkpoint(self) -> Path:
        """File of the trainer, from which the player loads the network."""
        return self.out / "trainer.pt"


def collect(arguments: Arguments) -> None:
    """Play the current network against both built-in opponents, and record the experience of both players."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    rng = np.random.default_rng(time.time_ns())  # a continued run plays other games
    games = np.arange(arguments.num_envs)
    chances = 0.5 ** (1 + 5 * games / arguments.num_envs)  # of a random move: from a half to a few hundredths, by game
    policy, age = NetworkPolicy(arguments.model()), None
    venv = generals_env.make_vec(arguments.num_envs, **arguments.options())
    log = ExperienceLog(arguments.log, "normal")
    with arguments.limiter() as limiter, ExperienceRecorder(venv, limiter.limited(log, timeout=600)) as env:
        observations, _ = env.reset(seed=int(rng.integers(2**31)))
        while parent is not None and parent.is_alive():
            if not limiter.await_insert(timeout=1.0):  # the learner is behind: see whether it is still there
                continue
            for _ in range(16):
                at_random, expanding = venv.act(("random", "random")), venv.act(("expander", "expander"))
                actions = np.where(games[:, None] % 2, expanding, at_random)
                explores = rng.random(arguments.num_envs) < (chances if age else 1.0)
                chosen = policy({name: array[:, 0] for name, array in observations.items()})
                actions[:, 0] = np.where(explores, at_random[:, 0], chosen)
                observations = env.step(actions)[0]
            env.flush()
            if arguments.checkpoint.exists() and arguments.checkpoint.stat().st_mtime_ns != age:
                age = arguments.checkpoint.stat().st_mtime_ns
                policy = load_policy(arguments.checkpoint)


def serve(arguments: Arguments, ready: Event) -> None:
    """Serve the log that another process writes; set ``ready`` as soon as consumers can connect."""
    parent = multiprocessing.parent_process()
    with ExperienceServer(ExperienceLog(arguments.log, mode="r"), arguments.address) as server:
        ready.set()
        while parent is not None and parent.is_alive() and not server.wait(1.0):
            pass


def train(arguments: Arguments, progress: Progress) -> QNetwork:
    """Train from the stream for ``minutes`` and return the network."""
    torch.set_num_threads(os.cpu_count() or 1)  # playing and serving use a tenth of a core
    model = arguments.model()
    numbers = {name: getattr(arguments, name) for name in ("batch_size", "learning_rate", "gamma", "n_step", "seed")}
    config = TrainerConfig(min_size=MIN_SIZE, augment=True, **numbers)
    consumer = ExperienceConsumer(arguments.address, retry=Retry(tries=100, first_wait=0.1, max_wait=1.0))
    evaluation = PeriodicEvaluation(
        arguments.out,
        OPPONENTS,
        games=min(arguments.games, 200),
        every=arguments.minutes / EVALUATIONS,
        random_moves=RANDOM_MOVES,
        title=f"Q-learning from a stream on {arguments.board}x{arguments.board}: wins in games of both seats",
        **arguments.options(),
    )
    options = {"config": config, "checkpoint": arguments.checkpoint}
    with arguments.limiter() as limiter, DistributedTrainer(consumer, model, limiter=limiter, **options) as trainer:
        task = progress.add_task("waiting for experience", total=arguments.minutes)
        minutes, began = 0.0, time.monotonic()
        while minutes < arguments.minutes:
            found = trainer.train(250)
            trainer.save()
            minutes = (time.monotonic() - began) / 60
            text = f"step {found['step']:,}: loss {found['loss']:.4f}, {found['steps_per_second']:.0f} steps a second"
            progress.update(task, completed=minutes, description=text)
            if evaluation.is_due(minutes):
                wins = win_text(evaluation(NetworkPolicy(model), minutes, trainer.step))
                progress.console.print(f"{text}; {found['received']:,} experiences received; wins {wins}", soft_wrap=True)
    return model


def main(arguments: Arguments) -> None:
    """Start all processes, train, and print the final evaluation."""
    console = Console()
    ExperienceLog(arguments.log).close()  # creates the log, which the server requires
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    others = [
        spawn.Process(target=collect, args=(arguments,), daemon=True),
        spawn.Process(target=serve, args=(arguments, ready), daemon=True),
    ]
    for other in others:
        other.start()
    while not ready.wait(0.1):
        if not others[1].is_alive():
            raise SystemExit(f"the server at {arguments.address} has ended, see its error above: is --address in use?")
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console) as progress:
        model = train(arguments, progress)
    for other in others:
        other.terminate()
        other.join()
    options = {"seed": arguments.seed + 1, "random_moves": RANDOM_MOVES, **arguments.options()}
    console.print(f"on {arguments.board}x{arguments.board}:")
    console.print(result_table(NetworkPolicy(model), OPPONENTS, arguments.games, **options))
    console.print(
        f"progress.csv, curve.png (by matplotlib) and the checkpoint trainer.pt are in {arguments.out}", soft_wrap=True
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
