"""Tests clients of the original service: the messages they receive and the experiences they submit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
from support.helpers import same
from support.old_client import old_messages, old_stub
from support.paths import TESTS
from support.recorded import record_game
from support.stream_records import records_of

from generals_env.errors import ConfigError
from generals_env.recorders import ExperienceBatch, ExperienceConsumer, ExperienceLog, ExperienceServer, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import encode_batch
from generals_env.recorders.stream.compression import compress_experiences, decompress_experiences
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub

GAME = record_game(3, 30, height=6, width=7)  # 60 experiences
OLD = old_messages()

GRPC_DEFAULT = 4 * 2**20  # bytes of a message that a client takes which says nothing


@contextmanager
def served(source: ReplayBuffer | ExperienceLog) -> Iterator[tuple[SimpleNamespace, ExperienceServiceStub]]:
    """Serve a source, and yield the calls as a client of the original has them, and as ours has; channels have no options."""
    with ExperienceServer(source, "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
        yield old_stub(channel, OLD), ExperienceServiceStub(channel)


def filled(batch: ExperienceBatch, capacity: int = 100_000) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity)
    buffer.write(batch)
    return buffer


def old_record(record: Any) -> Any:
    """Return a record with nothing but the fields that the original knows."""
    known = OLD["Experience"].FromString(record.SerializeToString())
    known.DiscardUnknownFields()
    return known


# --- Actions ----------------------------------------------------------------------------------------------------------


def test_every_action_indexes_a_table_of_originals_actions() -> None:
    rows = GAME.rows.copy()
    rows["action"][::3] = 8 * 42  # a pass
    batch = replace(GAME, rows=rows)
    with served(filled(batch)) as (stub, _):
        records = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
        grouped = list(stub.StreamExperienceBatches(OLD["StreamExperiencesRequest"]()))
    assert [record for one in grouped for record in one.experiences] == records
    assert len(records) == len(batch)
    table = np.zeros(4 * 42)
    passes = 0
    for record, action in zip(records, batch.action.tolist(), strict=True):
        table[record.action] += 1
        assert record.action >= 0
        if action == 8 * 42:
            passes += 1
            assert (record.action, record.metadata["pass"]) == (0, "1")
        else:
            assert (record.action, "pass" in record.metadata) == (action % (4 * 42), False)
    assert passes >= 20


@pytest.mark.parametrize("action", [0, -1, 8 * 42])
def test_submitted_pass_is_read_back_as_pass(action: int) -> None:
    record = records_of(GAME)[0]
    record.metadata.clear()
    record.action, record.metadata["pass"] = action, "1"
    buffer = ReplayBuffer(100)
    with served(buffer) as (stub, ours):
        assert stub.SubmitExperiences(OLD["SubmitExperiencesRequest"](experiences=[old_record(record)])).accepted == 1
        (back,) = stub.StreamExperiences(OLD["StreamExperiencesRequest"]())
        (whole,) = ours.StreamExperiences(pb.StreamExperiencesRequest(full_actions=True))
    assert (back.action, dict(back.metadata)) == (0, {"pass": "1"})
    assert whole.action == 8 * 42


# --- Sizes of messages ------------------------------------------------------------------------------------------------


def test_client_without_options_gets_messages_within_grpc_default() -> None:
    game = record_game(1, 150, height=20, width=20)
    assert len(game) == 300  # 9 MB as records
    with served(filled(game)) as (stub, ours):
        batches = list(stub.StreamExperienceBatches(OLD["StreamExperiencesRequest"](batch_size=1000)))
        assert sum(len(batch.experiences) for batch in batches) == 300
        assert [record.turn for batch in batches for record in batch.experiences] == game.turn.tolist()
        assert max(batch.ByteSize() for batch in batches) <= GRPC_DEFAULT
        assert len(batches) < 5
        small = list(ours.StreamExperienceBatches(pb.StreamExperiencesRequest(batch_size=1000, max_message_bytes=2**17)))
        assert max(batch.ByteSize() for batch in small) <= 2**17
        assert sum(len(batch.experiences) for batch in small) == 300
        with pytest.raises(grpc.RpcError) as caught:
            list(ours.StreamExperienceBatches(pb.StreamExperiencesRequest(max_message_bytes=5)))
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details().startswith("max_message_bytes: expected ")


def test_client_with_higher_limit_gets_larger_messages() -> None:
    game = record_game(1, 150, height=20, width=20)
    with ExperienceServer(filled(game), "127.0.0.1:0") as server:
        options = [("grpc.max_receive_message_length", 10_000_000)]
        with grpc.insecure_channel(server.address, options) as channel:
            request = pb.StreamExperiencesRequest(batch_size=1000, max_message_bytes=10_000_000)
            (batch,) = ExperienceServiceStub(channel).StreamExperienceBatches(request)
        assert GRPC_DEFAULT < batch.ByteSize() < 10_000_000
        for most in (10_000_000, 2**18):  # the consumer of the package sends its limit
            with ExperienceConsumer(server.address, max_message_bytes=most) as consumer:
                parts = list(consumer.stream_experiences(batch_size=300, follow=False, packed=False))
            assert same(parts[0].states(), game.states())


def test_statistics_too_large_for_client_limit_are_refused() -> None:
    count = 17_000
    rows = np.repeat(GAME.rows[:1], count)
    rows["game"] = np.arange(count)
    names = tuple(f"{number:0256}" for number in range(count))
    with ExperienceServer(filled(replace(GAME, rows=rows, game_ids=names)), "127.0.0.1:0") as server:
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as caught:
            old_stub(channel, OLD).GetExperienceStats(OLD["GetExperienceStatsRequest"]())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert caught.value.details().startswith("game_ids: expected some of the games, got all 17000")
        with ExperienceConsumer(server.address) as consumer:
            assert consumer.stats().total_games == count


def test_client_splits_submission_to_fit_message_limit() -> None:
    buffer = ReplayBuffer(1000)
    game = record_game(1, 150, height=20, width=20)
    assert len(encode_batch(game)) > 1024
    with ExperienceServer(buffer, "127.0.0.1:0") as server, ExperienceConsumer(server.address) as consumer:
        consumer._access = replace(consumer._access, max_message_bytes=2048)
        told = consumer.submit(game)
    assert (told.accepted, told.rejected) == (300, 0)
    assert same(buffer.snapshot().states(), game.states())


# --- Two sets of generated code ---------------------------------------------------------------------------------------

BOTH = """
import sys
import grpc
from google.protobuf import descriptor_pool
from support.old_client import old_messages, old_stub

