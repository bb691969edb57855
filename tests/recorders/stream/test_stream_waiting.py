"""Tests how long the server delays incomplete batches, and how it treats idle and dead connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from support.helpers import PATIENCE, wait_until
from support.recorded import record_game
from support.stream_calls import ask, called
from support.tcp_proxy import TcpProxy

from generals_env.recorders import ExperienceBatch, ExperienceConsumer, ExperienceLog, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import decode_batch
from generals_env.recorders.stream.client import channel
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server import buffer_source, message_batcher, server
from generals_env.recorders.stream.server.buffer_source import BufferSource
from generals_env.recorders.stream.server.server import ExperienceServer
from generals_env.recorders.stream.server.stream_defaults import CurrentDefaults
from generals_env.recorders.stream.server.stream_sender import StreamSender
from generals_env.recorders.stream.server.subscription import Subscription

GAME = record_game(1, 60, height=6, width=7)


class Played(ReplayBuffer):
    """A buffer with a clock that advances only while a reader waits; batches due by then are written.

    Attributes:
        now: Seconds.
        due: Times and batches to write, in reverse order.
    """

    def __init__(self, *due: tuple[float, ExperienceBatch]) -> None:
        super().__init__(10_000)
        self.now = 1000.0
        self.due = sorted(due, key=lambda item: -item[0])

    def read(self, first: int, count: int, timeout: float = 0.0) -> ExperienceBatch | None:
        return self.passing(timeout, lambda: super(Played, self).read(first, count))

    def await_number(self, number: int, seconds: float, until_full: bool = False) -> bool:
        return bool(self.passing(seconds, lambda: super(Played, self).await_number(number, 0.0, until_full) or None))

    def passing(self, seconds: float, look: Callable[[], Any]) -> Any:
        """Let time pass until ``look`` finds something, and return it; None if it finds nothing in so many seconds."""
        end = self.now + max(seconds, 1e-5)  # the clock always advances
        while True:
            while self.due and 1000 + self.due[-1][0] <= self.now:
                self.write(self.due.pop()[1])
            found = look()
            if found is not None or self.now >= end:
                return found
            self.now = min([end, *(1000 + when for when, _ in self.due[-1:])])


def messages(buffer: Played, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Iterator[tuple[float, int]]:
    """Yield for each message of a stream when it goes out, and how many experiences are in it."""
    clock = SimpleNamespace(monotonic=lambda: buffer.now)
    for module in (message_batcher, buffer_source):
        monkeypatch.setattr(module, "time", clock)
    feed = BufferSource(buffer, 0)
    subscription = Subscription.of(ask(follow=True, **fields), feed, True, CurrentDefaults())
    stream = StreamSender(feed, subscription, 10**8, "consumer", lambda: True, threading.Event())
    for data in stream.batches():
        message = pb.ExperienceBatch.FromString(data)
        size = len(decode_batch(message.packed)) if message.packed else len(message.experiences)
        yield buffer.now - 1000, size


KINDS = {
    "records": {"batch_size": 1000},
    "boards": {"batch_size": 1000, "encoding": pb.PACKED},
    "pieces": {"encoding": pb.PACKED},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("asked", "wait"), [({}, 0.1), ({"max_batch_wait_ms": 20}, 0.02), ({"max_batch_wait_ms": 700}, 0.7)])
def test_incomplete_batch_is_sent_after_requested_wait_of_its_oldest(
    kind: str, asked: dict[str, int], wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (GAME.slice(low, low + 10).compact() for low in (0, 10, 20))
    buffer = Played((1.0, first), (1.0 + wait / 2, second), (9.0, third))
    found = messages(buffer, monkeypatch, **KINDS[kind], **asked)
    assert next(found) == (pytest.approx(1.0 + wait, abs=1e-4), 20)
    assert next(found) == (pytest.approx(9.0 + wait, abs=1e-4), 10)


@pytest.mark.parametrize("kind", ["records", "boards"])
def test_full_batch_does_not_wait(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [GAME.slice(low, low + 10).compact() for low in (0, 10, 20)]
    buffer = Played((1.0, parts[0]), (2.0, parts[1]), (3.0, parts[2]))
    found = messages(buffer, monkeypatch, **{**KINDS[kind], "batch_size": 15}, max_batch_wait_ms=60_000)
    assert next(found) == (pytest.approx(2.0), 15)
    assert next(found) == (pytest.approx(3.0), 15)


# --- The real clock ---------------------------------------------------------------------------------------------------

PRECISION = 0.02  # seconds

TRIES = 60


def waits(stub: Any, write: Callable[[ExperienceBatch], None], **fields: Any) -> Iterator[float]:
    """Yield how long single experiences take from their write to the client, in a stream of messages of up to 1,000."""
    stream = stub.StreamExperienceBatches(ask(follow=True, batch_size=1000, **fields), timeout=PATIENCE)
    next(stream)  # what the source holds already
    for _ in range(TRIES):
        begin = time.monotonic()
        write(GAME.slice(0, 1))
        next(stream)
        yield time.monotonic() - begin
    pytest.fail(f"expected one of {TRIES} waits to be short enough")


def assert_waits(found: Iterator[float], wait: float) -> None:
    """Check that no wait is shorter, and that one is at most ``PRECISION`` longer: a busy machine only prolongs them."""
    for seconds in found:
        assert seconds >= wait
        if seconds <= wait + PRECISION:
            return


@pytest.mark.parametrize("encoding", [pb.RECORDS, pb.PACKED])
@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.checklist("H15", "K5")
def test_waiting_time_of_server_is_kept_within_20_ms(kind: str, encoding: int, tmp_path: Path) -> None:
    source = ReplayBuffer(1000) if kind == "buffer" else ExperienceLog(tmp_path)
    with (
        ExperienceServer(source, "127.0.0.1:0") as serving,
        ExperienceServer(source, "127.0.0.1:0", defaults={"batch_timeout_ms": 60}) as quicker,
        called(serving) as stub,
        called(quicker) as other,
    ):
        source.write(GAME.slice(0, 1))
        found = waits(stub, source.write, encoding=encoding)
        assert_waits(found, 0.1)
        serving.change(batch_timeout_ms=180)
        assert_waits(found, 0.18)  # the running stream waits as long, too
        assert_waits(waits(other, source.write, encoding=encoding), 0.06)
        assert_waits(waits(stub, source.write, encoding=encoding, max_batch_wait_ms=30), 0.03)
        serving.stop(0)
        quicker.stop(0)
    source.close()


# --- Idle connections -------------------------------------------------------------------------------------------------


def sooner(options: Any, **other: int) -> tuple[tuple[str, int], ...]:
    """Return options of gRPC with all that happens every 30 s happening every second."""
    told = dict(options)
    told |= {name: value // 30 for name, value in told.items() if name == "grpc.keepalive_time_ms"}
    told |= {name: 100 for name in told if name == "grpc.http2.min_ping_interval_without_data_ms"}
    return tuple({**told, **{f"grpc.{name}": value for name, value in other.items()}}.items())


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[ReplayBuffer, ExperienceServer, TcpProxy]]:
    """Return a buffer, its server, and a relay to it; both ends ping each other every second."""
    monkeypatch.setattr(server, "KEEPALIVE", sooner(server.KEEPALIVE))
    monkeypatch.setattr(channel, "KEEPALIVE", sooner(channel.KEEPALIVE))
    buffer = ReplayBuffer(1000)
    with ExperienceServer(buffer, "127.0.0.1:0") as serving, TcpProxy(serving.address) as proxy:
        yield buffer, serving, proxy


def test_vanished_peer_is_detected_within_40_seconds() -> None:
    for options in map(dict, (server.KEEPALIVE, channel.KEEPALIVE)):
        for name in ("grpc.keepalive_timeout_ms", "grpc.http2.ping_timeout_ms"):
            assert options["grpc.keepalive_time_ms"] + options[name] <= 40_000


def test_idle_connection_is_checked_from_both_ends_and_lives(
    relay: tuple[ReplayBuffer, ExperienceServer, TcpProxy],
) -> None:
    buffer, _, proxy = relay
    buffer.write(GAME.slice(0, 10).compact())
    with ExperienceConsumer(proxy.address) as consumer:
        stream = consumer.stream_experiences(batch_size=10)
        assert len(next(stream)) == 10
        reader: list[ExperienceBatch] = []
        thread = threading.Thread(target=lambda: reader.append(next(stream)))
        thread.start()
        sent = proxy.data["server"]
        before = dict(proxy.pings)
        wait_until(lambda: all(proxy.pings[end] >= before.get(end, 0) + 5 for end in ("client", "server")))
        assert proxy.data["server"] == sent  # nothing else went over it meanwhile
        buffer.write(GAME.slice(10, 20).compact())
        thread.join()
        assert len(reader[0]) == 10
        assert (consumer.reconnects, proxy.connections) == (0, 1)


def test_vanished_consumer_frees_its_slot(
    relay: tuple[ReplayBuffer, ExperienceServer, TcpProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer, serving, proxy = relay
    buffer.write(GAME.slice(0, 10).compact())
    with grpc.insecure_channel(proxy.address) as gone, grpc.insecure_channel(serving.address) as other:
        stream, watch = ExperienceServiceStub(gone).StreamExperiences(ask(follow=True)), ExperienceServiceStub(other)

        def consumers() -> int:
            return int(watch.GetExperienceStats(pb.GetExperienceStatsRequest(place_only=True)).consumers)

        next(stream)
        assert consumers() == 1
        proxy.silent.set()
        wait_until(lambda: consumers() == 0)


def test_consumer_switches_server_when_machine_of_first_vanishes(
    relay: tuple[ReplayBuffer, ExperienceServer, TcpProxy],
) -> None:
    buffer, _, proxy = relay
    buffer.write(GAME.slice(0, 10).compact())
    with ExperienceConsumer(proxy.address) as consumer:
        stream = consumer.stream_experiences(batch_size=10)
        next(stream)
        proxy.silent.set()
        found: list[ExperienceBatch] = []
        thread = threading.Thread(target=lambda: found.append(next(stream)))
        thread.start()
        wait_until(lambda: consumer.reconnects > 0)  # without a word from the other end
        proxy.silent.clear()
        buffer.write(GAME.slice(10, 20).compact())
        thread.join()
        assert found[0].sequence.tolist() == list(range(10, 20))
