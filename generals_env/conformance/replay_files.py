"""Judges replays of people against the traces and fog files that belong to them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from generals_env import replay
from generals_env.conformance.engines import EngineFactory, EngineFailed
from generals_env.conformance.expectations import Expected, expected_of_case, expected_of_trace, with_fog
from generals_env.conformance.inputs import CASES, FOG, REPLAY, TRACE, Input, load
from generals_env.conformance.replay_engines import engine_views, own_views
from generals_env.conformance.replay_judge import judge_replay
from generals_env.conformance.report import DIFFERS, EQUAL, SKIPPED, UNUSABLE, Verdict
from generals_env.conformance.work import Work
from generals_env.errors import ReplayError
from generals_env.replay import Replay
from generals_env.replay.fields import whole
from generals_env.replay.reader import MAX_TURN

__all__ = ["Pair", "judge_cases", "judge_pair", "pair_files"]

#: Ids that may be part of a file name; other ids are not looked for beside a file.
PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: Where the trace, the fog file and the replay of a game lie beside each other: folder beside the file's own, and ending.
BESIDE = {TRACE: ("traces", ".events.json.gz"), FOG: ("fog", ".json.gz"), REPLAY: ("replays", ".json.gz")}


class Pair(NamedTuple):
    """A replay file and a file of what is expected of it.

    Attributes:
        named: The file that a verdict names: the expectation, or the replay of a game without one.
        game: The replay; None if it was not found.
        item: The trace or fog file; None if there is none.
    """

    named: Input
    game: Input | None
    item: Input | None


def pair_files(inputs: Sequence[Input]) -> Iterator[Pair]:
    """Yield each replay with each trace and fog file of the same game, also those beside it in folders of the usual names."""
    replays: dict[str, list[Input]] = defaultdict(list)
    expectations: dict[str, list[Input]] = defaultdict(list)
    for item in inputs:
        (replays if item.form == REPLAY else expectations)[item.id].append(item)
    for name, found in expectations.items():
        if name not in replays:
            replays[name] = list(beside(found[0], (REPLAY,)))
            yield from (Pair(item, None, item) for item in found if not replays[name])
    for name, games in replays.items():
        for game in games:
            others = expectations.get(name) or list(beside(game, (TRACE, FOG)))
            yield from (Pair(item, game, item) for item in others)
            if not others:
                yield Pair(game, game, None)


def beside(item: Input, forms: Iterable[str]) -> Iterator[Input]:
    """Yield the files of a game that lie in the folder of a file, or in folders of the usual names beside it."""
    if PLAIN_ID.fullmatch(item.id):
        for form in forms:
            folder, ending = BESIDE[form]
            for path in (item.path.parent.parent / folder / f"{item.id}{ending}", item.path.parent / f"{item.id}{ending}"):
                if path.is_file() and path != item.path:
                    yield Input(path, form, item.id)
                    break


def judge_pair(pair: Pair, factory: EngineFactory | None, work: Work) -> Verdict:
    """Judge a replay against one file of what is expected of it."""
    named, game, item = pair
    if game is None:
        reason = f"expected the replay {named.id!r:.80} in the given paths or beside it, got none: pass its file, too"
        return Verdict(str(named.path), named.id, named.form, UNUSABLE, reason=reason)
    try:
        source = replay.from_dict(load(game.path))
        expected = None if item is None else expected_of(load(item.path), item.form, source)
    except ReplayError as error:
        return Verdict(str(named.path), game.id, named.form, UNUSABLE, reason=str(error))
    label = game.id if item is None or game.path.name.partition(".")[0] == game.id else f"{game.id} ({game.path.name})"
    return judge(str(named.path), label, named.form, source, expected, factory, work)


def expected_of(content: Any, form: str, source: Replay) -> Expected:
    """Return what a trace or fog file expects of a replay.

    Raises:
        ReplayError: If it is damaged, or changed into another kind of file.
    """
    if not isinstance(content, dict):
        raise ReplayError(f"expected named fields, got {content!r:.80}")
    if form == TRACE:
        return expected_of_trace(content, source)
    expected = Expected(whole("turns", content.get("turns"), 0, MAX_TURN))
    with_fog(expected, content, source)
    return expected


def judge_cases(path: Path, factory: EngineFactory | None, work: Work) -> Iterator[Verdict]:
    """Yield a verdict on each game of a file that holds replays with what is expected of them."""
    for number, case in enumerate(load(path)):
        game = f"number {number}"
        if not isinstance(case, dict) or not {"replay", "expect"} <= set(case):
            reason = f"expected a replay and what is expected of it, got {case!r:.80}"
            yield Verdict(str(path), game, CASES, UNUSABLE, reason=reason)
            continue
        try:
            source = replay.from_dict(case["replay"])
            game = source.id or game
            expected = expected_of_case(case["expect"], source)
        except ReplayError as error:
            yield Verdict(str(path), game, CASES, UNUSABLE, reason=str(error))
        else:
            yield judge(str(path), game, CASES, source, expected, factory, work)


def judge(
    file: str,
    game: str,
    form: str,
    source: Replay,
    expected: Expected | None,
    factory: EngineFactory | None,
    work: Work,
) -> Verdict:
    """Play a replay and compare it with what is expected of it; an engine under test also with this package's engine."""
    reason = ""
    if expected is None:
        if factory is None:
            return Verdict(file, game, form, SKIPPED, reason="it has no trace to compare with")
        reason = "compared with this package's engine, as it has no trace"
    turns = source.last_turn if expected is None else min(expected.turns, source.last_turn)
    try:
        work.spend(max(turns, 0) * source.height * source.width)
        if expected is None:
            expected = Expected(sum(1 for _ in own_views(source)) - 1)
        if factory is None:
            played, difference, missing = judge_replay(source, expected, own_views(source))
        else:
            views = engine_views(source, factory, expected.turns)
            played, difference, missing = judge_replay(source, expected, views, own_views(source))
    except ReplayError as error:
        return Verdict(file, game, form, UNUSABLE, reason=str(error))
    except EngineFailed as error:
        return Verdict(file, game, form, DIFFERS, reason=str(error))
    return Verdict(file, game, form, EQUAL if difference is None else DIFFERS, played, difference, reason, missing)
