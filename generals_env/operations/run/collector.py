"""Plays games, records them through the pipeline, and serves the stream: the worker ``collector`` of a run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from generals_env.errors import GeneralsError
from generals_env.operations.metrics.registry import MetricsRegistry
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
        self._registry = MetricsRegistry("collector")
        self._pipeline: Pipeline | None = None
        self._turns = self._games = 0
        self._recorded = 0  # by the recorders of earlier configurations
        self._player: GamePlayer | None = None
        self._refused = ""  # why games of changed settings could not begin
        self._beat = time.monotonic()

    def drain(self) -> None:
        """See ``Role``."""
        self._asked.set()
        with self._changing:
            if self._pipeline is not None:
                self._pipeline.end_waits(self._settings.streaming.grace_seconds)

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
        self._registry.add(*pipeline.collectors)
        with self._changing:
            self._pipeline = pipeline
            pipeline.change(self._settings)  # changed while the pipeline was opened
        server = pipeline.server
        try:
            settings = self._settings
            self._player = self._make_player(pipeline, settings, settings.games.seed)
            ready({"address": None if server is None else server.address})
            while True:
                self._play(self._player, settings)
                if self._is_over():
                    break
                settings = self._settings
                self._replace_games(pipeline, settings)
        finally:
            try:
                self._end_games()
            finally:
                pipeline.close(self._settings.streaming.grace_seconds)
        return self.status()

    def _make_player(self, pipeline: Pipeline, settings: Settings, seed: int | None) -> GamePlayer:
        """Return the player of new games; errors as of ``GamePlayer``."""
        return GamePlayer(settings, pipeline.top if settings.collection.enabled else None, seed)

    def _replace_games(self, pipeline: Pipeline, settings: Settings) -> None:
        """Begin the games of changed settings; if that fails, the former ones go on until the settings change again."""
        self._refused = ""
        try:
            player = self._make_player(pipeline, settings, self._changed_seed(settings))
        except (GeneralsError, ImportError) as error:
            logger.error("games and rewards stay as they are: %s", error)  # noqa: TRY400 - the text says it all
            self._refused = f"changed settings: {error}: the former games go on"
            return
        self._end_games()
        self._player = player
        logger.info("games and rewards have changed: new games have begun")

    def _end_games(self) -> None:
        """End the running games, if there are any."""
        player = self._player
        if player is not None:
            try:
                player.close()
            finally:
                self._player = None
                self._recorded += player.experiences

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

    def _changed_seed(self, settings: Settings) -> int | None:
        """Return the seed of games that replace others: another one than that of the settings, for each change."""
        seed = settings.games.seed
        return None if seed is None else seed + self._games + 1

    def status(self) -> dict[str, Any]:
        """See ``Role``."""
        player, pipeline = self._player, self._pipeline
        found: dict[str, Any] = {"turns": self._turns, "games": self._games, "beat": time.monotonic() - self._beat}
        found["experiences"] = self._recorded + (0 if player is None else player.experiences)
        if pipeline is not None:
            found |= pipeline.status()
        if self._refused:
            found["problems"] = {**found.get("problems", {}), "games": self._refused}
        return found

    def metrics(self) -> bytes:
        """See ``Role``."""
        return self._registry.dump()

    def parts(self) -> dict[str, Any]:
        """See ``Role``."""
        return {} if self._pipeline is None else self._pipeline.parts()
