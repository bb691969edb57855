"""Tests blocking buffers under a server: experiences that all consumers have read make room for writers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
import pytest
from support.helpers import wait_until
from support.recorded import cut, facts, record_game, renamed
from support.stream_records import records_of

import generals_env
from generals_env.concurrency.interrupts import deferred
from generals_env.errors import StateError
from generals_env.recorders import (
    ExperienceBatch,
    ExperienceConsumer,
    ExperienceRecorder,
    ExperienceServer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
)
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server import buffer_source

GAME = record_game(3, 60, height=6, width=7)  # 120 experiences
GAMES = [renamed(GAME, f"{number}", 0) for number in range(4)]
PARTS = [part for game in GAMES for part in cut(game, 35)]
TOTAL = sum(map(len, PARTS))

LIMIT = 120.0  # seconds after which an expected event counts as missing


class Task(threading.Thread):
    """A thread with a result or an error."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self.function, self.result, self.error = function, None, None
        self.start()

    def run(self) -> None:
        try:
            self.result = self.function()
        except Exception as error:  # the test checks it
            self.error = error

    def get(self) -> Any:
        self.join(LIMIT)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def writing(buffer: ReplayBuffer, batches: list[ExperienceBatch]) -> Task:
    return Task(lambda: [buffer.write(batch) for batch in batches] and None)


def blocked(buffer: ReplayBuffer, count: int) -> Callable[[], bool]:
    """Return a function that checks whether a writer waits in a buffer of this size."""
    return lambda: buffer._waiting > 0 and len(buffer) == count


def reading(address: str, count: int, **options: Any) -> Task:
    """Receive so many experiences, and return their facts and how many were missed."""

    def read() -> tuple[list[Any], int]:
        found: list[ExperienceBatch] = []
        with ExperienceConsumer(address) as consumer:
            for batch in consumer.stream_experiences(**{"batch_size": None, **options}):
                found.append(batch)
                if sum(map(len, found)) >= count:
                    break
            return [fact for batch in found for fact in numbers(batch)], consumer.missed

    return Task(read)


def numbers(batch: ExperienceBatch) -> list[tuple[str, int, int]]:
    return list(zip(batch.game_id.tolist(), batch.player_id.tolist(), batch.turn.tolist(), strict=True))


EVERYTHING = [number for part in PARTS for number in numbers(part)]


@contextmanager
def server_of(buffer: ReplayBuffer) -> Iterator[ExperienceServer]:
    with ExperienceServer(buffer, "127.0.0.1:0") as server:
        yield server
        server.stop(0)


FORMS: list[dict[str, Any]] = [
    {"batch_size": None},
    {"batch_size": None, "max_batch_wait_ms": 600_000},  # longer than anything waits here
    {"batch_size": 240, "max_batch_wait_ms": 1},
    {"batch_size": 8, "packed": False},
]


@pytest.mark.parametrize("store", ["boards", "zstd", "games"])
@pytest.mark.parametrize("number", range(len(FORMS)))
def test_writer_continues_after_consumer_read_oldest_experiences(store: str, number: int) -> None:
    buffer = ReplayBuffer(50, overflow="block", store=store)
    with server_of(buffer) as server:
        reader = reading(server.address, TOTAL, **FORMS[number])
        writing(buffer, PARTS).get()
        buffer.close()
        assert reader.get() == (EVERYTHING, 0)
    stats = buffer.stats()
    assert (stats.added, stats.dropped, stats.removed) == (TOTAL, 0, TOTAL - stats.size)
    assert facts(buffer.snapshot()) == facts(ExperienceBatch.concat(PARTS))[-stats.size :]


@pytest.mark.checklist("G8")
@pytest.mark.parametrize("store", ["boards", "zstd", "games"])
def test_consumers_make_room_in_buffer_that_drops_newest(store: str) -> None:
    buffer = ReplayBuffer(50, overflow="drop_newest", store=store)
    for part in PARTS[:2]:
        buffer.write(part)  # the second batch of 35 finds room for 15, as no consumer has read yet
    kept = TOTAL - 20
    with server_of(buffer) as server:
        reader = reading(server.address, kept)
        for part in PARTS[2:]:
            wait_until(lambda: buffer._readers.taken == buffer.span[1])
            buffer.write(part)  # never waits
        assert buffer.stats().dropped_newest == TOTAL - kept
        assert reader.get() == (EVERYTHING[:50] + EVERYTHING[70:], 0)
    stats = buffer.stats()
    assert (stats.added, stats.dropped) == (kept, 0)
    assert stats.removed == kept - stats.size > 0


