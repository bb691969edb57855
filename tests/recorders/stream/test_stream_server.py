"""Tests the server in its own process with plain gRPC calls."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import zstandard
from google.protobuf import descriptor_pool as descriptor_pools
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from support.helpers import PATIENCE, same
from support.old_client import old_messages
from support.recorded import cut, facts, renamed
from support.stream_calls import ALL, GAMES, ask, called, source, status_of, submit
from support.stream_process import ServerProcess
from support.stream_records import records_of

from generals_env.recorders import ExperienceBatch, ExperienceServer, ReplayBuffer
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub
from generals_env.recorders.stream.server import buffer_source
from generals_env.recorders.stream.server.buffer_source import BufferSource
from generals_env.recorders.stream.server.experience_statistics import Statistics
from generals_env.recorders.stream.server.service import SERVICE


@pytest.fixture(scope="module", params=["buffer", "log"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with four games and no writer."""
    with ServerProcess(**source(request.param, tmp_path_factory.mktemp("server"))) as process:
        for part in cut(ALL, 50):
            process.write(part)
        yield process
        assert process.stop() == 0


@pytest.fixture(scope="module")
def stub(server: ServerProcess) -> Iterator[ExperienceServiceStub]:
    with called(server) as stub:
        yield stub


def unpacked(messages: Any, first: int = 0) -> list[ExperienceBatch]:
    """Return packed batches as a client has to read them."""
    batches = []
    for message in messages:
        assert message.missed == 0
        if not message.packed:
            continue
        batch = decode_batch(message.packed)
        if message.next_sequence - message.first_sequence == len(batch):
            batch.rows["sequence"] = np.arange(message.first_sequence, message.next_sequence)
        batches.append(batch.select(batch.sequence >= first))
    return batches


def numbered(rows: Any = None) -> ExperienceBatch:
    """Return experiences as the server numbers them."""
    columns = ALL.rows.copy()
    columns["sequence"] = np.arange(len(ALL))
    batch = ExperienceBatch(ALL.game_ids, columns, ALL.boards, ALL.shape, ALL.recipe, None, ALL.metadata)
    return batch if rows is None else batch.select(np.asarray(rows))


# --- History ----------------------------------------------------------------------------------------------------------


@pytest.mark.checklist("B3", "H1", "H8", "H9")
def test_all_history_is_streamed_in_order_and_then_stream_ends(stub: ExperienceServiceStub) -> None:
    single = list(stub.StreamExperiences(ask()))
    assert single == records_of(numbered())
    batches = list(stub.StreamExperienceBatches(ask(full_actions=True)))
    assert [record for batch in batches for record in batch.experiences] == records_of(numbered(), full_actions=True)
    assert [batch.batch_id for batch in batches] == list(range(15))
    assert {len(batch.experiences) for batch in batches} == {32}
    assert [batch.next_sequence for batch in batches] == [32 * number for number in range(1, 16)]
    packed = unpacked(stub.StreamExperienceBatches(ask(encoding=pb.PACKED)))
    assert [fact for batch in packed for fact in facts(batch)] == facts(numbered())


