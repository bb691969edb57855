"""Trains a Q-network from a stream: one process plays and records, one serves the log, one learns; then measures wins.

Run it with ``python examples/train_from_stream.py``; ``--help`` shows the arguments. It needs
``pip install "generals_env[stream,torch]"``, and draws a curve where matplotlib is installed. Run it again with the same
``--out`` to continue a run that was stopped or killed.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import multiprocessing
import os
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from curve import draw_curve
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import generals_env
from generals_env.recorders import ExperienceLog, ExperienceRecorder, Retry
from generals_env.recorders.stream.client.consumer import ExperienceConsumer
from generals_env.recorders.stream.server.server import ExperienceServer
from generals_env.recorders.training.checkpoints import load_checkpoint
from generals_env.recorders.training.config import TrainerConfig
from generals_env.recorders.training.q_network import QNetwork
from generals_env.recorders.training.trainer import DistributedTrainer

#: Gaining land is an early signal of victory; the reward of a victory exceeds what a longer game could bring.
REWARD = generals_env.RewardConfig(territory_gained=0.05, territory_lost=-0.03, win_game=3.0, lose_game=-1.0)

PLANES = 21  # channels of the observation "full"

OPPONENTS = ("random", "expander")

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
    turns_per_second: float = 25.0  # of each game: a limit that leaves time to learn
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.97
    n_step: int = 5
    channels: int = 32
    blocks: int = 2

    def options(self) -> dict[str, Any]:
        """Return the options of the environment."""
        size = {"height": self.board, "width": self.board}
        return {**size, "max_turns": self.max_turns, "observation": "full", "reward": REWARD}

    def model(self) -> QNetwork:
        """Return the network."""
        torch.manual_seed(self.seed)
        return QNetwork((PLANES, self.board, self.board), self.channels, self.blocks)

    @property
    def log(self) -> Path:
        """Folder of the log of experience."""
        return self.out / "log"

    @property
    def checkpoint(self) -> Path:
        """File of the trainer, from which the player loads the network."""
        return self.out / "trainer.pt"


def best(model: QNetwork, observations: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Return the best legal actions of the first player in each game, (num_envs,) int64."""
    with torch.no_grad():
        values = model(torch.from_numpy(np.ascontiguousarray(observations["observation"][:, 0])))
    masks = torch.from_numpy(np.ascontiguousarray(observations["action_mask"][:, 0]))
    actions: npt.NDArray[np.int64] = values.masked_fill(masks == 0, -torch.inf).argmax(1).numpy()
    return actions


# --- The player -------------------------------------------------------------------------------------------------------


