"""Compares the boards of a recorded game, turn by turn, with what traces expect."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

import numpy as np

from generals_env.bridge.live_map import diff_map, encode_map
from generals_env.conformance.comparing import board_bytes, checksum, compare_boards, tile_difference, totals
from generals_env.conformance.engines import View
from generals_env.conformance.expectations import Expected, Wholes
from generals_env.conformance.report import Difference
from generals_env.replay import Replay

__all__ = ["ReplayJudge", "judge_replay"]

NOTHING = np.zeros(0, np.int64)
SAME_BOARD = "the samples and changes of the trace give this board, so only the checksum differs"


def judge_replay(
    replay: Replay, expected: Expected, views: Iterator[View], reference: Iterator[View] | None = None
) -> tuple[int, Difference | None, tuple[str, ...]]:
    """Compare a game with what is expected of it.

    Args:
        replay: The game.
        expected: What its traces expect.
        views: The boards of the engine that is judged, from turn 0 on.
        reference: The boards of this package's engine if another one is judged: it names the tile where a trace has only a
            checksum.

    Returns:
        Number of turns compared, the first difference or None, and the parts that were not judged.
    """
    judge = ReplayJudge(replay, expected)
    unlike: Difference | None = None  # first difference from the reference
    turn = -1
    for turn, view in enumerate(views):
        if turn > expected.turns:
            return turn, Difference(turn - 1, "last turn", expected.turns, "a game that goes on"), judge.not_judged()
        ours = next(reference, None) if reference is not None else None
        if ours is not None and unlike is None:
            unlike = compare_boards(turn, replay.width, ours, view, "expected by this package's engine")
        difference = judge.take(turn, view)
        if difference is not None:
            # The reference names the tile if the trace does not.
            return turn, unlike if unlike is not None and difference.tile is None else difference, judge.not_judged()
    if turn < expected.turns:
        return turn, Difference(turn, "last turn", expected.turns, turn), judge.not_judged()
    difference = judge.finish()
    if unlike is not None and (difference is None or difference.tile is None):
        difference = unlike
    return turn, difference, judge.not_judged()


class ReplayJudge:
    """Takes one board after another and compares it."""

    def __init__(self, replay: Replay, expected: Expected) -> None:
        """Begin before turn 0."""
        self.replay = replay
        self.expected = expected
        self.missing: set[str] = set()
        self._digest = hashlib.sha256()
        # The board that the changes in the trace lead to.
        self._owner, self._army = (part.copy() for part in expected.samples.get(0, (NOTHING, NOTHING)))
        self._deaths: list[tuple[int, int]] = []
        self._last: View | None = None
        self._map = np.zeros(0, np.int64)  # that player 0 was sent at the turn before

    def not_judged(self) -> tuple[str, ...]:
        """Return the parts of the expectation that the engine does not tell."""
        return tuple(sorted(self.missing))

    def take(self, turn: int, view: View) -> Difference | None:
        """Compare the board after ``turn`` turns; return the first difference."""
        self._digest.update(board_bytes(view))
        self._follow(turn, view)
        self._last = view
        return self._tiles(turn, view) or self._totals(turn, view) or self._sight(turn, view)

    def _follow(self, turn: int, view: View) -> None:
        """Remember who died."""
        if view.alive is not None and (self._last is None or self._last.alive is not None):
            before = np.ones(len(view.alive), np.bool_)
            if self._last is not None and self._last.alive is not None:
                before = self._last.alive
            self._deaths += [(player, turn) for player in np.flatnonzero(before & ~view.alive).tolist()]

    def _tiles(self, turn: int, view: View) -> Difference | None:
        """Compare the tiles that the trace tells, then the checksum."""
        expected, width = self.expected, self.replay.width
        known = False
        if expected.delta is not None:
            rows = expected.delta[turn]
            self._owner[rows[:, 0]] = rows[:, 1]
            self._army[rows[:, 0]] = rows[:, 2]
            board = View(self._owner, self._army)
            if difference := compare_boards(turn, width, board, view, "from the changes (delta) of the trace"):
                return difference
            known = True
        if turn in expected.samples:
            if difference := compare_boards(turn, width, View(*expected.samples[turn]), view, "from the samples of the trace"):
                return difference
            known = True
        if turn in expected.crc32 and expected.crc32[turn] != (crc := checksum(view)):
            return Difference(turn, "crc32", expected.crc32[turn], crc, note=SAME_BOARD if known else "")
        return None

    def _totals(self, turn: int, view: View) -> Difference | None:
        """Compare land, army and who is alive."""
        expected = self.expected
        land, army = totals(view, self.replay.players)
        for player in range(self.replay.players):
            for name, table, numbers in (("land", expected.land, land), ("army total", expected.army, army)):
                if table is not None and table[turn, player] != numbers[player]:
                    return Difference(turn, name, int(table[turn, player]), numbers[player], player=player)
            if expected.alive is not None:
                if view.alive is None:
                    self.missing.add("alive")
                elif (lives := bool(expected.alive[turn] >> player & 1)) != view.alive[player]:
                    return Difference(turn, "alive", lives, bool(view.alive[player]), player=player)
        return None

    def _sight(self, turn: int, view: View) -> Difference | None:
        """Compare what players see, and the maps they are sent."""
        expected, replay = self.expected, self.replay
        sight = expected.vis_crc32 is not None and turn < len(expected.vis_crc32)
        if not sight and turn not in expected.maps and turn not in expected.diffs:
            return None
        if view.visible is None:
            self.missing.add("visible")
            return None
        masks = [view.visible(player) for player in range(replay.players)]
        if expected.vis_crc32 is not None and sight:
            bits = np.zeros(len(view.owner), "<u4")
            for player, mask in enumerate(masks):
                bits |= mask.astype("<u4") << np.uint32(player)
            if expected.vis_crc32[turn] != (crc := zlib.crc32(bits.tobytes())):
                return Difference(turn, "vis_crc32", int(expected.vis_crc32[turn]), crc)
        return self._maps(turn, view, masks)

    def _maps(self, turn: int, view: View, masks: list[np.ndarray]) -> Difference | None:
        expected, replay = self.expected, self.replay
        if turn not in expected.maps and turn not in expected.diffs:
            return None
        if view.cities is None:
            self.missing.add("cities")
            return None
        cities = view.cities
        sent = [encode_map(replay.height, replay.width, view.owner, view.army, mask, cities) for mask in masks]
        for player, array in enumerate(expected.maps.get(turn, [])):
            if difference := self._map_difference(turn, player, array, sent[player], "map"):
                return difference
        if turn in expected.diffs:
            change = np.array(diff_map(self._map, sent[0]), np.int64)
            self._map = sent[0]
            if not np.array_equal(change, expected.diffs[turn]):
                return self._diff_difference(turn, change)
        return None

    def _map_difference(self, turn: int, player: int, expected: Wholes, got: Wholes, name: str) -> Difference | None:
        """Return the first difference of a player's map."""
        unequal = np.flatnonzero(expected != got)
        if not len(unequal):
            return None
        place = int(unequal[0])
        values = int(expected[place]), int(got[place])
        if place < 2:
            return Difference(turn, f"{name}: {('width', 'height')[place]}", *values, player=player)
        part, tile = divmod(place - 2, self.replay.height * self.replay.width)
        return tile_difference(turn, self.replay.width, f"{name}: {('army', 'code')[part]}", tile, *values, player=player)

    def _diff_difference(self, turn: int, change: Wholes) -> Difference:
        """Return the first number in which the change of player 0's map differs."""
        expected = self.expected.diffs[turn]
        length = min(len(expected), len(change))
        unequal = np.flatnonzero(expected[:length] != change[:length])
        if len(unequal):
            place = int(unequal[0])
            return Difference(turn, f"map_diff[{place}]", int(expected[place]), int(change[place]), player=0)
        return Difference(turn, "length of map_diff", len(expected), len(change), player=0)

    def finish(self) -> Difference | None:
        """Compare the end of the game; return the first difference."""
        final, view, turn = self.expected.final, self._last, self.expected.turns
        if view is None:
            return None
        alive = None if view.alive is None else np.flatnonzero(view.alive).tolist()
        died = None if view.alive is None else sorted(player for player, _ in self._deaths)
        deaths = None if view.alive is None else sorted(self._deaths)
        rows = (
            ("final: turn", final.turn, turn),
            ("final: over", final.over, view.over),
            ("final: alive at the end", None if final.alive is None else sorted(final.alive), alive),
            ("final: deaths", None if final.deaths is None else sorted(final.deaths), deaths),
            ("final: dead players", None if final.dead is None else sorted(final.dead), died),
            ("final: cities", final.cities, view.cities),
            ("final: generals", final.generals, view.generals),
        )
        for name, expected, got in rows:
            if expected is not None and got is None:
                self.missing.add(name.partition(": ")[2])
            elif expected is not None and expected != got:
                return listed_difference(turn, name, expected, got)
        digest = self._digest.hexdigest()
        if self.expected.digest and self.expected.digest != digest:
            return Difference(turn, "state_sha256", self.expected.digest, digest, note="over the boards of all turns")
        return None


def listed_difference(turn: int, name: str, expected: object, got: object) -> Difference:
    """Return a difference between two values; between lists, the first item in which they differ."""
    if isinstance(expected, list) and isinstance(got, list):
        for place, (one, other) in enumerate(zip(expected, got, strict=False)):
            if one != other:
                return Difference(turn, f"{name}[{place}]", one, other)
    return Difference(turn, name, expected, got)
