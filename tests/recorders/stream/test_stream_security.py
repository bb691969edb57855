"""Tests that the server refuses untrusted clients, too frequent calls and invalid messages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import zstandard
from grpc_health.v1 import health_pb2, health_pb2_grpc
from support.certificates import Authority
from support.helpers import PATIENCE, wait_until
from support.odd_batches import CHANGES, edited, simple
from support.recorded import record_game
from support.stream_process import ServerProcess
from support.stream_records import records_of

from generals_env.errors import ConfigError
from generals_env.recorders import ExperienceLog, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server.limits import Limits
from generals_env.recorders.stream.server.security import AuthInterceptor
from generals_env.recorders.stream.server.server import ExperienceServer
from generals_env.recorders.stream.server.service import SERVICE

GAME = record_game(1, 30, height=6, width=7)
STATS = pb.GetExperienceStatsRequest()
METHODS = ("StreamExperiences", "StreamExperienceBatches", "SubmitExperiences", "GetExperienceStats")


def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    """Return the status with which a call ends; OK if it is answered."""
    try:
        answer = call()
        if isinstance(answer, Iterator):
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


# --- Authorisation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "192.168.1.1:50051"])
def test_addresses_other_than_loopback_need_tls(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^address: expected localhost, 127\.0\.0\.1 or \[::1\] without certificate and key"):
        ExperienceServer(ReplayBuffer(10), address)


@pytest.mark.parametrize("address", ["", "localhost", ":50051", "localhost:", "localhost:x", "localhost:70000", None, 50051])
def test_addresses_are_a_host_and_a_port(address: Any) -> None:
    with pytest.raises(ConfigError, match=r"^address: expected host:port, got"):
        ExperienceServer(ReplayBuffer(10), address)


def test_impossible_options_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"certificate": tmp_path / "text"}, "certificate, key: expected both, got one"),
        ({"client_ca": tmp_path / "text"}, "certificate, key: expected both, got one"),
        ({"certificate": tmp_path / "none", "key": tmp_path / "none"}, "certificate: expected a file that can be read"),
        ({"certificate": tmp_path / "text", "key": tmp_path / "text"}, "certificate: expected a file in PEM"),
        ({"token": ""}, "token: expected printable ASCII"),
        ({"token": "ä"}, "token: expected printable ASCII"),
        ({"limits": 7}, "limits: expected Limits"),
        ({"source": "folder"}, "source: expected a ReplayBuffer or an ExperienceLog, got str"),
    ]
    for options, text in wrong:
        with pytest.raises(ConfigError, match=re.escape(text)):
            ExperienceServer(**({"source": ReplayBuffer(10), "address": "localhost:0"} | options))
    for name in ("max_connections", "max_message_bytes", "max_requests_per_second", "cache_bytes", "remembered"):
        with pytest.raises(ConfigError, match=f"^{name}: expected an integer"):
            Limits(**{name: -1})


def test_tls_refuses_untrusting_and_untrusted_clients(tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    certificate, key = ours.issue("server")
    clients = {name: authority.issue(name) for name, authority in (("friend", ours), ("stranger", others))}
    options = {"certificate": str(certificate), "key": str(key), "client_ca": str(ours.path), "address": "0.0.0.0:0"}
    with ServerProcess(buffer={"capacity": 100}, **options) as server:

        def call(root: Path, client: str | None) -> grpc.StatusCode:
            files = [path.read_bytes() for path in reversed(clients[client])] if client else [None, None]
            credentials = grpc.ssl_channel_credentials(root.read_bytes(), *files)
            with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
                return refusal(lambda: ExperienceServiceStub(channel).GetExperienceStats(STATS, timeout=PATIENCE))[0]

        assert call(ours.path, "friend") == grpc.StatusCode.OK
        for root, client in ((ours.path, "stranger"), (ours.path, None), (others.path, "friend")):
            assert call(root, client) == grpc.StatusCode.UNAVAILABLE
        with grpc.insecure_channel(f"localhost:{server.port}") as channel:
            assert refusal(lambda: ExperienceServiceStub(channel).GetExperienceStats(STATS, timeout=10))[0] in (
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )


def test_token_is_required_by_every_call_except_health_check() -> None:
    with (
        ServerProcess(buffer={"capacity": 100}, token="sesame open") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = ExperienceServiceStub(channel)
        calls = (
            lambda **more: stub.StreamExperiences(pb.StreamExperiencesRequest(), **more),
            lambda **more: stub.StreamExperienceBatches(pb.StreamExperiencesRequest(), **more),
            lambda **more: stub.SubmitExperiences(pb.SubmitExperiencesRequest(), **more),
            lambda **more: stub.GetExperienceStats(STATS, **more),
        )
        for call in calls:
            for given in ("", "Bearer ", "Bearer sesame", "sesame open", "bearer sesame open", "Bearer sesame open "):
                told = [("authorization", given)] if given else []
                code, text = refusal(lambda call=call, told=told: call(metadata=told))
                if given.rstrip() == "Bearer sesame open":
                    continue  # gRPC takes the space off
                assert (code, text) == (
                    grpc.StatusCode.UNAUTHENTICATED,
                    "authorization: expected the token of this server: send 'Bearer <token>'",
                )
            right = [("authorization", "Bearer sesame open")]
            assert refusal(lambda call=call, right=right: call(metadata=right))[0] == grpc.StatusCode.OK
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
        assert refusal(lambda: health.Watch(health_pb2.HealthCheckRequest()))[0] == grpc.StatusCode.UNAUTHENTICATED


def test_too_frequent_caller_is_refused_for_a_while() -> None:
    with (
        ServerProcess(buffer={"capacity": 100}, limits={"max_requests_per_second": 5}) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = ExperienceServiceStub(channel)
        calls = [stub.GetExperienceStats.future(STATS) for _ in range(200)]  # at once: one by one they may be slow enough
        answers = [refusal(call.result) for call in calls]
        refused = [text for code, text in answers if code == grpc.StatusCode.RESOURCE_EXHAUSTED]
        assert len(refused) > 5
        assert set(refused) == {"requests: expected at most 5 per second, got more: retry later"}
        wait_until(lambda: refusal(lambda: stub.GetExperienceStats(STATS))[0] == grpc.StatusCode.OK)


def test_rate_counts_each_address_and_remembers_a_bounded_number() -> None:
    guard = AuthInterceptor(None, 1)
    assert [guard._allow("ipv4:1.2.3.4:5") for _ in range(4)] == [True, True, False, False]
    assert not guard._allow("ipv4:1.2.3.4:6")
    assert guard._allow("ipv4:1.2.3.5:5")
    for number in range(5000):
        guard._allow(f"ipv6:[::{number:x}]:1")
    assert len(guard._peers) <= 4096


# --- Hostile messages -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = {"max_requests_per_second": 10**6, "max_unpacked_bytes": 2**20}
    with ServerProcess(log={"folder": str(tmp_path_factory.mktemp("log"))}, limits=limits) as process:
        process.write(GAME)
        yield process
        assert process.stop() == 0


def raw(channel: grpc.Channel, method: str, data: bytes) -> tuple[grpc.StatusCode, str]:
    kind = channel.unary_stream if method.startswith("Stream") else channel.unary_unary
    return refusal(lambda: kind(f"/{SERVICE}/{method}")(data, timeout=PATIENCE))


def test_random_bytes_get_a_status_and_change_nothing(server: ServerProcess) -> None:
    rng = np.random.default_rng(1)
    sound = [
        pb.StreamExperiencesRequest(game_ids=["game-1"], batch_size=5, max_batch_wait_ms=3, min_turn=1).SerializeToString(),
        pb.SubmitExperiencesRequest(experiences=records_of(GAME)[:2]).SerializeToString(),
        pb.SubmitExperiencesRequest(packed=[encode_batch(GAME)]).SerializeToString(),
    ]
    codes: dict[str, int] = {}
    with grpc.insecure_channel(server.address) as channel:
        for number in range(400):
            data = bytearray(sound[number % 3] if number % 4 else rng.bytes(int(rng.integers(200))))
            for _ in range(number % 5):
                if data:
                    data[int(rng.integers(len(data)))] = int(rng.integers(256))
            if number % 7 == 0:
                data = data[: int(rng.integers(len(data) + 1))]
            for method in METHODS:
                if method.startswith("Stream"):
                    request = pb.StreamExperiencesRequest()
                    try:
                        request.ParseFromString(bytes(data))
                    except Exception:  # bytes at random are none
                        request.Clear()
                    if request.follow:
                        continue  # it would never end
                code, text = raw(channel, method, bytes(data))
                assert "Exception" not in text
                codes[code.name] = codes.get(code.name, 0) + 1
    assert set(codes) <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE"}
    assert min(codes["OK"], codes["INVALID_ARGUMENT"]) > 50


def test_forged_packed_batches_are_refused(server: ServerProcess) -> None:
    batch = simple()
    with grpc.insecure_channel(server.address) as channel:
        codes = [
            raw(channel, "SubmitExperiences", pb.SubmitExperiencesRequest(packed=[edited(batch, change)]).SerializeToString())[
                0
            ]
            for change in CHANGES
        ]
        unchanged = pb.SubmitExperiencesRequest(packed=[edited(batch, lambda header: None)]).SerializeToString()
        assert raw(channel, "SubmitExperiences", unchanged)[0] == grpc.StatusCode.OK
    assert set(codes) == {grpc.StatusCode.INVALID_ARGUMENT}


def test_messages_that_would_expand_cost_little_memory(server: ServerProcess) -> None:
    empty_record = b"\x0a\x00"
    bomb = zstandard.compress(bytes(2**28))
    liar = bytearray(zstandard.compress(bytes(1000)))
    hostile = {
        "StreamExperiences": [empty_record * 4_000_000, b"\x12" + b"\x80\x80\x80\x04" + b"\x01" * 2**23],
        "SubmitExperiences": [
            empty_record * 4_000_000,
            pb.SubmitExperiencesRequest(packed=[bomb]).SerializeToString(),
            pb.SubmitExperiencesRequest(packed=[bomb] * 300).SerializeToString(),
            pb.SubmitExperiencesRequest(packed=[bytes(liar)]).SerializeToString(),
            pb.SubmitExperiencesRequest(experiences=[pb.Experience(action_mask=[True] * 9_000_000)]).SerializeToString(),
            pb.SubmitExperiencesRequest(
                experiences=[pb.Experience(state=pb.TensorState(shape=[1] * 5_000_000))]
            ).SerializeToString(),
            pb.SubmitExperiencesRequest(
                experiences=[pb.Experience(state=pb.TensorState(shape=[9, 2**30, 2**30], data=[0.0]))]
            ).SerializeToString(),
        ],
        "GetExperienceStats": [empty_record * 4_000_000],
    }
    before = server.memory()
    with grpc.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
        for method, messages in hostile.items():
            for message in messages:
                code, _ = raw(channel, method, message)
                assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OK), (method, len(message))
        for method in METHODS:
            assert raw(channel, method, bytes(10_000_001))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        stats = ExperienceServiceStub(channel).GetExperienceStats(STATS)
    assert stats.total_experiences >= len(GAME)
    assert server.memory() - before < 200e6


def test_server_still_serves_its_experiences(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        records = list(ExperienceServiceStub(channel).StreamExperiences(pb.StreamExperiencesRequest()))
    expected = records_of(GAME)
    for row, record in enumerate(expected):
        record.sequence = row
    assert records[: len(GAME)] == expected


# --- The command ------------------------------------------------------------------------------------------------------


def serving(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    code = "import sys, typer; from generals_env.cli.serve import serve; typer.run(serve)"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | environment,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_command_serves_log_until_terminated(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path) as log:
        log.write(GAME)
    arguments = ("--log", str(tmp_path), "--address", "localhost:0", "--token-env", "TOKEN", "--max-connections", "1")
    with serving(*arguments, TOKEN="abc") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving at localhost:")
        with grpc.insecure_channel(line.split()[-1]) as channel:
            request = pb.StreamExperiencesRequest(follow=True)
            stub, token = ExperienceServiceStub(channel), [("authorization", "Bearer abc")]
            stream = stub.StreamExperiences(request, metadata=token)
            assert [next(stream).sequence for _ in range(len(GAME))] == list(range(len(GAME)))
            one_more = refusal(lambda: stub.StreamExperiences(request, metadata=token))
            assert one_more == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "max_connections: expected at most 1 streams, got one more: retry later",
            )
            process.terminate()
            assert refusal(lambda: stream)[0] == grpc.StatusCode.UNAVAILABLE
        assert process.wait(PATIENCE) == 0
        assert process.stdout.read() == "stopped\n"


def test_command_reports_wrong_options(tmp_path: Path) -> None:
    wrong = [
        ([], "log, buffer: expected one of the two, got both or neither"),
        (["--buffer", "10", "--token-env", "NO_SUCH_NAME"], "token-env: expected NO_SUCH_NAME in the environment"),
        (["--buffer", "10", "--address", "0.0.0.0:1"], "address: expected localhost"),
        (["--buffer", "10", "--max-connections", "0"], "max_connections: expected an integer from 1"),
    ]
    for arguments, text in wrong:
        with serving(*arguments) as process:
            assert process.stdout is not None
            assert text in " ".join(process.stdout.read().split())
            assert process.wait(PATIENCE) != 0
