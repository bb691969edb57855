"""Counts experiences by game and player, for a limited number of games and time after their end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["GameCounts"]

IDLE_SECONDS = 3600.0  # after which a game without experiences counts as abandoned


@dataclass(slots=True)
class Game:
    """Counts of a game.

    Attributes:
        counts: Experiences of each player.
        seen: Time of its last experience.
        ended: Time of its end, None before.
    """

    counts: list[int]
    seen: float
    ended: float | None = None


class GameCounts:
    """Experiences by game and player.

    A game is dropped a given time after its end, earlier if its place is needed, or after an hour without experiences. While
    ``max_games`` games are running, further ones are not counted here.
    """

    def __init__(self, max_games: int) -> None:
        """Begin without games.

        Args:
            max_games: Maximum number of games at once.
        """
        self._max_games = max_games
        self._games: dict[str, Game] = {}
        self._ended: deque[str] = deque()  # in the order of their ends
        self._searched = 0.0  # when abandoned games were searched

    def __len__(self) -> int:
        """Return the number of games."""
        return len(self._games)

    def add(self, game_id: str, counts: Sequence[int], now: float) -> None:
        """Add experiences of the players of a game."""
        game = self._games.get(game_id)
        if game is None:
            if len(self._games) >= self._max_games and not self._drop_ended():
                return
            self._games[game_id] = Game(list(counts), now)
            return
        game.seen = now
        if len(counts) > len(game.counts):  # another game of the same name, with more players
            game.counts += [0] * (len(counts) - len(game.counts))
        for player, count in enumerate(counts):
            game.counts[player] += count

    def end(self, game_id: str, now: float) -> None:
        """Mark a game as ended."""
        game = self._games.get(game_id)
        if game is not None and game.ended is None:
            game.ended = now
            self._ended.append(game_id)

    def drop(self, now: float, ended_seconds: float) -> None:
        """Drop games that ended ``ended_seconds`` ago, and abandoned ones."""
        while self._ended and now - (self._games[self._ended[0]].ended or 0.0) >= ended_seconds:
            self._drop_ended()
        if now - self._searched >= IDLE_SECONDS / 60:
            self._searched = now
            idle = [name for name, game in self._games.items() if game.ended is None and now - game.seen >= IDLE_SECONDS]
            for name in idle:
                del self._games[name]

    def clear(self) -> None:
        """Drop all games."""
        self._games.clear()
        self._ended.clear()

    def series(self) -> Iterator[tuple[str, str, int]]:
        """Yield game, player and count of all players that have experiences."""
        for name, game in self._games.items():
            for player, count in enumerate(game.counts):
                if count:
                    yield name, str(player), count

    def _drop_ended(self) -> bool:
        """Drop the game that ended first; return whether there was one."""
        if not self._ended:
            return False
        del self._games[self._ended.popleft()]
        return True
