"""Tests ``AdaptiveLevel``: it follows the load of the CPU and the speed of disk and link, and no level changes what is read."""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE, wait_until
from support.recorded import cut, facts, games_of

from generals_env import ConfigError, OptionError
from generals_env.recorders import AdaptiveLevel, DatasetWriter, ExperienceBatch, ExperienceLog, open_dataset
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.encoding.byte_shuffle import raw_size
from generals_env.recorders.encoding.compression_level import LevelSource, record_times
from generals_env.recorders.encoding.cpu_load import CpuLoad
from generals_env.recorders.log.writer import LogWriter

pytestmark = pytest.mark.checklist("Q7")

GAMES = games_of("two players")


class Load:
    """A load of the CPU that a test sets."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def __call__(self) -> float:
        return self.value


def adaptive(load: float = 0.0, **options: Any) -> tuple[AdaptiveLevel, Load]:
    """Return an object that decides after each record, and its load."""
    source = Load(load)
    return AdaptiveLevel(**{"cpu_load": source, "interval": 0, **options}), source


def levels(level: AdaptiveLevel) -> list[int]:
    return [switch.level for switch in level.history]


# --- Decisions --------------------------------------------------------------------------------------------------------


def test_level_rises_while_link_is_slow_and_cpu_idle() -> None:
    level, load = adaptive()
    for _ in range(5):
        level.record(1000, 100, 0.1, 1.0)
    assert levels(level) == [6, 8]  # 9 is the maximum, and saves nothing over 8
    assert level.level == level.stats().level == 8
    load.value = 0.7  # neither idle nor loaded
    level.record(1000, 100, 0.1, 1.0)
    assert level.level == 8


def test_level_falls_while_cpu_is_loaded_or_encoding_is_slow() -> None:
    level, load = adaptive(0.9, level=8)
    level.record(1000, 100, 0.1, 1.0)
    assert level.level == 6
    load.value = 0.0
    level.record(1000, 100, 1.0, 0.9)
    assert level.level == 1
    level.record(1000, 100, 1.0, 0.9)
    assert (level.level, level.stats().raised, level.stats().lowered) == (1, 0, 2)
    assert [switch.reason for switch in level.history] == [
        "the CPU is loaded more than 0.85",
        "encoding took longer than sending",
    ]


def test_level_stays_where_next_one_would_take_longer_than_sending() -> None:
    level, _ = adaptive(level=6)
    for _ in range(5):
        level.record(1000, 100, 0.3, 1.0)  # four times as long to encode would be more than sending takes
    assert levels(level) == []


def test_decisions_follow_times_since_last_decision_at_each_interval() -> None:
    now = [0.0]
    level, _ = adaptive(interval=5.0, clock=lambda: now[0])
    for second in range(1, 10):
        now[0] = float(second)
        level.record(10, 5, 0.0, 1.0)
        assert level.level == (6 if second >= 5 else 1)
    now[0] = 10.0
    level.record(10, 5, 100.0, 1.0)  # all times together
    assert (level.level, [switch.at for switch in level.history]) == (1, [5.0, 10.0])
    stats = level.stats()
    assert (stats.raw_bytes, stats.compressed_bytes, stats.ratio) == (100, 50, 2.0)
    assert (stats.encode_seconds, stats.send_seconds, stats.cpu_load) == (100.0, 10.0, 0.0)


def test_options_of_level_change_while_it_is_used() -> None:
    level, load = adaptive(level=3)
    level.record(1, 1, 0.0, 1.0)
    level.record(1, 1, 0.0, 1.0)
    assert level.level == 8
    level.change(max_level=7)
    assert level.level == 7
    level.change(adaptive=False)
    level.record(1, 1, 0.0, 1.0)
    assert level.level == 3  # that to begin with
    level.change(adaptive=True, level=2, max_level=19, low_cpu=0.1, high_cpu=0.2)
    assert level.level == 2
    load.value = 0.15
    level.record(1, 1, 0.0, 1.0)
    assert level.level == 2
    load.value = 0.3
    level.record(1, 1, 0.0, 1.0)
    assert level.level == 1
    with pytest.raises(ConfigError, match=r"low_cpu: expected at most high_cpu, 0\.2, got 0\.5"):
        level.change(max_level=9, low_cpu=0.5)
    with pytest.raises(OptionError, match="'interval'"):
        level.change(interval=3)
    load.value = 0.0
    for _ in range(8):
        level.record(1, 1, 0.0, 1.0)
    assert level.level == 15  # 19 would take ten times as long


def test_level_names_wrong_arguments(tmp_path: Path) -> None:
    for options, told in (
        ({"level": 0}, "level: expected an integer from 1 to 22, got 0"),
        ({"level": 5, "max_level": 4}, "max_level: expected an integer from 5 to 22, got 4"),
        ({"low_cpu": 1.5}, "low_cpu: expected a number from 0 to 1, got 1.5"),
        ({"high_cpu": True}, "high_cpu: expected a number from 0 to 1, got True"),
        ({"interval": -1}, "interval: expected seconds, 0 or more, got -1"),
        ({"adaptive": 1}, "adaptive: expected True or False, got 1"),
    ):
        with pytest.raises(ConfigError, match=told):
            AdaptiveLevel(**options)  # type: ignore[arg-type]
    assert AdaptiveLevel(5, 4, adaptive=False).level == 5
    for bad in (0, 23, "1", True, None):
        with pytest.raises(ConfigError, match="compression_level: expected an integer from 1 to 22"):
            ExperienceLog(tmp_path / "log", compression_level=bad)  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="compression_level: expected an integer from 1 to 22 or an AdaptiveLevel, got 'fast'"
    ):
        DatasetWriter(tmp_path / "files", compression_level="fast")  # type: ignore[arg-type]
    assert not (tmp_path / "log").exists()
    assert isinstance(AdaptiveLevel(), LevelSource)


# --- The load of the CPU ----------------------------------------------------------------------------------------------


def burn(over: Any) -> None:
    while not over.is_set():
        sum(range(10_000))


@contextmanager
def burning(processes: int) -> Iterator[None]:
    """Keep cores busy."""
    context = multiprocessing.get_context("spawn")
    over = context.Event()
    workers = [context.Process(target=burn, args=(over,), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    yield
    over.set()
    for worker in workers:
        worker.join(PATIENCE)


def test_level_falls_under_real_load_of_cpu() -> None:
    pytest.importorskip("psutil")
    level = AdaptiveLevel(8, high_cpu=0.85, interval=0.2)

    def is_lowest() -> bool:
        level.record(1000, 100, 0.0, 1.0)  # the link alone would have it rise
        return level.level == 1

    with burning(multiprocessing.cpu_count() + 1):
        wait_until(is_lowest)
    assert level.stats().cpu_load > 0.85
    assert {switch.reason for switch in level.history if switch.level == 1} == {"the CPU is loaded more than 0.85"}


WITHOUT_PSUTIL = """
import sys, time
sys.modules["psutil"] = None
from generals_env.recorders.encoding.cpu_load import CpuLoad
load = CpuLoad()
end = time.process_time() + 0.2
while time.process_time() < end:
    pass