if sys.argv[1] == "original first":
    old = old_messages(descriptor_pool.Default())
from generals_env.recorders import ExperienceConsumer, ExperienceServer, ReplayBuffer
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
if sys.argv[1] != "original first":
    old = old_messages(descriptor_pool.Default())
from support.recorded import record_game
from support.stream_records import records_of

assert old["Experience"].DESCRIPTOR.full_name == pb.Experience.DESCRIPTOR.full_name == "generals.experience.v1.Experience"
game = record_game(3, 30, height=6, width=7)
sent = [old["Experience"].FromString(record.SerializeToString()) for record in records_of(game)]
with ExperienceServer(ReplayBuffer(1000), "127.0.0.1:0") as server, grpc.insecure_channel(server.address) as channel:
    original, ours = old_stub(channel, old), ExperienceServiceStub(channel)
    assert original.SubmitExperiences(old["SubmitExperiencesRequest"](experiences=sent)).accepted == len(game)
    theirs = list(original.StreamExperiences(old["StreamExperiencesRequest"]()))
    mine = list(ours.StreamExperiences(pb.StreamExperiencesRequest()))
    assert [old["Experience"].FromString(one.SerializeToString()) for one in mine] == theirs
    assert [one.experience_id for one in theirs] == [one.experience_id for one in sent]
    assert theirs[0].collected_at.ToNanoseconds() == mine[0].collected_at.ToNanoseconds() > 0
    assert original.GetExperienceStats(old["GetExperienceStatsRequest"]()).total_experiences == len(game)
    with ExperienceConsumer(server.address) as consumer:
        assert sum(map(len, consumer.stream_experiences(follow=False))) == len(game)
