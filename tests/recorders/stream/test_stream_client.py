"""Tests background readers, caches, asynchronous streams and shards on top of the consumer, and malicious servers."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import zstandard
from support.datasets import key, recorded
from support.helpers import PATIENCE, Memory, wait_until
from support.stream_clients import ClientProcess, keep
from support.stream_process import ServerProcess

from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import ExperienceBatch, ExperienceConsumer, ExperienceLog, ReplayBuffer, Retry
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.stream.client.async_stream import stream_async
from generals_env.recorders.stream.client.background_reader import BackgroundReader, read_into
from generals_env.recorders.stream.client.log_cache import cached, cached_position
from generals_env.recorders.stream.client.position import Position
from generals_env.recorders.stream.client.sharded import ShardedConsumer
from generals_env.recorders.stream.compression import decompress_experiences
from generals_env.recorders.stream.protocol import experience_pb2 as pb

SOON = Retry(tries=60, first_wait=0.05, max_wait=0.2)


@pytest.fixture(scope="module")
def batches() -> list[ExperienceBatch]:
    return recorded(6)


@pytest.fixture
def server(tmp_path: Path, batches: list[ExperienceBatch]) -> Iterator[ServerProcess]:
    """Start a server over a log that has all batches."""
    with ServerProcess(log={"folder": str(tmp_path / "source")}) as process:
        for batch in batches:
            process.write(batch)
        yield process


def names(parts: Any) -> list[tuple[str, int, int]]:
    """Return the distinguishing facts of experiences, in order."""
    return [
        name
        for batch in parts
        for name in zip(batch.game_id.tolist(), batch.player_id.tolist(), batch.turn.tolist(), strict=True)
    ]


# --- In the background ------------------------------------------------------------------------------------------------


def test_blocking_sink_holds_reader_and_loses_nothing(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    total = sum(map(len, batches))
    buffer = ReplayBuffer(50, overflow="block")
    reader = read_into(ExperienceConsumer(server.address), buffer, batch_size=20, follow=False)
    found: list[ExperienceBatch] = []
    while sum(map(len, found)) < total:
        if len(buffer):
            assert len(buffer) <= 50
            found.append(buffer.drain())
        time.sleep(0.005)
    assert reader.join(PATIENCE)
    assert names(found) == names(batches)
    assert reader.experiences == total
    assert reader.position is not None
    assert reader.position.next_sequence == total


def test_reader_ends_when_stopped(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    total = sum(map(len, batches))
    memory = Memory()
    reader = read_into(ExperienceConsumer(server.address), memory)  # follows for ever
    while reader.experiences < total:
        time.sleep(0.005)
    assert reader.running
    assert not reader.join(0.05)
    reader.stop()
    assert not reader.running
    assert names(memory) == names(batches)
    assert (memory.flushed, memory.closed) == (0, 0)


def test_stop_reports_sink_that_never_has_room(batches: list[ExperienceBatch]) -> None:
    buffer = ReplayBuffer(50, overflow="block")
    reader = BackgroundReader(batches, buffer)
    while len(buffer) < 50:
        time.sleep(0.005)
    with pytest.raises(StateError, match=r"stop: expected the sink to take a batch in 0\.1 s, got ReplayBuffer busy"):
        reader.stop(0.1)
    buffer.close()
    with pytest.raises(StateError, match="expected an open buffer"):
        reader.join(PATIENCE)
    with pytest.raises(StateError, match="expected an open buffer"):
        reader.check()


# --- A cache ----------------------------------------------------------------------------------------------------------


def test_cache_keeps_received_experiences_and_continues_after_them(
    server: ServerProcess, batches: list[ExperienceBatch], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    rounds, seen = 0, 0
    while seen < sum(map(len, batches)):
        with ExperienceLog(tmp_path / "cache") as log, ExperienceConsumer(server.address) as consumer:
            for batch in cached(consumer, log, batch_size=int(rng.integers(1, 60)), follow=False):
                seen += len(batch)
                assert int(batch.sequence[-1]) + 1 == seen == log.last + 1
                assert cached_position(log) == consumer.position
                if rng.random() < 0.3:
                    break
        rounds += 1
    assert rounds > 2
    with ExperienceLog(tmp_path / "cache", mode="r") as log:
        assert key(ExperienceBatch.concat(list(log.read()))) == key(ExperienceBatch.concat(batches))
    with ExperienceLog(tmp_path / "cache") as log, ExperienceConsumer(server.address) as consumer:
        assert list(cached(consumer, log, follow=False)) == []
        with pytest.raises(ConfigError, match="resume: expected to go on where the log ends"):
            cached(consumer, log, resume=Position("a", 1))
        log.write(batches[0])  # by another writer
        with pytest.raises(StorageError, match=rf"log: expected the cache of a stream, got experience {log.last} of none"):
            cached(consumer, log)


@pytest.mark.skipif(sys.platform == "win32", reason="needs kill -9")
def test_killed_programs_and_servers_cause_no_gaps_or_repeats_in_cache(tmp_path: Path) -> None:
    """Ten programs after one another that keep a stream, each killed while it does; every third time the server is, too."""
    log: dict[str, Any] = {"folder": str(tmp_path / "source"), "durability": "normal"}
    folder = tmp_path / "cache"
    server = ServerProcess(log=log)
    rng = random.Random(1)
    for number in range(10):
        server.play(num_envs=2, pause=0.002, height=6, width=6)
        with ClientProcess(keep, server.address, str(folder)) as program:
            for _ in range(8 + number):
                program.wait_for_batch()
            time.sleep(rng.random() * 0.02)
            if number % 3 == 2:
                server.kill()
                server = ServerProcess(log=log, address=server.address)
                time.sleep(rng.random() * 0.02)
    server.kill()
    with ExperienceLog(folder, mode="r") as kept, ExperienceLog(tmp_path / "source", mode="r") as source:
        found = names(kept.read())
        assert len(found) > 200
        assert found == names(source.read())[: len(found)]
        assert len(set(found)) == len(found)


# --- Shares -----------------------------------------------------------------------------------------------------------


# --- asyncio -----------------------------------------------------------------------------------------------------------


def test_stream_is_read_beside_other_tasks(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    async def read() -> list[ExperienceBatch]:
        return [batch async for batch in stream_async(ExperienceConsumer(server.address), batch_size=10, follow=False)]

    async def both() -> list[list[ExperienceBatch]]:
        return list(await asyncio.gather(read(), read()))

    assert [ExperienceBatch.concat(found).sequence.tolist() for found in asyncio.run(both())] == [
        list(range(sum(map(len, batches))))
    ] * 2


def test_task_waiting_for_experience_can_be_cancelled(server: ServerProcess) -> None:
    consumer = ExperienceConsumer(server.address)

    async def wait() -> None:
        async for _ in stream_async(consumer, start="now"):
            raise AssertionError("no game is running")

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(wait(), 0.5))
    with pytest.raises(StateError, match="expected an open consumer"):
        consumer.stream_experiences()


@pytest.mark.parametrize("shards", [1, 3])
def test_shards_together_are_the_stream(shards: int, server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    consumer = ShardedConsumer(server.address, shards)
    found = list(consumer.stream_experiences(batch_size=10, follow=False))
    assert sorted(names(found)) == sorted(names(batches))
    for game in {name for batch in batches for name in batch.game_ids}:
        assert [name for name in names(found) if name[0] == game] == [name for name in names(batches) if name[0] == game]
    assert consumer.missed == 0
    assert len({tuple(batch.game_ids) for batch in found}) > shards > 0


def test_shards_continue_from_their_positions(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    consumer = ShardedConsumer(server.address, 3)
    rng = random.Random(1)
    found: list[ExperienceBatch] = []
    while len(names(found)) < sum(map(len, batches)):
        for batch in consumer.stream_experiences(batch_size=25, follow=False, resume=consumer.positions):
            found.append(batch)
            if rng.random() < 0.2:
                break
    assert sorted(names(found)) == sorted(names(batches))
    consumer.close()
    with pytest.raises(ConfigError, match="resume: expected a position for each of 3 shards, got 2"):
        consumer.stream_experiences(resume=[None, None])
    with pytest.raises(ConfigError, match="shards: expected"):
        ShardedConsumer(server.address, 0)


def test_errors_of_shard_are_raised(server: ServerProcess) -> None:
    unreachable = ShardedConsumer("127.0.0.1:1", 2, retry=Retry(tries=2, first_wait=0.01))
    with pytest.raises(StorageError, match="expected a stream of experience, got UNAVAILABLE"):
        list(unreachable.stream_experiences())
    before = threading.active_count()
    consumer = ShardedConsumer(server.address, 3)
    stream = consumer.stream_experiences(batch_size=10)
    next(stream)
    stream.close()  # type: ignore[attr-defined]  # a generator
    wait_until(lambda: all(thread.name != "reading experience" for thread in threading.enumerate()))
    assert threading.active_count() <= before + 1  # gRPC keeps one of its own


# --- Records ----------------------------------------------------------------------------------------------------------


def test_records_equal_boards(server: ServerProcess, batches: list[ExperienceBatch]) -> None:
    whole = ExperienceBatch.concat(batches)
    with ExperienceConsumer(server.address) as consumer:
        for size in (None, 50):
            found = ExperienceBatch.concat(list(consumer.stream_experiences(batch_size=size, follow=False, packed=False)))
            assert names([found]) == names([whole])
            assert found.sequence.tolist() == list(range(len(whole)))
            for mine, other in zip(found.tensors(), whole.tensors(), strict=True):
                assert np.array_equal(mine, other)
        assert consumer.position == Position(consumer.stats().stream_id, len(whole))


# --- Malicious servers ------------------------------------------------------------------------------------------------


@contextmanager
def hostile(answer: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Serve the messages that a function yields as a stream, and yield the address."""

    def handle(request: bytes, context: Any) -> Iterator[bytes]:
        yield from answer()

    methods = {"StreamExperienceBatches": grpc.unary_stream_rpc_method_handler(handle)}
    with ThreadPoolExecutor(4) as pool:
        process = grpc.server(pool, options=[("grpc.max_send_message_length", -1)])
        service = pb.DESCRIPTOR.services_by_name["ExperienceService"].full_name
        process.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
        port = process.add_insecure_port("127.0.0.1:0")
        process.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            process.stop(0).wait()


