"""Tests RedisSink with a real server: repeats, lost answers, bounds, clocks and errors."""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.helpers import same, wait_until
from support.odd_batches import contents, odd_batch
from support.redis_server import RedisServer, a_run, free_port, own_redis, redis_server, told
from support.tcp_proxy import TcpProxy

from generals_env import ConfigError, StateError, StorageError
from generals_env.errors import CopyError
from generals_env.recorders import ExperienceBatch, Retry
from generals_env.recorders.distributed import RedisSink, RedisSource, RolloutPlan, TaskPlayer
from generals_env.recorders.distributed.redis_streams.chunks import pieces
from generals_env.recorders.sinks.multi import open_sink

__all__ = ["own_redis", "redis_server"]  # fixtures

pytestmark = pytest.mark.checklist("Q2", "Q6")

QUICK = Retry(tries=3, first_wait=0.01, max_wait=0.01)


def held(address: str) -> list[ExperienceBatch]:
    """Return all that a stream holds."""
    with RedisSource(address) as source:
        batches = list(source.stream_experiences(batch_size=None, follow=False))
        assert source.missed == 0
    return batches


@pytest.mark.parametrize("seed", range(4))
def test_redis_returns_batches_bit_for_bit(redis_server: RedisServer, seed: int) -> None:
    batch = odd_batch(np.random.default_rng(seed))
    address = redis_server.address()
    with open_sink(address) as sink:
        assert isinstance(sink, RedisSink)
        assert sink.write(batch) == len(batch)
    (read,) = held(address)
    assert read.sequence.tolist() == list(range(len(batch)))
    expected = replace(batch, rows=batch.rows.copy())
    expected.rows["sequence"] = read.sequence
    assert same(contents(read), contents(expected))


def test_redis_divides_large_batches_into_entries(redis_server: RedisServer) -> None:
    batch, address = a_run("large"), redis_server.address("divided")
    with RedisSink(address, chunk_size=60, max_chunk_bytes=4000) as sink:
        assert sink.write(batch) == 200
    lengths = [len(fields[b"d"]) for _, fields in redis_server.client.xrange("divided")]
    assert len(lengths) >= 4
    assert max(lengths) <= 4000
    assert told(held(address)) == told([batch])
    with pytest.raises(ConfigError, match="raise max_chunk_bytes"):
        list(pieces(batch, 10, 100))


def test_redis_drops_a_task_that_is_played_twice(redis_server: RedisServer) -> None:
    plan = RolloutPlan(num_envs=8, turns=40, run_id="twice", env={"height": 6, "width": 7})
    address, player = redis_server.address(), TaskPlayer(plan)
    with RedisSink(address) as one, RedisSink(address, chunk_size=50) as other:
        first = player.play(0, one)
        player.play(1, other)
        again = player.play(0, other)  # in chunks of other sizes
    assert (one.accepted, one.repeated) == (first.experiences, 0)
    assert other.repeated == again.experiences == first.experiences
    hashes = [(*fact[:2], fact[6]) for fact in told(held(address))]
    assert len(hashes) == len(set(hashes)) == one.accepted + other.accepted


def test_redis_adds_the_rest_of_a_run_that_is_written_in_part(redis_server: RedisServer) -> None:
    address, whole = redis_server.address(), a_run("part", 0, 200)
    with RedisSink(address) as died:
        died.write(a_run("part", 0, 70))
    with RedisSink(address) as sink:
        assert sink.write(whole) == 130
        assert sink.repeated == 70
    assert told(held(address)) == told([whole])


def test_redis_keeps_experiences_that_a_log_numbered_anew(redis_server: RedisServer) -> None:
    address = redis_server.address()
    later = a_run("renumbered", 100, 100)
    with RedisSink(address) as sink:
        sink.write(a_run("renumbered", 0, 100))
    from_log = replace(later, rows=later.rows.copy())
    from_log.rows["sequence"] -= 100  # as a reader numbers them whose first experience this is
    with RedisSink(address) as sink:
        assert sink.write(from_log) == 100
    with RedisSink(address) as sink:
        assert sink.write(from_log.select(np.arange(10, 50))) == 40  # a chunk that nothing tells to be a repeat
        assert sink.write(from_log.select(np.arange(10, 50))) == 0
        assert sink.write(from_log.select(np.array([3, 9, 20]))) == 3
        assert sink.write(from_log.select(np.array([3, 9, 20]))) == 0


def test_redis_fills_the_gaps_of_a_run_when_it_is_played_again(own_redis: RedisServer) -> None:
    address = own_redis.address()
    with RedisSink(address) as sink:
        sink.write(a_run("gaps", 0, 50))
        size = own_redis.file.stat().st_size
        sink.write(a_run("gaps", 50, 50))
        own_redis.cut(size)  # the server forgets 50 to 99
        sink.write(a_run("gaps", 100, 50))
    with RedisSink(address) as again:
        assert again.write(a_run("gaps", 0, 200)) == 100
        assert again.repeated == 100
    with RedisSource(address) as source:
        batches = list(source.stream_experiences(batch_size=None, follow=False))
    assert source.missed == 50  # these sequences were assigned once
    assert sorted(told(batches)) == sorted(told([a_run("gaps", 0, 200)]))


