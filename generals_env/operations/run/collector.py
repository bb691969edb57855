"""Plays games, records them through the pipeline, and serves the stream: the worker ``collector`` of a run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from generals_env.operations.metrics.transport import dump_families
from generals_env.operations.run.pipeline import Pipeline
from generals_env.operations.run.players import GamePlayer
from generals_env.operations.run.structured_logs import set_level
from generals_env.operations.settings.models import Settings

__all__ = ["Collector"]

logger = logging.getLogger(__name__)

PAUSE = 0.05  # maximum seconds between looks at what the supervisor asks

#: Sections whose changes end the running games.
OF_GAMES = ("games", "rewards")


class Collector:
    """Plays until it is drained, a limit is reached, or the sinks fail."""

    def __init__(self, settings: Settings) -> None:
        """Prepare to work; ``run`` opens the sinks and makes the games."""
        self._settings = settings
        self._asked = threading.Event()  # to drain
        self._changing = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._turns = self._games = 0
        self._recorded = 0  # by the recorders of earlier configurations
        self._player: GamePlayer | None = None
        self._beat = time.monotonic()

    def drain(self) -> None:
        """See ``Role``."""
        self._asked.set()

    def change(self, settings: Settings) -> None:
        """See ``Role``. Changed games begin after the call that is playing."""
        with self._changing:
            self._settings = settings
            set_level(settings.logging.level)
            if self._pipeline is not None:
                self._pipeline.change(settings)

    def run(self, ready: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """See ``Role``."""
        pipeline = Pipeline(self._settings)
        with self._changing:
            self._pipeline = pipeline
            pipeline.change(self._settings)  # changed while the pipeline was opened
        server = pipeline.server
        try:
            is_first = True
            while not self._is_over():
                settings = self._settings
                self._player = GamePlayer(settings, pipeline.top if settings.collection.enabled else None, self._seed(is_first))
                if is_first:
                    ready({"address": None if server is None else server.address})
                else:
                    logger.info("games and rewards have changed: new games have begun")
                is_first = False
                try:
                    self._play(self._player, settings)
                finally:
                    self._player.close()
                    self._recorded += self._player.experiences
                    self._player = None
        finally:
            pipeline.close(self._settings.streaming.grace_seconds)
        return self.status()

    def _play(self, player: GamePlayer, settings: Settings) -> None:
        """Play until the games must change, or the run is over."""
        began, turns = time.monotonic(), 0  # of the last call
        while not self._is_over() and not any(
            getattr(settings, section) != getattr(self._settings, section) for section in OF_GAMES
        ):
            self._beat = time.monotonic()
            limit = self._settings.collection.turns_per_second  # a changed one also ends the present pause
            due = began + turns / limit if limit else self._beat
            if self._beat < due:
                self._asked.wait(min(due - self._beat, PAUSE))
                continue
            began = max(due, self._beat - 1.0)
            turns, games = player.play()
            self._turns += turns
            self._games += games

    def _is_over(self) -> bool:
        """Return whether the run is asked to end, or has played its number of games."""
        limit = self._settings.collection.max_games
        return self._asked.is_set() or (limit is not None and self._games >= limit)

    def _seed(self, is_first: bool) -> int | None:
        """Return the seed of the games: that of the settings, another one for each time that the games were changed."""
        seed = self._settings.games.seed
        return seed if is_first or seed is None else seed + self._games + 1

    def status(self) -> dict[str, Any]:
        """See ``Role``."""
        player, pipeline = self._player, self._pipeline
        found: dict[str, Any] = {"turns": self._turns, "games": self._games, "beat": time.monotonic() - self._beat}
        found["experiences"] = self._recorded + (0 if player is None else player.experiences)
        if pipeline is not None:
            found |= pipeline.status()
        return found

    def metrics(self) -> bytes:
        """See ``Role``."""
        collectors = [] if self._pipeline is None else self._pipeline.collectors
        return dump_families(family for collector in collectors for family in collector.collect())

    def parts(self) -> dict[str, Any]:
        """See ``Role``."""
        return {} if self._pipeline is None else self._pipeline.parts()
