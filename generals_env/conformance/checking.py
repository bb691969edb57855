"""Plans which files are judged against which others, and judges them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from generals_env.conformance.competition_files import judge_competition_file
from generals_env.conformance.engines import EngineFactory
from generals_env.conformance.frame_files import judge_frames
from generals_env.conformance.inputs import CASES, COMPETITION, FOG, FRAMES, REPLAY, TRACE, Input, find_files, identify
from generals_env.conformance.replay_files import Pair, judge_cases, judge_pair, pair_files
from generals_env.conformance.report import UNUSABLE, Verdict
from generals_env.conformance.work import Work
from generals_env.errors import ReplayError

__all__ = ["Task", "check", "plan"]


@dataclass(frozen=True)
class Task:
    """A file to judge.

    Attributes:
        name: Its path.
        run: Yields the verdicts on its games.
    """

    name: str
    run: Callable[[], Iterator[Verdict]]


def check(paths: Iterable[str | Path], engine: EngineFactory | None = None, batches: bool = True) -> list[Verdict]:
    """Judge replays and traces.

    Args:
        paths: Files and folders, see ``docs/conformance.md``.
        engine: An engine under test; None judges this package's engine.
        batches: Whether games of the competition are played also in batches.

    Returns:
        A verdict on each game, and on each file that holds none.
    """
    return [verdict for task in plan(map(Path, paths), engine, batches) for verdict in task.run()]


def plan(
    paths: Iterable[Path],
    engine: EngineFactory | None = None,
    batches: bool = True,
    track: Callable[[list[tuple[Path, bool]]], Iterable[tuple[Path, bool]]] = iter,
) -> list[Task]:
    """Return what is to be judged.

    Args:
        paths: Files and folders.
        engine: An engine under test; None for this package's engine.
        batches: Whether games of the competition are played also in batches.
        track: Wraps the list of files that are read, to show progress.
    """
    files, refused = find_files(paths)
    found = [identify(path, named) for path, named in track(files)]
    verdicts = refused + [item for item in found if isinstance(item, Verdict)]
    inputs = [item for item in found if isinstance(item, Input)]
    tasks = [Task(verdict.file, partial(iter, [verdict])) for verdict in verdicts]
    pairs = pair_files([item for item in inputs if item.form in (REPLAY, TRACE, FOG)])
    tasks += [Task(str(pair.named.path), partial(judge_pairs, [pair], engine)) for pair in pairs]
    tasks += [Task(str(item.path), partial(judge_list, item, engine, batches)) for item in inputs if item.form in LISTS]
    return tasks


def judge_pairs(pairs: Iterable[Pair], engine: EngineFactory | None) -> Iterator[Verdict]:
    """Yield the verdicts on replays with what is expected of them."""
    for pair in pairs:
        yield judge_pair(pair, engine, Work())


#: Forms of files with a list of games.
LISTS = (CASES, COMPETITION, FRAMES)


def judge_list(item: Input, engine: EngineFactory | None, batches: bool) -> Iterator[Verdict]:
    """Yield the verdicts on a file with a list of games."""
    try:
        if item.form == CASES:
            yield from judge_cases(item.path, engine, Work())
        elif item.form == COMPETITION:
            yield from judge_competition_file(item.path, engine, batches, Work())
        else:
            yield from judge_frames(item.path, engine)
    except ReplayError as error:  # the file changed since it was identified
        yield Verdict(str(item.path), "", item.form, UNUSABLE, reason=str(error))
