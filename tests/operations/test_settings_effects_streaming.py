"""Tests that each key of the section ``streaming`` changes what consumers of a real server get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.certificates import Authority
from support.helpers import wait_until
from support.settings_effects import opened, settings_of, shows
from support.stream_calls import ALL, GAMES, ask, called, status_of

from generals_env.operations.run.collector import Collector
from generals_env.operations.run.pipeline import Pipeline
from generals_env.recorders import ExperienceConsumer, ExperienceServer
from generals_env.recorders.stream.protocol import experience_pb2 as pb

pytestmark = pytest.mark.checklist("K10")

ON = {"streaming.enabled": True}


@contextmanager
def serving(folder: Path, values: dict[str, Any], live: bool = False, count: int = 480) -> Iterator[Pipeline]:
    """Serve some experiences of the log with settings that were given at the start, or were changed to."""
    with opened(settings_of(folder, ON if live else ON | values)) as pipeline:
        if live:
            pipeline.change(settings_of(folder, ON | values))
        pipeline.top.write(ALL.slice(0, count))
        pipeline.top.flush()
        yield pipeline


def first_message(pipeline: Pipeline, **fields: Any) -> pb.ExperienceBatch:
    assert pipeline.server is not None
    with called(pipeline.server) as stub:
        call = stub.StreamExperienceBatches(ask(**fields))
        message: pb.ExperienceBatch = next(iter(call))
        call.cancel()
        return message


@shows("streaming.enabled")
def test_enabled_decides_whether_there_is_a_server(tmp_path: Path) -> None:
    for enabled in (True, False):
        with opened(settings_of(tmp_path, {"streaming.enabled": enabled})) as pipeline:
            assert (pipeline.server is not None) is enabled


@shows("streaming.address")
def test_address_is_where_the_server_listens(tmp_path: Path) -> None:
    with serving(tmp_path, {"streaming.address": "localhost:0"}) as pipeline:
        assert pipeline.status()["address"].startswith("localhost:")
        assert len(first_message(pipeline).experiences) == 32


@shows("streaming.max_connections")
def test_max_connections_limits_the_streams(tmp_path: Path) -> None:
    for number, limit in enumerate((1, 2)):
        with serving(tmp_path / str(number), {"streaming.max_connections": limit}) as pipeline, called(pipeline.server) as stub:  # type: ignore[arg-type]
            held = stub.StreamExperienceBatches(ask(follow=True))
            next(iter(held))
            other = stub.StreamExperienceBatches(ask())
            if limit == 1:
                assert status_of(other)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
            else:
                assert next(iter(other)).experiences
            held.cancel()


@shows("streaming.batch_timeout_ms")
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(("wait", "size"), [(0, 10), (60_000, 32)])
def test_batch_timeout_decides_whether_a_batch_waits(tmp_path: Path, wait: int, size: int, live: bool) -> None:
    """Ten experiences are there; without a wait they are sent, with a long one a full batch is."""
    with serving(tmp_path, {"streaming.batch_timeout_ms": wait}, live, count=10) as pipeline:
        assert pipeline.server is not None
        with called(pipeline.server) as stub:
            call = stub.StreamExperienceBatches(ask(follow=True))
            if wait:
                wait_until(lambda: any(stream["next_sequence"] == 10 for stream in pipeline.status()["streams"]))
                other = stub.StreamExperienceBatches(ask(follow=True, max_batch_wait_ms=500))
                assert len(next(iter(other)).experiences) == 10  # this wait is over, that of the first stream is not
                other.cancel()
                pipeline.top.write(GAMES[1])
            assert len(next(iter(call)).experiences) == size
            call.cancel()


@shows("streaming.batch_size")
@pytest.mark.parametrize("live", [False, True])
def test_batch_size_is_the_number_of_experiences_of_a_message(tmp_path: Path, live: bool) -> None:
    with serving(tmp_path, {"streaming.batch_size": 7}, live) as pipeline:
        assert len(first_message(pipeline).experiences) == 7


@shows("streaming.compression")
@pytest.mark.parametrize("live", [False, True])
def test_compression_decides_whether_records_are_compressed(tmp_path: Path, live: bool) -> None:
    found = []
    for number, values in enumerate(({}, {"streaming.compression": False})):
        with serving(tmp_path / str(number), values, live) as pipeline:
            found.append(first_message(pipeline, enable_compression=True).metadata["compression"])
    assert found == ["gzip", "none"]


@shows("streaming.max_message_size")
def test_max_message_size_splits_messages(tmp_path: Path) -> None:
    sizes = []
    for number, values in enumerate(({}, {"streaming.max_message_size": 2**16})):
        with serving(tmp_path / str(number), values) as pipeline:
            sizes.append(first_message(pipeline, batch_size=480).ByteSize())
    assert sizes[0] > 2**16 >= sizes[1]


@shows("streaming.max_requests_per_second")
def test_max_requests_per_second_refuses_further_requests(tmp_path: Path) -> None:
    """A rate of one allows two calls at once; the default allows all."""
    for number, values in enumerate(({}, {"streaming.max_requests_per_second": 1})):
        with serving(tmp_path / str(number), values) as pipeline, called(pipeline.server) as stub:  # type: ignore[arg-type]
            calls = [stub.GetExperienceStats.future(pb.GetExperienceStatsRequest(place_only=True)) for _ in range(100)]
            refused = [call for call in calls if call.exception() is not None]
            assert bool(refused) is bool(values)
            assert {call.code() for call in refused} <= {grpc.StatusCode.RESOURCE_EXHAUSTED}


@shows("streaming.max_lag", "streaming.policy")
@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("values", "first", "missed"),
    [
        ({"streaming.policy": "drop_oldest"}, 0, 0),
        ({"streaming.policy": "drop_oldest", "streaming.max_lag": 50}, 430, 430),
        ({"streaming.policy": "block", "streaming.max_lag": 50}, 0, 0),
    ],
)
def test_policy_and_max_lag_decide_what_is_missed(
    tmp_path: Path, values: dict[str, Any], first: int, missed: int, live: bool
) -> None:
    with serving(tmp_path, values, live) as pipeline:
        message = first_message(pipeline, batch_size=50)
        assert message.experiences[0].sequence == first
        assert message.missed == missed


@shows("streaming.certificate", "streaming.key", "streaming.client_ca")
def test_certificates_decide_who_is_served(tmp_path: Path) -> None:
    """Each of two servers shows its own certificate; the second one asks clients for theirs."""
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    (chain, key), (own, own_key) = servers.issue("server"), clients.issue("client")
    tls = {"streaming.certificate": str(chain), "streaming.key": str(key)}
    for number, values in enumerate(({}, tls, {**tls, "streaming.client_ca": str(clients.path)})):
        with serving(tmp_path / str(number), values) as pipeline:
            assert pipeline.server is not None
            root = servers.path.read_bytes()
            plain = grpc.insecure_channel(pipeline.server.address)
            secure = grpc.secure_channel(pipeline.server.address, grpc.ssl_channel_credentials(root))
            known = grpc.ssl_channel_credentials(root, own_key.read_bytes(), own.read_bytes())
            proven = grpc.secure_channel(pipeline.server.address, known)
            assert [is_answered(channel) for channel in (plain, secure, proven)] == [number == 0, number == 1, number > 0]


def is_answered(channel: grpc.Channel) -> bool:
    """Return whether a call is answered, and close the channel."""
    with channel:
        return channel.unary_unary("/grpc.health.v1.Health/Check").future(b"").exception() is None


@shows("streaming.token_variable")
def test_token_variable_names_the_token_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_TOKEN", "secret")
    with serving(tmp_path, {"streaming.token_variable": "STREAM_TOKEN"}) as pipeline:
        assert pipeline.server is not None
        with called(pipeline.server) as stub:
            assert status_of(stub.StreamExperienceBatches(ask()))[0] == grpc.StatusCode.UNAUTHENTICATED
        with ExperienceConsumer(pipeline.server.address, token="secret") as consumer:
            assert sum(map(len, consumer.stream_experiences(follow=False))) == 480


@shows("streaming.grace_seconds")
def test_grace_seconds_is_the_time_that_consumers_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that holds at the end, so a change takes effect."""
    given: list[float] = []
    stop = ExperienceServer.stop

    def noted(server: ExperienceServer, grace: float = 5.0) -> None:
        given.append(grace)
        stop(server, grace)

    monkeypatch.setattr(ExperienceServer, "stop", noted)
    for start, changed in ((1.5, 1.5), (1.5, 2.5)):
        collector = Collector(settings_of(tmp_path, {**ON, "collection.max_games": 1, "streaming.grace_seconds": start}))
        after = settings_of(tmp_path, {**ON, "collection.max_games": 1, "streaming.grace_seconds": changed})
        collector.run(lambda _: collector.change(after))  # noqa: B023 - called at once
    assert given == [1.5, 2.5]
