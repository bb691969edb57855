"""Clones the play of people from replays, measures how often it agrees with players it has not seen, and plays games with it.

Run it with ``python examples/behaviour_cloning.py REPLAYS...`` on files, folders, archives or tables of replays; ``--help``
shows the arguments. It needs ``pip install "generals_env[torch,arena]"``. The network ``clone.pt``, ``progress.csv`` and
``accuracy.csv`` are saved in ``--out``. With ``--ppo-minutes`` PPO goes on from the clone on boards of ``--ppo-board``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from generals_env.arena.game_kind import game_config
from generals_env.arena.players import CALLABLE, Player, make_player
from generals_env.arena.statistics.intervals import compare
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.learning.cloning import Accuracy, Cloner, CloningConfig, MoveStore, StoreOptions, games_of_replays
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.networks.policy_network import PolicyNetwork
from generals_env.opponents import as_policy

OPPONENTS = ("random", "expander", "hunter")

#: Headings of the two accuracies, of all entries and of moves alone; see ``Accuracy``.
HEADINGS = ("top-1", "top-5", "moves, top-1", "moves, top-5")


@dataclasses.dataclass
class Arguments:
    """Options of the command line."""

    replays: list[Path] = dataclasses.field(default_factory=list)
    minutes: float = 30.0
    processor_minutes: float = 1e9  # of all threads; training ends at the first of the limits
    steps: int = 10**9
    out: Path = Path("runs/clone")
    players: int = 0  # of the games; 0 for any number
    winners_only: bool = False
    min_stars: float = 0.0
    hold_out: float = 0.1  # share of the players
    channels: int = 48
    blocks: int = 4
    batch_size: int = 512
    learning_rate: float = 2e-3
    pass_weight: float = 1.0
    bfloat16: bool = False
    threads: int = 0  # of torch; 0 for as many as there are cores
    seed: int = 0
    games: int = 400  # against each opponent, from both seats of each map; 0 for none
    board: int = 20  # of these games
    max_turns: int = 1000
    ppo_minutes: float = 0.0
    ppo_board: int = 8


def read(arguments: Arguments, progress: Progress) -> MoveStore:
    """Return the moves of the replays."""
    task = progress.add_task("reading replays", total=None)
    options = StoreOptions(arguments.players, arguments.winners_only, arguments.min_stars)
    found = games_of_replays(arguments.replays)
    store = MoveStore.of(
        found, options, lambda count: progress.update(task, description=f"reading replays: {count:,}", completed=count)
    )
    progress.update(task, total=len(store.games), completed=len(store.games))
    return store


def cloned(arguments: Arguments, store: MoveStore, progress: Progress) -> Cloner:
    """Train a network on the moves of a store, and save it."""
    names = ("hold_out", "channels", "blocks", "batch_size", "learning_rate", "pass_weight", "bfloat16", "seed")
    cloner = Cloner(store, CloningConfig(**{name: getattr(arguments, name) for name in names}))
    limits = {"steps": arguments.steps, "processor_minutes": arguments.processor_minutes}
    logged(cloner.train, arguments.minutes, arguments.out / "progress.csv", "cloning", progress, **limits)
    cloner.save(arguments.out / "clone.pt", minutes=arguments.minutes)
    return cloner


def logged(train: Callable[..., None], minutes: float, path: Path, name: str, progress: Progress, **limits: Any) -> None:
    """Train with a progress bar; the figures of every twentieth report are written to a table."""
    task = progress.add_task(name, total=minutes)
    reports = 0
    with path.open("w", newline="") as file:
        rows: csv.DictWriter[str] | None = None

        def report(figures: dict[str, float]) -> None:
            nonlocal reports, rows
            if rows is None:
                rows = csv.DictWriter(file, list(figures))
                rows.writeheader()
            if reports % 20 == 0:
                rows.writerow(figures)
                file.flush()
            reports += 1
            told = f", {figures['top1']:.0%} of the last batch" if "top1" in figures else ""
            progress.update(task, completed=figures["minutes"], description=f"{name}: {reports:,} steps{told}")

        train(minutes, report=report, **limits)
    progress.update(task, completed=minutes)


def accuracies(cloner: Cloner, out: Path, progress: Progress) -> Table:
    """Measure the clone and the baselines in the moves of players held out; save and return the table."""
    task = progress.add_task("measuring accuracy", total=2)
    found: dict[str, Accuracy] = {"clone": cloner.accuracy()}
    progress.advance(task)
    found |= cloner.baselines()
    progress.advance(task)
    with (out / "accuracy.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["policy", *(field.name for field in dataclasses.fields(Accuracy))])
        rows.writeheader()
        rows.writerows({"policy": name, **dataclasses.asdict(one)} for name, one in found.items())
    clone = found["clone"]
    title = f"{clone.entries:,} entries of players held out, {clone.moves:,} of them moves"
    table = Table("policy", *HEADINGS, title=title)
    for name, one in found.items():
        shares = (one.top1, one.top5, one.moves_top1, one.moves_top5)
        table.add_row(name, *("-" if share is None else f"{share:.1%}" for share in shares))
    return table


class Logits(torch.nn.Module):
    """The logits of a network, for ``as_policy``."""

    def __init__(self, network: PolicyNetwork) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, views: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the logits (n, A)."""
        logits: torch.Tensor = self.network(views["observation"])[0]
        return logits