@pytest.mark.parametrize("size", [1, 7, 32, 333, 1000])
@pytest.mark.checklist("H6", "H17")
def test_batches_have_requested_size(stub: ExperienceServiceStub, size: int) -> None:
    for encoding in (pb.RECORDS, pb.PACKED):
        batches = list(stub.StreamExperienceBatches(ask(batch_size=size, encoding=encoding)))
        sizes = [len(decode_batch(one.packed)) if one.packed else len(one.experiences) for one in batches]
        assert sizes == [size] * (480 // size) + [480 % size] * (480 % size > 0)
        assert batches[-1].next_sequence == 480


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({"game_ids": ["game-1", "game-3"]}, lambda batch: np.isin(batch.game_id, ["game-1", "game-3"])),
    ({"player_ids": [1]}, lambda batch: batch.player_id == 1),
    ({"player_ids": [5]}, lambda batch: batch.player_id == 5),
    ({"min_turn": 40}, lambda batch: batch.turn >= 40),
    ({"min_turn": 4000}, lambda batch: batch.turn >= 4000),
    (
        {"game_ids": ["game-2"], "player_ids": [0], "min_turn": 50},
        lambda batch: (batch.game_id == "game-2") & (batch.player_id == 0) & (batch.turn >= 50),
    ),
    ({"shard": 1, "shards": 3}, lambda batch: np.array([zlib.crc32(name.encode()) % 3 == 1 for name in batch.game_id])),
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
@pytest.mark.checklist("H3", "H4", "H5", "H18")
def test_filters_are_exact_in_every_form(stub: ExperienceServiceStub, number: int) -> None:
    fields, flags = FILTERS[number]
    wanted = numbered(np.flatnonzero(flags(ALL)))
    assert list(stub.StreamExperiences(ask(**fields))) == records_of(wanted)
    for size in (0, 9):
        batches = stub.StreamExperienceBatches(ask(batch_size=size, **fields))
        assert [record for batch in batches for record in batch.experiences] == records_of(wanted)
        packed = unpacked(stub.StreamExperienceBatches(ask(batch_size=size, encoding=pb.PACKED, **fields)))
        assert [fact for batch in packed for fact in facts(batch)] == (facts(wanted) if len(wanted) else [])


@pytest.mark.checklist("H18")
def test_shards_cover_all_games_once(stub: ExperienceServiceStub) -> None:
    parts = [unpacked(stub.StreamExperienceBatches(ask(encoding=pb.PACKED, shard=k, shards=3))) for k in range(3)]
    found = [int(number) for part in parts for batch in part for number in batch.sequence]
    assert sorted(found) == list(range(480))
    games = [{name for batch in part for name in batch.game_ids} for part in parts]
    assert sum(map(len, games)) == 4


@pytest.mark.parametrize("first", [0, 1, 50, 77, 479, 480])
@pytest.mark.checklist("H9", "H12")
def test_stream_resumes_at_any_number_without_gap_or_repeat(stub: ExperienceServiceStub, first: int) -> None:
    stream_id = stub.GetExperienceStats(pb.GetExperienceStatsRequest()).stream_id
    again = {"resume": True, "from_sequence": first, "stream_id": stream_id}
    expected = list(range(first, 480))
    assert [record.sequence for record in stub.StreamExperiences(ask(**again))] == expected
    packed = unpacked(stub.StreamExperienceBatches(ask(encoding=pb.PACKED, **again)), first)
    assert [int(number) for batch in packed for number in batch.sequence] == expected


@pytest.mark.checklist("H12")
def test_consumer_stopped_after_any_message_resumes_at_next_experience(stub: ExperienceServiceStub) -> None:
    for fields in ({}, {"player_ids": [1]}, {"encoding": pb.PACKED}, {"encoding": pb.PACKED, "min_turn": 30}):
        whole = [
            len(unpacked([one])[0]) if one.packed else len(one.experiences)
            for one in stub.StreamExperienceBatches(ask(**fields))
        ]
        count, position = 0, 0
        while True:
            call = stub.StreamExperienceBatches(ask(resume=True, from_sequence=position, **fields))
            message = next(call, None)
            call.cancel()
            if message is None:
                break
            count += sum(map(len, unpacked([message], position))) if message.packed else len(message.experiences)
            assert message.next_sequence > position
            position = message.next_sequence
        assert count == sum(whole)


# --- Requests ---------------------------------------------------------------------------------------------------------

INVALID: list[dict[str, Any]] = [
    {"batch_size": -1},
    {"batch_size": 1001},
    {"max_batch_wait_ms": -1},
    {"min_turn": -1},
    {"min_turn": 2**40},
    {"player_ids": [-1]},
    {"shard": -1},
    {"shards": -1},
    {"shard": 3, "shards": 3},
    {"shards": 5000},
    {"encoding": 7},
    {"start": 9},
    {"resume": True, "from_sequence": -1},
    {"game_ids": ["x"] * 10_001},
    {"player_ids": [1] * 10_001},
]


@pytest.mark.parametrize("number", range(len(INVALID)))
@pytest.mark.checklist("H2")
def test_invalid_requests_are_refused_by_name(stub: ExperienceServiceStub, number: int) -> None:
    for call in (stub.StreamExperiences, stub.StreamExperienceBatches):
        code, text = status_of(call(ask(**INVALID[number])))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert [name for name in INVALID[number] if name in text]
        assert "expected" in text


@pytest.mark.checklist("H2", "H3")
def test_unknown_games_are_reported_when_no_more_can_arrive(stub: ExperienceServiceStub) -> None:
    code, text = status_of(stub.StreamExperiences(ask(game_ids=["game-1", "unknown", "missing"])))
    assert (code, text) == (
        grpc.StatusCode.NOT_FOUND,
        "game_ids: expected games with experiences, got ['missing', 'unknown']: use follow to wait for them",
    )


@pytest.mark.checklist("H12")
def test_numbers_of_another_stream_are_refused(stub: ExperienceServiceStub) -> None:
    code, text = status_of(stub.StreamExperiences(ask(resume=True, stream_id="other")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith("stream_id: expected '")
    code, text = status_of(stub.StreamExperiences(ask(resume=True, from_sequence=481)))
    assert (code, text) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "from_sequence: expected at most 480, got 481: start again without resume",
    )


# --- Other calls ------------------------------------------------------------------------------------------------------


@pytest.mark.checklist("B5")
def test_statistics_are_correct_for_all_and_for_some_games(stub: ExperienceServiceStub) -> None:
    for names in ([], ["game-2", "game-0", "unknown"]):
        told = stub.GetExperienceStats(pb.GetExperienceStatsRequest(game_ids=names))
        batch = ALL.select(np.isin(ALL.game_id, names)) if names else ALL
        games = sorted(set(batch.game_id.tolist()))
        assert (told.total_experiences, told.total_games) == (len(batch), len(games))
        assert dict(told.experiences_per_game) == dict.fromkeys(games, 120)
        assert dict(told.experiences_per_player) == {0: len(batch) // 2, 1: len(batch) // 2}
        rewards = batch.rewards()
        assert told.average_reward == pytest.approx(float(rewards.mean()), abs=1e-6)
        assert (told.min_reward, told.max_reward) == (rewards.min(), rewards.max())
        assert told.oldest_experience.ToNanoseconds() == batch.collected_at.min()
        assert told.newest_experience.ToNanoseconds() == batch.collected_at.max()
        assert (told.first_sequence, told.next_sequence, len(told.stream_id)) == (0, 480, 32)
    nothing = stub.GetExperienceStats(pb.GetExperienceStatsRequest(game_ids=["unknown"]))
    assert (nothing.total_experiences, nothing.HasField("oldest_experience")) == (0, False)


@pytest.mark.parametrize("block", [50, 65_536])
@pytest.mark.checklist("B5")
def test_statistics_stay_correct_while_games_are_added_and_removed(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with a plain count over a small buffer, with blocks that are summed, joined and cut."""
    monkeypatch.setattr("generals_env.recorders.stream.server.experience_statistics.BLOCK", block)
    rng = np.random.default_rng(1)
    buffer = ReplayBuffer(700)
    statistics = Statistics(BufferSource(buffer, 0))
    for turn in range(150):
        buffer.write(renamed(GAMES[turn % 4], f"{turn}", 0).slice(0, int(rng.integers(1, 121))).compact())
        if rng.random() < 0.3:
            continue
        held = buffer.snapshot()
        games = Counter(held.game_id.tolist())
        some = frozenset(list(games)[::2]) if turn % 3 == 0 else frozenset()
        mine = held.select(np.isin(held.game_id, list(some))) if some else held
        told = statistics.answer(some)
        assert dict(told.experiences_per_game) == {game: count for game, count in games.items() if game in some or not some}
        assert dict(told.experiences_per_player) == Counter(mine.player_id.tolist())
        assert (told.total_experiences, told.next_sequence - told.first_sequence) == (len(mine), len(held))
        rewards = mine.rewards()
        assert told.average_reward == pytest.approx(float(rewards.mean()), abs=1e-6)
        assert (told.min_reward, told.max_reward) == (rewards.min(), rewards.max())
        assert statistics.games() == set(games)


@pytest.mark.checklist("B5")
def test_too_large_answer_is_refused_with_advice() -> None:
    with ServerProcess(buffer={"capacity": 100_000}, limits={"max_message_bytes": 2**16}) as server, called(server) as stub:
        one = GAMES[0].slice(0, 1).compact()
        for part in range(8):
            names = [f"{part} {number} {'x' * 60}" for number in range(200)]
            server.write(ExperienceBatch.concat([replace(one, game_ids=(name,)) for name in names]))
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetExperienceStats(pb.GetExperienceStatsRequest())
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (
            caught.value.details() == "game_ids: expected some of the games, got all 1600: too many for an answer, name fewer"
        )
        assert stub.GetExperienceStats(pb.GetExperienceStatsRequest(game_ids=names)).total_experiences == 200
        assert stub.GetExperienceStats(pb.GetExperienceStatsRequest(place_only=True)).next_sequence == 1600


@pytest.mark.checklist("B6")
def test_reflection_describes_server_and_health_is_served(server: ServerProcess) -> None:
    with grpc.insecure_channel(server.address) as channel:
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(iter(reflect.ServerReflectionInfo(iter([request]))))
        names = {service.name for service in answer.list_services_response.service}
        assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        pool = descriptor_pools.DescriptorPool()
        for name in ("google/protobuf/timestamp.proto", "generals_env/recorders/stream/protocol/experience.proto"):
            request = reflection_pb2.ServerReflectionRequest(file_by_filename=name)
            answer = next(iter(reflect.ServerReflectionInfo(iter([request]))))
            pool.AddSerializedFile(answer.file_descriptor_response.file_descriptor_proto[0])
        method = pool.FindServiceByName(SERVICE).FindMethodByName("GetExperienceStats")
        call = channel.unary_unary(
            f"/{SERVICE}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        assert call(GetMessageClass(method.input_type)()).total_experiences == 480
        for name in ("", SERVICE):
            status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name)).status
            assert status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.checklist("B1")
def test_original_client_is_served(server: ServerProcess) -> None:
    old = old_messages()
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_stream(
            f"/{SERVICE}/StreamExperienceBatches",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=old["ExperienceBatch"].FromString,
        )
        for compress in (False, True):
            request = old["StreamExperiencesRequest"](game_ids=["game-1"], batch_size=50, enable_compression=compress)
            batches = list(call(request))
            records = [record for batch in batches for record in batch.experiences]
            assert [len(batch.experiences) for batch in batches] == [50, 50, 20]
            states, masks, game = GAMES[1].states(), GAMES[1].action_masks(), GAMES[1]
            for row, record in enumerate(records):
                assert same(np.array(record.state.data, np.float32).reshape(9, 6, 7), states[row])
                assert record.action_mask == masks[row, : 4 * 42].astype(bool).tolist()
                move = int(game.action[row])
                assert record.action == (0 if move == 336 else move % 168)
                assert record.metadata.get("half", "") == ("1" if 168 <= move < 336 else "")


@pytest.mark.checklist("H13")
def test_compression_is_reported_with_its_ratio(stub: ExperienceServiceStub) -> None:
    plain, squeezed, packed = (
        list(stub.StreamExperienceBatches(ask(**fields)))
        for fields in ({}, {"enable_compression": True}, {"encoding": pb.PACKED})
    )
    assert [batch.experiences for batch in plain] == [batch.experiences for batch in squeezed]
    assert {one.metadata["compression"] for one in plain} == {"none"}
    assert {one.metadata["compression"] for one in squeezed} == {"gzip"}
    assert {one.metadata["compression"] for one in packed} == {"zstd"}
    assert {float(one.metadata["ratio"]) for one in plain} == {1.0}
    assert all(float(one.metadata["ratio"]) > 4 for one in squeezed)
    sizes = [(zstandard.frame_content_size(one.packed), len(one.packed)) for one in packed]
    assert [float(one.metadata["ratio"]) for one in packed] == pytest.approx(
        [plain / small for plain, small in sizes], rel=0.01
    )
    # In total: requests of other tests may have left a small piece between large ones.
    assert sum(plain for plain, _ in sizes) > 4 * sum(small for _, small in sizes)


# --- Following --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.checklist("H7")
def test_games_that_start_later_are_followed_and_stop_ends_the_stream(kind: str, tmp_path: Path) -> None:
    with ServerProcess(**source(kind, tmp_path)) as server, called(server) as stub:
        server.write(GAMES[0])
        wait = {"follow": True, "max_batch_wait_ms": 20}
        streams = [
            stub.StreamExperienceBatches(ask(**wait)),
            stub.StreamExperienceBatches(ask(encoding=pb.PACKED, **wait)),
            stub.StreamExperienceBatches(ask(start=pb.NOW, encoding=pb.PACKED, **wait)),
            stub.StreamExperienceBatches(ask(game_ids=["game-1"], **wait)),
        ]
        firsts = [next(streams[0]), next(streams[1])]
        ended: list[tuple[list[Any], grpc.StatusCode, str]] = []

        def read(stream: Any) -> None:
            messages = []
            try:
                messages.extend(stream)
            except grpc.RpcError as error:
                ended.append((messages, error.code(), error.details()))

        threads = [threading.Thread(target=read, args=(stream,)) for stream in streams]
        for thread in threads:
            thread.start()
        while stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers < 4:
            time.sleep(0.01)
        server.write(GAMES[1])
        server.write(GAMES[2])
        assert server.stop() == 0
        for thread in threads:
            thread.join(PATIENCE)
    assert {(code, text[:7]) for _, code, text in ended} == {(grpc.StatusCode.UNAVAILABLE, "server:")}
    found = []
    for messages, _, _ in ended:
        records = [record.sequence for message in messages for record in message.experiences]
        found.append(records + [int(n) for batch in unpacked(m for m in messages if m.packed) for n in batch.sequence])
    first = [len(firsts[0].experiences), len(unpacked([firsts[1]])[0])]
    expected = [range(first[0], 360), range(first[1], 360), range(120, 360), range(120, 240)]
    assert sorted(found) == sorted(map(list, expected))


@pytest.mark.checklist("H7")
def test_leaving_consumer_frees_its_slot(server: ServerProcess, stub: ExperienceServiceStub) -> None:
    call = stub.StreamExperiences(ask(follow=True, start=pb.NOW))
    while not stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers:
        time.sleep(0.01)
    call.cancel()
    while stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers:
        time.sleep(0.01)


@pytest.mark.parametrize("encoding", [pb.RECORDS, pb.PACKED])
@pytest.mark.checklist("H15")
def test_incomplete_batch_is_sent_when_its_oldest_has_waited(tmp_path: Path, encoding: int) -> None:
    with ServerProcess(buffer={"capacity": 1000}) as server, called(server) as stub:
        size = 0 if encoding == pb.PACKED else 1000
        slow = stub.StreamExperienceBatches(ask(follow=True, batch_size=size, max_batch_wait_ms=700, encoding=encoding))
        quick = stub.StreamExperienceBatches(ask(follow=True, batch_size=10, max_batch_wait_ms=600_000, encoding=encoding))
        while stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers < 2:
            time.sleep(0.01)
        server.write(GAMES[0].slice(0, 4).compact())
        server.write(GAMES[0].slice(4, 12).compact())
        full, late = next(quick), next(slow)
        assert [message.next_sequence for message in (full, late)] == [10, 12]
        slow.cancel()
        quick.cancel()


@pytest.mark.checklist("H19")
def test_idle_stream_continues_with_new_experience(tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path)}) as server, called(server) as stub:
        stream = stub.StreamExperiences(ask(follow=True))
        while not stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers:
            time.sleep(0.01)
        server.write(GAMES[0])
        assert next(stream).sequence == 0
        stream.cancel()


@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.checklist("H4", "H11")
def test_every_consumer_gets_all_experiences(kind: str, tmp_path: Path) -> None:
    with ServerProcess(**source(kind, tmp_path)) as server, called(server) as stub:

        def read(number: int) -> list[int]:
            fields = {"encoding": pb.PACKED} if number % 2 else {"player_ids": [0]} if number == 4 else {}
            found: list[int] = []
            for message in stub.StreamExperienceBatches(ask(follow=True, max_batch_wait_ms=10, **fields)):
                found += [record.sequence for record in message.experiences]
                found += [int(one) for batch in unpacked([message]) for one in batch.sequence]
                if message.next_sequence >= 1920 - (number == 4):
                    return found
            return found

        with ThreadPoolExecutor(10) as pool:
            results = [pool.submit(read, number) for number in range(10)]
            for turn in range(4):
                for number, game in enumerate(GAMES):
                    server.write(renamed(game, f"{turn} {number}", 0))
        for number, result in enumerate(results):
            expected = [one for one in range(1920) if ALL.player_id[one % 480] == 0] if number == 4 else list(range(1920))
            assert result.result() == expected


# --- Loss and limits --------------------------------------------------------------------------------------------------


@pytest.mark.checklist("H10")
def test_consumer_behind_buffer_gets_number_of_lost_experiences() -> None:
    with ServerProcess(buffer={"capacity": 100}, limits={"cache_bytes": 0}) as server, called(server) as stub:
        server.write(ALL)
        for fields in ({}, {"encoding": pb.PACKED}, {"encoding": pb.PACKED, "player_ids": [0]}):
            first, *rest = stub.StreamExperienceBatches(ask(resume=True, from_sequence=77, **fields))
            assert first.missed == 380 - 77
            assert not any(message.missed for message in rest)
        single = list(stub.StreamExperiences(ask(resume=True, from_sequence=77)))
        assert [record.sequence for record in single] == list(range(380, 480))
        assert [record.metadata.get("missed") for record in single] == ["303"] + [None] * 99
        assert next(stub.StreamExperienceBatches(ask())).missed == 0  # the request did not ask for those
        server.tell("clear")
        again = ask(resume=True, from_sequence=77)
        assert list(stub.StreamExperienceBatches(again)) == []  # no message is left that could report it
        server.write(GAMES[0].slice(0, 5).compact())
        assert [(message.missed, message.next_sequence) for message in stub.StreamExperienceBatches(again)] == [(403, 485)]


@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.checklist("H10")
def test_lag_of_each_consumer_is_reported(kind: str, tmp_path: Path) -> None:
    with ServerProcess(**source(kind, tmp_path)) as server, called(server) as stub:

        def lags() -> list[tuple[int, int]]:
            told = stub.GetExperienceStats(pb.GetExperienceStatsRequest(place_only=True))
            assert (told.next_sequence, told.total_experiences) == (server.span()[1], 0)
            assert all(one.peer.startswith("ipv4:127.0.0.1:") and not one.missed for one in told.streams)
            return sorted((one.next_sequence, one.lag) for one in told.streams)

        assert lags() == []
        server.play(400, num_envs=16)
        total = server.span()[1]
        assert total == 400 * 2 * 16
        reads, sleeps = stub.StreamExperiences(ask(follow=True)), stub.StreamExperiences(ask(follow=True))
        next(sleeps)
        for _ in range(total):
            next(reads)
        (place, lag), current = lags()
        assert current == (total, 0)
        assert place + lag == total
        assert lag > total // 2
        sleeps.cancel()
        reads.cancel()
        while lags():
            time.sleep(0.01)


@pytest.mark.checklist("H10")
def test_experiences_removed_by_log_are_reported(tmp_path: Path) -> None:
    log = {"folder": str(tmp_path), "segment_bytes": 1, "max_bytes": 60_000}
    with ServerProcess(log=log) as server, called(server) as stub:
        for turn in range(20):
            server.write(renamed(GAMES[0], f"{turn}", 0))
        oldest, following = server.span()
        assert 0 < oldest < following == 2400
        first, *rest = stub.StreamExperienceBatches(ask(resume=True, encoding=pb.PACKED))
        assert (first.first_sequence, first.missed, sum(message.missed for message in rest)) == (oldest, oldest, 0)
        told = stub.GetExperienceStats(pb.GetExperienceStatsRequest())
        assert told.total_experiences == following - oldest
        for turn in range(20, 30):
            server.write(renamed(GAMES[0], f"{turn}", 0))
        oldest, following = server.span()
        told = stub.GetExperienceStats(pb.GetExperienceStatsRequest())
        assert (told.first_sequence, told.total_experiences, told.total_games) == (
            oldest,
            following - oldest,
            (following - oldest) // 120,
        )


@pytest.mark.checklist("H10")
def test_consumer_that_does_not_read_costs_bounded_memory() -> None:
    with ServerProcess(buffer={"capacity": 20_000}) as server, called(server) as stub:
        server.play(400, num_envs=16)
        before = server.memory()
        if not before:
            pytest.skip("the system does not tell how much memory a process has")
        idle = [stub.StreamExperienceBatches(ask(batch_size=1000)) for _ in range(3)]
        for call in idle:
            next(call)
        reader = list(stub.StreamExperiences(ask(player_ids=[0])))
        assert len(reader) > 5000
        assert server.memory() - before < 3 * 40e6 + 60e6  # of 600 MB that each has asked for
        for call in idle:
            call.cancel()


@pytest.mark.checklist("H14")
def test_stream_beyond_limit_is_refused_and_others_continue() -> None:
    with ServerProcess(buffer={"capacity": 1000}) as server, called(server) as stub:
        server.write(GAMES[0])
        streams = [stub.StreamExperiences(ask(follow=True)) for _ in range(100)]
        assert [next(stream).sequence for stream in streams] == [0] * 100
        code, text = status_of(stub.StreamExperiences(ask()))
        assert (code, text) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "max_connections: expected at most 100 streams, got one more: retry later",
        )
        assert stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers == 100
        assert [next(stream).sequence for stream in streams] == [1] * 100
        streams[0].cancel()
        while stub.GetExperienceStats(pb.GetExperienceStatsRequest()).consumers == 100:
            time.sleep(0.01)
        assert len(list(stub.StreamExperiences(ask()))) == 120
        for stream in streams:
            stream.cancel()


@pytest.mark.checklist("H16")
def test_messages_stay_within_the_limit() -> None:
    with ServerProcess(buffer={"capacity": 10_000}, limits={"max_message_bytes": 200_000}) as server, called(server) as stub:
        server.play(40, num_envs=8)
        for fields in ({"batch_size": 1000}, {"encoding": pb.PACKED}, {"encoding": pb.PACKED, "min_turn": 1}):
            messages = list(stub.StreamExperienceBatches(ask(**fields)))
            assert max(message.ByteSize() for message in messages) <= 200_000
            assert messages[-1].next_sequence == 640
        records = [r.sequence for m in stub.StreamExperienceBatches(ask(batch_size=1000)) for r in m.experiences]
        assert records == list(range(640))
    with ServerProcess(buffer={"capacity": 10_000}, limits={"max_message_bytes": 2**16}) as server, called(server) as stub:
        server.play(2, num_envs=2, height=40, width=40)
        code, text = status_of(stub.StreamExperiences(ask()))
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text.startswith("max_message_bytes: expected room for an experience of ")


# --- Submissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.checklist("B4")
def test_submissions_are_routed_by_game_and_repeats_are_refused(kind: str, tmp_path: Path) -> None:
    with ServerProcess(**source(kind, tmp_path)) as server, called(server) as stub:
        server.write(GAMES[0])
        records = records_of(ExperienceBatch.concat([GAMES[1], GAMES[2]]), full_actions=True)
        records[7].reward = float("nan")
        answer = submit(stub, experiences=records + records[:1] + records_of(GAMES[0])[5:6])
        assert (answer.accepted, answer.rejected) == (239, 3)
        assert sorted(answer.errors) == [
            "game-0-1-2: expected a new experience, got a repeat",
            "game-1-0-0: expected a new experience, got a repeat",
            "game-1-1-3: reward: expected a finite number, got nan",
        ]
        told = stub.GetExperienceStats(pb.GetExperienceStatsRequest())
        assert dict(told.experiences_per_game) == {"game-0": 120, "game-1": 119, "game-2": 120}
        back = list(stub.StreamExperiences(ask(game_ids=["game-2"], full_actions=True)))
        for record, sent in zip(back, records[120:], strict=True):
            record.sequence = sent.sequence
            if kind == "buffer":  # it keeps what all its experiences have in common
                del sent.metadata["seed"]
            assert record == sent
        answer = submit(stub, packed=[encode_batch(GAMES[2]), encode_batch(GAMES[3])])
        assert (answer.accepted, answer.rejected) == (120, 120)
        back = unpacked(stub.StreamExperienceBatches(ask(game_ids=["game-3"], encoding=pb.PACKED)))
        assert same(np.concatenate([batch.states() for batch in back]), GAMES[3].states())
        for fields in ({"experiences": [pb.Experience()] * 1001}, {"packed": [encode_batch(ALL)] * 3}):
            with pytest.raises(grpc.RpcError) as caught:
                submit(stub, **fields)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "at most 1000" in caught.value.details()
        assert (submit(stub).accepted, submit(stub, packed=[b"rubbish"] * 0).rejected) == (0, 0)


@pytest.mark.checklist("I14")
def test_acknowledged_submissions_survive_kill_and_are_recognised(tmp_path: Path) -> None:
    with ServerProcess(log={"folder": str(tmp_path)}) as server, called(server) as stub:
        assert submit(stub, experiences=records_of(GAMES[0])).accepted == 120
        stream_id = stub.GetExperienceStats(pb.GetExperienceStatsRequest()).stream_id
        server.kill()
    with ServerProcess(log={"folder": str(tmp_path)}) as server, called(server) as stub:
        again = ask(resume=True, stream_id=stream_id, from_sequence=100)
        assert [record.sequence for record in stub.StreamExperiences(again)] == list(range(100, 120))
        answer = submit(stub, experiences=records_of(GAMES[0]))
        assert (answer.accepted, answer.rejected) == (0, 120)


@pytest.mark.checklist("B4")
def test_full_buffer_accepts_nothing_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer_source, "PATIENCE", 0.5)  # of the 10 s that a submission waits for room
    buffer = ReplayBuffer(200, overflow="raise")
    with ExperienceServer(buffer, "127.0.0.1:0") as server, called(server) as stub:
        assert submit(stub, experiences=records_of(GAMES[0])).accepted == 120
        for _ in range(2):  # refused ones are not remembered as repeats
            with pytest.raises(grpc.RpcError) as caught:
                submit(stub, experiences=records_of(GAMES[1]))
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert buffer.span == (0, 120)
        assert submit(stub, experiences=records_of(GAMES[1])[:80]).accepted == 80