def test_redis_adds_a_batch_once_after_a_lost_answer(redis_server: RedisServer) -> None:
    with TcpProxy(f"127.0.0.1:{redis_server.port}") as proxy:
        address = redis_server.at(int(proxy.address.rpartition(":")[2]), "lost-answer")
        with RedisSink(address, retry=Retry(tries=50, first_wait=0.01, max_wait=0.05)) as sink:
            sink.check()
            for number, batch in enumerate((a_run("lost", 0, 90), a_run("other", 5, 80))):  # by sequence, and by digest
                before = redis_server.client.xlen("lost-answer")
                proxy.silence("server")
                written: list[int] = []
                thread = threading.Thread(target=lambda batch=batch, to=written: to.append(sink.write(batch)))
                thread.start()
                wait_until(lambda before=before: redis_server.client.xlen("lost-answer") == before + 1)
                proxy.drop_connections()
                thread.join()
                assert written == [len(batch)]
                assert sink.reconnects == number + 1
            assert (sink.accepted, sink.repeated) == (170, 0)
    assert sum(map(len, held(redis_server.address("lost-answer")))) == 170


def test_redis_takes_many_producers_in_one_order(redis_server: RedisServer) -> None:
    address, runs = redis_server.address(), [f"producer {number}" for number in range(8)]

    def produce(run: str) -> None:
        with RedisSink(address, chunk_size=30) as sink:
            for low in range(0, 200, 50):
                sink.write(a_run(run, low, 50))

    threads = [threading.Thread(target=produce, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batches = held(address)
    assert np.concatenate([batch.sequence for batch in batches]).tolist() == list(range(1600))
    for run in runs:
        assert told(batch for batch in batches if batch.metadata["run"] == run) == told([a_run(run)])


def test_redis_orders_producers_whose_clocks_differ(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    address, clock = redis_server.address(), time.time
    with RedisSink(address) as ahead, RedisSink(address) as behind:
        for number, (sink, shift) in enumerate(((ahead, 3600.0), (behind, -3600.0), (ahead, 3600.0))):
            monkeypatch.setattr(time, "time", lambda shift=shift: clock() + shift)
            sink.write(a_run(f"clock {number}", 0, 20))
    monkeypatch.undo()
    with RedisSource(address) as source:
        seen = [
            (batch.metadata["run"], source.written_at) for batch in source.stream_experiences(batch_size=None, follow=False)
        ]
    assert [run for run, _ in seen] == ["clock 0", "clock 1", "clock 2"]
    times = [written for _, written in seen if written is not None]
    assert times[0] - times[1] > 7000 < times[2] - times[1]


def test_redis_holds_no_more_experiences_than_its_bound(redis_server: RedisServer) -> None:
    address = redis_server.address("bounded")
    with RedisSink(address, max_experiences=100, chunk_size=30) as sink:
        for number in range(5):
            sink.write(a_run(f"bound {number}", 0, 90))
    with RedisSource(address) as source:
        read = list(source.stream_experiences(batch_size=None, follow=False))
    assert [int(batch.sequence[0]) for batch in read] == [360, 390, 420]
    assert source.missed == 0  # it began with the oldest
    with RedisSink(redis_server.address("narrow"), max_experiences=7) as sink:
        sink.write(a_run("narrow", 0, 90))  # more than fits: its end stays
    assert sum(map(len, held(redis_server.address("narrow")))) == 6


def test_redis_forgets_the_runs_that_were_written_first(redis_server: RedisServer) -> None:
    address = redis_server.address("forgetful")
    with RedisSink(address, remembered_runs=3) as sink:
        for number in range(5):
            sink.write(a_run(f"run {number}", 0, 10))
            sink.write(a_run(f"middle {number}", 5, 10))
        assert redis_server.client.hlen("{forgetful}:ranges") == redis_server.client.zcard("{forgetful}:runs") == 3
        assert redis_server.client.zcard("{forgetful}:chunks") == 3
        assert sink.write(a_run("run 4", 0, 10)) == 0
        assert sink.write(a_run("run 0", 0, 10)) == 10


def test_redis_continues_above_ids_of_others(redis_server: RedisServer) -> None:
    address = redis_server.address("foreign")
    redis_server.client.xadd("foreign", {"a": "b"}, id="5000-0")
    with RedisSink(address) as sink:
        sink.write(a_run("foreign", 0, 10))
        redis_server.client.xadd("foreign", {"a": "b"}, id="7000-0")
        redis_server.client.xdel("foreign", "7000-0")
        sink.write(a_run("foreign", 10, 10))
    with RedisSource(address, on_damage="skip") as source:
        read = [int(batch.sequence[0]) for batch in source.stream_experiences(batch_size=None, follow=False)]
    assert read == [5001, 7001]
    assert source.damaged == 1


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_redis_refuses_a_key_of_another_kind(redis_server: RedisServer) -> None:
    redis_server.client.set("text", "x")
    address = redis_server.address("text")
    with pytest.raises(StorageError, match="expected a stream, got a key that holds a string: use another name"):
        open_sink(address)
    with RedisSink(address, retry=QUICK) as sink, pytest.raises(StorageError, match=r"WRONGTYPE.*use another name"):
        sink.write(a_run("kind", 0, 10))
    with RedisSource(address, retry=QUICK) as source, pytest.raises(StorageError, match=r"WRONGTYPE.*use another name"):
        next(source.stream_experiences())
    assert redis_server.client.get("text") == b"x"


def test_redis_reports_a_server_that_is_gone(own_redis: RedisServer) -> None:
    address, batch = own_redis.address(), a_run("gone", 0, 50)
    with RedisSink(address, retry=QUICK) as sink:
        sink.write(a_run("gone", 0, 20))
        own_redis.kill()
        with pytest.raises(StorageError, match="check the address and that the server runs"):
            sink.write(batch)
        with pytest.raises(StorageError, match="check the address and that the server runs"):
            sink.check()
        own_redis.start()
        assert sink.write(batch) == 30
        assert sink.reconnects >= 3
    assert told(held(address)) == told([batch])


def test_redis_needs_the_password_of_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = RedisServer(tmp_path, "--requirepass", "secret")
    try:
        monkeypatch.delenv("GENERALS_ENV_REDIS_PASSWORD", raising=False)
        for password in (None, "wrong"):
            if password:
                monkeypatch.setenv("GENERALS_ENV_REDIS_PASSWORD", password)
            with pytest.raises(StorageError, match="set GENERALS_ENV_REDIS_PASSWORD to the password") as raised:
                open_sink(server.address())
            assert "secret" not in str(raised.value)
        monkeypatch.setenv("GENERALS_ENV_REDIS_PASSWORD", "secret")
        with open_sink(server.address()) as sink:
            sink.write(a_run("secret", 0, 10))
    finally:
        server.client.close()
        server.kill()


def test_redis_over_tls_checks_the_certificate(tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="cryptography is not installed: pip install generals_env[dev]")
    from support.certificates import Authority

    known, unknown = Authority(tmp_path, "known"), Authority(tmp_path, "unknown")
    certificate, key = known.issue("server")
    port = free_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(known.path))
    server = RedisServer(tmp_path, *options, *files)
    try:
        address = f"rediss://127.0.0.1:{port}/0?stream=secure"
        with RedisSink(address, root_certificates=known.path, retry=QUICK) as sink:
            sink.check()
            sink.write(a_run("secure", 0, 20))
        with RedisSource(address, root_certificates=known.path) as source:
            assert told(source.stream_experiences(follow=False)) == told([a_run("secure", 0, 20)])
        expected = pytest.raises(StorageError, match="certificate verify failed")
        with RedisSink(address, root_certificates=unknown.path, retry=QUICK) as sink, expected:
            sink.check()
    finally:
        server.client.close()
        server.kill()


def test_redis_without_memory_refuses_and_loses_nothing(own_redis: RedisServer) -> None:
    address, whole = own_redis.address(), a_run("full")
    with RedisSink(address, retry=QUICK, chunk_size=50) as sink:
        sink.write(a_run("full", 0, 100))
        own_redis.client.config_set("maxmemory", 1)
        with pytest.raises(StorageError, match=r"OutOfMemoryError.*raise maxmemory"):
            sink.write(a_run("full", 100, 100))
        assert sum(map(len, held(address))) == 100
        own_redis.client.config_set("maxmemory", 0)
        assert sink.write(a_run("full", 100, 100)) == 100
    assert told(held(address)) == told([whole])


def test_redis_names_the_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(ImportError, match=r'redis: expected redis, got none: pip install "generals_env\[redis\]"'):
        open_sink("redis://127.0.0.1:1/0?stream=a")


def test_redis_sink_that_is_closed_refuses(redis_server: RedisServer) -> None:
    sink = RedisSink(redis_server.address())
    with pytest.raises(CopyError, match="make another RedisSink"):
        copy.copy(sink)
    with pytest.raises(ConfigError, match="batch: expected an ExperienceBatch, got str"):
        sink.write("x")  # type: ignore[arg-type]
    sink.close()
    sink.close()
    with pytest.raises(StateError, match="write: expected an open sink"):
        sink.write(a_run("closed", 0, 1))
    for name, value in (("max_experiences", 0), ("chunk_size", True), ("max_chunk_bytes", 2**40), ("remembered_runs", "x")):
        with pytest.raises(ConfigError, match=f"{name}: expected"):
            RedisSink(redis_server.address(), **{name: value})  # type: ignore[arg-type]