def played(network: PolicyNetwork, name: str, board: int, arguments: Arguments, progress: Progress) -> Table:
    """Play games against the built-in policies, and return the results."""
    policy = as_policy(Logits(network))
    clone = Player(name, name, CALLABLE, name, policy=policy, channels=21)
    options = ArenaOptions(game_config(height=board, width=board, max_turns=arguments.max_turns), arguments.games)
    task = progress.add_task(f"games of {name}", total=arguments.games * len(OPPONENTS))
    opponents = [make_player(opponent) for opponent in OPPONENTS]
    games = play_arena(pairs_of([clone], opponents), options, on_games=lambda _, new: progress.advance(task, len(new)))
    table = Table("opponent", "wins", "draws", "losses", title=f"{name}: {arguments.games:,} games on {board}x{board}")
    for opponent in OPPONENTS:
        result = compare(games, name, opponent)
        rates = (result.win_rate, result.draw_rate, result.loss_rate)
        table.add_row(opponent, *(f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})" for rate in rates))
    return table


def main(arguments: Arguments) -> None:
    """Read, train, measure, play."""
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console) as progress:
        store = read(arguments, progress)
        cloner = cloned(arguments, store, progress)
        training, held_out = (sum(map(len, entries)) for entries in cloner.split[:2])
        console.print(f"{len(store.games):,} games, {training:,} entries to learn from, {held_out:,} held out")
        console.print(f"left out: {store.left_out}, {cloner.split.left_out} in games with a player held out")
        console.print(f"skipped games: {store.skipped}")
        tables = [accuracies(cloner, arguments.out, progress)]
        clone: PolicyNetwork = cloner.averaged.module
        if arguments.games:
            tables.append(played(clone, "clone", arguments.board, arguments, progress))
        if arguments.ppo_minutes:
            size = {name: clone.options()[name] for name in ("channels", "blocks", "value_bins", "layout")}
            learner = PPO(PPOConfig(board=arguments.ppo_board, seed=arguments.seed, **size))
            learner.network.load_state_dict(clone.state_dict())
            logged(learner.train, arguments.ppo_minutes, arguments.out / "ppo.csv", "PPO", progress)
            if arguments.games:
                tables.append(played(learner.averaged.module, "clone-ppo", arguments.ppo_board, arguments, progress))
    for table in tables:
        console.print(table)
    console.print(f"clone.pt, progress.csv and accuracy.csv are in {arguments.out}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("replays", type=Path, nargs="+")
    for field in dataclasses.fields(Arguments)[1:]:
        option = f"--{field.name.replace('_', '-')}"
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true")
        else:
            parser.add_argument(option, type=type(field.default), default=field.default)
    main(Arguments(**vars(parser.parse_args())))
