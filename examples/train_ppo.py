"""Trains an agent by PPO from random weights, with a curriculum, then measures how many games it wins.

Run it with ``python examples/train_ppo.py``; ``--help`` shows the arguments. It needs ``pip install "generals_env[torch]"``,
draws a curve where matplotlib is installed, and writes logs for TensorBoard where that is. Run it again with the same ``--out``
to go on with a training that was stopped. Then play against the agent:
``generals-env play --opponent runs/train_ppo/agent.pt``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import rich
import torch

from generals_env.agents.sampled_player import SampledPlayer
from generals_env.learning.evaluation import PeriodicEvaluation, result_table, win_text
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.training.checkpoint import Checkpoints, load_training
from generals_env.learning.training.memory_reuse import keep_freed_memory
from generals_env.learning.training.training_log import TrainingLog
from generals_env.learning.training.training_progress import TrainingProgress
from generals_env.networks.network_player import TorchLogits


@dataclasses.dataclass
class Arguments:
    """Options of the command line; all others of ``PPOConfig`` follow ``--set``, as in ``--set gamma=0.995 --set blocks=2``."""

    board: int = 8
    minutes: float = 20.0
    opponents: str = "expander=7,random=1"  # names with weights; "self" for the learner itself, "pool" for past selves
    curriculum: str = "sizes"  # growing boards; "ready" begins with near generals, a JSON file has stages of yours, "none" none
    seed: int = 0
    out: Path = Path("runs/train_ppo")
    games: int = 1000  # against each opponent, at the end
    evaluate_every: float = 2.0  # minutes; the clock of the training stands still meanwhile
    evaluation_games: int = 200
    threads: int = 0  # of torch; 0 for one a core
    device: str = "cpu"  # "cuda" for a GPU
    anchors: str = "random,expander"  # built-in policies that the agent is measured against

    def config(self, others: list[str]) -> PPOConfig:
        """Return the options of the learner."""
        curriculum = None if self.curriculum == "none" else self.curriculum
        own = {"board": self.board, "opponents": self.opponents, "curriculum": curriculum}
        return PPOConfig(**{**own, "seed": self.seed, "device": self.device, **dict(map(option, others))})


def option(text: str) -> tuple[str, Any]:
    """Return the name and the value of ``NAME=VALUE``; the value is JSON, or a text as it is."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(arguments: Arguments, others: list[str]) -> None:
    """Train, evaluate from time to time, save the agent, and measure it."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # page faults took 5% of the time
    config = arguments.config(others)
    trainer = PPO(config)
    anchors = arguments.anchors.split(",")
    game: dict[str, Any] = config.game_options()
    evaluation = PeriodicEvaluation(
        arguments.out,
        anchors,
        games=arguments.evaluation_games,
        every=arguments.evaluate_every,
        title=f"PPO on {arguments.board}x{arguments.board}",
        whole_minutes=True,
        **game,
    )
    load_training(arguments.out / "agent.pt", trainer)  # does nothing if there is no such file
    agent = SampledPlayer(TorchLogits(trainer.agent), seed=arguments.seed)
    with (
        Checkpoints(trainer, arguments.out / "agent.pt") as checkpoints,
        TrainingLog(arguments.out / "log", since=trainer.samples or None) as log,
        TrainingProgress(arguments.minutes) as progress,
    ):

        def report(figures: dict[str, float]) -> None:
            progress.report(figures)
            log.write(figures)
            checkpoints.report(figures)
            if evaluation.is_due(figures["minutes"]):
                counts = evaluation(agent, figures["minutes"], int(figures["samples"]))
                progress.say(f"{figures['minutes']:5.1f} minutes, {figures['samples']:,} samples: wins {win_text(counts)}")

        trainer.train(arguments.minutes, report)
    rich.print(result_table(agent, anchors, arguments.games, seed=arguments.seed + 10**6, **game))
    rich.print(
        f"The agent is in {arguments.out}/agent.pt. Play against it: generals-env play --opponent {arguments.out}/agent.pt"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an option of PPOConfig")
    given = vars(parser.parse_args())
    rest = given.pop("set")
    try:
        main(Arguments(**given), rest)
    except KeyboardInterrupt:
        rich.print("Stopped, and saved: the same command goes on from there.")
        sys.exit(130)
