"""Chooses the games that a report links to: those that decided how two players compare, and those that went another way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from generals_env.arena.page.summary import Summary
from generals_env.arena.played_game import PlayedGame

__all__ = ["ChosenGame", "choose_games"]


@dataclass(frozen=True)
class ChosenGame:
    """A game that a report links to.

    Attributes:
        game: The game.
        why: Why it was chosen.
    """

    game: PlayedGame
    why: str


def choose_games(games: Sequence[PlayedGame], summary: Summary, limit: int) -> list[ChosenGame]:
    """Return games with replays: of each pair an upset, the quickest win of the better player, the longest game, then others.

    Args:
        games: All games.
        summary: What they add up to; its order of players tells which of two is better, if their games do not.
        limit: Highest number of games; each pair gets its first before another gets its second.
    """
    rank = {name: place for place, name in enumerate(summary.players)}
    of_pair: dict[tuple[int, int], list[PlayedGame]] = {}
    for game in games:
        if game.replay and len(set(game.players)) == 2:
            one, two = sorted(rank[name] for name in game.players)
            of_pair.setdefault((one, two), []).append(game)
    lists = []
    for (one, two), played in sorted(of_pair.items()):
        first, second = summary.players[one], summary.players[two]
        better = first if summary.pairs[first, second].score.value >= 0.5 else second
        lists.append(choose_of_pair(played, better))
    chosen = [one for row in zip_longest(*lists) for one in row if one is not None]
    return chosen[:limit]


def choose_of_pair(games: list[PlayedGame], better: str) -> list[ChosenGame]:
    """Return the games of one pair, those that tell more first."""
    won = sorted((game for game in games if game.winner >= 0), key=lambda game: game.turns)
    upsets = [game for game in won if game.players[game.winner] != better]
    wins = [game for game in won if game.players[game.winner] == better]
    longest = max(games, key=lambda game: game.turns)
    found = [(upsets[:1], "upset"), (wins[:1], "quickest win"), ([longest], "longest game"), (upsets, "upset"), (wins, "win")]
    chosen: dict[int, ChosenGame] = {}
    for some, why in found:
        for game in some:
            chosen.setdefault(id(game), ChosenGame(game, why))
    return list(chosen.values())
