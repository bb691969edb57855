"""Rates a learner by games of the arena while it trains: ``TrainingRatings``.

Each self that is rated plays the same anchors, players of a given strength, and the latest selves before it. So games connect
all of them, and ratings of one training, or of two trainings with the same anchors, can be compared; others are refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generals_env.arena.evaluation import elo_text
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import Player, make_player
from generals_env.arena.statistics.intervals import Comparison, Estimate, compare
from generals_env.arena.statistics.libraries import check_libraries
from generals_env.arena.statistics.ratings import Ratings, rate
from generals_env.arena.store import Store
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.arguments import check_integer
from generals_env.config import GameConfig
from generals_env.errors import ConfigError
from generals_env.learning.self_play.snapshot import network_of, snapshot
from generals_env.networks.policy_network import PolicyNetwork

__all__ = ["RatedSelf", "TrainingRatings", "Verdict", "saturated", "verdict"]

#: Score from which an anchor tells little: 0.9 is 382 points of Elo, and the few games that are not won decide.
SATURATED = 0.9


@dataclass(frozen=True)
class RatedSelf:
    """The rating of a learner at one time.

    Attributes:
        player: Its name, with the first digits of the digest of its weights.
        samples: Samples that it had learned from.
        elo: Rating with its 95% interval; ``expander`` has 1000.
        results: Results against each anchor and earlier self.
        saturated: Anchors that it beats so often that they no longer tell its strength.
        games: Games that it played.
        draw_rate: Share of them that were drawn or cut off.
    """

    player: str
    samples: int
    elo: Estimate
    results: tuple[Comparison, ...]
    saturated: tuple[str, ...]
    games: int
    draw_rate: float

    def line(self) -> str:
        """Return the rating in words, with intervals and numbers of games."""
        parts = [f"{self.player}: Elo {elo_text(self.elo)} of {self.games:,} games, {self.draw_rate:.1%} drawn or cut off"]
        for one in self.results:
            won = one.win_rate
            parts.append(f"{won.value:.1%} ({won.low:.1%} to {won.high:.1%}) of {one.games} won against {one.opponent}")
        if self.saturated:
            parts.append(f"tells little about its strength: {', '.join(self.saturated)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Verdict:
    """Which of two players is stronger, as far as their games tell.

    Attributes:
        player: The one.
        opponent: The other.
        difference: Rating of the one minus that of the other, with its 95% interval.
        games: Games that both played, the smaller number of the two.
    """

    player: str
    opponent: str
    difference: Estimate
    games: int

    @property
    def decided(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.difference.low > 0 or self.difference.high < 0

    def line(self) -> str:
        """Return the verdict in words; it names a stronger player only if the interval of the difference leaves out 0."""
        told = f"{elo_text(self.difference)} of {self.games:,} games each"
        if self.decided:
            words = "stronger" if self.difference.low > 0 else "weaker"
            return f"{self.player} is {words} than {self.opponent}: {told}"
        return f"no verdict on {self.player} and {self.opponent}: {told}: the interval holds 0; {self._advice()}"

    def _advice(self) -> str:
        half = (self.difference.high - self.difference.low) / 2
        if math.isinf(half) or not self.difference.value:
            return "play more games, and other opponents"
        needed = self.games * (half / abs(self.difference.value)) ** 2
        return f"about {10 * math.ceil(needed / 10):,} games each would tell apart this difference"


def verdict(ratings: Ratings, player: str, opponent: str) -> Verdict:
    """Return which of two players is stronger; raise ``ConfigError`` if one of them is not rated."""
    games = min(ratings[player].games, ratings[opponent].games)
    return Verdict(player, opponent, ratings.difference(player, opponent), games)


def saturated(results: Sequence[Comparison], anchors: Collection[str]) -> tuple[str, ...]:
    """Return the anchors against which a player scores so much that they no longer tell its strength."""
    return tuple(one.opponent for one in results if one.opponent in anchors and one.score.value >= SATURATED)


class TrainingRatings:
    """Plays selves of a learner against anchors and earlier selves, and rates them.

    Attributes:
        options: Options of the arena.
        anchors: Players of a given strength.
        played: All games.
        rated: The rated selves, the first one first, with the ratings that they had when they were rated.
    """

    def __init__(
        self,
        config: GameConfig,
        anchors: Sequence[str] = ("random", "expander", "hunter:easy", "hunter"),
        games: int = 200,
        selves: int = 2,
        seed: int = 0,
        store: Store | None = None,
    ) -> None:
        """Prepare the players.

        Args:
            config: Options of the games.
            anchors: Names of the anchors, at least two; ``expander`` has 1000 points.
            games: Games against each, an even number: both seats of each map.
            selves: How many of the latest rated selves a new one plays.
            seed: Seed of the maps.
            store: Keeps the games, and gives those of earlier runs; it must be open for writing.

        Raises:
            ConfigError: If there are less than two anchors, a number is invalid, or scipy or statsmodels is not installed.
        """
        check_libraries()
        if isinstance(anchors, str) or len(set(anchors)) < 2:
            raise ConfigError(
                f"anchors: expected at least two players, got {anchors!r:.200}: one that the learner always beats tells nothing"
            )
        check_integer("selves", selves, 0, 100)
        self.options = ArenaOptions(config=config, games=games, seed=seed)
        self.anchors = [make_player(name) for name in dict.fromkeys(anchors)]
        self.played: list[PlayedGame] = [] if store is None else store.games(self.options.kind)
        self.rated: list[RatedSelf] = []
        self._selves, self._latest = selves, list[Player]()
        self._store = store
        self._anchored = False

    def add(self, network: PolicyNetwork, samples: int, others: Mapping[str, PolicyNetwork] | None = None) -> RatedSelf:
        """Play the games of a network and return its rating.

        Args:
            network: The network.
            samples: Samples that it has learned from.
            others: Further opponents by name, such as members of a pool.

        Raises:
            StorageError: If the store cannot be written.
        """
        one = snapshot(network, f"self-{samples}")
        rest = [snapshot(other, name) for name, other in (others or {}).items()]
        opponents = [player for player in (*self.anchors, *self._latest, *rest) if player.name != one.name]
        opponents = list({player.name: player for player in opponents}.values())
        pairs = pairs_of([one], opponents)
        if not self._anchored:
            pairs += pairs_of(self.anchors)  # their distances need not come from games of the learner alone
        games = play_arena(pairs, self.options, self._store)
        known = {(game.players, game.map, game.seed) for game in games}
        self.played = [game for game in self.played if (game.players, game.map, game.seed) not in known] + games
        self._anchored = True
        if self._selves:
            self._latest = [*self._latest, one][-self._selves :]
        own = [game for game in games if one.name in game.players]
        results = tuple(compare(own, one.name, player.name) for player in opponents)
        found = RatedSelf(
            player=one.name,
            samples=samples,
            elo=self.ratings()[one.name].elo,
            results=results,
            saturated=saturated(results, self._names()),
            games=len(own),
            draw_rate=sum(game.winner < 0 for game in own) / len(own),
        )
        self.rated.append(found)
        return found

    def ratings(self) -> Ratings:
        """Return the ratings of all players by all games.

        Raises:
            ConfigError: If there are no games.
        """
        anchor = next((player.name for player in self.anchors if player.name == "expander"), self.anchors[0].name)
        return rate(self.played, anchor=anchor)

    def compare(self, player: str, opponent: str) -> Verdict:
        """Return which of two players is stronger, by all games; raise ``ConfigError`` if one of them is not rated."""
        return verdict(self.ratings(), player, opponent)

    def figures(self) -> dict[str, float]:
        """Return the latest rating with its interval and shares of wins, for the log."""
        if not self.rated:
            return {}
        latest = self.rated[-1]
        wins = {f"rated_wins_{one.opponent}": one.win_rate.value for one in latest.results if one.opponent in self._names()}
        elo = latest.elo
        return {"elo": elo.value, "elo_low": elo.low, "elo_high": elo.high, "rated_draws": latest.draw_rate} | wins

    def _names(self) -> set[str]:
        return {player.name for player in self.anchors}

    def state(self) -> dict[str, Any]:
        """Return tensors, numbers and texts for a checkpoint: the latest selves. The games are in the store."""
        selves = []
        for player in self._latest:
            network = network_of(player)
            selves.append({"name": player.given, "options": network.options(), "weights": network.state_dict()})
        return {"selves": selves}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue with the latest selves of ``state``."""
        self._latest = []
        for kept in state["selves"]:
            network = PolicyNetwork(**kept["options"])
            network.load_state_dict(kept["weights"])
            self._latest.append(snapshot(network, kept["name"]))
