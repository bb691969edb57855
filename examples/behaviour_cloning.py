"""Clones the play of people from replays, measures how often it agrees with players it has not seen, and plays games with it.

Run it with ``python examples/behaviour_cloning.py REPLAYS...`` on files, folders, archives or tables of replays; ``--help``
shows the arguments. It needs ``pip install "generals_env[torch]"``, for tables ``"generals_env[storage]"``. The network
``clone.pt``, ``progress.csv`` and ``accuracy.csv`` are saved in ``--out``. With ``--ppo-minutes`` PPO goes on from the clone on
boards of ``--ppo-board``, and saves ``agent.pt``. Then play against it: ``generals-env play --opponent runs/clone/clone.pt``.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from generals_env.agents.sampled_player import SampledPlayer
from generals_env.learning.cloning import Accuracy, Cloner, CloningConfig, MoveStore, StoreOptions, games_of_replays
from generals_env.learning.evaluation import result_table
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.networks.network_player import TorchLogits
from generals_env.networks.policy_file import save_policy_network
from generals_env.networks.policy_network import PolicyNetwork

OPPONENTS = ("random", "expander", "hunter")

#: Headings of the accuracies, of all entries and of moves alone; see ``Accuracy``.
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
    channels: int = 32
    blocks: int = 2
    batch_size: int = 256
    learning_rate: float = 2e-3
    pass_weight: float = 1.0
    threads: int = 0  # of torch; 0 for as many as there are cores
    device: str = "cpu"
    seed: int = 0
    games: int = 400  # against each opponent, half of them from each seat; 0 for none
    board: int = 20  # of these games
    max_turns: int = 1000
    ppo_minutes: float = 0.0
    ppo_board: int = 8


def bar(console: Console) -> Progress:
    """Return a progress bar."""
    return Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), console=console)


def read(arguments: Arguments, console: Console) -> MoveStore:
    """Return the moves of the replays."""
    options = StoreOptions(arguments.players, arguments.winners_only, arguments.min_stars)
    with bar(console) as progress:
        task = progress.add_task("reading replays", total=None)

        def show(count: int) -> None:
            progress.update(task, description=f"reading replays: {count:,}")

        store = MoveStore.of(games_of_replays(arguments.replays), options, show)
        progress.update(task, total=1, completed=1)
    return store


def logged(train: Callable[..., None], minutes: float, path: Path, console: Console, **limits: Any) -> None:
    """Train with a progress bar; the figures of every twentieth report are written to a table."""
    reports = 0
    with path.open("w", newline="") as file, bar(console) as progress:
        task = progress.add_task("training", total=minutes)
        rows: csv.DictWriter[str] | None = None

        def report(figures: dict[str, float]) -> None:
            nonlocal reports, rows
            if rows is None:
                rows = csv.DictWriter(file, list(figures), extrasaction="ignore", restval="")
                rows.writeheader()
            if reports % 20 == 0:
                rows.writerow(figures)
                file.flush()
            reports += 1
            told = f", {figures['top1']:.0%} of the last batch" if "top1" in figures else ""
            progress.update(task, completed=figures["minutes"], description=f"training: {reports:,} steps{told}")

        train(minutes, report, **limits)
        progress.update(task, completed=minutes)


def cloned(arguments: Arguments, store: MoveStore, console: Console) -> Cloner:
    """Train a network on the moves of a store, and save it."""
    names = ("hold_out", "channels", "blocks", "batch_size", "learning_rate", "pass_weight", "device", "seed")
    cloner = Cloner(store, CloningConfig(**{name: getattr(arguments, name) for name in names}))
    limits = {"steps": arguments.steps, "processor_minutes": arguments.processor_minutes}
    logged(cloner.train, arguments.minutes, arguments.out / "progress.csv", console, **limits)
    cloner.save(arguments.out / "clone.pt", minutes=arguments.minutes)
    return cloner


def accuracies(cloner: Cloner, out: Path) -> Table:
    """Measure the clone and the baselines in the moves of players held out; save and return the table."""
    found: dict[str, Accuracy] = {"clone": cloner.accuracy(), **cloner.baselines()}
    with (out / "accuracy.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, ["policy", *(field.name for field in dataclasses.fields(Accuracy))])
        rows.writeheader()
        rows.writerows({"policy": name, **dataclasses.asdict(one)} for name, one in found.items())
    clone = found["clone"]
    table = Table("policy", *HEADINGS, title=f"{clone.entries:,} entries of players held out, {clone.moves:,} of them moves")
    for name, one in found.items():
        shares = (one.top1, one.top5, one.moves_top1, one.moves_top5)
        table.add_row(name, *("-" if share is None else f"{share:.1%}" for share in shares))
    return table


def played(network: PolicyNetwork, board: int, arguments: Arguments) -> Table:
    """Play games against the built-in policies, and return the results."""
    agent = SampledPlayer(TorchLogits(network.eval()), seed=arguments.seed)
    options = {"height": board, "width": board, "max_turns": arguments.max_turns, "observation": network.layout}
    table = result_table(agent, OPPONENTS, arguments.games, seed=arguments.seed, **options)
    table.title = f"{table.title}, on {board}x{board}"
    return table


def main(arguments: Arguments) -> None:
    """Read, train, measure, play."""
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    store = read(arguments, console)
    cloner = cloned(arguments, store, console)
    training, held_out = (sum(map(len, entries)) for entries in cloner.split[:2])
    console.print(f"{len(store.games):,} games, {training:,} entries to learn from, {held_out:,} held out")
    console.print(f"left out: {store.left_out}, and {cloner.split.left_out:,} of the others in games of players held out")
    console.print(f"skipped games: {store.skipped}")
    with console.status("measuring how often it agrees with people"):
        table = accuracies(cloner, arguments.out)
    console.print(table)
    if arguments.games:
        console.print(played(cloner.agent, arguments.board, arguments))
    if arguments.ppo_minutes:
        clone = str(arguments.out / "clone.pt")
        learner = PPO(PPOConfig(board=arguments.ppo_board, initial=clone, device=arguments.device, seed=arguments.seed))
        logged(learner.train, arguments.ppo_minutes, arguments.out / "ppo.csv", console)
        save_policy_network(arguments.out / "agent.pt", learner.agent, {"from": clone}, learner.samples)
        if arguments.games:
            console.print(played(learner.agent, arguments.ppo_board, arguments))
    console.print(f"The network is in {arguments.out}/clone.pt.")


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