print(load())
"""


def test_load_of_process_is_measured_without_psutil() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_PSUTIL], capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert 0 < float(done.stdout) <= 1
    assert 0 <= CpuLoad()() <= 1


# --- What uses it -----------------------------------------------------------------------------------------------------


def test_batches_decode_equal_at_all_levels() -> None:
    game = ExperienceBatch.concat(GAMES)
    sizes = {}
    for level in (1, 6, 9, 19, 22, np.int64(3), AdaptiveLevel(8)):
        data = encode_batch(game, level=level)  # type: ignore[arg-type]
        assert facts(decode_batch(data)) == facts(game)
        sizes[str(level)] = len(data)
    assert sizes["19"] < sizes["1"]
    assert encode_batch(game) == encode_batch(game, level=1)


def test_log_follows_speed_of_its_disk_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, append = threading.Event(), LogWriter.append

    def throttled(self: LogWriter, chunks: Any) -> int:
        if slow.is_set():
            time.sleep(0.1)
        return append(self, chunks)

    monkeypatch.setattr(LogWriter, "append", throttled)
    level, _ = adaptive()
    part = ExperienceBatch.concat(GAMES)
    with ExperienceLog(tmp_path, "normal", min_free_bytes=0, compression_level=level) as log:

        def is_at(wanted: int) -> bool:
            log.write(part)
            return level.level == wanted

        slow.set()
        wait_until(lambda: is_at(8))
        slow.clear()
        wait_until(lambda: is_at(1))
        found = list(log.read())
    expected = [fact[:2] + fact[3:] for fact in facts(part)]  # the log numbers experiences itself
    assert all([fact[:2] + fact[3:] for fact in facts(batch)] == expected for batch in found)
    assert levels(level)[:2] == [6, 8]
    assert levels(level)[-1] == 1
    assert level.stats().raised >= 2 <= level.stats().lowered
    assert level.stats().raw_bytes == len(found) * raw_size(encode_batch(part))


def test_compression_level_reaches_chunks_of_log(tmp_path: Path) -> None:
    part, sizes = ExperienceBatch.concat(GAMES), {}
    for number in (1, 8):
        level = AdaptiveLevel(number, adaptive=False)
        with ExperienceLog(tmp_path / f"{number}", min_free_bytes=0, compression_level=level) as log:
            log.write(part)
        sizes[number] = level.stats().compressed_bytes
    assert sizes == {number: len(encode_batch(part, number)) for number in (1, 8)}


@pytest.mark.parametrize("form", ["npz", "parquet", "tfrecord", "tfrecord.gz", "games"])
def test_files_are_read_back_equal_at_all_levels(form: str, tmp_path: Path) -> None:
    sizes = []
    for level in (1, 9, 20, AdaptiveLevel(7)):
        folder = tmp_path / str(len(sizes))
        with DatasetWriter(folder, form, compression_level=level) as writer:
            for game in GAMES:
                writer.write(game)
            writer.flush()
            sizes.append(writer.stats().bytes)
        assert facts(ExperienceBatch.concat(list(open_dataset(folder)))) == facts(ExperienceBatch.concat(GAMES))
    assert sizes[1] < sizes[0] or form == "tfrecord"
    stats = level.stats()  # type: ignore[union-attr]
    assert stats.compressed_bytes == sizes[-1]
    assert stats.raw_bytes == ExperienceBatch.concat(GAMES).nbytes
    with DatasetWriter(tmp_path / "default", form) as writer:
        writer.write(GAMES[0])
        writer.flush()
        assert writer._level is None


class SlowLink:
    """A receiver on loopback that reads slowly while ``slow`` is set."""

    def __init__(self) -> None:
        self.slow = threading.Event()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(1)
        self.sender = socket.socket()
        self.sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.sender.connect(self._listener.getsockname())
        self._receiver, _ = self._listener.accept()
        self.received = bytearray()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while part := self._receiver.recv(2048 if self.slow.is_set() else 2**20):
            self.received += part
            if self.slow.is_set():
                time.sleep(0.02)

    def close(self) -> None:
        self.slow.clear()
        self.sender.close()
        self._thread.join(PATIENCE)
        self._receiver.close()
        self._listener.close()


def test_level_follows_speed_of_throttled_link_both_ways() -> None:
    link, (level, _) = SlowLink(), adaptive()
    part = next(cut(ExperienceBatch.concat(GAMES), 500))
    sent = 0

    def send() -> None:
        nonlocal sent
        started = time.perf_counter()
        data = encode_batch(part, level=level)
        encoded = time.perf_counter()
        link.sender.sendall(len(data).to_bytes(4, "little") + data)
        record_times(level, raw_size(data), len(data), started, encoded)
        sent += 1

    link.slow.set()
    limit = time.monotonic() + PATIENCE
    while level.level < 8 and time.monotonic() < limit:
        send()
    risen = level.level
    link.slow.clear()
    while level.level > 1 and time.monotonic() < limit:
        send()
    link.close()
    assert (risen, level.level) == (8, 1)
    at, batches = 0, []
    while at < len(link.received):
        size = int.from_bytes(link.received[at : at + 4], "little")
        batches.append(decode_batch(bytes(link.received[at + 4 : at + 4 + size])))
        at += 4 + size
    assert len(batches) == sent
    expected = facts(part)
    assert all(facts(batch) == expected for batch in batches)
