"""Defines ``GameTable``: results of games between two players as arrays, from which all statistics are computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arena.played_game import CUT_OFF, DRAW, FORFEIT, WON, PlayedGame
from generals_env.arguments import natural, shown
from generals_env.errors import ConfigError

__all__ = ["LOST_FIRST", "TIED", "WON_FIRST", "GameTable", "as_table"]

#: Values of ``GameTable.results``: half points of the first seat.
LOST_FIRST, TIED, WON_FIRST = 0, 1, 2
MAX_GAMES = 10**12  # of one row: sums stay exact in float64


@dataclass(frozen=True)
class GameTable:
    """Results of games between two players. A row is a game, or many games with equal players, seats and result.

    Attributes:
        players: Names of the players, sorted.
        board: Name of the kind of games, empty for a table of counts.
        first: (N,) int32, index of the player of seat 0.
        second: (N,) int32, index of the player of seat 1.
        results: (N,) int8, half points of the first seat: 2 for a win, 1 for a draw or cut-off, 0 for a loss.
        cut_off: (N,) bool, whether the game reached the turn limit.
        maps: (N,) int64: games with equal numbers were played on one map by the same two players; a number of its own for
            each game whose map is not known.
        counts: (N,) int64, games of the row.
        known_maps: Whether ``maps`` tells which games share a map; False for a table of counts.
    """

    players: tuple[str, ...]
    board: str
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]
    results: npt.NDArray[np.int8]
    cut_off: npt.NDArray[np.bool_]
    maps: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    known_maps: bool = True
    index: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {name: number for number, name in enumerate(self.players)})

    @classmethod
    def of(cls, games: Iterable[PlayedGame]) -> GameTable:
        """Return the table of games of one kind.

        Raises:
            ConfigError: If there are no games, games of more than one kind, a game that has not two players, or a game whose
                ``winner`` and ``ended`` contradict each other.
        """
        numbers: dict[str, int] = {}
        maps: dict[tuple[int, int, int, int], int] = {}
        rows = []
        board: str | None = None
        for game in games:
            check_game(game)
            if board is None:
                board = game.board
            elif game.board != board:
                raise ConfigError(
                    f"games: expected games of one kind, got {shown(board)} and {shown(game.board)}: "
                    "their results are not comparable, so rate each kind by itself"
                )
            one, two = (numbers.setdefault(name, len(numbers)) for name in game.players)
            place = maps.setdefault((min(one, two), max(one, two), game.seed, game.map), len(maps))
            rows.append((one, two, TIED if game.winner < 0 else 2 * (1 - game.winner), game.ended == CUT_OFF, place, 1))
        if board is None:
            raise ConfigError("games: expected at least one game, got none: play some first")
        return cls.from_rows(tuple(numbers), board, rows, known_maps=True)

    @classmethod
    def from_counts(cls, counts: Mapping[tuple[str, str], tuple[int, int, int]]) -> GameTable:
        """Return the table of counted results.

        Args:
            counts: Wins, draws and losses of the first player by (first player, second player); the first player has seat 0.

        Raises:
            ConfigError: If there are no games, or a name or number is invalid.
        """
        numbers: dict[str, int] = {}
        rows: list[tuple[Any, ...]] = []
        for names, three in counts.items():
            check_names(names)
            if not isinstance(three, (tuple, list)) or len(three) != 3:
                raise ConfigError(f"counts: expected wins, draws and losses of {shown(names)}, got {shown(three)}")
            one, two = (numbers.setdefault(name, len(numbers)) for name in names)
            for result, count in zip((WON_FIRST, TIED, LOST_FIRST), three, strict=True):
                if natural("counts", count) > MAX_GAMES:
                    raise ConfigError(f"counts: expected at most {MAX_GAMES:,} games of {shown(names)}, got {count:,}")
                if count:
                    rows.append((one, two, result, False, len(rows), count))
        if not rows:
            raise ConfigError("counts: expected at least one game, got none: play some first")
        return cls.from_rows(tuple(numbers), "", rows, known_maps=False)

    @classmethod
    def from_rows(cls, names: tuple[str, ...], board: str, rows: list[tuple[Any, ...]], known_maps: bool) -> GameTable:
        """Return the table of rows of first, second, result, cut off, map and count, with the players sorted by name."""
        players = tuple(sorted(names))
        order = {name: number for number, name in enumerate(players)}
        renumbered = np.array([order[name] for name in names], np.int32)
        columns = np.array(rows, np.int64).T
        return cls(
            players=players,
            board=board,
            first=renumbered[columns[0]],
            second=renumbered[columns[1]],
            results=columns[2].astype(np.int8),
            cut_off=columns[3].astype(np.bool_),
            maps=columns[4],
            counts=columns[5],
            known_maps=known_maps,
        )

    def number_of(self, argument: str, player: str) -> int:
        """Return the index of a player; raise ``ConfigError`` if the player has no game."""
        if player not in self.index:
            raise ConfigError(
                f"{argument}: expected a player with games, one of {shown(', '.join(self.players))}, got {shown(player)}"
            )
        return self.index[player]

    def between(self, player: str, opponent: str) -> GameTable:
        """Return the games of two players against each other; their order of names stays that of the whole table.

        Raises:
            ConfigError: If a player has no game, or both are the same.
        """
        one, two = self.number_of("player", player), self.number_of("opponent", opponent)
        if one == two:
            raise ConfigError(f"opponent: expected another player than {shown(player)}, got the same")
        rows = ((self.first == one) & (self.second == two)) | ((self.first == two) & (self.second == one))
        return self.taken(rows)

    def taken(self, rows: npt.NDArray[np.bool_]) -> GameTable:
        """Return the table of some rows, with the same players."""
        columns = ("first", "second", "results", "cut_off", "maps", "counts")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})


def as_table(games: GameTable | Iterable[PlayedGame]) -> GameTable:
    """Return games as a table; a table as is."""
    return games if isinstance(games, GameTable) else GameTable.of(games)


def check_game(game: PlayedGame) -> None:
    """Raise ``ConfigError`` unless a game is one of two players whose winner and end agree."""
    if not isinstance(game, PlayedGame):
        raise ConfigError(f"games: expected PlayedGame objects, got {shown(game)}")
    check_names(game.players)
    decided = game.ended in (WON, FORFEIT)
    if game.ended not in (WON, FORFEIT, DRAW, CUT_OFF) or game.winner not in ((0, 1) if decided else (-1,)):
        raise ConfigError(
            f"games: expected winner 0 or 1 of a game that ended by {WON!r} or {FORFEIT!r}, and -1 of one that ended by "
            f"{DRAW!r} or {CUT_OFF!r}, got winner {shown(game.winner)} and {shown(game.ended)}"
        )


def check_names(names: Any) -> None:
    """Raise ``ConfigError`` unless ``names`` are those of two players."""
    if not isinstance(names, tuple) or len(names) != 2 or not all(isinstance(name, str) and name for name in names):
        raise ConfigError(f"games: expected the names of two players, got {shown(names)}: games of more seats are not rated")
