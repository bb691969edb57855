"""Judges files with games of the competition: one game after another, and many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from generals_env.conformance.competition_engines import batch_views, engine_views, own_views
from generals_env.conformance.competition_judge import IN_BATCH, CompetitionJudge, judge_competition
from generals_env.conformance.competition_traces import CompetitionTrace, trace_of
from generals_env.conformance.engines import EngineFactory, EngineFailed
from generals_env.conformance.inputs import COMPETITION, load
from generals_env.conformance.report import DIFFERS, EQUAL, UNUSABLE, Difference, Verdict
from generals_env.conformance.work import Work
from generals_env.errors import ReplayError

__all__ = ["judge_competition_file"]

AT_ONCE = 256  # games in a batch


def judge_competition_file(path: Path, factory: EngineFactory | None, batches: bool, work: Work) -> Iterator[Verdict]:
    """Yield a verdict on each game of a file of the competition.

    Args:
        path: The file.
        factory: An engine under test, or None for this package's engine.
        batches: Whether to play the games of this package's engine also in batches.
        work: Limit of the work.
    """
    traces: dict[int, CompetitionTrace] = {}
    names, refused = {}, {}
    for number, game in enumerate(load(path)):
        names[number] = f"number {number}"
        try:
            trace = trace_of(game)
            names[number] = trace.id or names[number]
            work.spend(trace.turns * trace.height * trace.width)
            traces[number] = trace
        except ReplayError as error:
            refused[number] = str(error)
    together = judge_batches(traces) if batches and factory is None else {}
    for number, name in names.items():
        if number in refused:
            yield Verdict(str(path), name, COMPETITION, UNUSABLE, reason=refused[number])
            continue
        trace = traces.pop(number)
        try:
            if factory is None:
                turns, difference, missing = judge_competition(trace, own_views(trace))
            else:
                turns, difference, missing = judge_competition(trace, engine_views(trace, factory), own_views(trace))
        except EngineFailed as error:
            yield Verdict(str(path), name, COMPETITION, DIFFERS, reason=str(error))
            continue
        difference = difference or together.get(number)
        status = EQUAL if difference is None else DIFFERS
        yield Verdict(str(path), name, COMPETITION, status, turns, difference, not_judged=missing)


def judge_batches(traces: dict[int, CompetitionTrace]) -> dict[int, Difference]:
    """Play games at once, those that are cut off at the same turn; return the first difference of each that differs."""
    groups: dict[int, list[int]] = defaultdict(list)
    for number, trace in traces.items():
        groups[trace.max_turns].append(number)
    found = {}
    for numbers in groups.values():
        for start in range(0, len(numbers), AT_ONCE):
            some = numbers[start : start + AT_ONCE]
            for number, judge in zip(some, judge_at_once([traces[number] for number in some]), strict=True):
                if judge.difference is not None:
                    found[number] = judge.difference
    return found


def judge_at_once(traces: Sequence[CompetitionTrace]) -> list[CompetitionJudge]:
    """Play games in one batch and compare each turn of each of them."""
    judges = [CompetitionJudge(trace, IN_BATCH) for trace in traces]
    for views in batch_views(traces):
        for judge, view in zip(judges, views, strict=True):
            if view is not None:
                judge.take(view)
    return judges
