"""Sums up the games of an arena for tables, JSON and pages: ``Report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from generals_env.arena.figure_sums import PlayerFigures, sum_up
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import Player
from generals_env.arena.statistics.connected import connected_groups
from generals_env.arena.statistics.game_table import GameTable
from generals_env.arena.statistics.intervals import Comparison, compare
from generals_env.arena.statistics.ratings import Ratings, rate
from generals_env.arena.statistics.sprt import Sprt
from generals_env.version import __version__

__all__ = ["SCHEMA", "Report"]

#: Version of the JSON of a report.
SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """What the games of an arena add up to.

    Attributes:
        board: Name of the kind of games.
        games: All games, those of earlier runs in the store included.
        players: Names, those with a rating in its order, then the others.
        identities: What each player of this run was, by name.
        comparisons: Results of each pair that met, the player that comes first in ``players`` first.
        ratings: Ratings; None if games do not connect all players.
        figures: Diagnostics by player.
        test: The sequential test, None without one.
        tested: Name of the player that it tests, and of its opponent.
        seed: Seed of this run.
        seconds: Wall-clock time of the games of this run.
        new: Number of games that were played in this run.
    """

    board: str
    games: Sequence[PlayedGame]
    players: tuple[str, ...]
    identities: dict[str, Player]
    comparisons: dict[tuple[str, str], Comparison]
    ratings: Ratings | None
    figures: dict[str, PlayerFigures]
    test: Sprt | None
    tested: tuple[str, str] | None
    seed: int
    seconds: float
    new: int

    @classmethod
    def of(
        cls,
        games: Sequence[PlayedGame],
        players: Sequence[Player],
        seed: int = 0,
        seconds: float = 0.0,
        new: int | None = None,
        test: Sprt | None = None,
        tested: tuple[str, str] | None = None,
    ) -> Report:
        """Sum up games of one kind.

        Args:
            games: The games.
            players: Players of this run.
            seed: Seed of this run.
            seconds: Wall-clock time of this run.
            new: Number of games of this run; default: all.
            test: A sequential test of two players.
            tested: Name of the player that it tests, and of its opponent.

        Raises:
            ConfigError: If there are no games, or games of more than one kind.
        """
        table = GameTable.of(games)
        ratings = rate(table) if len(connected_groups(table)) == 1 else None
        order = tuple(rating.player for rating in ratings.players) if ratings is not None else table.players
        met = {frozenset(game.players) for game in games}
        comparisons = {
            (one, two): compare(table, one, two)
            for place, one in enumerate(order)
            for two in order[place + 1 :]
            if frozenset((one, two)) in met
        }
        return cls(
            board=table.board,
            games=games,
            players=order,
            identities={player.name: player for player in players},
            comparisons=comparisons,
            ratings=ratings,
            figures=sum_up(games),
            test=test,
            tested=tested,
            seed=seed,
            seconds=seconds,
            new=len(games) if new is None else new,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, see ``docs/arena.md``."""
        return {
            "schema": SCHEMA,
            "generals_env": __version__,
            "board": self.board,
            "seed": self.seed,
            "games": len(self.games),
            "new_games": self.new,
            "seconds": round(self.seconds, 3),
            "players": [
                {"name": name, "kind": player.kind, "given": player.given, "identity": player.identity}
                for name, player in self.identities.items()
            ],
            "pairs": [comparison.to_dict() for comparison in self.comparisons.values()],
            "ratings": None if self.ratings is None else self.ratings.to_dict(),
            "figures": {name: figures.to_dict() for name, figures in self.figures.items()},
            "sprt": self._test(),
            "replays": [
                {"players": list(game.players), "winner": game.winner, "map": game.map, "seed": game.seed, "path": game.replay}
                for game in self.games
                if game.replay
            ],
        }

    def _test(self) -> dict[str, Any] | None:
        if self.test is None or self.tested is None:
            return None
        test = self.test
        bounds = {"elo0": test.elo0, "elo1": test.elo1, "alpha": test.alpha, "beta": test.beta}
        return {"player": self.tested[0], "opponent": self.tested[1], **bounds, **test.state.to_dict()}
