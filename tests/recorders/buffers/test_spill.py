"""Tests SpillBuffer, a queue in memory and on disk: order, overflow policies, damage and failing disks."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import KINDS, PATIENCE, Memory, same, wait_until
from support.paths import DATA, TESTS
from support.small_batches import PART, budget, recorded

from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import ExperienceBatch, record_replays
from generals_env.recorders.buffers.spill_buffer import SpillBuffer, SpillStats
from generals_env.recorders.experience.dense_observations import Dense


@pytest.fixture(scope="module")
def parts() -> list[ExperienceBatch]:
    return recorded(height=8, width=8)


def sequences(batches: list[ExperienceBatch]) -> list[int]:
    return [number for batch in batches for number in batch.sequence.tolist()]


def drained(buffer: SpillBuffer, n: int = 37) -> list[ExperienceBatch]:
    batches = []
    while (batch := buffer.read(n)) is not None:
        assert 0 < len(batch) <= n
        batches.append(batch)
    return batches


def check(buffer: SpillBuffer, at_rest: bool = True) -> SpillStats:
    """Check that the counts add up; ``at_rest`` says that no other thread is at work."""
    stats = buffer.stats()
    waiting = stats.in_memory + stats.on_disk
    assert stats.recovered + stats.added == stats.read + stats.dropped + stats.damaged + waiting
    assert len(buffer) == waiting or not at_rest
    assert min(vars(stats).values()) >= 0
    return stats


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.spill") if path.name != "damaged.spill")


def on_disk(folder: Path) -> int:
    total = 0
    for path in segments(folder):
        with suppress(FileNotFoundError):  # a reader has taken it since
            total += path.stat().st_size
    return total


def equal(one: ExperienceBatch, other: ExperienceBatch) -> bool:
    """Return whether two batches hold the same to the last bit, boards included."""
    return (
        one.game_ids == other.game_ids
        and same(one.rows, other.rows)
        and same(tuple(one.boards), tuple(other.boards))
        and (one.shape, one.recipe, one.metadata) == (other.shape, other.recipe, other.metadata)
        and (one.dense is None) == (other.dense is None)
        and (one.dense is None or same(tuple(vars(one.dense).values()), tuple(vars(other.dense or one.dense).values())))
    )


@pytest.mark.parametrize("options", KINDS[1:], ids=lambda options: f"{options['players']} players")
def test_batches_are_read_in_order_and_bit_for_bit_from_memory_and_disk(options: dict[str, Any], tmp_path: Path) -> None:
    batches = recorded(**options)
    buffer = SpillBuffer(tmp_path, max_bytes=budget(batches, 5))
    for batch in batches:
        buffer.write(batch)
        check(buffer)
    stats = check(buffer)
    assert stats.in_memory > 0
    assert stats.on_disk > 0
    assert stats.disk_bytes == on_disk(tmp_path) > 0
    assert stats.segments == len(segments(tmp_path)) > 1
    for batch in batches:
        back = buffer.read(len(batch))
        assert back is not None
        assert equal(back, batch)
        check(buffer)
    assert buffer.read(1) is None
    assert segments(tmp_path) == []
    assert check(buffer).memory_bytes == check(buffer).disk_bytes == 0


def test_other_portions_give_same_experiences(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    whole = ExperienceBatch.concat(parts)
    for number, n in enumerate((1, 7, PART, 1000)):
        buffer = SpillBuffer(tmp_path / str(number), max_bytes=budget(parts, 4))
        for batch in parts:
            buffer.write(batch)
        back = drained(buffer, n)
        assert [len(batch) for batch in back[:-1]] == [n] * (len(back) - 1)
        for name in ("states", "next_states", "action_masks", "rewards"):
            assert same(np.concatenate([getattr(batch, name)() for batch in back]), getattr(whole, name)()), name
        assert same(np.concatenate([batch.rows["sequence"] for batch in back]), whole.sequence)
        assert [game for batch in back for game in batch.game_id] == whole.game_id.tolist()


def test_spill_starts_at_threshold_and_no_sooner(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    size = budget(parts, 1)
    buffer = SpillBuffer(tmp_path, max_bytes=size * 10, threshold=0.5)
    most = 0
    for batch in parts:
        full = buffer.stats().memory_bytes + batch.nbytes > size * 5
        buffer.write(batch)
        stats = check(buffer)
        most = max(most, stats.memory_bytes)
        assert full or not segments(tmp_path)
        assert stats.memory_bytes <= size * 10
    assert most > size * 4
    assert check(buffer).spilled > 0


def test_caught_up_readers_return_queue_to_memory(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    buffer = SpillBuffer(tmp_path, max_bytes=budget(parts, 5))
    for batch in parts:
        buffer.write(batch)
    assert segments(tmp_path)
    assert sequences(drained(buffer)) == sequences(parts)
    spilled = check(buffer).spilled
    for batch in parts:
        buffer.write(batch)
        assert sequences(drained(buffer)) == sequences([batch])
        assert check(buffer).spilled == spilled
        assert segments(tmp_path) == []


def test_any_interleaving_keeps_order(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    numbers = iter(range(10**6))
    for seed in range(30):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        limits = {"max_bytes": budget(parts, rng.choice((1, 3, 6))), "threshold": rng.choice((0.3, 0.8))}
        buffer = SpillBuffer(folder, **limits)  # type: ignore[arg-type]
        expected: deque[int] = deque()
        for _ in range(120):
            act = rng.random()
            if act < 0.5:
                batch = rng.choice(parts)
                batch = batch.select(np.arange(rng.randrange(1, len(batch) + 1)))
                batch.rows["sequence"] = [next(numbers) for _ in range(len(batch))]
                expected += batch.sequence.tolist()
                buffer.write(batch)
            elif act < 0.93:
                got = buffer.read(rng.randrange(1, 150))
                assert (got is None) == (not expected)
                assert sequences([got] if got else []) == [expected.popleft() for _ in range(len(got) if got else 0)]
            elif act < 0.97:
                buffer.flush()
                assert on_disk(folder) == check(buffer).disk_bytes
            else:  # all that is on disk is there in the next life; the segment that was being read, from its beginning
                buffer.close()
                del buffer
                buffer = SpillBuffer(folder, **limits)  # type: ignore[arg-type]
                again = buffer.stats().recovered - len(expected)
                assert again >= 0
                for _ in range(again):
                    one = buffer.read(1)
                    assert one is not None
                    assert one.sequence[0] < (expected[0] if expected else 10**6)
            check(buffer)
        assert sequences(drained(buffer)) == list(expected)


def test_readers_get_consistent_batches(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    others = recorded(height=5, width=6)[:2]
    floats = others[1].states()
    rows = np.arange(len(floats), dtype=np.int32)
    dense = [
        ExperienceBatch(others[1].game_ids, others[1].rows, others[1].boards, others[1].shape, dense=Dense(array, rows, rows))
        for array in (floats, floats.astype(np.float16))
    ]
    buffer = SpillBuffer(tmp_path, max_bytes=1)
    for batch in (*parts[:2], *others, *dense):
        buffer.write(batch)
    back = drained(buffer, 10**6)
    assert [len(batch) for batch in back] == [2 * PART, 2 * PART, PART, PART]
    assert equal(back[2], dense[0])
    assert equal(back[3], dense[1])


def test_human_games_pass_through(tmp_path: Path) -> None:
    paths = [DATA / "B5--zeFUe.json.gz", DATA / "cqivEp6Ad.json.gz"]
    plain = Memory()
    told = record_replays(paths, plain)
    buffer = SpillBuffer(tmp_path, max_bytes=budget(plain, 1.5))
    record_replays(paths, buffer)  # which closes it
    assert buffer.stats().spilled == told.experiences  # all of it: closing brings the rest to disk
    for batch in plain:
        back = buffer.read(len(batch))
        assert back is not None
        assert back.game_id.tolist() == batch.game_id.tolist()
        for name in ("sequence", "action", "turn", "player_id"):
            assert same(getattr(back, name).copy(), getattr(batch, name).copy()), name
        for name in ("states", "next_action_masks"):
            assert same(getattr(back, name)(), getattr(batch, name)()), name
    assert buffer.read(1) is None


# --- Overflow -----------------------------------------------------------------------------------------------------


def encoded(parts: list[ExperienceBatch], folder: Path) -> int:
    """Return the largest size of one batch on disk."""
    buffer = SpillBuffer(folder, max_bytes=1)
    for batch in parts:
        buffer.write(batch)
    buffer.close()
    return max(path.stat().st_size for path in segments(folder))


def test_drop_oldest_leaves_the_newest_without_gaps(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    limit = 3 * encoded(parts, tmp_path / "sizes")
    buffer = SpillBuffer(tmp_path / "q", budget(parts, 3), max_disk_bytes=limit, overflow="drop_oldest")
    written: list[int] = []
    for batch in parts:
        buffer.write(batch)
        written += batch.sequence.tolist()
        stats = check(buffer)
        assert stats.disk_bytes == on_disk(tmp_path / "q") <= limit
    assert stats.dropped > 2 * PART
    head = buffer.read(10)
    assert head is not None
    kept = sequences([head, *drained(buffer)])
    assert kept == written[-len(kept) :]
    assert len(kept) == len(written) - stats.dropped


@pytest.mark.checklist("G8")
def test_drop_newest_keeps_what_was_written_first(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    limit = 3 * encoded(parts, tmp_path / "sizes")
    buffer = SpillBuffer(tmp_path / "q", budget(parts, 3), max_disk_bytes=limit, overflow="drop_newest")
    for batch in parts:
        buffer.write(batch)
        stats = check(buffer)
        assert stats.disk_bytes == on_disk(tmp_path / "q") <= limit
    assert stats.dropped > 2 * PART
    assert stats.added == sum(map(len, parts))
    kept = sequences(drained(buffer))
    assert kept == sequences(parts)[: len(kept)]
    assert len(kept) == stats.added - stats.dropped
    buffer.write(parts[0])  # there is room again
    assert sequences(drained(buffer)) == sequences(parts[:1])


def test_drop_oldest_skips_disk_too_small_for_one_segment(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    buffer = SpillBuffer(tmp_path, 1, max_disk_bytes=1, overflow="drop_oldest")
    for batch in parts:
        buffer.write(batch)
        assert check(buffer).in_memory == len(batch)
    assert sequences(drained(buffer)) == sequences(parts[-1:])
    for overflow in ("raise", "block"):
        buffer = SpillBuffer(tmp_path / overflow, 1, max_disk_bytes=1, overflow=overflow)
        buffer.write(parts[0])
        with pytest.raises(StorageError, match=r"max_disk_bytes: expected room for \d+ bytes more, got 1 with 0 taken"):
            buffer.write(parts[1])
        assert sequences(drained(buffer)) == sequences(parts[:1])


def test_raise_policy_accepts_nothing_and_continues_when_there_is_room(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    limit = 3 * encoded(parts, tmp_path / "sizes")
    buffer = SpillBuffer(tmp_path / "q", budget(parts, 3), max_disk_bytes=limit, overflow="raise")
    taken: list[ExperienceBatch] = []
    refused = 0
    got: list[ExperienceBatch] = []
    for batch in parts:
        try:
            buffer.write(batch)
            taken.append(batch)
        except StorageError as error:
            refused += "max_disk_bytes" in str(error)
            for _ in range(4):
                one = buffer.read(PART)
                assert one is not None
                got.append(one)
        assert check(buffer).added == sum(map(len, taken))
        assert on_disk(tmp_path / "q") <= limit
    assert refused > 1
    assert sequences([*got, *drained(buffer)]) == sequences(taken)


def in_thread(run: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start a thread; its result or error is appended to the list."""
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(run())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread, result


