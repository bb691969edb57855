"""Makes settings of small runs that differ in one key, plays them, and notes which keys a test shows the effect of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from generals_env.operations.run.collector import Collector
from generals_env.operations.run.pipeline import Pipeline
from generals_env.operations.run.players import GamePlayer
from generals_env.operations.settings.keys import KEYS
from generals_env.operations.settings.models import Settings
from support.helpers import Memory, wait_until

Test = TypeVar("Test", bound=Callable[..., Any])

#: Settings of small games that reach no address and no folder but those of the test.
SMALL: dict[str, Any] = {
    "games.height": 6,
    "games.width": 6,
    "games.max_turns": 40,
    "games.parallel": 4,
    "games.seed": 1,
    "games.threads": 1,
    "storage.enabled": False,
    "streaming.enabled": False,
    "streaming.address": "127.0.0.1:0",
    "metrics.address": "127.0.0.1:0",
    "debug.address": "127.0.0.1:0",
    "log.min_free_bytes": 0,
    "storage.min_free_bytes": 0,
}


def shows(*names: str) -> Callable[[Test], Test]:
    """Note the keys of which a test shows the effect; ``test_each_key_has_a_test_of_its_effect`` reads the source for them."""
    unknown = [name for name in names if name not in KEYS]
    assert not unknown, f"no keys: {unknown}"
    return lambda test: test


def settings_of(folder: Path, values: dict[str, Any] | None = None) -> Settings:
    """Return the settings of a small run in a folder, with some keys changed."""
    tree: dict[str, Any] = {}
    places = {"log.directory": str(folder / "log"), "storage.file.directory": str(folder / "files")}
    for name, value in (SMALL | places | (values or {})).items():
        *sections, last = name.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[last] = value
    return Settings.model_validate(tree)


@contextmanager
def opened(settings: Settings) -> Iterator[Pipeline]:
    """Open a pipeline for the block."""
    pipeline = Pipeline(settings)
    try:
        yield pipeline
    finally:
        pipeline.close(0)
        pipeline.stages.stop()


def played(settings: Settings, turns: int = 32) -> Memory:
    """Play some turns, and return the experience."""
    memory = Memory()
    player = GamePlayer(settings, memory, settings.games.seed)
    for _ in range(-(-turns // player.turns)):
        player.play()
    player.close()
    return memory


@contextmanager
def collecting(settings: Settings) -> Iterator[Collector]:
    """Run a collector in a thread for the block, from its first game on; drain it afterwards."""
    collector, ready = Collector(settings), threading.Event()
    thread = threading.Thread(target=lambda: collector.run(lambda _: ready.set()), daemon=True)
    thread.start()
    try:
        wait_until(lambda: ready.is_set() or not thread.is_alive())
        yield collector
    finally:
        collector.drain()
        thread.join()
        if collector._pipeline is not None:
            collector._pipeline.stages.stop()
