"""Trains an agent by self-play: games against itself, its past selves and anchors, with ratings while it trains.

Run it with ``python examples/self_play.py``; ``--help`` shows the arguments. It needs
``pip install "generals_env[arena,torch]"``. Run it again with the same ``--out`` and options to continue a run that was stopped
or killed.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from generals_env.arena.evaluation import elo_text
from generals_env.arena.game_kind import game_config
from generals_env.arena.store import Store
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.learning.self_play.rating_curve import RatingCurve
from generals_env.learning.self_play.training_ratings import TrainingRatings
from generals_env.learning.training.checkpoint import Checkpoints, load_training
from generals_env.learning.training.memory_reuse import keep_freed_memory
from generals_env.learning.training.training_log import TrainingLog
from generals_env.learning.training.training_progress import TrainingProgress
from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    board: int = 8
    minutes: float = 20.0  # of training; the clock stands still during ratings
    seed: int = 0
    out: Path = Path("runs/self_play")
    opponents: str = "expander=3,self=3,pool=2,random=1"  # with weights, in all stages
    curriculum: str = "sizes"  # growing boards; "ready" begins with near generals, a JSON file has stages of yours, "none" none
    pool: int = 8  # past selves at most
    sampling: str = "losses"  # of past selves: those that are not beaten more often; or "uniform", "latest"
    anchors: str = "random,expander,hunter:easy,hunter"  # players of the ratings; expander has 1000 points
    rate_every: float = 2.0  # minutes
    rating_games: int = 100  # against each anchor and the two latest selves
    max_turns: int = PPOConfig.max_turns
    games: int = PPOConfig.games  # at once
    steps: int = PPOConfig.steps  # turns of a rollout
    channels: int = PPOConfig.channels
    blocks: int = PPOConfig.blocks
    threads: int = 0  # of torch; 0 for one a core
    device: str = "cpu"  # "cuda" for a GPU

    def config(self) -> PPOConfig:
        """Return the options of the learner."""
        stages = None if self.curriculum == "none" else self.curriculum
        names = ("board", "max_turns", "opponents", "games", "steps", "channels", "blocks", "device", "seed")
        pool = {"size": self.pool, "sampling": self.sampling}
        return PPOConfig(curriculum=stages, pool=pool, **{name: getattr(self, name) for name in names})


class Watch:
    """Logs each iteration, and rates the learner from time to time.

    Attributes:
        ratings: The ratings.
    """

    def __init__(self, arguments: Arguments, trainer: PPO, store: Store, console: Console) -> None:
        self.arguments, self.trainer, self.console = arguments, trainer, console
        games = game_config(**trainer.config.game_options())
        anchors = [name.strip() for name in arguments.anchors.split(",")]
        self.ratings = TrainingRatings(games, anchors, arguments.rating_games, seed=arguments.seed, store=store)
        self.curve = RatingCurve(arguments.out)
        self.selves = arguments.out / "rated_selves.pt"
        if (kept := load_checkpoint(self.selves)) is not None:
            self.ratings.restore(kept)
        curriculum = trainer.self_play.curriculum
        self._changes = len(curriculum.changes) if curriculum else 0  # those of before a checkpoint were shown
        self._next = float(self.curve.rows[-1]["minutes"]) + arguments.rate_every if self.curve.rows else 0.0

    def rate(self, minutes: float) -> dict[str, float]:
        """Rate the averaged network; return figures for the log."""
        rated = self.ratings.add(self.trainer.agent, self.trainer.samples)
        self.curve.add(self.ratings, minutes)
        save_checkpoint(self.selves, self.ratings.state())
        self.console.print(f"{minutes:.1f} minutes: {rated.line()}", soft_wrap=True, highlight=False)
        self._next = minutes + self.arguments.rate_every
        return self.ratings.figures()

    def report(self, figures: dict[str, float]) -> dict[str, float]:
        """Return the figures of an iteration with those of a rating, if it is time for one."""
        curriculum = self.trainer.self_play.curriculum
        for change in curriculum.changes[self._changes :] if curriculum else ():
            self.console.print(change.line(), soft_wrap=True)
            self._changes += 1
        return figures | (self.rate(figures["minutes"]) if figures["minutes"] >= self._next else {})


def train(arguments: Arguments, console: Console) -> TrainingRatings:
    """Train for ``minutes``; return the ratings."""
    keep_freed_memory()  # page faults took 5% of the time
    trainer = PPO(arguments.config())
    checkpoint = arguments.out / "self_play.pt"
    goes_on = load_training(checkpoint, trainer)
    with (
        Store(arguments.out / "games") as store,
        TrainingLog(arguments.out, since=trainer.samples if goes_on else None) as log,
        Checkpoints(trainer, checkpoint) as checkpoints,
        TrainingProgress(arguments.minutes, console) as progress,
    ):
        watch = Watch(arguments, trainer, store, console)

        def report(figures: dict[str, float]) -> None:
            progress.report(figures)
            log.write(watch.report(figures))
            checkpoints.report(figures)

        trainer.train(arguments.minutes, report)
        if not watch.ratings.rated or watch.ratings.rated[-1].samples < trainer.samples:
            watch.rate(trainer.seconds / 60)
    return watch.ratings


def main(arguments: Arguments) -> None:
    """Train, and print the ratings and what they tell."""
    console = Console()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    ratings = train(arguments, console)
    table = Table("player", "Elo, 95% interval", "games", "won", "drawn or cut off", title=ratings.options.kind)
    for rating in ratings.ratings().players:
        shares = (f"{count / rating.games:.1%}" for count in (rating.wins, rating.draws))
        elo = f"{rating.elo.value:.0f}" if rating.elo.low == rating.elo.high else elo_text(rating.elo)
        table.add_row(rating.player, elo, f"{rating.games:,}", *shares)
    console.print(table)
    first, last = ratings.rated[0].player, ratings.rated[-1].player
    if first != last:
        console.print(ratings.compare(last, first).line(), soft_wrap=True)
    console.print(
        f"progress.csv, ratings.csv, ratings.png (by matplotlib) and self_play.pt, which can be played, are in {arguments.out}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    for field in dataclasses.fields(Arguments):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
