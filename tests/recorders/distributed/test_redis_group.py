"""Tests RedisSource in consumer groups: acknowledgement, claims of dead consumers, told losses, and the trainer's order."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command_line import run
from support.helpers import Memory, wait_until
from support.paths import ROOT
from support.redis_server import RedisServer, a_run, own_redis, redis_server, told
from support.tcp_proxy import TcpProxy

from generals_env.recorders import DistributedTrainer, ExperienceBatch, QNetwork, Retry, TrainerConfig
from generals_env.recorders.distributed import RedisSink, RedisSource
from generals_env.recorders.sinks.deduplicating import DeduplicatingSink
from generals_env.recorders.training.checkpoints import load_checkpoint

__all__ = ["own_redis", "redis_server"]  # fixtures

PATIENT = Retry(tries=200, first_wait=0.01, max_wait=0.05)

SMALL = TrainerConfig(capacity=2000, min_size=50, batch_size=8, n_step=1, seed=1)


def fill(server: RedisServer, stream: str, run: str = "run", count: int = 200, **options: Any) -> ExperienceBatch:
    """Write a run to a stream in entries of 20, and return it."""
    whole = a_run(run, 0, count)
    with RedisSink(server.address(stream), chunk_size=20, retry=PATIENT, **options) as sink:
        sink.write(whole)
    return whole


def member(server: RedisServer, stream: str, **options: Any) -> RedisSource:
    """Return a source of the group ``g``."""
    names = {"consumer": options.pop("consumer")} if "consumer" in options else {}
    return RedisSource(server.address(stream, group="g", **names), retry=PATIENT, **options)


def rest(source: RedisSource, size: int | None = None) -> list[ExperienceBatch]:
    return list(source.stream_experiences(batch_size=size, follow=False))


def pending(server: RedisServer, stream: str) -> int:
    return int(server.client.xpending(stream, "g")["pending"])


def test_redis_group_shares_a_stream_among_its_sources(redis_server: RedisServer) -> None:
    whole = fill(redis_server, "halves")
    with member(redis_server, "halves") as one, member(redis_server, "halves") as other:
        streams = [source.stream_experiences(batch_size=None, follow=False) for source in (one, other)]
        got: list[ExperienceBatch] = []
        while streams:
            for stream in list(streams):
                batch = next(stream, None)
                streams.remove(stream) if batch is None else got.append(batch)
        assert sorted(told(got)) == sorted(told([whole]))
        assert one.position is None
        assert one.acknowledge() + other.acknowledge() == 10
    assert pending(redis_server, "halves") == 0
    with member(redis_server, "halves") as late:
        assert not rest(late)
        assert late.missed == 0


@pytest.mark.parametrize("size", [None, 7, 50])
def test_redis_group_acknowledges_what_was_handled(redis_server: RedisServer, size: int | None) -> None:
    stream = f"handled-{size}"
    fill(redis_server, stream)
    with member(redis_server, stream, consumer="a") as source:
        batches = source.stream_experiences(batch_size=size, follow=False)
        got = 0
        for _ in range(4):
            assert source.handled == () or got >= 20
            got += len(next(batches))
        before = source.handled
        assert source.acknowledge(before[:1]) == min(len(before), 1)
        assert source.acknowledge(before[:1]) == 0
        source.acknowledge()
        assert source.handled == ()
    with member(redis_server, stream, consumer="a") as again:
        assert sum(map(len, rest(again))) == 200 - got // 20 * 20
    with member(redis_server, stream, consumer="a") as again:
        assert sum(map(len, rest(again, 64))) == 200 - got // 20 * 20  # nothing was acknowledged meanwhile
        assert again.acknowledge() == 10 - got // 20
    assert pending(redis_server, stream) == 0


def test_redis_group_reads_again_what_a_stream_left_unhandled(redis_server: RedisServer) -> None:
    whole = fill(redis_server, "left")
    with member(redis_server, "left") as source:
        stream = source.stream_experiences(batch_size=50)
        next(stream)
        stream.close()
        assert len(source.handled) == 0
        assert told(rest(source)) == told([whole])
        assert source.acknowledge() == 10


def test_redis_group_with_a_filter_acknowledges_empty_entries(redis_server: RedisServer) -> None:
    whole = fill(redis_server, "filtered")
    with member(redis_server, "filtered") as source:
        name = whole.game_ids[-1]
        got = list(source.stream_experiences(game_ids=[name], batch_size=None, follow=False))
        assert sum(map(len, got)) == int((whole.game == len(whole.game_ids) - 1).sum())
        assert source.acknowledge() == 10


def test_redis_group_takes_over_the_entries_of_a_dead_consumer(redis_server: RedisServer) -> None:
    whole = fill(redis_server, "dead")
    with member(redis_server, "dead") as dead:
        stream = dead.stream_experiences(batch_size=None)
        done = [next(stream) for _ in range(3)]
        next(stream)  # the first three are handled now
        assert dead.acknowledge(dead.handled) == 3
    with member(redis_server, "dead", min_idle=3600) as patient:
        assert sum(map(len, rest(patient))) == 120  # what was read ahead belongs to the other one
        assert patient.claimed == 0
    with member(redis_server, "dead", min_idle=0) as heir:
        taken = rest(heir)
        assert heir.claimed == sum(map(len, taken)) == 140
        assert sorted(told([*done, *taken])) == sorted(told([whole]))
        assert not rest(heir, 10) or heir.claimed == 140
        heir.acknowledge()
    assert pending(redis_server, "dead") == 0


def test_redis_group_yields_an_entry_once_that_is_claimed_back(redis_server: RedisServer) -> None:
    whole = fill(redis_server, "back")
    with member(redis_server, "back", min_idle=0) as slow, member(redis_server, "back", min_idle=0) as eager:
        stream = slow.stream_experiences(batch_size=None, follow=False)
        got = [next(stream) for _ in range(3)]
        copies = rest(eager)
        assert sum(map(len, copies)) == 200
        got += list(stream)  # it claims all of them back, among them those that it has read
        assert told(sorted(got, key=lambda batch: int(batch.sequence[0]))) == told([whole])
        slow.acknowledge()
        eager.acknowledge()
    assert pending(redis_server, "back") == 0


def test_redis_group_counts_what_was_removed_before_it_read(redis_server: RedisServer) -> None:
    fill(redis_server, "outrun-group")
    with member(redis_server, "outrun-group") as source:
        stream = source.stream_experiences(batch_size=None, follow=False)
        for _ in range(4):  # the group is at 80: four entries were read at once
            next(stream)
        fill(redis_server, "outrun-group", "more", 100, max_experiences=60)
        assert sum(map(len, stream)) == 60
        assert source.missed == 160
        fill(redis_server, "outrun-group", "last", 40, max_experiences=60)
        redis_server.client.xtrim("outrun-group", maxlen=0, approximate=False)
        assert not rest(source)
        assert source.missed == 200


def test_redis_group_counts_pending_entries_that_were_removed(redis_server: RedisServer) -> None:
    fill(redis_server, "removed")
    with member(redis_server, "removed", consumer="a") as dead:
        next(dead.stream_experiences(batch_size=None))  # it has four entries
    redis_server.client.xtrim("removed", maxlen=8, approximate=False)
    with member(redis_server, "removed", consumer="a") as same:
        assert sum(map(len, rest(same))) == 160
        assert same.missed == 40
    redis_server.client.xtrim("removed", maxlen=7, approximate=False)
    with member(redis_server, "removed", min_idle=0) as other:
        assert sum(map(len, rest(other))) == 140
        assert other.missed == 20
        other.acknowledge()
    assert pending(redis_server, "removed") == 0


def test_redis_group_that_is_gone_begins_again(redis_server: RedisServer) -> None:
    fill(redis_server, "vanishing")
    with member(redis_server, "vanishing") as source:
        stream = source.stream_experiences(batch_size=None, follow=False)
        for _ in range(10):
            next(stream)
        redis_server.client.delete(*redis_server.client.keys("*vanishing*"))
        new = fill(redis_server, "vanishing", "new", 60)
        assert told(stream) == told([new])
        assert source.restarts == 1


def test_redis_group_finds_entries_whose_answer_was_lost(redis_server: RedisServer) -> None:
    whole = fill(redis_server, "unseen")
    with TcpProxy(f"127.0.0.1:{redis_server.port}") as proxy:
        port = int(proxy.address.rpartition(":")[2])
        with RedisSource(redis_server.at(port, "unseen", group="g"), retry=PATIENT) as source:
            stream = source.stream_experiences(batch_size=None, follow=False)
            got = [next(stream) for _ in range(4)]
            proxy.silence("server")
            thread = threading.Thread(target=lambda: got.extend(stream))
            thread.start()
            wait_until(lambda: pending(redis_server, "unseen") > 4)
            proxy.drop_connections()
            thread.join()
            assert source.reconnects
            assert told(sorted(got, key=lambda batch: int(batch.sequence[0]))) == told([whole])
            assert source.acknowledge() == 10


def test_redis_group_survives_the_death_of_its_server(own_redis: RedisServer) -> None:
    with member(own_redis, "killed") as source, RedisSink(own_redis.address("killed"), chunk_size=20, retry=PATIENT) as sink:
        got: list[ExperienceBatch] = []

        def read() -> None:
            for batch in source.stream_experiences(batch_size=None):
                got.append(batch)
                if len(got) % 5 == 0:
                    source.acknowledge()
                if sum(map(len, got)) == 600:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(3):
            sink.write(a_run(f"killed {number}", 0, 100))
            own_redis.kill()
            own_redis.start()
            sink.write(a_run(f"killed {number}", 100, 100))
        reader.join()
        assert sorted(told(got)) == sorted(told(a_run(f"killed {number}") for number in range(3)))
        assert (source.missed, source.restarts) == (0, 0)
    assert pending(own_redis, "killed") == 0


def test_redis_readers_of_two_processes_store_each_experience_once(redis_server: RedisServer) -> None:
    fill(redis_server, "once")
    with member(redis_server, "once") as died:
        first = Memory()
        keeping = DeduplicatingSink(first)
        stream = died.stream_experiences(batch_size=None)
        for _ in range(6):
            keeping.write(next(stream))  # stored, and not acknowledged
        known = keeping.remembered
    second = Memory()
    with member(redis_server, "once", min_idle=0) as heir:
        storing = DeduplicatingSink(second, known=known)
        for batch in heir.stream_experiences(batch_size=None, follow=False):
            storing.write(batch)
        assert storing.repeats == 120
    assert sorted(told([*first, *second])) == sorted(told([a_run("run")]))


# --- Training ---------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Let small networks do without a second thread: to wake it takes longer than it helps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def network() -> QNetwork:
    torch.manual_seed(1)
    return QNetwork((9, 6, 7), channels=4, blocks=0)


def test_trainer_on_redis_resumes_at_its_checkpoint(redis_server: RedisServer, tmp_path: Path) -> None:
    address, path = redis_server.address("resumed"), tmp_path / "model.pt"
    fill(redis_server, "resumed")
    with DistributedTrainer(address, network(), config=SMALL, checkpoint=path) as trainer:
        trainer.train(2)
        wait_until(lambda: len(trainer.buffer) == 200)
        assert trainer.train(1)["missed"] == 0
        trainer.save()
    content = load_checkpoint(path)
    assert content is not None
    assert content["from_sequence"] == 0  # the buffer is filled again
    fill(redis_server, "resumed", "later", 60, max_experiences=200)
    with DistributedTrainer(address, network(), config=SMALL, checkpoint=path) as trainer:
        metrics = trainer.train(1)
        wait_until(lambda: len(trainer.buffer) == 200)
        assert trainer.step == 4
        assert trainer.train(1)["missed"] == 60  # of those that the buffer held
        assert metrics["restarts"] == 0
    with DistributedTrainer(f"{address}&group=g", network(), config=SMALL, checkpoint=path) as trainer:
        assert trainer.train(1)["step"] == 4  # the group's position counts, not that of the checkpoint


def test_trainer_of_a_group_acknowledges_after_its_checkpoint(redis_server: RedisServer, tmp_path: Path) -> None:
    fill(redis_server, "trained")
    source = member(redis_server, "trained", consumer="learner")
    with DistributedTrainer(source, network(), config=SMALL, checkpoint=tmp_path / "model.pt") as trainer:
        trainer.train(1)
        wait_until(lambda: len(source.handled) == 10)
        assert pending(redis_server, "trained") == 10
        trainer.save()
        assert pending(redis_server, "trained") == 0
        fill(redis_server, "trained", "later", 40)
        wait_until(lambda: len(source.handled) == 2)
        (tmp_path / "model.pt").unlink()
        (tmp_path / "model.pt").mkdir()
        with pytest.raises(OSError, match="writable file"):
            trainer.save()
        assert pending(redis_server, "trained") == 2  # nothing is acknowledged that no checkpoint has


class Killed(RedisSource):
    """A source of a process that dies when it is to acknowledge."""

    def acknowledge(self, entries: Any = None) -> int:
        """End the program."""
        raise SystemExit(9)


def test_trainer_that_dies_before_it_acknowledges_reads_again(redis_server: RedisServer, tmp_path: Path) -> None:
    fill(redis_server, "between")
    path, address = tmp_path / "model.pt", redis_server.address("between", group="g", consumer="learner")
    with DistributedTrainer(Killed(address), network(), config=SMALL, checkpoint=path) as trainer:
        trainer.train(1)
        wait_until(lambda: len(trainer._consumer.handled) == 10)  # type: ignore[union-attr]
        with pytest.raises(SystemExit):
            trainer.save()
    content = load_checkpoint(path)
    assert content is not None
    assert content["step"] == 1
    assert pending(redis_server, "between") == 10
    with DistributedTrainer(address, network(), config=SMALL, checkpoint=path) as trainer:
        trainer.train(1)
        assert trainer.step == 2
        wait_until(lambda: len(trainer._consumer.handled) == 10)  # type: ignore[union-attr]
        trainer.save()
    assert pending(redis_server, "between") == 0


def test_commands_take_the_address_of_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    address = redis_server.address("commands")
    run("record", address, "--games", 2, "--height", 6, "--width", 7, "--max-turns", 40, "--seed", 1)
    recorded = sum(map(len, rest(RedisSource(address))))
    assert recorded
    run("record", tmp_path / "set", "--games", 2, "--height", 6, "--width", 7, "--max-turns", 40, "--seed", 2)
    table = run("submit", tmp_path / "set", address)
    assert "already there" in table
    assert "already there │ 0" not in run("submit", tmp_path / "set", address)
    total = sum(map(len, rest(RedisSource(address))))
    assert f"{total:,}" in run("dataset", "info", address)
    told_by = run("train", f"{address}&group=g", "--checkpoint", tmp_path / "model.pt", "--steps", 2, "--min-size", 50)
    assert "step" in told_by
    assert (tmp_path / "model.pt").exists()


def test_snippets_of_the_docs_that_need_redis_run(redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    blocks = [code for code in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if "redis://" in code]
    assert blocks
    for code in blocks:
        local = code.replace("127.0.0.1:6379", f"127.0.0.1:{redis_server.port}")
        exec(compile(local, "snippet", "exec"), {"__name__": "__main__"})
    assert "6400 experiences" in capsys.readouterr().out
