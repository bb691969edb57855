"""Counts how a policy fares against opponents: ``play_games``, and ``PeriodicEvaluation`` for training loops."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from generals_env.arena.game_kind import game_config
from generals_env.arena.players import BUILTIN, CALLABLE, Player
from generals_env.arena.players import make_player as builtin_player
from generals_env.arena.tournament import ArenaOptions, play_arena
from generals_env.arguments import check_integer, is_number
from generals_env.config import GameConfig
from generals_env.errors import ConfigError, StorageError
from generals_env.learning.curves import draw_curve, read_curve
from generals_env.opponents import BatchPolicy, as_policy
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file

__all__ = ["GameCounts", "PeriodicEvaluation", "play_games", "result_table", "win_text"]


@dataclass(frozen=True)
class GameCounts:
    """How games of a policy against an opponent ended.

    Attributes:
        won: Games won.
        lost: Games lost.
        tied: Games drawn, or cut off at the turn limit.
        turns: Mean number of turns of a game.
    """

    won: int
    lost: int
    tied: int
    turns: float

    @property
    def games(self) -> int:
        """Number of games."""
        return self.won + self.lost + self.tied

    @property
    def wins(self) -> float:
        """Share of games won: a draw or a game that was cut off is not won."""
        return self.won / self.games


def play_games(
    policy: Any,
    opponent: Any,
    games: int = 1000,
    *,
    seed: int = 0,
    random_moves: float = 0.0,
    on_games: Callable[[int], None] | None = None,
    config: GameConfig | None = None,
    **options: Any,
) -> GameCounts:
    """Play games of a policy against an opponent, half of them from each seat, each to its end, and count how they ended.

    All calls with the same seed and options play the same maps, each map from both seats. Policies are asked for the moves of
    up to 256 games in one batch.

    Args:
        policy: A policy for batches of observations, or another one that ``opponent`` of ``generals_env.make_vec`` takes.
        opponent: A built-in policy by its name, or another one.
        games: An even number.
        seed: Seed of the maps.
        random_moves: Share of the moves of ``policy`` that are random legal ones: without memory, a policy that always takes
            the best move may move back and forth for ever.
        on_games: Called with the number of games played so far.
        config: Options of the games, in place of ``options``.
        **options: Options of the games, as of ``generals_env.make``; ``observation`` is the layout that policies see.

    Raises:
        ConfigError: If an argument is invalid, or a policy does not fit the games.
        OptionError: If an option is unknown.
        StateError: If a policy fails.
    """
    if config is not None and options:
        raise ConfigError(f"config: expected no options beside it, got {', '.join(options)}: pass one of both")
    if not is_number(random_moves) or not 0 <= random_moves <= 1:
        raise ConfigError(f"random_moves: expected a number from 0 to 1, got {random_moves!r:.80}")
    kind = game_config(**options) if config is None else config
    channels = len(kind.channels)
    one = player_of("policy", policy, channels, random_moves)
    two = player_of("opponent", opponent, channels)
    done = 0

    def count(_: tuple[Player, Player], new: Any) -> None:
        nonlocal done
        done += len(new)
        if on_games is not None:
            on_games(done)

    played = play_arena([(one, two)], ArenaOptions(config=kind, games=games, seed=seed), on_games=count)
    winners = [game.players[game.winner] if game.winner >= 0 else "" for game in played]
    won, lost = winners.count(one.name), winners.count(two.name)
    return GameCounts(won, lost, len(played) - won - lost, sum(game.turns for game in played) / len(played))


def player_of(name: str, policy: Any, channels: int, random_moves: float = 0.0) -> Player:
    """Return a player of the arena; its name tells the two sides apart."""
    known: BatchPolicy | str = as_policy(policy)
    if isinstance(known, str):
        built_in = builtin_player(known)
        return Player(name, known, BUILTIN, built_in.identity, code=built_in.code)
    samples = not hasattr(known, "probabilities")
    return Player(name, name, CALLABLE, name, policy=known, channels=channels, random_moves=random_moves, samples=samples)


class PeriodicEvaluation:
    """Plays games with a policy from time to time during training; writes ``progress.csv`` and draws ``curve.png``.

    A run that continues in the same folder adds to the table, and its minutes go on.

    Examples:
        >>> evaluation = PeriodicEvaluation("runs/mine", every=0.5, height=6, width=6)  # doctest: +SKIP
        >>> while minutes < 5:
        ...     step = train_some_steps()
        ...     if evaluation.is_due(minutes):
        ...         print(evaluation(policy, minutes, step))

    Attributes:
        table: The CSV file: ``minutes``, ``step``, and ``wins_NAME`` and ``games_NAME`` of each opponent.
        picture: The curve.
        rows: The rows of the table.
    """

    def __init__(
        self,
        folder: str | Path,
        opponents: Iterable[str] = ("random", "expander"),
        *,
        games: int = 200,
        every: float = 1.0,
        seed: int = 0,
        random_moves: float = 0.0,
        title: str = "Wins during training",
        whole_minutes: bool = False,
        **options: Any,
    ) -> None:
        """Prepare; read the table of an earlier run.

        Args:
            folder: Folder of the two files, made if it is not there.
            opponents: Names of built-in policies.
            games: Games against each opponent, an even number.
            every: Minutes of training between evaluations.
            seed: Seed of the maps, the same in each evaluation.
            random_moves: As of ``play_games``.
            title: Title of the curve.
            whole_minutes: Whether the minutes that calls pass are those of the whole training, earlier runs included, as
                those of ``PPO.train`` are.
            **options: Options of the games, as of ``generals_env.make``.

        Raises:
            ConfigError: If an argument is invalid.
            OptionError: If an option is unknown.
            StorageError: If the table of an earlier run cannot be read.
        """
        self.opponents = tuple(opponents)
        self.games = check_integer("games", games, 2, 10**7)
        if not is_number(every) or not 0 < every < float("inf"):
            raise ConfigError(f"every: expected a number of minutes above 0, got {every!r:.80}")
        self.every, self.seed, self.random_moves, self.title = float(every), seed, random_moves, title
        self.config = game_config(**options)
        self.table, self.picture = Path(folder) / "progress.csv", Path(folder) / "curve.png"
        self.rows: list[dict[str, float]] = []
        if self.table.exists():
            read_curve(self.table)  # raises for another table
            lines = csv.DictReader(self.table.read_text(encoding="utf-8").splitlines())
            self.rows = [{name: float(value) for name, value in row.items()} for row in lines]
        last = self.rows[-1]["minutes"] if self.rows else 0.0
        self.before = 0.0 if whole_minutes else last
        self._next = last + self.every if whole_minutes and self.rows else 0.0

    def is_due(self, minutes: float) -> bool:
        """Return whether to evaluate after these minutes of this run: at its beginning, and ``every`` so many."""
        return minutes >= self._next

    def __call__(self, policy: Any, minutes: float, step: int) -> dict[str, GameCounts]:
        """Evaluate after some minutes and steps of training, write the table, and draw the curve if matplotlib is installed.

        Raises:
            StateError: If the policy fails.
            StorageError: If the files cannot be written.
        """
        counts = {
            name: play_games(policy, name, self.games, seed=self.seed, random_moves=self.random_moves, config=self.config)
            for name in self.opponents
        }
        self._next = minutes + self.every
        row = {"minutes": round(self.before + minutes, 4), "step": step}
        for name, found in counts.items():
            row |= {f"wins_{name}": round(found.wins, 6), f"games_{name}": found.games}
        self.rows.append(row)
        self._write()
        return counts

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]), restval=0)
        writer.writeheader()
        writer.writerows(self.rows)
        try:
            make_folder(self.table.parent)
            replace_file(self.table, lambda file: file.write(text.getvalue().encode()))
        except OSError as error:
            raise StorageError(f"folder: expected one that can be written, got {str(self.table.parent)!r} ({error})") from error
        try:
            draw_curve(read_curve(self.table), self.picture, title=self.title, xlabel="minutes of training")
        except ImportError:  # a picture is no reason to end a training
            return


def win_text(counts: Mapping[str, GameCounts]) -> str:
    """Return the shares of games won as text, such as ``"97% against random, 40% against expander"``."""
    return ", ".join(f"{found.wins:.0%} against {name}" for name, found in counts.items())


def result_table(policy: Any, opponents: Iterable[str], games: int = 1000, **arguments: Any) -> Table:
    """Play games against each opponent, with a progress bar, and return a table of the results to print with ``rich``.

    Args:
        policy: As of ``play_games``.
        opponents: Names of built-in policies.
        games: Games against each of them, an even number.
        **arguments: Further arguments of ``play_games``.

    Raises:
        GeneralsError: As ``play_games``.
    """
    table = Table("opponent", "wins", "losses", "draws", "mean turns", title=f"{games:,} games, half of them from each seat")
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as progress:
        for opponent in opponents:
            task = progress.add_task(f"playing against {opponent}", total=games)
            found = play_games(policy, opponent, games, on_games=partial(shown, progress, task), **arguments)
            shares = (f"{count / found.games:.1%}" for count in (found.won, found.lost, found.tied))
            table.add_row(opponent, *shares, f"{found.turns:.0f}")
    return table


def shown(progress: Progress, task: TaskID, done: int) -> None:
    """Show how many games are played."""
    progress.update(task, completed=done)
