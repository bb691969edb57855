"""Measures recorded experience: counts by game and player, rewards, actions, rate, games and turns."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from generals_env.arguments import check_flag, check_integer, is_number
from generals_env.errors import ConfigError
from generals_env.operations.metrics.catalogue import Family
from generals_env.operations.metrics.game_counts import GameCounts
from generals_env.operations.metrics.histogram import REWARD_BOUNDS, Histogram, Moments
from generals_env.operations.metrics.recent_counts import RecentCounts
from generals_env.recorders.experience import ExperienceBatch

__all__ = ["RecordingMetrics", "Summary", "ended_games", "summary_of"]

WINDOW = 30.0  # seconds of the rate and of the entropy

DIRECTIONS = ("up", "down", "left", "right")

#: Direction and amount of each kind of action: index = direction + 4 * half, 8 for the pass, and 9 for a build.
KINDS = (*((name, amount) for amount in ("full", "half") for name in DIRECTIONS), ("pass", "none"), ("build", "none"))


class Summary(NamedTuple):
    """What is counted of a batch.

    Attributes:
        experiences: Number of experiences.
        game_ids: Ids of the games.
        players: (games, players) int64, experiences of each player.
        ended: Games that end, as indices of ``game_ids``.
        rewards: Finite rewards other than 0.
        zeros: Number of rewards that are 0.
        actions: (10,) int64, how often each of ``KINDS`` occurs.
        illegal: Illegal requested actions.
    """

    experiences: int
    game_ids: tuple[str, ...]
    players: npt.NDArray[np.int64]
    ended: npt.NDArray[np.int32]
    rewards: npt.NDArray[np.float32]
    zeros: int
    actions: npt.NDArray[np.int64]
    illegal: int


class RecordingMetrics(Collector):
    """Metrics of recorded experience; thread-safe.

    Counts of a game are dropped some time after its end, so ``sum(experiences_collected_total)`` falls and its rate is not the
    rate of recording; ``experiences_recorded_total`` counts all experiences and never falls.
    """

    def __init__(
        self,
        per_game: bool = True,
        ended_games_seconds: float = 60.0,
        *,
        max_games: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without experiences.

        Args:
            per_game: Whether to count experiences by game and player; False counts all together, without labels.
            ended_games_seconds: How long the counts of an ended game are shown.
            max_games: Maximum number of games with counts of their own. The games that ended first make room for new ones;
                while all are running, new ones are counted only in ``experiences_recorded_total``.
            clock: Returns seconds, as ``time.monotonic`` does.

        Raises:
            ConfigError: If an argument has a wrong value.
        """
        self._lock = threading.Lock()
        self._clock = clock
        self._games = GameCounts(check_integer("max_games", max_games, 1, 2**30))
        self._total = self._illegal = self._turns = self._ended = 0
        self._rewards = Histogram(REWARD_BOUNDS, np.float32)
        self._moments = Moments()
        self._actions = RecentCounts(len(KINDS), WINDOW, clock())
        self._per_game, self._ended_seconds = True, 0.0
        self.change(per_game=per_game, ended_games_seconds=ended_games_seconds)

    def change(self, *, per_game: bool | None = None, ended_games_seconds: float | None = None) -> None:
        """Change arguments of the constructor; None leaves one as it is.

        Raises:
            ConfigError: If an argument has a wrong value.
        """
        if ended_games_seconds is not None and (not is_number(ended_games_seconds) or not ended_games_seconds > 0):
            raise ConfigError(f"ended_games_seconds: expected seconds above 0, got {ended_games_seconds!r}")
        if per_game is not None:
            check_flag("per_game", per_game)
        with self._lock:
            if ended_games_seconds is not None:
                self._ended_seconds = float(ended_games_seconds)
            if per_game is not None:
                self._per_game = per_game
                if not per_game:
                    self._games.clear()

    def observe(self, batch: ExperienceBatch) -> None:
        """Count the experiences of a batch."""
        self.add(summary_of(batch))

    def add(self, summary: Summary) -> None:
        """Count the experiences of a batch that was summed up before."""
        if not summary.experiences:
            return
        now = self._clock()
        with self._lock:
            self._total += summary.experiences
            self._illegal += summary.illegal
            self._turns += int(summary.players.max(axis=1, initial=0).sum())  # one player has an experience in each turn
            self._ended += len(summary.ended)
            self._rewards.add_many(summary.rewards, summary.zeros)
            self._moments.add(summary.rewards, summary.zeros)
            self._actions.snapshot(now)
            self._actions.counts += summary.actions
            if self._per_game:
                self._games.drop(now, self._ended_seconds)
                for name, row in zip(summary.game_ids, summary.players.tolist(), strict=True):
                    if any(row):
                        self._games.add(name, row, now)
                for game in summary.ended.tolist():
                    self._games.end(summary.game_ids[game], now)

    def collect(self) -> Iterator[Metric]:
        """Yield the families of ``catalogue.RECORDING``."""
        now = self._clock()
        with self._lock:
            self._games.drop(now, self._ended_seconds)
            yield from self._families(now)

    def _families(self, now: float) -> list[Family]:
        growth, seconds = self._actions.growth(now)
        moments = self._moments
        collected = Family("experiences_collected_total")
        if self._per_game:
            for name, player, count in self._games.series():
                collected.add(count, name, player)
        else:
            collected.add_unlabelled(self._total)
        by_kind = Family("experience_actions_total")
        for kind, count in zip(KINDS, self._actions.counts.tolist(), strict=True):
            by_kind.add(count, *kind)
        rewards = Family("experience_rewards")
        rewards.add_histogram(self._rewards.bounds, self._rewards.counts, self._rewards.total)
        return [
            collected,
            Family("experiences_recorded_total").add(self._total),
            Family("experiences_per_second").add(growth.sum() / seconds if seconds > 0 else 0.0),
            Family("games_ended_total").add(self._ended),
            Family("game_turns_total").add(self._turns),
            rewards,
            Family("experience_reward_accumulated").add(self._rewards.total),
            Family("experience_reward_mean").add(moments.mean),
            Family("experience_reward_stddev").add(moments.deviation),
            Family("experience_reward_min").add(moments.min),
            Family("experience_reward_max").add(moments.max),
            by_kind,
            Family("experience_illegal_actions_total").add(self._illegal),
            Family("experience_action_entropy").add(entropy(growth)),
        ]


