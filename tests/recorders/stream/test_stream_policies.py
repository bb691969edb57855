"""Tests what consumers that cannot keep up get by the policy of their stream, and what the server counts and reports."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from support.helpers import PATIENCE, wait_until
from support.recorded import record_game, renamed
from support.refusals import refused
from support.stream_calls import ask, called, submit
from support.stream_records import records_of

from generals_env.errors import ConfigError
from generals_env.recorders import ExperienceConsumer, ExperienceLog, ExperienceServer, ReplayBuffer, StreamDefaults
from generals_env.recorders.stream.client.message_decoder import decode_message
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server.buffer_source import BufferSource
from generals_env.recorders.stream.server.experience_source import Consumer, ExperienceSource, StreamFilter
from generals_env.recorders.stream.server.lag_limit import LagLimitedCursor
from generals_env.recorders.stream.server.log_source import LogSource
from generals_env.recorders.stream.server.stream_defaults import CurrentDefaults
from generals_env.recorders.stream.server.stream_sender import StreamSender
from generals_env.recorders.stream.server.subscription import Subscription

GAME = record_game(3, 60, height=6, width=7)  # 120 experiences
DROPPING = ("drop_oldest", "drop_newest")
KINDS = ("buffer", "log")


class Queue:
    """A bounded queue of sequences, the plain model of a consumer that may be ``max_lag`` behind."""

    def __init__(self, policy: str, max_lag: int) -> None:
        self.policy, self.max_lag = policy, max_lag
        self.held: deque[int] = deque()
        self.dropped: list[int] = []

    def add(self, sequence: int) -> None:
        if len(self.held) < self.max_lag:
            self.held.append(sequence)
        elif self.policy == "drop_oldest":
            self.dropped.append(self.held.popleft())
            self.held.append(sequence)
        else:
            self.dropped.append(sequence)

    def take(self, sequences: list[int]) -> None:
        assert [self.held.popleft() for _ in sequences] == sequences


@pytest.fixture
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Return an empty buffer or log."""
    made = ReplayBuffer(10_000) if request.param == "buffer" else ExperienceLog(tmp_path)
    yield made
    made.close()


def source_of(sink: ReplayBuffer | ExperienceLog) -> ExperienceSource:
    return BufferSource(sink, 2**20) if isinstance(sink, ReplayBuffer) else LogSource(sink)


def cut(count: int) -> Any:
    return GAME.slice(0, count).compact()


