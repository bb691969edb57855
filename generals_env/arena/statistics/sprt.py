"""Tests sequentially which of two Elo differences games show, and stops as soon as that is decided.

The generalised sequential probability ratio test: the log likelihood ratio of "the difference is ``elo1``" against "it is
``elo0``" is compared with two bounds after each map (A. Wald, 1945: accept the first at ``log((1 - beta) / alpha)``, the second
at ``log(beta / (1 - alpha))``). Elo alone does not determine the probabilities of the results, as draws and unfair maps change
them, so each hypothesis is represented by the distribution that fits the results best among those with its expected score
(M. Van den Bergh, "A practical introduction to the GSPRT"; the test of the chess engine framework fishtest):

    LLR = sum over outcomes i of n_i log(p1_i / p0_i),   pk_i = f_i / (1 + x (a_i - s_k)),   f_i = n_i / sum of n

with outcomes a_i, expected score s_k = 1 / (1 + 10^(-elo_k / 400)), and the x for which the p_i have the mean s_k. An outcome
is the score of both games of a map, with seats swapped: 0, 1/4, 1/2, 3/4 or 1 (pentanomial). So maps that favour a seat do
no harm. Unpaired, it is that of one game: 0, 1/2 or 1 (trinomial).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.statistics.game_table import check_game
from generals_env.arena.statistics.intervals import score_of_elo
from generals_env.arguments import check_flag, is_number, shown
from generals_env.errors import ConfigError

__all__ = ["Sprt", "SprtState", "log_likelihood_ratio"]

PRIOR = 1e-3  # count added to each outcome, so that an outcome that was never seen is not impossible
STEPS = 48  # halvings of the interval in which x lies, to 14 digits


@dataclass(frozen=True)
class SprtState:
    """The state of a test.

    Attributes:
        llr: Log likelihood ratio: positive if the results speak for ``elo1``.
        lower: Bound at which ``elo0`` is accepted.
        upper: Bound at which ``elo1`` is accepted.
        accepted: ``"elo1"``, ``"elo0"``, or None while the test goes on.
        counts: Outcomes seen, from the lowest score to the highest: five by maps, three by games.
        waiting: Games that wait for the other game of their map.
    """

    llr: float
    lower: float
    upper: float
    accepted: str | None
    counts: tuple[int, ...]
    waiting: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self) | {"counts": list(self.counts)}


class Sprt:
    """A sequential test of the Elo difference of a player to its opponent.

    >>> test = Sprt(0, 50)
    >>> test.update([1.0, 0.5, 0.75] * 40).accepted
    'elo1'
    """

    def __init__(self, elo0: float, elo1: float, *, alpha: float = 0.05, beta: float = 0.05, paired: bool = True) -> None:
        """Begin a test.

        Args:
            elo0: Elo difference of the null hypothesis.
            elo1: Elo difference of the alternative, above ``elo0``.
            alpha: Probability of accepting ``elo1`` if ``elo0`` is true.
            beta: Probability of accepting ``elo0`` if ``elo1`` is true.
            paired: Whether outcomes are those of maps, played from both seats.

        Raises:
            ConfigError: If the differences are not numbers with ``elo0 < elo1``, or a probability is not between 0 and 0.5.
        """
        for name, elo in (("elo0", elo0), ("elo1", elo1)):
            if not is_number(elo) or not abs(elo) <= 2000:
                raise ConfigError(f"{name}: expected a number from -2000 to 2000, got {shown(elo)}")
        if not elo0 < elo1:
            raise ConfigError(f"elo1: expected a number above elo0 = {elo0:g}, got {elo1:g}: swap them")
        for name, error in (("alpha", alpha), ("beta", beta)):
            if not is_number(error) or not 0 < error < 0.5:
                raise ConfigError(f"{name}: expected a number between 0 and 0.5, such as 0.05, got {shown(error)}")
        self.elo0, self.elo1 = float(elo0), float(elo1)
        self.alpha, self.beta = float(alpha), float(beta)
        self.paired = check_flag("paired", paired)
        self.lower = math.log(beta / (1 - alpha))
        self.upper = math.log((1 - beta) / alpha)
        self.counts = np.zeros(5 if self.paired else 3, np.int64)
        self.waiting: dict[tuple[str, int, int], tuple[int, float]] = {}
        self.decided: str | None = None

    @property
    def state(self) -> SprtState:
        """The state after all outcomes so far. A decision stands, whatever follows."""
        llr = float(log_likelihood_ratio(self.counts, self.elo0, self.elo1)) if self.counts.any() else 0.0
        if self.decided is None:
            self.decided = "elo1" if llr >= self.upper else "elo0" if llr <= self.lower else None
        return SprtState(llr, self.lower, self.upper, self.decided, tuple(map(int, self.counts)), len(self.waiting))

    def update(self, scores: Iterable[float]) -> SprtState:
        """Add outcomes and return the state.

        Args:
            scores: Points of the player: for each map the mean of both games (0, 0.25, 0.5, 0.75 or 1), or for each game 0, 0.5
                or 1 if the test is unpaired.

        Raises:
            ConfigError: If a score is another number; none of the scores is then added.
        """
        last = len(self.counts) - 1
        outcomes = []
        for score in scores:
            if not is_number(score) or score * last not in range(last + 1):
                expected = ", ".join(f"{outcome / last:g}" for outcome in range(last + 1))
                raise ConfigError(f"scores: expected one of {expected}, got {shown(score)}")
            outcomes.append(int(score * last))
        self.counts += np.bincount(np.array(outcomes, np.int64), minlength=last + 1)
        return self.state

    def update_games(self, games: Iterable[PlayedGame], player: str) -> SprtState:
        """Add games and return the state; by maps, a game waits for the other game of its map.

        Args:
            games: Games of ``player`` against one opponent, each once.
            player: Name of the player that is tested.

        Raises:
            ConfigError: If ``player`` has not exactly one of the two seats of a game.
        """
        waiting, scores = dict(self.waiting), []
        for game in games:
            check_game(game)
            if game.players.count(player) != 1:
                raise ConfigError(f"games: expected games of {shown(player)} against another player, got {shown(game.players)}")
            seat = game.players.index(player)
            score = 0.5 if game.winner < 0 else float(game.winner == seat)
            place = (game.board, game.seed, game.map)
            if not self.paired:
                scores.append(score)
            elif place in waiting and waiting[place][0] != seat:
                scores.append((waiting.pop(place)[1] + score) / 2)
            else:
                waiting[place] = (seat, score)
        self.waiting = waiting
        return self.update(scores)


def log_likelihood_ratio(counts: npt.ArrayLike, elo0: float, elo1: float) -> npt.NDArray[np.float64]:
    """Return the generalised log likelihood ratio of ``elo1`` against ``elo0``.

    Args:
        counts: (..., K) numbers of outcomes, whose scores lie evenly from 0 to 1.
        elo0: Elo difference of the null hypothesis.
        elo1: Elo difference of the alternative.

    Returns:
        (...) float64.
    """
    seen = np.asarray(counts, np.float64) + PRIOR
    outcomes = np.linspace(0, 1, seen.shape[-1])
    one, other = (log_ratios(seen, outcomes, score_of_elo(elo)) for elo in (elo1, elo0))
    ratio: npt.NDArray[np.float64] = (seen * (one - other)).sum(axis=-1)
    return ratio


def log_ratios(seen: npt.NDArray[np.float64], outcomes: npt.NDArray[np.float64], score: float) -> npt.NDArray[np.float64]:
    """Return (..., K) logarithms of p_i / f_i of the distribution p that has the mean ``score`` and is nearest to f."""
    offsets = outcomes - score
    # The mean falls as x grows, from one end of the range in which all p_i are positive to the other.
    low = np.full(seen.shape[:-1], -1 / offsets[-1])
    high = np.full(seen.shape[:-1], -1 / offsets[0])
    for _ in range(STEPS):
        x = (low + high) / 2
        above = (seen * offsets / (1 + x[..., None] * offsets)).sum(axis=-1) > 0
        low, high = np.where(above, x, low), np.where(above, high, x)
    ratios: npt.NDArray[np.float64] = -np.log1p(((low + high) / 2)[..., None] * offsets)
    return ratios
