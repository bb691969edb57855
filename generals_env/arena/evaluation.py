"""Plays a player through a task and says how strong it is, in one line to cite: ``evaluate``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import Player, make_player
from generals_env.arena.statistics.game_table import LOST_FIRST, TIED, WON_FIRST, GameTable
from generals_env.arena.statistics.intervals import Comparison, Estimate, compare, mean_of_opponents
from generals_env.arena.statistics.libraries import check_libraries
from generals_env.arena.statistics.placement import place
from generals_env.arena.store import Store
from generals_env.arena.tasks import Task, find_task
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.arguments import check_integer
from generals_env.errors import ConfigError
from generals_env.version import __version__

__all__ = ["Evaluation", "elo_text", "evaluate", "task_digests"]

#: Maps whose games make the digests of a task's opponents.
DIGEST_MAPS = 4


@dataclass(frozen=True)
class Evaluation:
    """The result of a player in a task.

    Attributes:
        task: The task.
        player: Name of the player; for a file, its name with the first digits of its SHA-256.
        identity: What played: the SHA-256 of a file, a command, or the version of a built-in policy.
        version: Version of this package.
        elo: Rating on the task's scale, on which ``expander`` has 1000.
        comparisons: Results against each opponent, from the weakest on.
        wins: Games won, and their share.
        draws: Games drawn or cut off at the turn limit, and their share.
        losses: Games lost, and their share.
        whole: Whether all games of the task were played.
        games: The games.
    """

    task: Task
    player: str
    identity: str
    version: str
    elo: Estimate
    comparisons: tuple[Comparison, ...]
    wins: tuple[int, Estimate]
    draws: tuple[int, Estimate]
    losses: tuple[int, Estimate]
    whole: bool
    games: tuple[PlayedGame, ...] = field(repr=False)

    def line(self) -> str:
        """Return the line to cite: task, player, rating and results with their 95% intervals, games, and version."""
        counts = (("won", self.wins), ("drawn", self.draws), ("lost", self.losses))
        shares = ", ".join(
            f"{word} {100 * rate.value:.1f}% ({100 * rate.low:.1f} to {100 * rate.high:.1f})" for word, (_, rate) in counts
        )
        part = "" if self.whole else " (a part of the task)"
        return (
            f"{self.task.name}: {self.player}, Elo {elo_text(self.elo)}, {shares} of {len(self.games):,} games{part}, "
            f"95% intervals, generals_env {self.version}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        totals = {
            name: {"games": count, "rate": rate.to_dict()}
            for name, (count, rate) in (("wins", self.wins), ("draws", self.draws), ("losses", self.losses))
        }
        return {
            "task": self.task.to_dict(),
            "player": self.player,
            "identity": self.identity,
            "generals_env": self.version,
            "games": len(self.games),
            "whole_task": self.whole,
            "elo": self.elo.to_dict(),
            **totals,
            "opponents": [comparison.to_dict() for comparison in self.comparisons],
            "line": self.line(),
        }


def evaluate(
    player: str | Player,
    task: str | Task,
    *,
    games: int | None = None,
    trust: bool = False,
    store: Store | None = None,
    on_games: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Play a player against the opponents of a task and return its results.

    The same player plays the same games again: their maps and the opponents' random numbers are the task's. A player that is
    one of the opponents does not play against itself.

    Args:
        player: A ``Player``, or a name: a checkpoint, a model, ``module:callable``, a built-in policy, or ``stdio:COMMAND``.
        task: A task or its name, such as ``"generals-8x8-v0"``.
        games: Games against each opponent, an even number, for a first look; default: as many as the task says.
        trust: Whether to load files that can run code of their own, see ``make_player``.
        store: Keeps the games, so that an evaluation that was ended goes on; it must be open for writing.
        on_games: Called with the numbers of games that are played, and of all games.

    Raises:
        ConfigError: If there is no such task or player, it does not fit the task, or scipy or statsmodels is not installed.
        StateError: If the policy fails.
        StorageError: If a file cannot be loaded, or the store cannot be written.
    """
    check_libraries()
    played_task = find_task(task) if isinstance(task, str) else task
    if not isinstance(played_task, Task):
        raise ConfigError(f"task: expected a Task or its name, got {task!r:.200}")
    one = make_player(player, trust) if isinstance(player, str) else player
    each = played_task.games if games is None else check_integer("games", games, 2, played_task.games)
    opponents = [make_player(name) for name in played_task.opponents if name != one.name]
    total, done = each * len(opponents), 0

    def count(_: tuple[Player, Player], new: Sequence[PlayedGame]) -> None:
        nonlocal done
        done += len(new)
        if on_games is not None:
            on_games(done, total)

    options = ArenaOptions(config=played_task.config, games=each, seed=played_task.seed)
    played = play_arena(pairs_of([one], opponents), options, store, count)
    return summarized(played_task, one, [opponent.name for opponent in opponents], played, each == played_task.games)


def summarized(task: Task, player: Player, opponents: Sequence[str], games: Sequence[PlayedGame], whole: bool) -> Evaluation:
    """Return the results of games of a player against all opponents."""
    table = GameTable.of(games)
    met = [table.between(player.name, name) for name in opponents]
    points = [np.where(part.first == part.index[player.name], part.results, WON_FIRST - part.results) for part in met]
    totals = []
    for kind in (WON_FIRST, TIED, LOST_FIRST):
        shares = [(part, (own == kind).astype(float)) for part, own in zip(met, points, strict=True)]
        totals.append((sum(int((own == kind).sum()) for own in points), mean_of_opponents(shares)))
    scale = {name: elo for name, elo in task.scale.items() if name != player.name}
    return Evaluation(
        task=task,
        player=player.name,
        identity=player.identity,
        version=__version__,
        elo=place(table, player.name, scale),
        comparisons=tuple(compare(table, player.name, name) for name in opponents),
        wins=totals[0],
        draws=totals[1],
        losses=totals[2],
        whole=whole,
        games=tuple(games),
    )


def elo_text(elo: Estimate) -> str:
    """Return a rating with its interval, rounded; only the limit if the other side has none."""
    if math.isinf(elo.high):
        return f"at least {elo.low:.0f}"
    if math.isinf(elo.low):
        return f"at most {elo.high:.0f}"
    return f"{elo.value:.0f} ({elo.low:.0f} to {elo.high:.0f})"


def task_digests(task: Task) -> dict[str, str]:
    """Return sixteen digits for each opponent of a task, by name, which change if the opponent plays otherwise.

    They are the first ones of the SHA-256 of the results of its games against ``expander``, or of that one against ``random``,
    on the first maps of the task, from both seats.
    """
    options = ArenaOptions(config=task.config, games=2 * DIGEST_MAPS, seed=task.seed)
    digests = {}
    for name in task.opponents:
        other = "random" if name == "expander" else "expander"
        games = play_arena(pairs_of([make_player(name)], [make_player(other)]), options)
        lines = sorted(f"{game.map} {game.players} {game.winner} {game.ended} {game.turns}" for game in games)
        digests[name] = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    return digests