@pytest.mark.parametrize("sink", KINDS, indirect=True)
@pytest.mark.parametrize("policy", DROPPING)
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.checklist("H10")
def test_limited_cursor_equals_bounded_queue(sink: Any, policy: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, max_lag, total = source_of(sink), int(rng.integers(1, 150)), 0
    inner = source.cursor(0, StreamFilter(), Consumer.DROPS)
    cursor, queue = LagLimitedCursor(inner, policy, max_lag, lambda: source.span[1]), Queue(policy, max_lag)
    for _ in range(60):
        if rng.random() < 0.5:
            count = int(rng.integers(1, 121))
            sink.write(cut(count))
            for sequence in range(total, total + count):
                queue.add(sequence)
            total += count
            continue
        batch = cursor.read_batch(0)
        assert (batch is None) == (not queue.held)
        queue.take([] if batch is None else batch.sequence.tolist())
        passed = [sequence for sequence in queue.dropped if sequence < cursor.position]
        assert (cursor.missed, cursor.dropped) == (len(passed), len(passed))
    while (batch := cursor.read_batch(0)) is not None:
        queue.take(batch.sequence.tolist())
    assert (len(queue.held), cursor.position, cursor.missed) == (0, total, len(queue.dropped))
    assert queue.dropped
    cursor.close()


@pytest.mark.parametrize("sink", KINDS, indirect=True)
@pytest.mark.parametrize("policy", DROPPING)
@pytest.mark.parametrize("fields", [{"encoding": pb.PACKED}, {"encoding": pb.PACKED, "batch_size": 9}, {"batch_size": 9}])
@pytest.mark.checklist("H10")
def test_messages_of_limited_stream_report_every_gap(sink: Any, policy: str, fields: dict[str, Any]) -> None:
    """Between two messages more is written than the consumer may be behind: ranges then begin in the middle."""
    source, rng = source_of(sink), np.random.default_rng(5)
    value = {"drop_oldest": pb.DROP_OLDEST, "drop_newest": pb.DROP_NEWEST}[policy]
    request = ask(follow=True, overflow=value, max_lag=70, max_batch_wait_ms=1, **fields)
    subscription = Subscription.of(request, source, True, CurrentDefaults())
    stream = StreamSender(source, subscription, 10**8, "consumer", lambda: True, threading.Event())
    messages, position, missed, received = stream.batches(), 0, 0, 0
    other = source.cursor(0, StreamFilter())
    for turn in range(40):
        sink.write(cut(int(rng.integers(60, 121)) if turn % 3 else 10))
        while other.read_range(0, 0) is not None:  # the ranges of another consumer are cached
            pass
        message = pb.ExperienceBatch.FromString(next(messages))
        batch = decode_message(message, position)
        missed += message.missed
        assert batch is not None
        sequences = batch.sequence.tolist()
        assert sequences == list(range(position + message.missed, message.next_sequence))
        received += len(sequences)
        position = message.next_sequence
    assert missed > 300
    assert missed + received == position
    status = stream.status
    assert (status.missed, status.policy, status.max_lag) == (status.dropped, policy, 70)
    assert stream.counters.experiences == received


@pytest.mark.parametrize("policy", DROPPING)
@pytest.mark.parametrize("max_lag", [None, 20])
@pytest.mark.checklist("H10", "P4")
def test_dropping_consumer_never_lets_writer_wait(policy: str, max_lag: int | None) -> None:
    buffer = ReplayBuffer(100, overflow="block")
    values = {"overflow": {"drop_oldest": pb.DROP_OLDEST, "drop_newest": pb.DROP_NEWEST}[policy], "max_lag": max_lag or 0}
    with ExperienceServer(buffer, "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
        stub = ExperienceServiceStub(channel)
        stuck = stub.StreamExperiences(ask(follow=True, **values))
        wait_until(lambda: len(server.streams) == 1)

        def write() -> None:  # 20 times more than the buffer holds
            writer = threading.Thread(target=lambda: [buffer.write(GAME) for _ in range(20)], daemon=True)
            writer.start()
            writer.join(PATIENCE)
            assert not writer.is_alive()

        write()
        whole: list[int] = []

        def read() -> None:
            with ExperienceConsumer(server.address) as consumer:
                for batch in consumer.stream_experiences(start="now", batch_size=None, overflow="block"):
                    whole.extend(batch.sequence.tolist())
                    if len(whole) == 20 * 120:
                        break

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        wait_until(lambda: buffer._readers.count == 1)
        write()
        reader.join(PATIENCE)
        assert whole == list(range(20 * 120, 40 * 120))  # the consumer with "block" missed nothing
        stuck.cancel()
        server.stop(0)


@pytest.mark.checklist("H10", "K4")
def test_requests_without_policy_get_that_of_server(tmp_path: Path) -> None:
    with (
        ExperienceLog(tmp_path) as log,
        ExperienceServer(log, "127.0.0.1:0", defaults={"policy": "drop_oldest", "max_lag": 30}) as server,
        ExperienceConsumer(server.address) as consumer,
    ):
        log.write(GAME)

        def received(**options: Any) -> tuple[list[int], int]:
            before = consumer.missed
            batches = list(consumer.stream_experiences(follow=False, **options))
            return [sequence for batch in batches for sequence in batch.sequence.tolist()], consumer.missed - before

        assert received() == (list(range(90, 120)), 90)
        assert received(overflow="drop_newest") == (list(range(30)), 90)
        assert received(overflow="drop_newest", max_lag=7) == (list(range(7)), 113)
        assert received(overflow="block") == (list(range(120)), 0)
        assert server.change(policy="drop_newest", max_lag=50) == StreamDefaults(policy="drop_newest", max_lag=50)
        assert received() == (list(range(50)), 70)
        with refused(ConfigError, "max_lag: expected an integer from 1"):
            server.change(policy="block", max_lag=0)
        assert server.defaults.policy == "drop_newest"  # nothing changes by halves
        assert received(max_lag=1000) == (list(range(120)), 0)
        with refused(ConfigError, "overflow: expected one of block, drop_oldest, drop_newest, got 'newest'"):
            consumer.stream_experiences(overflow="newest")
        assert server.totals.dropped == {"drop_oldest": 90, "drop_newest": 90 + 113 + 70}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batch_timeout_ms": -1}, "batch_timeout_ms: expected an integer from 0 to 600000, got -1"),
        ({"batch_size": 1001}, "batch_size: expected an integer from 1 to 1000, got 1001"),
        ({"compression": "yes"}, "compression: expected"),
        ({"policy": "drop"}, "policy: expected one of block, drop_oldest, drop_newest, got 'drop'"),
        ({"max_lag": 0}, "max_lag: expected an integer from 1"),
        ({"lag": 1}, "lag"),
    ],
)
def test_wrong_defaults_are_refused_by_name(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ExperienceServer(ReplayBuffer(10), "127.0.0.1:0", defaults=options)


def test_requests_without_size_or_compression_get_those_of_server() -> None:
    buffer = ReplayBuffer(1000)
    buffer.write(GAME)
    with ExperienceServer(buffer, "127.0.0.1:0", defaults={"batch_size": 50}) as server, called(server) as stub:

        def answers(**fields: Any) -> tuple[list[int], set[str]]:
            messages = list(stub.StreamExperienceBatches(ask(**fields)))
            return [len(one.experiences) for one in messages], {one.metadata["compression"] for one in messages}

        assert answers() == ([50, 50, 20], {"none"})
        assert answers(batch_size=70, enable_compression=True) == ([70, 50], {"gzip"})
        server.change(batch_size=100, compression=False)
        assert answers(enable_compression=True) == ([100, 20], {"none"})


# --- Figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", KINDS, indirect=True)
@pytest.mark.checklist("L7", "L12", "P4")
def test_status_of_stream_has_lag_in_seconds_and_latency(sink: Any) -> None:
    begin = time.time()
    with ExperienceServer(sink, "127.0.0.1:0") as server, called(server) as stub:
        stream = stub.StreamExperiences(ask(follow=True))
        wait_until(lambda: len(server.streams) == 1)
        old = renamed(GAME, "old", 0)
        old.rows["collected_at"] = int((begin - 1000) * 1e9)
        new = renamed(GAME, "new", 0)
        new.rows["collected_at"] = int((begin - 10) * 1e9)
        for _ in range(30):
            sink.write(old)
        for _ in range(30):
            sink.write(new)
        for _ in range(200):
            next(stream)
        (behind,) = stub.GetExperienceStats(pb.GetExperienceStatsRequest(place_only=True)).streams
        assert behind.lag > 0
        elapsed = time.time() - begin
        oldest = 1000 if isinstance(sink, ReplayBuffer) else 0  # a log gives the time since it was written
        assert 0 < behind.lag_seconds - oldest <= elapsed
        assert 200 <= behind.sent == behind.messages
        assert behind.sent_bytes > 3000 * behind.sent
        assert 1000 <= behind.latency_seconds <= 1000 + elapsed
        for _ in range(120 * 60 - 200):
            next(stream)
        wait_until(lambda: server.streams[0].lag == 0)
        status = server.streams[0]
        assert (status.lag_seconds, status.sent, status.missed) == (0.0, 7200, 0)
        elapsed = time.time() - begin
        assert 10 <= status.latency_seconds <= 10 + elapsed
        assert 505 <= status.mean_latency_seconds <= 505 + elapsed
        stream.cancel()


@pytest.mark.checklist("L12")
def test_totals_count_streams_that_ended_and_those_that_run() -> None:
    buffer = ReplayBuffer(1000)
    buffer.write(GAME)
    with ExperienceServer(buffer, "127.0.0.1:0") as server, called(server) as stub:
        plain = list(stub.StreamExperienceBatches(ask(batch_size=40)))
        packed = list(stub.StreamExperienceBatches(ask(encoding=pb.PACKED)))
        running = stub.StreamExperiences(ask(follow=True))
        for _ in range(120):
            next(running)
        wait_until(lambda: server.totals.experiences == 360)
        totals = server.totals
        assert (totals.streams, totals.messages) == (3, len(plain) + len(packed) + 120)
        records = sum(record.ByteSize() for message in plain for record in message.experiences)
        size = sum(message.ByteSize() for message in [*plain, *packed]) + records
        assert totals.sent_bytes == size
        assert totals.plain_bytes > totals.sent_bytes
        assert totals.compression_ratio == pytest.approx(totals.plain_bytes / size)
        assert sum(totals.latency_counts) == totals.messages
        running.cancel()
        wait_until(lambda: not server.streams)
        assert server.totals == totals


@pytest.mark.checklist("L12")
def test_totals_count_submissions_by_reason() -> None:
    records = records_of(GAME)[:6]
    records[1].metadata["agent"] = "mine"
    records[2].experience_id = "another"
    records[3].action = 10_000
    buffer = ReplayBuffer(1000)
    with ExperienceServer(buffer, "127.0.0.1:0") as server, called(server) as stub:
        answer = submit(stub, experiences=records)
        submit(stub, experiences=records[4:])
        totals = server.totals
    assert (answer.accepted, totals.accepted) == (3, 3)
    assert Counter(totals.rejected) == {"metadata": 1, "experience_id": 1, "action": 1, "repeat": 2}
