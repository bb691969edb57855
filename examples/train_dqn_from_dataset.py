"""Trains a Q-network from recorded games, then more and more from games of its own: offline to online.

Run it with ``python examples/train_dqn_from_dataset.py``; ``--dataset FOLDER`` takes your own recorded games, else it records
some of the built-in policies first; ``--help`` shows the arguments. It needs ``pip install "generals_env[torch]"``, and draws a
curve where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import rich
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

import generals_env
from generals_env.learning.evaluation import PeriodicEvaluation, result_table, win_text
from generals_env.recorders import (
    ExperienceRecorder,
    MixedSampler,
    MixSchedule,
    PrioritizedReplayBuffer,
    QNetwork,
    open_dataset,
)
from generals_env.recorders.training.double_dqn import double_dqn_loss
from generals_env.recorders.training.network_policy import NetworkPolicy

#: Gaining land is an early signal of victory; the reward of a victory exceeds what a longer game could bring.
REWARD = generals_env.RewardConfig(territory_gained=0.05, territory_lost=-0.03, win_game=3.0, lose_game=-1.0)

OPPONENTS = ("random", "expander")


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    dataset: str = ""  # folder or URL of recorded games; empty: the example records some
    board: int = 6
    max_turns: int = 300
    minutes: float = 5.0
    offline: float = 0.4  # share of the minutes without games of its own
    last_share: float = 0.25  # of recorded games in the samples at the end
    caution: float = 0.1  # weight of the penalty on actions that were not played, while offline
    seed: int = 0
    out: Path = Path("runs/train_dqn_from_dataset")
    games: int = 1000  # against each opponent, at the end
    recorded_turns: int = 2000  # of each of 32 games that are recorded if there is no dataset
    num_envs: int = 32
    play_every: int = 4  # steps between turns of its own games
    capacity: int = 200_000  # experiences of each buffer
    batch_size: int = 256
    learning_rate: float = 1e-3
    gamma: float = 0.97
    n_step: int = 5
    target_every: int = 250
    channels: int = 32
    blocks: int = 2

    def options(self) -> dict[str, Any]:
        """Return the options of the games."""
        size = {"height": self.board, "width": self.board}
        return {**size, "max_turns": self.max_turns, "observation": "full", "reward": REWARD}


def record(arguments: Arguments) -> Path:
    """Record games of the built-in policies, if they are not there, and return their folder."""
    folder = arguments.out / "games"
    if not folder.exists():
        for part, pair in enumerate((("expander", "random"), ("expander", "expander"), ("random", "random"))):
            venv = generals_env.make_vec(32, **arguments.options())
            with ExperienceRecorder(venv, folder, f"part-{part}") as env:
                env.reset(seed=arguments.seed + part)
                env.play(arguments.recorded_turns // 3, pair)
    return folder


class OwnGames:
    """Games of the network against built-in policies, recorded into a buffer."""

    def __init__(self, arguments: Arguments, buffer: PrioritizedReplayBuffer) -> None:
        self.venv = generals_env.make_vec(arguments.num_envs, **arguments.options())
        self.env = ExperienceRecorder(self.venv, buffer)
        self.seen, _ = self.env.reset(seed=arguments.seed + 1000)
        self.rng = np.random.default_rng(arguments.seed)
        self.expander = np.arange(arguments.num_envs)[:, None] % 2 == 1

    def play(self, policy: NetworkPolicy) -> None:
        """Play one turn of all games, a tenth of the moves at random."""
        at_random, expanding = self.venv.act(("random", "random")), self.venv.act(("expander", "expander"))
        actions = np.where(self.expander, expanding, at_random)
        best = policy({name: array[:, 0] for name, array in self.seen.items()})
        actions[:, 0] = np.where(self.rng.random(len(best)) < 0.1, at_random[:, 0], best)
        self.seen = self.env.step(actions)[0]


class Learner:
    """Double Q-learning with a penalty on the values of legal actions that were not played, while it learns offline.

    Without it, errors of values of actions that no recorded game shows are never corrected: Kumar et al., "Conservative
    Q-Learning for Offline Reinforcement Learning", 2020.
    """

    def __init__(self, arguments: Arguments, channels: int) -> None:
        self.arguments, self.step = arguments, 0
        torch.manual_seed(arguments.seed)
        self.model = QNetwork((channels, arguments.board, arguments.board), arguments.channels, arguments.blocks)
        self.target = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=arguments.learning_rate)

    def learn(self, mixed: MixedSampler, caution: float) -> float:
        """Take one step and return the loss."""
        options = {"n_step": self.arguments.n_step, "gamma": self.arguments.gamma, "augment": True}
        drawn = mixed.sample(self.arguments.batch_size, **options)
        batch, weights = drawn.batch.to_torch("cpu"), torch.from_numpy(drawn.weights)
        found = double_dqn_loss(self.model, self.target, batch, weights, self.arguments.gamma)
        loss = found.loss
        if caution:
            values = self.model(batch.states)
            legal = values.masked_fill(batch.action_masks == 0, -torch.inf).logsumexp(1)
            loss = loss + caution * (legal - values.gather(1, batch.actions[:, None])[:, 0]).mean()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        mixed.update_priorities(drawn, found.errors.abs().numpy())
        self.step += 1
        if self.step % self.arguments.target_every == 0:
            self.target.load_state_dict(self.model.state_dict())
        return float(loss.detach())


def train(arguments: Arguments, dataset: str | Path) -> NetworkPolicy:
    """Train for ``minutes``, save the network, and return its policy."""
    buffers = {name: PrioritizedReplayBuffer(arguments.capacity, seed=arguments.seed) for name in ("recorded", "own")}
    for batch in open_dataset(dataset):
        buffers["recorded"].write(batch)
    start = arguments.offline
    end = {"recorded": arguments.last_share, "own": 1 - arguments.last_share}
    schedule = MixSchedule({0.0: {"recorded": 1}, start: {"recorded": 1}, 1.0: end})
    mixed = MixedSampler(buffers, schedule.weights(0.0), seed=arguments.seed)
    learner = Learner(arguments, buffers["recorded"].sample(1).batch.states().shape[1])
    policy, own = NetworkPolicy(learner.model), OwnGames(arguments, buffers["own"])
    title = f"Q-learning from recorded games, then from its own, on {arguments.board}x{arguments.board}"
    often = {"games": min(200, arguments.games), "every": arguments.minutes / 10, "random_moves": 0.05, "title": title}
    evaluation = PeriodicEvaluation(arguments.out, OPPONENTS, **often, **arguments.options())
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task("training", total=arguments.minutes)
        began = time.monotonic()
        while (minutes := (time.monotonic() - began) / 60) < arguments.minutes or not learner.step:
            passed = minutes / arguments.minutes
            if passed >= start and learner.step % arguments.play_every == 0:
                own.play(policy)
            mixed.set_weights(schedule.weights(passed))
            loss = learner.learn(mixed, arguments.caution * max(0.0, 1 - passed / max(start, 1e-9)))
            progress.update(task, completed=minutes, description=f"step {learner.step:,}: loss {loss:.3f}")
            if evaluation.is_due(minutes):
                wins = win_text(evaluation(policy, minutes, learner.step))
                progress.console.print(f"step {learner.step:,}, {passed:.0%} of the time: wins {wins}", soft_wrap=True)
    torch.save({"model": learner.model.state_dict(), "step": learner.step}, arguments.out / "model.pt")
    return policy


def main(arguments: Arguments) -> None:
    """Record if there is no dataset, train, and print the final evaluation."""
    torch.set_num_threads(2)
    policy = train(arguments, arguments.dataset or record(arguments))
    print(f"on {arguments.board}x{arguments.board}, with a twentieth of the moves at random:")
    options = {"seed": arguments.seed + 1, "random_moves": 0.05, **arguments.options()}
    rich.print(result_table(policy, OPPONENTS, arguments.games, **options))
    print(f"progress.csv, curve.png (by matplotlib) and model.pt are in {arguments.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