def collect(arguments: Arguments) -> None:
    """Play the current network against both built-in opponents, and record the experience of both players."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    rng = np.random.default_rng(time.time_ns())  # a continued run plays other games
    games = np.arange(arguments.num_envs)
    chances = 0.5 ** (1 + 5 * games / arguments.num_envs)  # of a random move: from a half to a few hundredths, by game
    model, age = arguments.model(), None
    venv = generals_env.make_vec(arguments.num_envs, **arguments.options())
    with ExperienceLog(arguments.log, "normal") as log, ExperienceRecorder(venv, log) as env:
        observations, _ = env.reset(seed=int(rng.integers(2**31)))
        while parent is not None and parent.is_alive():
            began = time.monotonic()
            for _ in range(16):
                at_random, expanding = venv.act(("random", "random")), venv.act(("expander", "expander"))
                actions = np.where(games[:, None] % 2, expanding, at_random)
                explores = rng.random(arguments.num_envs) < (chances if age else 1.0)
                actions[:, 0] = np.where(explores, at_random[:, 0], best(model, observations))
                observations = env.step(actions)[0]
            env.flush()
            if arguments.checkpoint.exists() and arguments.checkpoint.stat().st_mtime_ns != age:
                age = arguments.checkpoint.stat().st_mtime_ns
                model.load_state_dict((load_checkpoint(arguments.checkpoint) or {})["model"])
            time.sleep(max(16 / arguments.turns_per_second - (time.monotonic() - began), 0))


# --- The server -------------------------------------------------------------------------------------------------------


def serve(arguments: Arguments, ready: Event) -> None:
    """Serve the log that another process writes; set ``ready`` as soon as consumers can connect."""
    parent = multiprocessing.parent_process()
    with ExperienceServer(ExperienceLog(arguments.log, mode="r"), arguments.address) as server:
        ready.set()
        while parent is not None and parent.is_alive() and not server.wait(1.0):
            pass


# --- The trainer ------------------------------------------------------------------------------------------------------


def train(arguments: Arguments, progress: Progress) -> QNetwork:
    """Train from the stream for ``minutes`` and return the network."""
    torch.set_num_threads(os.cpu_count() or 1)  # playing and serving use a tenth of a core
    model = arguments.model()
    numbers = {name: getattr(arguments, name) for name in ("batch_size", "learning_rate", "gamma", "n_step", "seed")}
    config = TrainerConfig(min_size=5000, augment=True, **numbers)
    consumer = ExperienceConsumer(arguments.address, retry=Retry(tries=100, first_wait=0.1, max_wait=1.0))
    limit = 60 * arguments.minutes
    with DistributedTrainer(consumer, model, config=config, checkpoint=arguments.checkpoint) as trainer:
        evaluation = PeriodicEvaluation(model, arguments)
        task = progress.add_task("waiting for experience", total=limit)
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < limit:
            found = trainer.train(250)
            trainer.save()
            text = f"step {found['step']:,}: loss {found['loss']:.4f}, {found['steps_per_second']:.0f} steps a second"
            progress.update(task, completed=elapsed, description=text)
            if time.monotonic() - began >= evaluation.next:
                wins = evaluation(time.monotonic() - began, trainer.step)
                shares = ", ".join(f"{share:.0%} against {name}" for name, share in wins.items())
                progress.console.print(f"{text}; {found['received']:,} experiences received; wins {shares}", soft_wrap=True)
        progress.update(task, completed=limit)
    return model


class PeriodicEvaluation:
    """Evaluates the network during training, and writes the results to ``progress.csv`` and ``curve.png``."""

    def __init__(self, model: QNetwork, arguments: Arguments) -> None:
        self.model, self.arguments = model, arguments
        self.table = arguments.out / "progress.csv"
        self.rows = list(csv.DictReader(self.table.read_text().splitlines())) if self.table.exists() else []
        self.before = float(self.rows[-1]["minutes"]) if self.rows else 0.0  # minutes of earlier runs
        self.next = 0.0  # seconds after which to evaluate next

    def __call__(self, seconds: float, step: int) -> dict[str, float]:
        """Return the share of games won against each opponent."""
        games = min(self.arguments.games, 200)
        wins = {name: evaluate(self.model, name, self.arguments, games)["win"] for name in OPPONENTS}
        self.rows.append({"minutes": self.before + seconds / 60, "step": step, **wins})
        with self.table.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)
        minutes = [float(row["minutes"]) for row in self.rows]
        lines = {name: [float(row[name]) for row in self.rows] for name in OPPONENTS}
        board = self.arguments.board
        title = f"Q-learning from a stream on {board}x{board}: wins in {games} games"
        counts = dict.fromkeys(OPPONENTS, [float(games)] * len(minutes))
        draw_curve(minutes, lines, counts, title, "minutes of training", self.arguments.out / "curve.png")
        self.next = seconds + 60 * self.arguments.minutes / EVALUATIONS
        return wins


def evaluate(model: QNetwork, opponent: str, arguments: Arguments, games: int) -> dict[str, float]:
    """Play games at once, each to its end; return the shares of wins, losses and draws."""
    venv = generals_env.make_vec(games, copy=False, **arguments.options())
    observations, _ = venv.reset(seed=arguments.seed + 10**6)
    rng = np.random.default_rng(arguments.seed)
    going = np.ones(games, np.bool_)
    ends = {"win": 0, "loss": 0, "draw": 0}
    while going.any():
        actions = venv.act(("random", opponent))
        chosen = np.flatnonzero(going & (rng.random(games) >= RANDOM_MOVES))
        actions[chosen, 0] = best(model, {name: array[chosen] for name, array in observations.items()})
        observations, rewards, terminated, truncated, _ = venv.step(actions)
        over = going & (terminated | truncated)[:, 0]
        won, lost = rewards[:, 0] == REWARD.win_game, rewards[:, 0] == REWARD.lose_game
        ends["win"] += int((over & won).sum())
        ends["loss"] += int((over & lost).sum())
        ends["draw"] += int((over & ~won & ~lost).sum())
        going &= ~over
    venv.close()
    return {end: count / games for end, count in ends.items()}


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
    table = Table(
        "opponent", "wins", "losses", "draws", title=f"{arguments.games:,} games on {arguments.board}x{arguments.board}"
    )
    for opponent in OPPONENTS:
        shares = evaluate(model, opponent, arguments, arguments.games)
        table.add_row(opponent, *(f"{shares[end]:.1%}" for end in ("win", "loss", "draw")))
    console.print(table)
    console.print(
        f"progress.csv, curve.png (by matplotlib) and the trainer's checkpoint are in {arguments.out}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