print("both")
"""


@pytest.mark.parametrize("order", ["original first", "ours first"])
def test_generated_code_of_original_and_ours_work_in_one_process(order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOTH, order],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "both\n"), done.stderr


def test_messages_of_other_generated_code_can_be_written_to_files() -> None:
    records = records_of(GAME)
    data = compress_experiences([old_record(record) for record in records])
    assert [one.experience_id for one in decompress_experiences(data)] == [one.experience_id for one in records]
    with pytest.raises(ConfigError, match="experiences: expected batches or messages Experience, got ExperienceBatch"):
        compress_experiences([pb.ExperienceBatch()])


# --- Submissions: kept or refused -------------------------------------------------------------------------------------


def put(**fields: Any) -> Callable[[Any], None]:
    def change(record: Any) -> None:
        for name, value in fields.items():
            setattr(record, name, value)

    return change


def meta(**items: str) -> Callable[[Any], None]:
    def change(record: Any) -> None:
        record.metadata.update(items)

    return change


def moment(record: Any) -> None:
    record.collected_at.seconds, record.collected_at.nanos = 1_700_000_000, 123_456_789


def ends(record: Any) -> None:
    record.done = True


#: Values that a client may write into a move, and the name of the refused field; "" where the value is kept.
FIELDS: list[tuple[str, Callable[[Any], None]]] = [
    ("", put(experience_id="")),
    ("", put(game_id="another game", experience_id="")),
    ("", put(reward=-0.123)),
    ("", moment),
    ("", ends),
    ("", meta(illegal="1")),
    ("", meta(half="1")),
    ("", meta(steps="3")),
    ("experience_id", put(experience_id="7d1f5f9e-0f4e-4d1c-a3c7-6d5f4b3c2a10")),
    ("experience_id", put(game_id="another game")),
    ("", meta(policy="mine")),
    ("", meta(collector_version="1.0.0", policy="mine", policy_version="7", seed="3", reward_hash="abc")),
    ("metadata", meta(policy="long" * 65)),
    ("metadata", meta(agent="mine")),
    ("metadata", meta(half="yes")),
    ("metadata", meta(illegal="0")),
    ("metadata", meta(steps="0")),
    ("metadata", meta(steps="40000")),
    ("metadata", meta(steps="many")),
    ("action", meta(**{"pass": "1"})),
    ("turn", put(turn=2**31 - 1)),
]


@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.parametrize("number", range(len(FIELDS)))
def test_submitted_field_is_read_back_unchanged_or_refused_by_name(number: int, kind: str, tmp_path: Path) -> None:
    refused, change = FIELDS[number]
    row = int(np.flatnonzero((GAME.action > 0) & (GAME.action < 4 * 42) & ~GAME.terminated & ~GAME.truncated)[0])
    record = old_record(records_of(GAME)[row])
    record.metadata.clear()
    change(record)
    source = ReplayBuffer(100) if kind == "buffer" else ExperienceLog(tmp_path)
    with served(source) as (stub, _):
        answer = stub.SubmitExperiences(OLD["SubmitExperiencesRequest"](experiences=[record]))
        back = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
    source.close()
    assert (answer.accepted, answer.rejected) == ((0, 1) if refused else (1, 0)), list(answer.errors)
    if refused:
        assert f": {refused}: expected" in answer.errors[0]
        assert back == []
        return
    record.experience_id = f"{record.game_id}-{record.player_id}-{record.turn}"
    assert [old_record(one) for one in back] == [record]


def test_refused_record_does_not_affect_others() -> None:
    records = [old_record(record) for record in records_of(GAME)[:5]]
    records[1].metadata["agent"] = "mine"
    records[3].experience_id = "another"
    buffer = ReplayBuffer(100)
    with served(buffer) as (stub, _):
        answer = stub.SubmitExperiences(OLD["SubmitExperiencesRequest"](experiences=records))
        back = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
    assert (answer.accepted, answer.rejected) == (3, 2)
    assert [error.partition(": expected")[0] for error in answer.errors] == [
        f"{records[1].experience_id}: metadata",
        "another: experience_id",
    ]
    assert [old_record(one) for one in back] == [records[0], records[2], records[4]]


# --- Submissions: sizes of boards -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 5), (6, 8), (9, 9)])
@pytest.mark.parametrize("packed", [False, True])
def test_experiences_of_another_board_size_are_refused_and_change_nothing(size: tuple[int, int], packed: bool) -> None:
    other = record_game(5, 4, height=size[0], width=size[1])
    buffer = filled(GAME)
    fields = {"packed": [encode_batch(other)]} if packed else {"experiences": records_of(other)}
    with served(buffer) as (stub, ours):
        before = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
        answer = ours.SubmitExperiences(pb.SubmitExperiencesRequest(**fields))
        after = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
    assert (answer.accepted, answer.rejected) == (0, len(other))
    assert all("expected boards of 6x7, as the source " in one for one in answer.errors)
    assert all(f"got {size[0]}x{size[1]}" in one for one in answer.errors)
    assert before == after
    assert buffer.snapshot().shape == (6, 7)


def test_call_with_packed_boards_of_two_sizes_keeps_those_of_first(tmp_path: Path) -> None:
    other = record_game(5, 4, height=8, width=8)
    with ExperienceLog(tmp_path) as log, served(log) as (stub, ours):
        answer = ours.SubmitExperiences(pb.SubmitExperiencesRequest(packed=[encode_batch(GAME), encode_batch(other)]))
        assert (answer.accepted, answer.rejected) == (len(GAME), len(other))
        back = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
    assert {tuple(record.state.shape) for record in back} == {(9, 6, 7)}


def test_log_keeps_each_board_size_as_received(tmp_path: Path) -> None:
    other = record_game(5, 4, height=8, width=8)
    sent = [*records_of(GAME), *records_of(other)]
    with ExperienceLog(tmp_path) as log, served(log) as (stub, ours):
        for part in (sent[: len(GAME)], sent[len(GAME) :]):
            assert ours.SubmitExperiences(pb.SubmitExperiencesRequest(experiences=part)).accepted == len(part)
        back = list(stub.StreamExperiences(OLD["StreamExperiencesRequest"]()))
    assert [list(record.state.shape) for record in back] == [list(record.state.shape) for record in sent]
    assert [list(record.state.data) for record in back] == [list(record.state.data) for record in sent]
    assert [record.action for record in back] == [record.action for record in sent]


# --- Requests ---------------------------------------------------------------------------------------------------------


def test_number_without_resume_and_packed_single_experiences_are_refused() -> None:
    with served(filled(GAME)) as (_, ours):
        for method, fields, text in (
            (
                ours.StreamExperiences,
                {"from_sequence": 5},
                "from_sequence: expected resume beside it, got 5 without: set resume",
            ),
            (
                ours.StreamExperienceBatches,
                {"from_sequence": 5},
                "from_sequence: expected resume beside it, got 5 without: set resume",
            ),
            (
                ours.StreamExperiences,
                {"encoding": pb.PACKED},
                "encoding: expected RECORDS in StreamExperiences, got PACKED: call StreamExperienceBatches",
            ),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                list(method(pb.StreamExperiencesRequest(**fields)))
            assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)