def message(**fields: Any) -> bytes:
    data: bytes = pb.ExperienceBatch(**({"stream_id": "one", "next_sequence": 37} | fields)).SerializeToString()
    return data


def bomb(size: int) -> bytes:
    """Return a little zstd of many zeros."""
    compressor = zstandard.ZstdCompressor().compressobj(size=size)
    zeros = bytes(2**20)
    return b"".join([compressor.compress(zeros) for _ in range(size // 2**20)] + [compressor.flush()])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xff" * 50, "expected a stream of experience, got INTERNAL"),
        (b"\x00" * 2**24, "expected a stream of experience, got RESOURCE_EXHAUSTED"),
        (message(packed=b"nothing of the kind"), "packed: expected a zstd frame, got"),
        (message(packed=zstandard.compress(b"\xff\xff\xff\xff{}")), "data: expected a batch of codec 1, got"),
        (message(packed=bomb(2**29)), "packed: expected at most 268435456 bytes unpacked, got 536870912"),
        (message(experiences=[pb.Experience(game_id="one")]), "experiences: expected valid ones, got '': state: expected"),
    ],
)
def test_invalid_messages_are_refused_and_take_no_memory(content: bytes, text: str) -> None:
    with hostile(lambda: iter([content])) as address:
        consumer = ExperienceConsumer(address, retry=Retry(tries=2, first_wait=0.01))
        tracemalloc.start()
        with pytest.raises(StorageError, match=text):
            list(consumer.stream_experiences(batch_size=None, follow=False))
        assert tracemalloc.get_traced_memory()[1] < 2**26
        tracemalloc.stop()
        consumer.close()


def test_random_bytes_are_always_refused(batches: list[ExperienceBatch]) -> None:
    """Messages with changed bytes are refused, or differ only in fields beside the experiences."""
    rng = np.random.default_rng(1)
    sound = message(packed=encode_batch(batches[0]), next_sequence=37)
    contents: list[bytes] = []
    with hostile(lambda: iter([contents[-1]])) as address:
        refused = 0
        for _ in range(60):
            damaged = bytearray(sound)
            for place in rng.integers(len(damaged), size=rng.integers(1, 4)):
                damaged[place] = rng.integers(256)
            contents.append(bytes(damaged))
            with ExperienceConsumer(address, retry=Retry(tries=1)) as consumer:
                try:
                    found = list(consumer.stream_experiences(batch_size=None, follow=False))
                except StorageError:
                    refused += 1
                else:
                    assert names(found) in (names(batches[:1]), [])
        assert refused > 40


def test_repeating_server_is_refused(batches: list[ExperienceBatch]) -> None:
    """Received experiences are not returned again, even if the server sends them again."""
    count = len(batches[0])
    first = message(packed=encode_batch(batches[0]), next_sequence=count)
    with hostile(lambda: iter([first, first, first])) as address, ExperienceConsumer(address) as consumer:
        found = list(consumer.stream_experiences(batch_size=None, follow=False))
        assert names(found) == names(batches[:1])


def test_compression_bomb_in_record_stream_takes_no_memory() -> None:
    data = zstandard.ZstdCompressor().compress((2**31 - 1).to_bytes(4, "little") + bytes(2**29))
    tracemalloc.start()
    with pytest.raises(StorageError, match="data: expected experience 0 of a stream, got expected at most 10000000 bytes"):
        list(decompress_experiences(data))
    assert tracemalloc.get_traced_memory()[1] < 2**27
    tracemalloc.stop()
