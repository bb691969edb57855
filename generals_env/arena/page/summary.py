"""Counts results of games: of each player in each seat, and of each pair of players."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.game_table import GameTable
from generals_env.arena.statistics.intervals import Comparison, compare

__all__ = ["Counts", "Summary", "summarize"]


@dataclass(frozen=True)
class Counts:
    """Numbers of wins, draws and losses; a game that was cut off is a draw."""

    wins: int = 0
    draws: int = 0
    losses: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the sums."""
        return Counts(self.wins + other.wins, self.draws + other.draws, self.losses + other.losses)

    @property
    def games(self) -> int:
        """Number of games."""
        return self.wins + self.draws + self.losses

    @property
    def score(self) -> float:
        """Wins and half of the draws as a share of the games, 0 without games."""
        return (self.wins + self.draws / 2) / max(self.games, 1)


@dataclass(frozen=True)
class Summary:
    """What the games add up to.

    Attributes:
        players: Names, best first.
        pairs: Results of the first player against the second; both orders of each pair that met.
        seats: Counts of each player in seat 0 and in seat 1.
    """

    players: tuple[str, ...]
    pairs: dict[tuple[str, str], Comparison]
    seats: dict[str, tuple[Counts, Counts]]

    def of_player(self, name: str) -> Counts:
        """Return the counts of a player in both seats."""
        first, second = self.seats[name]
        return first + second


def summarize(games: Sequence[PlayedGame], order: Iterable[str] = (), groups: Sequence[Sequence[str]] = ()) -> Summary:
    """Return the counts of games.

    Args:
        games: Games of one kind between two players.
        order: Players in the order to show, such as that of their ratings; others follow by their groups and scores.
        groups: Players whose scores can be compared.

    Raises:
        ConfigError: If there are no games, games of more than one kind, or games of more than two players.
    """
    table = GameTable.of(games)
    met = {tuple(sorted(game.players)) for game in games if len(set(game.players)) == 2}
    pairs = {(one, two): compare(table, one, two) for pair in sorted(met) for one, two in (pair, pair[::-1])}
    seats = {name: (Counts(), Counts()) for name in table.players}
    for (name, _), result in pairs.items():
        first, second = (Counts(*counts) for counts in result.seats)
        seats[name] = (seats[name][0] + first, seats[name][1] + second)
    made = Summary(table.players, pairs, seats)
    ordered = [name for name in dict.fromkeys(order) if name in seats]
    place = {name: number for number, group in enumerate(groups) for name in group}
    rest = sorted(set(seats) - set(ordered), key=lambda name: (place.get(name, 0), -made.of_player(name).score, name))
    return Summary((*ordered, *rest), pairs, seats)
