"""Tests RedisSource without a group: order, positions, losses, restarts of the server, and entries that are not trusted."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import zstandard
from support.redis_server import RedisServer, a_run, own_redis, redis_server, told

from generals_env import ConfigError, StateError, StorageError
from generals_env.recorders import ExperienceBatch, Position, Retry, open_dataset
from generals_env.recorders.distributed import RedisSink, RedisSource
from generals_env.recorders.encoding.batch_codec import encode_batch

__all__ = ["own_redis", "redis_server"]  # fixtures

PATIENT = Retry(tries=200, first_wait=0.01, max_wait=0.05)


def filled(address: str, run: str = "run", count: int = 200, chunk: int = 30) -> ExperienceBatch:
    """Write a run to a stream, and return it."""
    whole = a_run(run, 0, count)
    with RedisSink(address, chunk_size=chunk, retry=PATIENT) as sink:
        sink.write(whole)
    return whole


def read_all(address: str, **options: object) -> tuple[list[ExperienceBatch], RedisSource]:
    """Return what a stream holds, and the source that has read it."""
    with RedisSource(address) as source:
        return list(source.stream_experiences(follow=False, **options)), source  # type: ignore[arg-type]


def test_redis_source_yields_batches_of_any_size_with_positions(redis_server: RedisServer) -> None:
    address = redis_server.address()
    whole = filled(address)
    for size in (None, 1, 7, 64, 1000):
        with RedisSource(address) as source:
            ends = []
            for batch in source.stream_experiences(batch_size=size, follow=False):
                assert source.position is not None
                assert source.position.next_sequence == batch.sequence[-1] + 1
                ends.append(source.position)
        batches, _ = read_all(address, batch_size=size)
        assert told(batches) == told([whole])
        middle = ends[len(ends) // 2]
        rest, after = read_all(address, batch_size=size, resume=middle)
        assert np.concatenate([batch.sequence for batch in rest] or [np.array([])]).tolist() == list(
            range(middle.next_sequence, 200)
        )
        assert (after.missed, after.restarts) == (0, 0)


def test_redis_source_selects_experiences(redis_server: RedisServer) -> None:
    address = redis_server.address()
    whole = filled(address)
    read, _ = read_all(address, player_ids=[1], min_turn=10, game_ids=["run-0"])
    found = np.concatenate([batch.sequence for batch in read])
    wanted = (whole.player_id == 1) & (whole.turn >= 10) & (whole.game == whole.game_ids.index("run-0"))
    assert found.tolist() == np.flatnonzero(wanted).tolist()
    late, _ = read_all(address, start=150)
    assert late[0].sequence[0] == 150
    none, source = read_all(address, game_ids=["unknown"], batch_size=None)
    assert not none
    assert source.position is not None
    assert source.position.next_sequence == 200


def test_redis_source_follows_what_is_added_later(redis_server: RedisServer) -> None:
    address = redis_server.address()
    filled(address)
    with RedisSource(address) as source, RedisSink(address) as sink:
        stream = source.stream_experiences(batch_size=10, start="now")
        got: list[ExperienceBatch] = []
        thread = threading.Thread(target=lambda: got.append(next(stream)))
        thread.start()
        later = a_run("later", 0, 10)
        while thread.is_alive():  # what is added before the source has begun is not read
            sink.write(later)
            later = a_run(f"{len(later.game_ids[0])}{sink.accepted}", 0, 10)
            thread.join(0.02)
        assert got[0].sequence[0] >= 200
        closing = threading.Thread(target=lambda: list(stream))
        closing.start()
        source.close()
        closing.join()
        with pytest.raises(StateError, match="expected an open source"):
            source.stream_experiences()


def test_redis_source_counts_what_was_removed_before_it_was_read(redis_server: RedisServer) -> None:
    address = redis_server.address("outrun")
    filled(address, chunk=20)
    with RedisSource(address) as source, RedisSink(address, max_experiences=60, chunk_size=20) as sink:
        stream = source.stream_experiences(batch_size=None, follow=False)
        assert len(next(stream)) == 20
        sink.write(a_run("more", 0, 100))  # of 300, the last 60 stay
        rest = list(stream)
        seen = 20 + sum(map(len, rest))
        assert seen + source.missed == 300
        assert rest[-1].sequence[-1] == 299
        redis_server.client.xtrim("outrun", maxlen=0, approximate=False)
        sink.write(a_run("last", 0, 10))
        redis_server.client.xtrim("outrun", maxlen=0, approximate=False)
        before, resumed = source.missed, source.position
        assert resumed is not None
        assert not list(source.stream_experiences(batch_size=None, follow=False, resume=resumed))
        assert source.missed == before + 10  # nothing comes after the gap that would show it
        assert source.position == Position(resumed.stream_id, 310)


def test_redis_source_begins_a_new_stream_with_its_oldest(redis_server: RedisServer) -> None:
    address = redis_server.address("anew")
    filled(address)
    with RedisSource(address) as source:
        stream = source.stream_experiences(batch_size=None)
        for _ in range(7):
            next(stream)
        redis_server.client.delete(*redis_server.client.keys("*anew*"))
        other = filled(address, "other", 50)
        assert told([next(stream), next(stream)]) == told([other])
        assert (source.restarts, source.missed) == (1, 0)
    _, later = read_all(address, resume=Position("an older stream", 20))
    assert later.restarts == 1


# --- Restarts of the server -------------------------------------------------------------------------------------------


def test_redis_loses_nothing_acknowledged_when_its_server_is_killed(own_redis: RedisServer) -> None:
    address = own_redis.address()
    got: list[ExperienceBatch] = []
    with RedisSink(address, chunk_size=20, retry=PATIENT) as sink, RedisSource(address, retry=PATIENT) as source:
        stream = source.stream_experiences(batch_size=None)

        def read() -> None:
            while sum(map(len, got)) < 800:
                got.append(next(stream))

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(4):
            sink.write(a_run(f"killed {number}", 0, 100))
            own_redis.kill()
            restart = threading.Thread(target=own_redis.start)
            restart.start()
            sink.write(a_run(f"killed {number}", 100, 100))
            restart.join()
        reader.join()
        assert (sink.accepted, sink.repeated, sink.restarts) == (800, 0, 0)
        assert (source.missed, source.restarts) == (0, 0)
        assert source.reconnects or sink.reconnects
    assert told(got) == told(a_run(f"killed {number}") for number in range(4))


def test_redis_numbers_go_on_after_the_tail_of_its_file_is_lost(own_redis: RedisServer) -> None:
    address = own_redis.address()
    with RedisSink(address, chunk_size=20, retry=PATIENT) as sink, RedisSource(address, retry=PATIENT) as source:
        stream = source.stream_experiences(batch_size=None)
        sink.write(a_run("tail", 0, 60))
        size = own_redis.file.stat().st_size
        sink.write(a_run("tail", 60, 40))
        for _ in range(4):  # it has read 80 of 100
            next(stream)
        own_redis.cut(size + 100)  # in the middle of a command
        sink.write(a_run("tail", 100, 40))
        following = next(stream)
        assert int(following.sequence[0]) == 100
        assert source.missed == 20  # 80 to 99 were lost before they were read
        assert (source.restarts, sink.restarts) == (0, 0)


def test_redis_reader_raises_the_number_that_a_server_has_lost(own_redis: RedisServer) -> None:
    address = own_redis.address()
    with RedisSource(address, retry=PATIENT) as source:
        filled(address, "one", 60, 20)
        size = own_redis.file.stat().st_size
        filled(address, "two", 60, 20)
        stream = source.stream_experiences(batch_size=None)
        for _ in range(6):
            next(stream)
        own_redis.cut(size)
        assert source.position is not None
        rest = source.stream_experiences(batch_size=None, resume=source.position, follow=False)
        assert not list(rest)
        filled(address, "three", 20)  # its sink does not know how far the stream was
        assert [batch.sequence[0] for batch in source.stream_experiences(resume=source.position, follow=False)] == [120]


def test_redis_reader_finds_entries_in_the_places_of_lost_ones(own_redis: RedisServer) -> None:
    address = own_redis.address()
    with RedisSource(address, retry=PATIENT) as source:
        filled(address, "one", 60, 20)
        size = own_redis.file.stat().st_size
        filled(address, "two", 60, 20)
        stream = source.stream_experiences(batch_size=None)
        for _ in range(6):
            next(stream)
        own_redis.cut(size)
        third = filled(address, "three", 80, 40)  # before the reader can tell how far the stream was
        got = [next(stream), next(stream)]
        assert told(got) == told([third])
        assert [batch.sequence[0] for batch in got] == [60, 100]
        assert (source.restarts, source.missed) == (1, 0)


# --- Entries that are not trusted -------------------------------------------------------------------------------------


def bomb() -> bytes:
    return zstandard.ZstdCompressor().compress(bytes(2**28 + 1))


def test_redis_source_refuses_damaged_and_hostile_entries(redis_server: RedisServer) -> None:
    good = encode_batch(a_run("good", 0, 10))
    fields = {"d": good, "t": "1", "h": "x"}
    hostile = {
        "nothing": {"a": "b"},
        "no time": {"d": good, "h": "x"},
        "no number": {**fields, "t": "soon"},
        "too late": {**fields, "t": "9" * 400},
        "empty": {**fields, "d": b""},
        "text": {**fields, "d": b"x" * 100},
        "cut": {**fields, "d": good[:-9]},
        "changed": {**fields, "d": good[:200] + bytes([good[200] ^ 1]) + good[201:]},
        "another number": {**fields, "d": encode_batch(a_run("good", 0, 9))},
        "bomb": {**fields, "d": bomb()},
        "pickle": {**fields, "d": b"cos\nsystem\n(S'true'\ntR."},
    }
    for name, entry in hostile.items():
        stream = f"hostile-{name.replace(' ', '-')}"
        address = redis_server.address(stream)
        redis_server.client.xadd(stream, entry, id="0-10")
        with RedisSink(address) as sink:
            sink.write(a_run("after", 0, 20))
        with (
            RedisSource(address) as source,
            pytest.raises(StorageError, match=r"chunk of experiences in entry 0-10, got .*XDEL"),
        ):
            next(source.stream_experiences())
        with RedisSource(address, on_damage="skip") as source:
            assert sum(map(len, source.stream_experiences(follow=False))) == 20
            assert (source.damaged, source.missed) == (1, 0)
        with pytest.raises(StorageError, match="entry 0-10"):
            list(open_dataset(address))


def test_redis_source_refuses_ids_that_scripts_would_round(redis_server: RedisServer) -> None:
    one = encode_batch(a_run("good", 0, 1))
    for number, name in enumerate((f"{2**60}-1", f"500-{2**64 - 1}", f"{2**64 - 1}-1")):
        stream = f"rounded-{number}"
        redis_server.client.xadd(stream, {"d": one, "t": "1", "h": "x"}, id=name)
        for group in (None, "g"):
            with (
                RedisSource(redis_server.address(stream, group=group), on_damage="skip") as source,
                pytest.raises(StorageError, match=f"got the entry {name} of another program"),
            ):
                next(source.stream_experiences())
        with pytest.raises(StorageError, match=f"got the entry {name} of another program"):
            list(open_dataset(redis_server.address(stream)))


def test_redis_source_begins_at_a_sequence_of_numpy(redis_server: RedisServer) -> None:
    filled(redis_server.address("numpy"))
    with RedisSource(redis_server.address("numpy")) as source:
        assert sum(map(len, source.stream_experiences(follow=False, start=np.int64(150)))) == 50  # type: ignore[arg-type]


def test_redis_source_never_receives_entries_that_are_too_large(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generals_env.recorders.distributed.redis_streams.readers.MAX_ENTRY", 1000)
    address = redis_server.address("huge")
    redis_server.client.xadd("huge", {"d": bytes(1001), "t": "1", "h": "x"}, id="0-10")
    for options in ({}, {"group": "g"}):
        with (
            RedisSource(redis_server.address("huge", **options)) as source,
            pytest.raises(StorageError, match="got 1006 bytes"),
        ):
            next(source.stream_experiences())
    with RedisSource(address, on_damage="skip") as source:
        assert not list(source.stream_experiences(follow=False))
        assert source.damaged == 1


# --- Datasets and arguments -------------------------------------------------------------------------------------------


def test_redis_stream_is_a_dataset(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generals_env.recorders.distributed.redis_streams.parts.EXPERIENCES", 50)
    monkeypatch.setattr("generals_env.recorders.distributed.redis_streams.parts.PAGE", 3)
    address = redis_server.address("dataset")
    whole = filled(address, chunk=20)
    dataset = open_dataset(address)
    filled(address, "later", 50)
    assert (len(dataset.files), dataset.experiences) == (4, 200)
    assert told(dataset) == told([whole])
    assert dataset.take([3, 77, 199]).sequence.tolist() == [3, 77, 199]
    shards = [list(dataset.shard(k, 3).batches(16).shuffled(100, seed=1)) for k in range(3)]
    assert sorted(told(batch for shard in shards for batch in shard)) == sorted(told([whole]))
    assert all((batch.player_id == 1).all() for batch in dataset.filter(player_ids=[1]))
    redis_server.client.xtrim("dataset", minid="70", approximate=False)
    with pytest.raises(StorageError, match="removed since; open the dataset again"):
        list(dataset)
    assert open_dataset(address).experiences == 170
    with pytest.raises(StorageError, match="expected a stream of experiences, got none"):
        open_dataset(redis_server.address())


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("redis://h:1/0", "append .stream=NAME"),
        ("redis:h", "expected redis://"),
        ("redis://user:geheim@h/0?stream=a", "GENERALS_ENV_REDIS_PASSWORD"),
        ("redis://h:x/0?stream=a", "expected one like"),
        ("redis://h:0/0?stream=a", "expected one like"),
        ("redis://h/one?stream=a", "expected one like"),
        ("redis:///0?stream=a", "expected one like"),
        ("redis://h/0?stream=a#b", "expected one like"),
        ("redis://h/0?stream=a&stream=b", "each once"),
        ("redis://h/0?stream=a&socket_timeout=1", "as arguments"),
        ("redis://h/0?stream=a&password=geheim", "a password as GENERALS_ENV_REDIS_PASSWORD"),
        ("redis://h/0?stream={a}", "expected a stream of 1 to 128"),
        ("redis://h/0?stream=", "expected a stream of 1 to 128"),
        ("redis://h/0?stream", "expected one like"),
        ("redis://h/0?stream=a&consumer=b", "append &group=NAME"),
    ],
)
def test_redis_address_that_is_malformed_is_refused(address: str, text: str) -> None:
    for opened in (RedisSink, RedisSource, open_dataset):
        with pytest.raises(ConfigError, match=text) as raised:
            opened(address)
        assert "geheim" not in str(raised.value)


def test_redis_source_refuses_wrong_arguments(redis_server: RedisServer) -> None:
    address = redis_server.address()
    for name, value in (("min_idle", -1), ("min_idle", True), ("on_damage", "pass"), ("retry", 3)):
        with pytest.raises(ConfigError, match=f"{name}: expected"):
            RedisSource(address, **{name: value})  # type: ignore[arg-type]
    with RedisSource(address) as source:
        for name, value in (
            *(("batch_size", 0), ("start", "newest"), ("start", -1), ("resume", 5), ("min_turn", -1), ("follow", "no")),
            ("resume", {"stream_id": 5, "next_sequence": 1}),
        ):
            with pytest.raises(ConfigError, match=f"({name}|stream_id): expected"):
                source.stream_experiences(**{name: value})  # type: ignore[arg-type]
        assert source.acknowledge() == 0
    with RedisSource(redis_server.address(group="g")) as source, pytest.raises(ConfigError, match="resume, start: expected"):
        source.stream_experiences(resume=Position("a", 1))
