"""Recorded games of people as experience."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from generals_env import replay
from generals_env.config import RewardConfig
from generals_env.errors import ConfigError, ReplayError
from generals_env.recorders.journal import GameCollector, Journal
from generals_env.recorders.sinks import AnySink, open_sink

__all__ = ["RecordedReplays", "record_replays"]


@dataclass
class RecordedReplays:
    """What became of the replays.

    Attributes:
        games: How many were recorded.
        experiences: How many experiences that gave.
        skipped: Why others were not, by path.
    """

    games: int = 0
    experiences: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def record_replays(
    paths: str | Path | Iterable[str | Path],
    sink: AnySink,
    reward: RewardConfig | None = None,
    on_error: str = "raise",
) -> RecordedReplays:
    """Play replays and record every player's experience.

    Actions are the moves that were made, a pass where there was none. Games are called by the id in the
    file, or by its name; ``collected_at`` is when the recording of the game began, as nobody knows when it was played.

    Args:
        paths: Files as ``generals_env.replay.read`` takes them, or one such file.
        sink: A folder or URL, an object with ``write``, ``flush`` and ``close``, or several of these; closed at the end.
        reward: Weights of the reward, a ``RewardConfig`` or a mapping of its fields; the default ones without.
        on_error: ``"raise"`` stops at the first replay that cannot be recorded, ``"skip"`` reports it.

    Raises:
        ConfigError: If ``on_error`` is neither, or ``sink`` is no sink.
        ReplayError: If a replay cannot be recorded (with ``"raise"``); those before it have been.
        StorageError: If the sink cannot be written.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
    if isinstance(paths, (str, Path)):
        paths = [paths]
    journal = Journal(open_sink(sink))
    collector = GameCollector(journal)
    result = RecordedReplays()
    try:
        for path in paths:
            try:
                game = replay.read(path)
                journal.stamp = time.time_ns()
                collector.name_next_game(game.id or Path(path).name)
                game.collect(collector, reward)
            except ReplayError as error:
                if on_error == "raise":
                    raise
                result.skipped[str(path)] = str(error)
            else:
                result.games += 1
    finally:
        result.experiences = journal.experiences
        journal.close()
    return result