def test_single_records_make_room_too() -> None:
    buffer = ReplayBuffer(50, overflow="block")
    with server_of(buffer) as server, grpc.insecure_channel(server.address) as channel:
        stream = ExperienceServiceStub(channel).StreamExperiences(pb.StreamExperiencesRequest(follow=True))
        writer = writing(buffer, PARTS)
        found = [next(stream).sequence for _ in range(TOTAL)]
        writer.get()
        stream.cancel()
    assert found == list(range(TOTAL))


@pytest.mark.parametrize("limit", [{"capacity": 50}, {"max_bytes": 60_000}])
def test_priorities_of_evicted_experiences_are_gone(limit: dict[str, int]) -> None:
    buffer = PrioritizedReplayBuffer(**limit, overflow="block", seed=1)
    with server_of(buffer) as server:
        reader = reading(server.address, TOTAL)
        writing(buffer, PARTS).get()
        assert reader.get()[1] == 0
        first, following = buffer.span
        assert buffer.stats().removed > 0
        drawn = buffer.sample(2000)
        assert (int(drawn.keys.min()) >= first, int(drawn.keys.max()) < following) == (True, True)
        assert len(set(drawn.keys.tolist())) == len(buffer)


def test_full_buffer_keeps_all_until_first_consumer_gets_them() -> None:
    buffer = ReplayBuffer(50, overflow="block")
    writer = writing(buffer, PARTS)
    wait_until(blocked(buffer, 50))
    with server_of(buffer) as server:  # the buffer is full, and its writer waits, before the server is there
        assert buffer.span == (0, 50)
        reader = reading(server.address, TOTAL)
        writer.get()
        assert reader.get() == (EVERYTHING, 0)


@pytest.mark.checklist("P4")
def test_slowest_consumer_decides_and_no_consumer_misses_any() -> None:
    buffer = ReplayBuffer(100, overflow="block")
    with server_of(buffer) as server:
        slow, quick = reading(server.address, TOTAL, batch_size=1), reading(server.address, TOTAL)
        wait_until(lambda: len(server.streams) == 2)  # a later consumer gets the experiences held by then
        writing(buffer, PARTS).get()
        assert (slow.get(), quick.get()) == ((EVERYTHING, 0), (EVERYTHING, 0))


def test_consumer_that_does_not_read_holds_writer_until_it_leaves() -> None:
    buffer = ReplayBuffer(100, overflow="block")
    long = [renamed(GAME, f"long {number}", 0) for number in range(200)]
    total = sum(map(len, long))
    with server_of(buffer) as server, grpc.insecure_channel(server.address) as channel:
        request = pb.StreamExperiencesRequest(follow=True, batch_size=1000, max_message_bytes=2**16)
        stuck = ExperienceServiceStub(channel).StreamExperienceBatches(request)
        reader = reading(server.address, total)
        wait_until(lambda: len(server.streams) == 2)
        writer = writing(buffer, long)

        def stands() -> bool:
            before = buffer.span
            return blocked(buffer, 100)() and not writer.join(1) and buffer.span == before

        wait_until(stands)
        assert buffer.span[1] < total
        stuck.cancel()
        writer.get()
        rows, missed = reader.get()
        assert (len(rows), missed) == (total, 0)


def test_experiences_read_before_consumer_left_make_room_later() -> None:
    buffer = ReplayBuffer(60, overflow="block")
    buffer.write(GAMES[0].slice(0, 60))
    with server_of(buffer) as server:
        assert len(reading(server.address, 1000, follow=False).get()[0]) == 60
        writing(buffer, [GAMES[0].slice(60, 120)]).get()
        assert buffer.span == (60, 120)
        writer = writing(buffer, [GAMES[1].slice(0, 1)])
        wait_until(blocked(buffer, 60))  # no consumer has any of these
        assert len(reading(server.address, 1000, follow=False).get()[0]) == 60
        writer.get()


def test_consumer_of_new_experience_does_not_wait_for_full_buffer() -> None:
    buffer = ReplayBuffer(60, overflow="block")
    buffer.write(GAMES[0].slice(0, 60))
    with server_of(buffer) as server:
        reader = reading(server.address, 60, start="now")
        writing(buffer, [GAMES[0].slice(60, 120)]).get()
        assert reader.get() == (numbers(GAMES[0].slice(60, 120)), 0)


@pytest.mark.parametrize("store", ["boards", "zstd", "games"])
def test_raising_buffer_accepts_more_after_consumers_read_its_contents(store: str) -> None:
    buffer = ReplayBuffer(60, overflow="raise", store=store)
    with server_of(buffer) as server:
        for number in range(4):
            part = GAMES[number].slice(0, 60)
            buffer.write(part)
            with pytest.raises(StateError, match="write: expected room for 30 experiences, got 0 of 60"):
                buffer.write(part.slice(0, 30))
            reader = reading(server.address, 1000, start=60 * number, follow=False)
            assert reader.get() == (numbers(part), 0)
    assert (buffer.stats().dropped, buffer.stats().removed) == (0, 180)