def waits(buffer: SpillBuffer) -> bool:
    """Return whether a thread waits until something of the buffer changes."""
    return bool(buffer._changed._waiters)  # type: ignore[attr-defined]  # of Python's own condition


def test_block_policy_waits_for_readers_and_loses_nothing(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    limit = 3 * encoded(parts, tmp_path / "sizes")
    buffer = SpillBuffer(tmp_path / "q", budget(parts, 3), max_disk_bytes=limit)

    def produce() -> None:
        for batch in parts:
            buffer.write(batch)

    writer, result = in_thread(produce)
    wait_until(lambda: waits(buffer))
    assert writer.is_alive()
    assert 0 < check(buffer).added < sum(map(len, parts))  # the writer waits
    got: list[ExperienceBatch] = []
    while sum(map(len, got)) < sum(map(len, parts)):
        batch = buffer.read(PART, timeout=PATIENCE)
        assert batch is not None
        got.append(batch)
        assert on_disk(tmp_path / "q") <= limit
    writer.join(PATIENCE)
    assert result == [None]
    assert sequences(got) == sequences(parts)
    assert check(buffer).dropped == 0


def test_close_wakes_waiting_threads(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    limit = 3 * encoded(parts, tmp_path / "sizes")
    buffer = SpillBuffer(tmp_path / "q", budget(parts, 3), max_disk_bytes=limit)
    taken = []

    def produce() -> None:
        for batch in parts:
            buffer.write(batch)
            taken.append(batch)

    writer, result = in_thread(produce)
    wait_until(lambda: waits(buffer))
    assert writer.is_alive()
    with pytest.raises(StorageError, match="max_disk_bytes: expected room"):
        buffer.close()  # all is still readable
    writer.join(PATIENCE)
    assert isinstance(result[0], StateError)
    buffer.close()
    with pytest.raises(StateError, match="expected an open buffer, got one that is closed"):
        buffer.write(parts[0])
    assert sequences(drained(buffer)) == sequences(taken)
    empty = SpillBuffer(tmp_path / "empty")
    reader, result = in_thread(lambda: empty.read(1, timeout=None))
    wait_until(lambda: waits(empty))
    assert reader.is_alive()
    empty.close()
    reader.join(PATIENCE)
    assert result == [None]


def test_reader_waits_as_long_as_its_timeout(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    buffer = SpillBuffer(tmp_path)
    began = time.monotonic()
    assert buffer.read(5, timeout=0.2) is None
    assert time.monotonic() - began >= 0.2
    reader, result = in_thread(lambda: buffer.read(5, timeout=PATIENCE))
    wait_until(lambda: waits(buffer))
    buffer.write(parts[0])
    reader.join(PATIENCE)
    assert len(result[0]) == 5


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest", "raise"])
def test_concurrent_writers_and_readers_lose_nothing(overflow: str, parts: list[ExperienceBatch], tmp_path: Path) -> None:
    limit = 4 * encoded(parts, tmp_path / "sizes")
    buffer = SpillBuffer(tmp_path / "q", budget(parts, 3), max_disk_bytes=limit, overflow=overflow)
    writers, readers = 4, 3
    got: list[list[int]] = [[] for _ in range(readers)]
    counts = {"refused": 0, "taken": 0}
    errors: list[str] = []
    counting = threading.Lock()

    def produce(number: int) -> None:
        for turn in range(60):
            part = parts[turn % len(parts)]
            batch = part.select(np.arange(len(part)))
            batch.rows["sequence"] = np.arange(len(batch)) + 10**6 * number + 1000 * turn
            try:
                buffer.write(batch)
                name = "taken"
            except StorageError:
                assert overflow == "raise"
                name = "refused"
            with counting:
                counts[name] += len(batch)
            if number == 0 and turn % 20 == 10:
                try:
                    buffer.flush()
                except StorageError as error:
                    errors.append(str(error))

    def consume(number: int) -> None:
        rng = random.Random(number)
        while (batch := buffer.read(rng.randrange(1, 200), timeout=None)) is not None:
            got[number] += batch.sequence.tolist()
            assert batch.action_masks()[np.arange(len(batch)), batch.action].all()
            check(buffer, at_rest=False)
            if rng.random() < 0.3:
                time.sleep(0.002)

    producing = [in_thread(lambda number=number: produce(number)) for number in range(writers)]  # type: ignore[misc]
    consuming = [in_thread(lambda number=number: consume(number)) for number in range(readers)]  # type: ignore[misc]
    for thread, result in producing:
        thread.join(PATIENCE)
        assert result == [None]
    assert on_disk(tmp_path / "q") <= limit
    try:
        buffer.close()
    except StorageError as error:
        errors.append(str(error))
    assert all("max_disk_bytes" in error for error in errors)
    for thread, result in consuming:
        thread.join(PATIENCE)
        assert result == [None]
    stats = check(buffer)
    every = [number for numbers in got for number in numbers]
    assert len(set(every)) == len(every) == stats.read
    assert counts["taken"] == stats.added == stats.read + stats.dropped
    assert stats.dropped == 0 or overflow in ("drop_oldest", "drop_newest")
    assert (stats.memory_bytes, stats.disk_bytes, len(segments(tmp_path / "q"))) == (0, 0, 0)
    for numbers in got:  # one reader gets experiences of one writer in order
        for number in range(writers):
            own = [sequence for sequence in numbers if sequence // 10**6 == number]
            assert own == sorted(own)


# --- Faults -------------------------------------------------------------------------------------------------------


def filled(parts: list[ExperienceBatch], folder: Path) -> list[Path]:
    """Write each batch to a segment of its own."""
    buffer = SpillBuffer(folder, max_bytes=1)
    for batch in parts:
        buffer.write(batch)
    buffer.close()
    return segments(folder)


@pytest.mark.parametrize("fault", ["truncated", "flipped", "empty", "longer", "gone"])
def test_damaged_segments_are_reported_counted_and_skipped(
    fault: str, parts: list[ExperienceBatch], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = filled(parts[:5], tmp_path)
    assert len(files) == 5
    for path in (files[1], files[2]):
        data = bytearray(path.read_bytes())
        if fault == "flipped":
            data[len(data) // 2] ^= 4
        path.write_bytes(bytes({"truncated": data[:-7], "flipped": data, "longer": data + b"\0"}.get(fault, b"")))
    buffer = SpillBuffer(tmp_path, max_bytes=1)
    if fault == "gone":
        files[1].unlink()
        files[2].unlink()
    assert buffer.stats().recovered == 5 * PART
    with caplog.at_level(logging.ERROR):
        assert sequences(drained(buffer)) == sequences([parts[0], *parts[3:5]])
    stats = check(buffer)
    assert (stats.damaged, stats.damaged_segments) == (2 * PART, 2)
    assert [files[k].name in caplog.text for k in range(5)] == [False, True, True, False, False]
    assert (tmp_path / "damaged.spill").exists() == (fault != "gone")
    assert segments(tmp_path) == []


def test_every_flipped_bit_is_detected(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    (path,) = filled([parts[0].select(np.arange(4))], tmp_path / "whole")
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for attempt in range(60):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        broken = bytearray(data)
        broken[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        (folder / path.name).write_bytes(broken)
        buffer = SpillBuffer(folder)
        assert buffer.read(10) is None
        assert check(buffer).damaged == 4


def test_segment_of_another_version_is_skipped(parts: list[ExperienceBatch], tmp_path: Path, monkeypatch: Any) -> None:
    filled(parts[:1], tmp_path)
    from generals_env.recorders.encoding import batch_codec

    monkeypatch.setattr(batch_codec, "CODEC", batch_codec.CODEC + 1)
    buffer = SpillBuffer(tmp_path)
    assert buffer.read(10) is None
    assert check(buffer).damaged == PART


def test_foreign_and_leftover_files_in_folder_do_no_harm(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    filled(parts[:2], tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".0123.part").write_bytes(b"half a segment")
    buffer = SpillBuffer(tmp_path)
    assert sequences(drained(buffer)) == sequences(parts[:2])
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".*.part"))


def test_failing_disk_is_reported_and_nothing_is_lost(
    parts: list[ExperienceBatch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = SpillBuffer(tmp_path, max_bytes=budget(parts, 3))
    taken: list[ExperienceBatch] = []

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for call in ("fsync", "link"):
        with monkeypatch.context() as context:
            context.setattr(os, call, full)
            with pytest.raises(StorageError, match=r"folder: expected to write to .*, got .*No space left"):  # noqa: PT012
                for batch in parts:
                    buffer.write(batch)
                    taken.append(batch)
            with pytest.raises(StorageError, match="No space left"):
                buffer.flush()
        assert check(buffer).added == sum(map(len, taken))
        assert not list(tmp_path.glob(".*.part"))
        assert segments(tmp_path) == [] or call == "link"
        for batch in parts[:3]:
            buffer.write(batch)
            taken.append(batch)
    with monkeypatch.context() as context:
        read_bytes = Path.read_bytes
        context.setattr(Path, "read_bytes", full)
        got = []
        with pytest.raises(StorageError, match=r"folder: expected to read .*No space left"):  # noqa: PT012
            while True:
                got.append(buffer.read(PART))
        assert check(buffer).damaged == 0
        context.setattr(Path, "read_bytes", read_bytes)
        got += drained(buffer)
    assert sequences([batch for batch in got if batch]) == sequences(taken)


def test_impossible_folder_is_refused(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below", "\0", "/proc/nowhere", 3):
        with pytest.raises(StorageError, match="folder: expected one that can be written, got"):
            SpillBuffer(bad)  # type: ignore[arg-type]
    first = SpillBuffer(tmp_path / "one")
    with pytest.raises(StorageError, match="folder: expected one that no other buffer has, got"):
        SpillBuffer(tmp_path / "one")
    del first
    SpillBuffer(tmp_path / "one")


BAD: list[tuple[dict[str, Any], str]] = [
    *(({"max_bytes": bad}, f"max_bytes: expected an integer from 1 to {2**62}, got {bad!r}") for bad in (0, 1.5, "1", True)),
    *(({"max_disk_bytes": bad}, f"max_disk_bytes: expected an integer from 1 to {2**62}, got {bad!r}") for bad in (0, None)),
    *(
        ({"threshold": bad}, f"threshold: expected a share above 0 and below 1, got {bad!r}")
        for bad in (0, 1, "x", float("nan"))
    ),
    ({"overflow": "drop"}, "overflow: expected one of block, raise, drop_oldest, drop_newest, got 'drop'"),
]


@pytest.mark.parametrize(("options", "text"), BAD, ids=lambda value: str(value)[:30])
def test_bad_options_are_refused(options: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        SpillBuffer(tmp_path / "q", **options)
    assert str(caught.value) == text
    assert not (tmp_path / "q").exists()


def test_bad_arguments_are_refused(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    buffer = SpillBuffer(tmp_path, max_bytes=1)
    for n in (0, -1, 1.0, None):
        with pytest.raises(ConfigError, match="n: expected an integer from 1"):
            buffer.read(n)  # type: ignore[arg-type]
    for timeout in (-1, "1", float("nan")):
        with pytest.raises(ConfigError, match="timeout: expected seconds from 0, or None, got"):
            buffer.read(1, timeout)  # type: ignore[arg-type]
    odd = ExperienceBatch(parts[0].game_ids, parts[0].rows, parts[0].boards, parts[0].shape, metadata={"a": object()})
    buffer.write(odd)
    with pytest.raises(ConfigError, match="metadata: expected what JSON takes, got"):
        buffer.write(parts[1])
    assert len(drained(buffer, 10**6)) == 1


@pytest.mark.parametrize("attempt", range(2))
def test_killed_writer_leaves_segments_on_disk(attempt: int, tmp_path: Path) -> None:
    script = f"""
import sys
from generals_env.recorders.buffers.spill_buffer import SpillBuffer
from support.small_batches import budget, recorded
parts = recorded(height=6, width=6)
buffer = SpillBuffer(sys.argv[1], max_bytes=budget(parts, 3))
sequence = 0
for turn in range(10**6):
    part = parts[turn % len(parts)]
    part.rows["sequence"] = range(sequence, sequence + len(part))
    sequence += len(part)
    buffer.write(part.select(range(len(part))))
    if {attempt} and turn % 50 == 20:
        buffer.read(100)
        buffer.flush()
"""
    writer = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=TESTS)
    wait_until(lambda: len(segments(tmp_path)) >= 20)
    time.sleep(random.random() * 0.2)
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(PATIENCE) == -signal.SIGKILL
    buffer = SpillBuffer(tmp_path)
    stats = check(buffer)
    assert stats.recovered == stats.on_disk > 10 * PART
    got = sequences(drained(buffer, 100))
    assert len(got) == stats.recovered
    # Without a flush the head was in memory only; later and flushed experiences have no gap.
    assert got == list(range(got[0], got[0] + len(got)))
    assert check(buffer).damaged == 0
