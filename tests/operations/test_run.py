"""Tests ``generals-env run`` as users start it: its processes, their figures, kills, signals and reloaded settings."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from support.command_line import runner
from support.helpers import wait_until
from support.run_process import SMALL, RunProcess

from generals_env.cli.app import app
from generals_env.recorders import ExperienceConsumer, ExperienceLog, open_dataset

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals that Windows does not have")

CONFIG = """\
experience:
  games: {{height: 6, width: 6, max_turns: 40, parallel: 8, policies: [random], seed: 1}}
  collection: {{turns_per_second: 4000}}
  streaming: {{address: "127.0.0.1:0"}}
  metrics: {{address: "127.0.0.1:0"}}
  storage: {{file: {{format: games}}}}
  rewards: {{city_captured: {city}}}
"""


class Reader:
    """Reads the stream of a run in a thread.

    Attributes:
        sequences: The sequences that were received, in order.
    """

    def __init__(self, address: str) -> None:
        self.consumer = ExperienceConsumer(address)
        self.sequences: list[int] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for batch in self.consumer.stream_experiences(batch_size=None):
            self.sequences.extend(batch.sequence.tolist())

    def close(self) -> None:
        self.consumer.close()
        self._thread.join()


def sequences_in_files(folder: Path) -> list[int]:
    return sorted(int(number) for batch in open_dataset(folder / "runs/experiences") for number in batch.sequence)


def log_span(folder: Path) -> tuple[int, int]:
    log = ExperienceLog(folder / "runs/log", mode="r")
    return log.first, log.last + 1


@pytest.mark.checklist("A2")
def test_run_plays_a_number_of_games_and_accounts_for_every_experience(tmp_path: Path) -> None:
    with RunProcess(tmp_path, "--games", "30") as run:
        figures = run.figures()
    first, following = log_span(tmp_path)
    collector, storage = figures["collector"], figures["storage"]
    assert collector["games"] >= 30
    assert first == 0
    assert following == collector["experiences"] == collector["buffer"]["written"] == storage["committed"] == storage["written"]
    assert sequences_in_files(tmp_path) == list(range(following))
    ends = Counter(name for batch in open_dataset(tmp_path / "runs/experiences") for name in ended_players(batch))
    assert set(ends.values()) == {1}
    assert len(ends) >= 2 * 30


def ended_players(batch: Any) -> list[tuple[str, int]]:
    """Return game and player of each terminal experience."""
    rows = np.flatnonzero(batch.terminated | batch.truncated)
    return [(batch.game_ids[batch.game[row]], int(batch.player_id[row])) for row in rows]


@pytest.mark.checklist("N6")
def test_run_restarts_killed_workers_and_loses_and_repeats_nothing(tmp_path: Path) -> None:
    settings = (*SMALL, "storage.max_file_bytes=300000", "storage.max_file_seconds=1")
    with RunProcess(tmp_path, settings=settings) as run:
        address = run.ready("collector")["address"]
        reader = Reader(address)
        for worker in ("storage", "collector", "storage", "collector"):
            pid = run.ready(worker)["pid"]
            wait_until(lambda: len(reader.sequences) > 2000 and has_files(tmp_path))
            seen = len(run.lines)
            os.kill(newest_pid(run, worker) or pid, signal.SIGKILL)
            assert run.ready(worker, seen)["address" if worker == "collector" else "place"]
            before = len(reader.sequences)
            wait_until(lambda: len(reader.sequences) > before + 1000)  # noqa: B023 - called at once
        figures = run.stop()
        wait_until(
            lambda: reader.consumer.position is not None and reader.consumer.position.next_sequence >= log_span(tmp_path)[1]
        )
        reader.close()
    _, following = log_span(tmp_path)
    assert figures["collector"]["log"]["next"] == following
    assert sequences_in_files(tmp_path) == list(range(following))
    assert reader.sequences == list(range(following))
    assert reader.consumer.missed == 0
    assert reader.consumer.reconnects >= 2


def has_files(folder: Path) -> bool:
    return any((folder / "runs/experiences").rglob("*.games"))


def newest_pid(run: RunProcess, worker: str) -> int:
    return int([line for line in run.lines if line["message"] == f"worker {worker} is ready"][-1]["pid"])


@pytest.mark.checklist("N8")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_drains_after_a_signal(tmp_path: Path, number: int) -> None:
    with RunProcess(tmp_path) as run:
        reader = Reader(run.ready("collector")["address"])
        wait_until(lambda: len(reader.sequences) > 500)
        figures = run.stop(number)
        following = log_span(tmp_path)[1]
        wait_until(lambda: len(reader.sequences) >= following)
        reader.close()
    assert reader.sequences == list(range(following)) == sequences_in_files(tmp_path)
    assert figures["collector"]["experiences"] == following


def test_run_workers_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with RunProcess(tmp_path) as run:
        pids = [run.ready(worker)["pid"] for worker in ("collector", "storage")]
        run.process.kill()
        wait_until(lambda: not any(is_running(pid) for pid in pids))
    with RunProcess(tmp_path, "--games", "1") as run:  # writes the files that the storage worker could not know of any more
        run.figures()
    assert sequences_in_files(tmp_path) == list(range(log_span(tmp_path)[1]))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_run_continues_log_and_files_of_an_earlier_run(tmp_path: Path) -> None:
    for total in (1, 2):
        with RunProcess(tmp_path, "--games", "10", "--set", f"games.seed={total}") as run:
            run.figures()
    following = log_span(tmp_path)[1]
    assert sequences_in_files(tmp_path) == list(range(following))
    runs = {batch.metadata["run"] for batch in open_dataset(tmp_path / "runs/experiences")}
    assert len(runs) == 2


@pytest.mark.checklist("K10", "F2")
def test_changed_rewards_and_games_take_effect_in_a_running_run(tmp_path: Path) -> None:
    config = tmp_path / "experience.yaml"
    config.write_text(CONFIG.format(city=0.25))
    with RunProcess(tmp_path, "--config", str(config), settings=()) as run:
        run.ready("collector")
        wait_until(lambda: log_span(tmp_path)[1] > 1000)
        for text in (CONFIG.format(city=0.5), CONFIG.format(city=0.75).replace("height: 6", "height: 7")):
            seen = len(run.lines)
            config.write_text(text)
            run.wait_for(lambda line: "new games have begun" in line["message"], seen)
            middle = log_span(tmp_path)[1]
            wait_until(lambda: log_span(tmp_path)[1] > middle + 1000)  # noqa: B023 - called at once
        config.write_text("experience: {games: {height: tall}}\n")
        run.wait_for(lambda line: "the settings stay as they are" in line["message"] and "games.height" in line["message"])
        config.write_text(CONFIG.format(city=0.75).replace("height: 6", "height: 7") + "  log: {directory: elsewhere}\n")
        run.wait_for(lambda line: "need a restart" in line["message"] and "log.directory" in line["message"])
        run.stop()
    found = {
        (batch.shape, batch.metadata["reward"]["city_captured"])
        for batch in ExperienceLog(tmp_path / "runs/log", mode="r").read()
    }
    assert found == {((6, 6), 0.25), ((6, 6), 0.5), ((7, 6), 0.75)}


@pytest.mark.checklist("L16")
def test_run_serves_metrics_and_readiness_of_all_processes(tmp_path: Path) -> None:
    with RunProcess(tmp_path) as run:
        assert run.get("/healthz")[0] == 200
        run.ready("collector")
        run.ready("storage")
        wait_until(lambda: run.get("/readyz")[0] == 200)
        wait_until(lambda: "experiences_collected_total{" in run.get("/metrics")[1])
        text = run.get("/metrics")[1]
        for component in ("supervisor", "collector", "storage"):
            assert f'generals_process_memory_bytes{{component="{component}"}}' in text
        assert 'experience_buffer_utilization{buffer_id="collection"}' in text
        seen = len(run.lines)
        os.kill(run.ready("storage")["pid"], signal.SIGSTOP)
        run.wait_for(lambda line: "check worker storage" in line["message"] and line["level"] == "error", seen)
        assert run.get("/readyz")[0] == 503
        os.kill(run.ready("storage")["pid"], signal.SIGCONT)
        wait_until(lambda: run.get("/readyz")[0] == 200)
        run.stop()


def test_run_reports_each_unusable_thing_before_the_first_game(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as used, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [server.getsockname()[1] for server in (used, other)]
        settings = (
            f"streaming.address=127.0.0.1:{ports[0]}",
            f"metrics.address=127.0.0.1:{ports[1]}",
            "log.directory=file/log",
        )
        with RunProcess(tmp_path, "--out", "file/out", "--log", "file/log", settings=settings) as run:
            assert run.process.wait() == 2
    text = "".join(run.other)
    for key in ("streaming.address", "metrics.address", "file/log", "file/out"):
        assert sum(key in line and line.startswith("error: ") for line in run.other) == 1, text
    assert "Traceback" not in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--policies", "greedy"], "games.policies"),
        (["--policies", "random,random,random"], "games.policies"),
        (["--set", "games.parallel=0"], "games.parallel"),
        (["--parallel", "0"], "--parallel"),
        (["--set", "collection.bufer_size=1"], "collection.buffer_size"),
    ],
)
def test_run_reports_wrong_options_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [word for setting in SMALL for word in ("--set", setting)]
    result = runner.invoke(app, ["run", "--json", *settings, *options])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1, result.output
    assert result.output.startswith("error: ")
    assert text in result.output
    assert not list(tmp_path.iterdir())
