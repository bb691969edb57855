"""Tests signals, kills at awkward moments, closed terminals and settings that workers refuse, with real processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from support.helpers import wait_until
from support.run_process import SMALL, RunProcess, heed_signals

from generals_env.recorders import ExperienceLog, open_dataset

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals that Windows does not have")

CONFIG = """\
experience:
  games: {{height: 6, width: 6, max_turns: 40, parallel: 8, policies: [{policy}], observation: {layout}}}
  collection: {{turns_per_second: 2000}}
  streaming: {{address: "127.0.0.1:0"}}
  metrics: {{address: "127.0.0.1:0"}}
  storage: {{file: {{format: games}}}}
"""


def last_of_log(folder: Path) -> int:
    return ExperienceLog(folder / "runs/log", mode="r").last


def assert_files_hold_the_log(folder: Path) -> None:
    found = sorted(int(number) for batch in open_dataset(folder / "runs/experiences") for number in batch.sequence)
    assert found == list(range(last_of_log(folder) + 1))
    assert found


def workers_of(run: RunProcess) -> list[psutil.Process]:
    """Return the processes of workers, which spawn names by what they do."""
    children = psutil.Process(run.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.checklist("N8")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_run_drains_after_a_signal_to_all_of_its_processes(tmp_path: Path, number: int) -> None:
    with RunProcess(tmp_path) as run:
        run.ready("collector")
        run.ready("storage")
        wait_until(lambda: last_of_log(tmp_path) > 500)
        workers = workers_of(run)
        os.killpg(run.process.pid, number)
        run.figures()
        assert not any(worker.is_running() for worker in workers)
    assert not any("killed" in line["message"] or "exit status" in line["message"] for line in run.lines)
    assert_files_hold_the_log(tmp_path)


def test_run_workers_survive_the_signal_of_a_service_manager(tmp_path: Path) -> None:
    with RunProcess(tmp_path) as run:
        for worker in ("storage", "collector"):
            os.kill(run.ready(worker)["pid"], signal.SIGTERM)
        before = last_of_log(tmp_path)
        wait_until(lambda: last_of_log(tmp_path) > before + 2000)
        wait_until(lambda: run.get("/readyz")[0] == 200)
        run.stop()
    assert_files_hold_the_log(tmp_path)


def test_second_signal_ends_a_run_with_a_worker_that_hangs(tmp_path: Path) -> None:
    with RunProcess(tmp_path) as run:
        stopped = psutil.Process(run.ready("collector")["pid"])
        run.ready("storage")
        stopped.suspend()
        run.process.send_signal(signal.SIGTERM)
        run.wait_for(lambda line: line.get("state") == "draining")
        run.process.send_signal(signal.SIGTERM)
        run.wait_for(lambda line: line["message"] == "the run has ended")
        assert run.process.wait() == 1
        assert not stopped.is_running()
    messages = [line["message"] for line in run.lines]
    assert "worker collector has not ended: it is killed" in messages
    assert not any("has not answered for 60 s" in message for message in messages)


def test_worker_killed_before_it_has_worked_is_started_again(tmp_path: Path) -> None:
    with RunProcess(tmp_path) as run:
        wait_until(lambda: len(workers_of(run)) == 2)
        for worker in workers_of(run):
            worker.kill()
        run.ready("collector")
        run.ready("storage")
        run.stop()
    assert sum("killed by signal 9" in line["message"] for line in run.lines if "ended" in line["message"]) == 2
    assert_files_hold_the_log(tmp_path)


def test_settings_changed_while_a_worker_starts_take_effect(tmp_path: Path) -> None:
    config = tmp_path / "experience.yaml"
    config.write_text(CONFIG.format(policy="random", layout="standard"))
    with RunProcess(tmp_path, "--config", str(config), settings=()) as run:
        first = run.ready("collector")["pid"]
        run.ready("storage")
        seen = len(run.lines)
        os.kill(first, signal.SIGKILL)
        run.wait_for(lambda line: line["message"] == "worker collector is started again", seen)
        wait_until(lambda: len(workers_of(run)) == 2)
        second = max(workers_of(run), key=lambda worker: worker.create_time())
        second.suspend()
        config.write_text(CONFIG.format(policy="expander", layout="standard"))
        run.wait_for(lambda line: line["message"].startswith("changed settings: games.policies"))
        second.resume()
        run.wait_for(lambda line: line["message"] == "games and rewards have changed: new games have begun", seen)
        run.stop()


def test_policies_that_cannot_play_leave_the_running_games(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from generals_env.recorders.training.checkpoints import save_checkpoint
    from generals_env.recorders.training.q_network import QNetwork

    save_checkpoint(tmp_path / "model.pt", {"model": QNetwork((9, 1, 1), 4, 1).state_dict(), "step": 1})
    config = tmp_path / "experience.yaml"
    config.write_text(CONFIG.format(policy="model.pt", layout="standard"))
    with RunProcess(tmp_path, "--config", str(config), settings=()) as run:
        run.ready("collector")
        config.write_text(CONFIG.format(policy="missing.pt", layout="standard"))
        run.wait_for(lambda line: "the settings stay as they are" in line["message"] and "missing.pt" in line["message"])
        config.write_text(CONFIG.format(policy="model.pt", layout="full"))
        run.wait_for(lambda line: "games and rewards stay as they are" in line["message"] and "channels" in line["message"])
        wait_until(lambda: "the former games go on" in run.get("/readyz")[1])
        before = last_of_log(tmp_path)
        wait_until(lambda: last_of_log(tmp_path) > before + 500)
        config.write_text(CONFIG.format(policy="model.pt", layout="standard"))
        run.wait_for(lambda line: line["message"] == "games and rewards have changed: new games have begun")
        wait_until(lambda: run.get("/readyz")[0] == 200)
        run.stop()
    assert not any("is started again" in line["message"] for line in run.lines)
    assert_files_hold_the_log(tmp_path)


@pytest.mark.checklist("N8")
def test_run_on_a_closed_terminal_drains(tmp_path: Path) -> None:
    import pty
    import subprocess

    terminal, inside = pty.openpty()
    command = [sys.executable, "-m", "generals_env.cli", "run"]
    for setting in SMALL:
        command += ["--set", setting]
    heed_signals()
    with (tmp_path / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=tmp_path, stdin=inside, stdout=inside, stderr=errors, start_new_session=True)
    os.close(inside)
    text = b""
    while b"sequences" not in text:  # the table shows what the log holds
        text += os.read(terminal, 65536)
    os.close(terminal)
    before = last_of_log(tmp_path)
    wait_until(lambda: last_of_log(tmp_path) > before + 2000 or process.poll() is not None)
    assert process.poll() is None, (tmp_path / "errors").read_text()
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait() == 0, (tmp_path / "errors").read_text()
    assert_files_hold_the_log(tmp_path)


def test_run_without_log_and_consumer_waits_and_still_drains(tmp_path: Path) -> None:
    settings = (*SMALL, "log.enabled=false", "collection.buffer_size=1000", "streaming.grace_seconds=0.1")
    settings += ("streaming.policy=block",)
    with RunProcess(tmp_path, settings=settings) as run:
        run.ready("collector")
        wait_until(lambda: 'experience_buffer_utilization{buffer_id="stream"} 1.0' in run.get("/metrics")[1])
        figures = run.stop()["collector"]
    assert figures["buffer"]["written"] == figures["experiences"]
    found = sorted(int(number) for batch in open_dataset(tmp_path / "runs/experiences") for number in batch.sequence)
    assert found == list(range(figures["experiences"]))