# --- Submissions ------------------------------------------------------------------------------------------------------


def test_submission_waits_limited_time_and_is_accepted_whole_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_source, "PATIENCE", 0.1)
    buffer = ReplayBuffer(100, overflow="block")
    with server_of(buffer) as server, grpc.insecure_channel(server.address) as channel:
        stub = ExperienceServiceStub(channel)
        first, second = (pb.SubmitExperiencesRequest(experiences=records_of(game.slice(0, 80))) for game in GAMES[:2])
        assert stub.SubmitExperiences(first, timeout=LIMIT).accepted == 80
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                stub.SubmitExperiences(second, timeout=LIMIT)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert (caught.value.details() or "").startswith("write: expected room for 80 experiences, got 20 of 100")
        assert buffer.span == (0, 80)
        assert len(reading(server.address, 1000, follow=False).get()[0]) == 80
        assert stub.SubmitExperiences(second, timeout=LIMIT).accepted == 80
        assert buffer.span == (60, 160)
        monkeypatch.setattr(buffer_source, "PATIENCE", 1e9)  # a batch that can never fit does not wait
        with pytest.raises(grpc.RpcError) as caught:
            stub.SubmitExperiences(pb.SubmitExperiencesRequest(experiences=records_of(GAMES[2])), timeout=LIMIT)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


# --- Ends -------------------------------------------------------------------------------------------------------------


def test_close_wakes_writer_that_waits_under_server() -> None:
    buffer = ReplayBuffer(50, overflow="block")
    with server_of(buffer) as server:
        writer = writing(buffer, PARTS)
        wait_until(blocked(buffer, 50))
        buffer.close()
        with pytest.raises(StateError, match="write: expected an open buffer, got one that is closed"):
            writer.get()
        assert len(reading(server.address, 1000, follow=False).get()[0]) == 50


def test_recorder_over_blocking_buffer_closes_after_its_server() -> None:
    """The last batch of the recorder (truncated games) fits into the room that consumers made before."""
    buffer = ReplayBuffer(100, overflow="block")

    def run() -> int:
        with ExperienceRecorder(generals_env.make_vec(2, height=6, width=6, max_turns=50), buffer) as env:
            env.reset(seed=1)
            with ExperienceServer(buffer, "127.0.0.1:0") as server:
                reader = reading(server.address, 400)
                for _ in range(10):
                    env.play(10, ("random", "random"))
                return len(reader.get()[0])

    assert Task(run).get() == 400


def test_writer_names_what_it_waits_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("generals_env.recorders.buffers.overflow_policy.PATIENCE", 0.0)
    buffer = ReplayBuffer(50, overflow="block")
    writer = writing(buffer, PARTS[:2])
    wait_until(lambda: "waiting for room: 50 experiences are held, 0 consumers read them" in caplog.text)
    buffer.clear()
    writer.get()
    assert caplog.text.count("waiting for room") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot send itself SIGINT there")
@pytest.mark.parametrize("puts_off", [False, True])
@pytest.mark.parametrize("keep", [1.0, 0.6])
def test_interrupt_ends_wait_and_same_batch_continues_after_accepted_part(puts_off: bool, keep: float) -> None:
    buffer = ReplayBuffer(50, overflow="block", keep_probability=keep, seed=1)

    def interrupt() -> None:
        wait_until(blocked(buffer, 50))
        os.kill(os.getpid(), signal.SIGINT)

    def write() -> None:
        with deferred() if puts_off else contextlib.nullcontext():
            buffer.write(GAMES[0])

    interrupter = Task(interrupt)
    with pytest.raises(KeyboardInterrupt):
        write()
    interrupter.get()
    taken = [buffer.drain()]
    writer = writing(buffer, [GAMES[0], GAMES[1]])
    while writer.is_alive() or len(buffer):
        if len(buffer):
            taken.append(buffer.drain())
        writer.join(0.005)
    writer.get()
    found = [number for batch in taken for number in numbers(batch)]
    expected = numbers(GAMES[0]) + numbers(GAMES[1])
    stats = buffer.stats()
    assert (stats.added, stats.added + stats.skipped) == (len(found), len(expected))
    assert found == (expected if keep == 1 else [one for one in expected if one in set(found)])
    assert len(set(found)) == len(found) > 100
    assert np.array_equal(taken[0].action, ExperienceBatch.concat(taken).action[:50])