def summary_of(batch: ExperienceBatch) -> Summary:
    """Sum a batch up."""
    rewards: npt.NDArray[np.float32] = batch.rewards() if batch.recipe.shaping else batch.reward
    paid = rewards[rewards != 0]  # seldom: the package's rewards are 0 in nearly all turns
    return Summary(
        experiences=len(batch),
        game_ids=batch.game_ids,
        players=count_players(batch),
        ended=ended_games(batch),
        rewards=paid[np.isfinite(paid)],
        zeros=len(batch) - len(paid),
        actions=count_actions(batch.action, 4 * batch.shape[0] * batch.shape[1]),
        illegal=int(np.count_nonzero(batch.illegal)),
    )


def count_actions(actions: npt.NDArray[np.int32], full: int) -> npt.NDArray[np.int64]:
    """Return how often each of ``KINDS`` occurs, (10,) int64.

    Args:
        actions: Action indices.
        full: Number of moves with all but one of an army, 4 * H * W.
    """
    actions = np.ascontiguousarray(actions)  # read several times, and 48 bytes apart
    kinds = actions.astype(np.uint8) & 3  # full is a multiple of 4
    kinds |= (actions >= full).view(np.uint8) << 2
    counts = np.array([np.count_nonzero(kinds == kind) for kind in range(len(KINDS))])
    passes = np.count_nonzero(actions == 2 * full)
    counts[4] -= passes  # a pass has the index after those of half moves, so it was counted as half up
    counts[8] += passes
    builds = actions[actions > 2 * full]  # counted as half moves, too
    counts[4:8] -= np.bincount(builds & 3, minlength=4)
    counts[9] += len(builds)
    return counts


def count_players(batch: ExperienceBatch) -> npt.NDArray[np.int64]:
    """Return the experiences of each player of each game, (games, players) int64; those with invalid numbers are left out."""
    games, players = len(batch.game_ids), batch.players
    keys = batch.game * np.int32(players)
    keys += batch.player_id
    if keys.view(np.uint32).max(initial=0) >= games * players:  # as unsigned integers, negative ones are too large
        keys = keys[(keys >= 0) & (keys < games * players)]
    return np.bincount(keys, minlength=games * players).reshape(games, players)


def ended_games(batch: ExperienceBatch) -> npt.NDArray[np.int32]:
    """Return the games that end in a batch, as indices of ``game_ids``.

    A game of two players ends for both. Another has ended when it has for all players of its last turn in the batch: players
    who were eliminated before have no experience in that turn.
    """
    ends = batch.terminated | batch.truncated
    games = np.unique(batch.game[np.flatnonzero(ends)])
    games = games[(games >= 0) & (games < len(batch.game_ids))]
    if not len(games) or batch.players == 2:
        return games
    rows = np.flatnonzero(np.isin(batch.game, games))
    game, end = batch.game[rows], ends[rows]
    turn = batch.boards.entries["turn"][batch.state_index[rows]]
    last = np.full(len(batch.game_ids), np.iinfo(turn.dtype).min, turn.dtype)
    np.maximum.at(last, game, turn)
    goes_on = np.zeros(len(batch.game_ids), np.bool_)
    goes_on[game[(turn == last[game]) & ~end]] = True
    found: npt.NDArray[Any] = games[~goes_on[games]]
    return found


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Return the entropy of a distribution in bits, nan without counts."""
    total = int(counts.sum())
    if not total:
        return math.nan
    shares = counts[counts > 0] / total
    return float(-(shares * np.log2(shares)).sum()) + 0.0
