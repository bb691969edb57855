"""Tests that each key of the sections ``metrics``, ``debug`` and ``logging`` changes what a run serves and logs."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.helpers import wait_until
from support.http_calls import get
from support.settings_effects import opened, settings_of, shows
from support.stream_calls import GAMES

from generals_env.operations.metrics.transport import exposition
from generals_env.operations.run.collector import Collector
from generals_env.operations.run.endpoints import Endpoints
from generals_env.operations.run.pipeline import Pipeline
from generals_env.operations.run.structured_logs import ROOT, LineHandler, configure_logs

pytestmark = pytest.mark.checklist("K10")


@shows("metrics.enabled", "debug.enabled")
def test_enabled_decides_what_is_served(tmp_path: Path) -> None:
    found = []
    for metrics, debug in ((True, False), (False, False), (True, True)):
        with Endpoints({}, settings_of(tmp_path, {"metrics.enabled": metrics, "debug.enabled": debug})) as served:
            found.append((served.address is not None, served.debug_address is not None))
            if served.address is not None:
                assert get(served.address, "/metrics")[0] == 200
            if served.debug_address is not None:
                assert get(served.debug_address, "/debug/")[0] == 200
    assert found == [(True, False), (False, False), (True, True)]


@shows("metrics.address", "debug.address")
def test_addresses_are_where_endpoints_listen(tmp_path: Path) -> None:
    for key, path in (("metrics.address", "/metrics"), ("debug.address", "/debug/")):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        with Endpoints({}, settings_of(tmp_path, {"debug.enabled": True, key: address})):
            assert get(address, path)[0] == 200


def text_of(pipeline: Pipeline) -> str:
    return exposition(pipeline.metrics.collect(), "")[1].decode()


@shows("metrics.per_game")
@pytest.mark.parametrize("live", [False, True])
def test_per_game_decides_the_labels_of_counts(tmp_path: Path, live: bool) -> None:
    before, after = settings_of(tmp_path), settings_of(tmp_path, {"metrics.per_game": False})
    with opened(before if live else after) as pipeline:
        if live:
            pipeline.top.write(GAMES[0])
            assert "experiences_collected_total{game_id=" in text_of(pipeline)
            pipeline.change(after)
        pipeline.top.write(GAMES[1])
        assert "game_id=" not in text_of(pipeline)


@shows("metrics.ended_games_seconds")
@pytest.mark.parametrize("live", [False, True])
def test_ended_games_seconds_decides_how_long_counts_are_shown(tmp_path: Path, live: bool) -> None:
    """The games of the test have ended: their counts stay for a minute, or for none of it."""
    before, after = settings_of(tmp_path), settings_of(tmp_path, {"metrics.ended_games_seconds": 1e-9})
    ended = GAMES[0].rows.copy()
    ended["terminated"][-2:] = True
    batch = GAMES[0].__class__(**{**vars(GAMES[0]), "rows": ended})
    with opened(before if live else after) as pipeline:
        pipeline.top.write(batch)
        if live:
            assert "game_id=" in text_of(pipeline)
            pipeline.change(after)
        wait_until(lambda: "game_id=" not in text_of(pipeline))


@pytest.fixture
def log_lines() -> Iterator[Callable[[str, str], list[str]]]:
    """Return a function that configures logs and returns the list of their lines; former handlers come back."""
    root, package = logging.getLogger(), logging.getLogger(ROOT)
    handlers, level = root.handlers[:], package.level

    def configure(level: str, form: str) -> list[str]:
        lines: list[str] = []
        configure_logs(level, form, lines.append)
        return lines

    yield configure
    root.handlers = [handler for handler in handlers if not isinstance(handler, LineHandler)]
    package.setLevel(level)
    logging.captureWarnings(False)


@shows("logging.level")
def test_level_decides_which_lines_are_written(tmp_path: Path, log_lines: Callable[[str, str], list[str]]) -> None:
    """The level of the start, and that of a changed collector."""
    info, debug = settings_of(tmp_path), settings_of(tmp_path, {"logging.level": "debug"})
    logger = logging.getLogger(f"{ROOT}.test")
    for settings in (info, debug):
        lines = log_lines(settings.logging.level, settings.logging.format)
        logger.debug("a detail")
        assert len(lines) == (settings is debug)
    lines = log_lines(info.logging.level, info.logging.format)
    Collector(info).change(debug)
    logger.debug("a detail")
    assert len(lines) == 1


@shows("logging.format")
def test_format_decides_the_form_of_lines(tmp_path: Path, log_lines: Callable[[str, str], list[str]]) -> None:
    found = []
    for form in ("text", "json"):
        settings = settings_of(tmp_path, {"logging.format": form})
        lines = log_lines(settings.logging.level, settings.logging.format)
        logging.getLogger(f"{ROOT}.test").info("a line")
        found.append(lines[0])
    assert not found[0].startswith("{")
    assert json.loads(found[1])["message"] == "a line"
