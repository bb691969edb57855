"""Compares the boards of a game of the competition, turn by turn, with its trace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from generals_env.conformance.comparing import checksum, compare_boards, totals
from generals_env.conformance.competition_traces import PLAYERS, CompetitionTrace
from generals_env.conformance.engines import View
from generals_env.conformance.report import Difference

__all__ = ["CompetitionJudge", "judge_competition"]

SAME_BOARD = "the sample of this turn gives this board, so only the checksum differs"
IN_BATCH = "played in a batch"


def judge_competition(
    trace: CompetitionTrace, views: Iterator[View], reference: Iterator[View] | None = None
) -> tuple[int, Difference | None, tuple[str, ...]]:
    """Compare a game with its trace; arguments and result as of ``judge_replay``, boards from turn 1 on."""
    judge = CompetitionJudge(trace)
    unlike: Difference | None = None
    for view in views:
        ours = next(reference, None) if reference is not None else None
        if ours is not None and unlike is None:
            unlike = compare_boards(judge.turn + 1, trace.width, ours, view, "expected by this package's engine")
        difference = judge.take(view)
        if difference is not None:
            if unlike is not None and difference.tile is None:
                difference = unlike
            return judge.turn, difference, judge.not_judged()
    if unlike is not None:  # an engine that does not tell castles has no checksum to compare
        return judge.turn, unlike, judge.not_judged()
    return judge.turn, None, judge.not_judged()


class CompetitionJudge:
    """Takes one board after another and compares it; the last one with the end of the trace, too."""

    def __init__(self, trace: CompetitionTrace, note: str = "") -> None:
        """Begin before turn 1.

        Args:
            trace: The game.
            note: What to say of how the game is played, in each difference.
        """
        self.trace = trace
        self.turn = 0
        self.difference: Difference | None = None
        self.missing: set[str] = set()
        self._note = note

    def not_judged(self) -> tuple[str, ...]:
        """Return the parts of the trace that the engine does not tell."""
        return tuple(sorted(self.missing))

    def take(self, view: View) -> Difference | None:
        """Compare the board after the next turn; return the first difference, also of an earlier turn."""
        if self.difference is None:
            self.turn += 1
            found = self._board(view) or self._totals(view)
            if found is None and self.turn == self.trace.turns:
                found = self._end(view)
            if found is not None and self._note:
                found = replace(found, note="; ".join(filter(None, (found.note, self._note))))
            self.difference = found
        return self.difference

    def _board(self, view: View) -> Difference | None:
        trace, turn = self.trace, self.turn
        if view.castle is None:
            self.missing.add("castle")
        if turn in trace.samples:
            time, sample = trace.samples[turn]
            played = int(trace.start.games[0]["turn"]) + turn
            if time != played:
                return Difference(turn, "time of the sample", time, played)
            if difference := compare_boards(turn, trace.width, sample, view, "from the samples of the trace"):
                return difference
        if view.castle is not None and len(trace.crc):
            expected, crc = int(trace.crc[turn - 1]), checksum(view, castles=True)
            if expected != crc:
                return Difference(turn, "crc", expected, crc, note=SAME_BOARD if turn in trace.samples else "")
        return None

    def _totals(self, view: View) -> Difference | None:
        trace, turn = self.trace, self.turn
        land, army = totals(view, PLAYERS)
        for player in range(PLAYERS):
            for name, table, numbers in (("land", trace.land, land), ("army total", trace.army, army)):
                if table is not None and table[turn - 1, player] != numbers[player]:
                    return Difference(turn, name, int(table[turn - 1, player]), numbers[player], player=player)
        return None

    def _end(self, view: View) -> Difference | None:
        trace, turn = self.trace, self.turn
        terminated, truncated = view.over, view.truncated
        rows = {
            "done": None if terminated is None or truncated is None else terminated or truncated,
            "terminated": terminated,
            "truncated": truncated,
            "winner": view.winner,
            "time": int(trace.start.games[0]["turn"]) + turn,
            "turns": turn,
        }
        for name, got in rows.items():
            if name not in trace.final:
                continue
            if got is None:
                self.missing.add(name)
            elif trace.final[name] != got:
                return Difference(turn, f"final: {name}", trace.final[name], got)
        return None
