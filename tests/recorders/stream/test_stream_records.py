"""Tests conversion of experiences to records of the protocol and back."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import play, same
from support.odd_batches import odd_batch
from support.old_client import old_messages
from support.paths import ROOT
from support.recorded import games_of, record_game
from support.refusals import refused
from support.stream_calls import called
from support.stream_records import records_of

import generals_env
from generals_env.errors import ConfigError
from generals_env.recorders import ExperienceLog, ExperienceRecorder, ExperienceServer, ReplayBuffer
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.message_parser import check_fields
from generals_env.recorders.stream.protocol.provenance import PROVENANCE_KEYS, common_provenance
from generals_env.recorders.stream.protocol.record_decoder import decode_records
from generals_env.recorders.stream.protocol.record_encoder import (
    append_records,
    encode_records,
    encode_varint,
    split_by_size,
    tensor_header,
)

# --- Out --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full_actions", [False, True])
@pytest.mark.checklist("B2")
def test_records_hold_exact_tensors_masks_and_columns(full_actions: bool) -> None:
    happened: Counter[str] = Counter()
    for seed in range(60):
        batch = odd_batch(np.random.default_rng(seed))
        tiles = batch.shape[0] * batch.shape[1]
        width = (9 if batch.recipe.builds else 8) * tiles + 1 if full_actions else 4 * tiles
        states, following = batch.states().astype(np.float32), batch.next_states().astype(np.float32)
        masks, next_masks, rewards = batch.action_masks(), batch.next_action_masks(), batch.rewards()
        records = records_of(batch, full_actions)
        assert len(records) == len(batch)
        for row, record in enumerate(records):
            assert tuple(record.state.shape) == tuple(record.next_state.shape) == batch.state_shape
            assert same(np.array(record.state.data, np.float32), states[row].ravel())
            assert same(np.array(record.next_state.data, np.float32), following[row].ravel())
            assert record.action_mask == masks[row, :width].astype(bool).tolist()
            assert record.next_action_mask == (next_masks[row].astype(bool).tolist() if full_actions else [])
            game, player, turn = batch.game_ids[batch.game[row]], batch.player_id[row], batch.turn[row]
            assert record.experience_id == f"{game}-{player}-{turn}"
            assert (record.game_id, record.player_id, record.turn) == (game, player, turn)
            assert np.float32(record.reward) == rewards[row]
            assert record.done == (batch.terminated[row] or batch.truncated[row])
            assert (record.terminated, record.truncated) == (batch.terminated[row], batch.truncated[row])
            assert record.collected_at.ToNanoseconds() == batch.collected_at[row]
            assert record.sequence == batch.sequence[row]
            action, told = int(batch.action[row]), dict(record.metadata)
            assert told.get("rules") == ("competition" if batch.recipe.builds else None)
            kind = ("whole", "half", "pass" if action == 8 * tiles else "build")[min(action // (4 * tiles), 2)]
            happened[kind] += 1
            if full_actions or kind == "whole":
                assert record.action == action
                assert not {"half", "pass", "build"} & told.keys()
            else:
                assert record.action == (action % (4 * tiles) if kind == "half" else 0)
                place = divmod(action - 8 * tiles - 1, batch.shape[1])
                assert told[kind] == (f"{place[0]},{place[1]}" if kind == "build" else "1")
            assert told.get("illegal") == ("1" if batch.illegal[row] else None)
            assert told.get("steps", "1") == str(batch.steps[row])
        happened["dense"] += batch.dense is not None
    assert min(happened["whole"], happened["half"], happened["build"], happened["dense"]) > 5


def test_tensors_are_built_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may ask for 1,000 experiences of boards of any size; 300 of these are 90 MB of tensors."""
    batch = record_game(1, 150, height=64, width=64)
    assert len(batch) == 300
    batch.states()  # compiles kernels, which must not be counted
    tracemalloc.start()
    try:
        count = sum(1 for _ in encode_records(batch, False))
        assert (count, tracemalloc.get_traced_memory()[1] < 8e6) == (300, True)
    finally:
        tracemalloc.stop()
    some = batch.slice(0, 20)
    expected = list(encode_records(some, True))
    for size in (1, 700_000):  # one at a time, and two
        monkeypatch.setattr("generals_env.recorders.stream.protocol.record_encoder.BLOCK_BYTES", size)
        assert list(encode_records(some, True)) == expected


def test_pass_is_an_index_usable_by_original_client() -> None:
    batch = games_of("two players")[0]
    rows = batch.rows.copy()
    rows["action"] = 8 * 42
    record = records_of(replace(batch, rows=rows))[0]
    assert (record.action, record.metadata["pass"]) == (0, "1")


@pytest.mark.checklist("B1")
def test_original_client_reads_every_field() -> None:
    batch = games_of("two players")[0]
    message = pb.ExperienceBatch(batch_id=7, stream_id="abc", next_sequence=9, missed=3, packed=b"x")
    message.metadata["compression"] = "none"
    data = append_records(message, encode_records(batch, full_actions=False))
    old = old_messages()["ExperienceBatch"].FromString(data)
    assert (old.batch_id, old.stream_id, dict(old.metadata)) == (7, "abc", {"compression": "none"})
    assert len(old.experiences) == len(batch)
    for record, one in zip(old.experiences, records_of(batch), strict=True):
        for name in ("experience_id", "game_id", "player_id", "turn", "action", "reward", "done"):
            assert getattr(record, name) == getattr(one, name)
        assert record.state.data == one.state.data
        assert record.action_mask == one.action_mask
        assert len(record.action_mask) == 4 * 42


def test_varints_and_field_tags_equal_those_of_protobuf() -> None:
    for number in (0, 1, 127, 128, 300, 2**21, 2**31 - 1):
        message = pb.ExperienceBatch(next_sequence=number)
        assert (message.SerializeToString()[2:] or b"\0") == encode_varint(number)
    tensor = pb.TensorState(shape=[9, 200, 300], data=[0.0] * (9 * 200 * 300))
    whole = pb.Experience(state=tensor).SerializeToString()
    assert whole.startswith(tensor_header(5, (9, 200, 300)))
    assert len(whole) == len(tensor_header(5, (9, 200, 300))) + 4 * 9 * 200 * 300


@pytest.mark.checklist("H16")
def test_records_are_split_by_bytes_and_none_is_lost() -> None:
    records = [bytes([number]) * (10 * number) for number in range(60)]
    groups = list(split_by_size(records, 1000))
    assert [record for group in groups for record in group] == records
    assert all(len(append_records(pb.ExperienceBatch(), group)) <= 1000 for group in groups)
    assert 15 < len(groups) < 60
    assert list(split_by_size([b"x" * 5000], 1000)) == [[b"x" * 5000]]  # the caller checks the size of a single one
    assert list(split_by_size([], 1000)) == []


# --- Where records come from ------------------------------------------------------------------------------------------

RECORDED = {"generals_env": "1.2.3", "policies": ["first", None], "seed": 5, "reward_hash": "0123456789ab"}


def told_by(metadata: dict[str, Any]) -> list[dict[str, str]]:
    """Return the metadata of the first record of each player of two."""
    batch = replace(record_game(3, 30, height=6, width=7), metadata=metadata)
    flags = {"half", "pass", "illegal", "steps"}
    found: dict[int, dict[str, str]] = {}
    for record in records_of(batch):
        found.setdefault(record.player_id, {key: text for key, text in record.metadata.items() if key not in flags})
    return [found[0], found[1]]


@pytest.mark.checklist("D7")
def test_records_say_where_they_come_from_for_their_own_player() -> None:
    common = {"collector_version": "1.2.3", "seed": "5", "reward_hash": "0123456789ab"}
    assert told_by(RECORDED) == [{**common, "policy": "first"}, common]
    versions = {**RECORDED, "policies": ["first", "second"], "policy_versions": [None, "v7"]}
    assert told_by(versions) == [{**common, "policy": "first"}, {**common, "policy": "second", "policy_version": "v7"}]
    assert (
        told_by({**RECORDED, "policies": None, "seed": [1, 2], "reward_hash": "x" * 257})
        == [{"collector_version": "1.2.3"}] * 2
    )
    assert told_by({**RECORDED, "policies": [{"depth": 3}, 7]})[0]["policy"] == '{"depth": 3}'
    assert told_by({}) == [{}, {}]


@pytest.mark.checklist("D7")
def test_client_of_original_gets_policies_and_versions_of_recorder() -> None:
    buffer = ReplayBuffer(1000)
    options: dict[str, Any] = {"policies": ("mine", None), "policy_versions": ("2026-01", None)}
    env = ExperienceRecorder(generals_env.parallel_env(height=6, width=6), buffer, **options)
    env.reset(seed=9)
    play(env, "- - -")
    env.flush()
    with ExperienceServer(buffer, "127.0.0.1:0") as server, called(server) as stub:
        records = list(stub.StreamExperiences(pb.StreamExperiencesRequest()))
    metadata = buffer.snapshot().metadata
    env.close()
    assert len(records) == 6
    for record in records:
        own = {"policy": "mine", "policy_version": "2026-01"} if record.player_id == 0 else {}
        assert {key: record.metadata[key] for key in PROVENANCE_KEYS if key in record.metadata} == {
            "collector_version": generals_env.__version__,
            "seed": "9",
            "reward_hash": metadata["reward_hash"],
            **own,
        }
    with refused(ConfigError, "policy_versions: expected one for each of 2 players, got ['v1']"):
        ExperienceRecorder(generals_env.parallel_env(), buffer, policy_versions=["v1"])


@pytest.mark.parametrize("kind", ["buffer", "log"])
@pytest.mark.checklist("D7")
def test_records_of_a_stream_are_taken_by_another_server(kind: str, tmp_path: Path) -> None:
    metadata = {**RECORDED, "policies": ["first", "second"], "policy_versions": ["v1", "v2"]}
    records = records_of(replace(record_game(3, 30, height=6, width=7), metadata=metadata))
    source = ReplayBuffer(1000) if kind == "buffer" else ExperienceLog(tmp_path)
    with ExperienceServer(source, "127.0.0.1:0") as server, called(server) as stub:
        answer = stub.SubmitExperiences(pb.SubmitExperiencesRequest(experiences=records))
        back = list(stub.StreamExperiences(pb.StreamExperiencesRequest()))
    source.close()
    assert (answer.accepted, list(answer.errors)) == (len(records), [])
    assert [dict(one.metadata) for one in back] == [dict(one.metadata) for one in records]


def test_values_that_differ_between_records_of_a_player_are_not_stored() -> None:
    batch = replace(record_game(3, 30, height=6, width=7), metadata=RECORDED)
    records = records_of(batch)
    records[0].metadata["seed"] = "6"
    assert common_provenance(records) == {
        "submitted": {
            str(player): {key: text for key, text in told.items() if key != "seed" or player != records[0].player_id}
            for player, told in enumerate(told_by(RECORDED))
        }
    }
    assert common_provenance([]) == common_provenance([pb.Experience()]) == {}


def varint_size(number: int) -> int:
    return max(-(-number.bit_length() // 7), 1)


def nested(tag: int, size: int) -> int:
    """Return the size of a field with ``size`` bytes of content."""
    return tag + varint_size(size) + size


@pytest.mark.parametrize("metadata", [{}, {**RECORDED, "policies": ["expander", "random"], "policy_versions": ["v1", "v1"]}])
@pytest.mark.checklist("G10")
def test_record_of_20x20_board_has_size_of_its_fields(metadata: dict[str, Any]) -> None:
    batch = replace(record_game(1, 10, height=20, width=20), metadata=metadata)
    tensor = nested(1, nested(1, 3) + nested(1, 4 * 9 * 400))  # shape 9, 20, 20 and float32 data
    arrays = 2 * tensor + nested(1, 4 * 400)  # and a byte for each of 1,600 actions
    assert arrays == 30_425
    for data in encode_records(batch, full_actions=False):
        record = pb.Experience.FromString(data)
        told = sum(nested(1, nested(1, len(key)) + nested(1, len(text))) for key, text in record.metadata.items())
        seconds, nanos = record.collected_at.seconds, record.collected_at.nanos
        time = nested(1, 1 + varint_size(seconds) + (1 + varint_size(nanos) if nanos else 0))
        numbers = [(1, record.player_id), (1, record.turn), (1, record.action), (2, record.sequence)]
        scalars = sum(tag + varint_size(number) for tag, number in numbers if number)
        scalars += 5 * (record.reward != 0) + 2 * record.done + 3 * record.terminated + 3 * record.truncated
        ids = nested(1, len(record.experience_id)) + nested(1, len(record.game_id))
        assert len(data) == arrays + ids + scalars + time + told
        assert 30_450 < len(data) - told < 30_490  # the original: 30,471
        assert 0 <= told < 160


# --- In ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full_actions", [False, True])
@pytest.mark.parametrize("kind", ["two players", "padded torus", "eight players", "wide armies", "one seat", "builds"])
def test_submitted_records_are_read_back_bit_for_bit(kind: str, full_actions: bool) -> None:
    if kind == "padded torus":  # plain boards cannot have the tensors of a torus: any difference is refused
        batch = games_of(kind)[0]
        result, kept, reasons = decode_records(records_of(batch, full_actions), batch)
        assert len(kept) + len(reasons) == len(batch)
        assert len(reasons) > 0
        return
    for batch in games_of(kind)[:3]:
        records = records_of(batch, full_actions)
        result, kept, reasons = decode_records(records, batch)
        if kind != "wide armies":
            assert not reasons
        assert result is not None
        sent = batch.select(np.array(kept))
        assert same(result.states(), sent.states())
        assert same(result.next_states(), sent.next_states())
        assert same(result.action_masks(), sent.action_masks())
        for name in ("player_id", "action", "reward", "terminated", "truncated", "illegal", "collected_at"):
            assert same(result.rows[name], sent.rows[name])
        assert same(result.turn, sent.turn)
        assert result.game_id.tolist() == sent.game_id.tolist()


def test_originals_own_tensors_are_accepted(shared: Path) -> None:
    accepted: Counter[bool] = Counter()
    with gzip.open(shared / "golden" / "transitions.jsonl.gz", "rt") as lines:
        for line in list(lines)[::10]:
            transition = json.loads(line)
            for told in transition["players"]:
                height, width = transition["prev"]["h"], transition["prev"]["w"]
                record = pb.Experience(
                    game_id="g", player_id=told["player"], turn=transition["prev"]["turn"], reward=told["reward"]
                )
                for state, key in ((record.state, "state_nz"), (record.next_state, "next_nz")):
                    values = np.zeros(9 * height * width, np.float32)
                    for index, value in told[key]:
                        values[index] = value
                    state.shape.extend((9, height, width))
                    state.data.extend(values)
                record.action = -1
                result, _, reasons = decode_records([record], None)
                assert result is not None, reasons
                assert same(result.states().ravel(), np.array(record.state.data, np.float32))
                assert same(result.next_states().ravel(), np.array(record.next_state.data, np.float32))
                accepted[True] += 1
    assert accepted[True] > 200


def put(**fields: Any) -> Callable[[pb.Experience], None]:
    def change(record: pb.Experience) -> None:
        for name, value in fields.items():
            setattr(record, name, value)

    return change


def state_of(record: pb.Experience, index: int, value: float) -> None:
    record.state.data[index] = value


WRONG: list[tuple[str, Callable[[pb.Experience], Any]]] = [
    ("game_id: expected 1 to 256 characters", put(game_id="")),
    ("game_id: expected 1 to 256 characters", put(game_id="a\0b")),
    ("game_id: expected 1 to 256 characters", put(game_id="a" * 257)),
    ("player_id: expected 0 to 1, got 2", put(player_id=2)),
    ("player_id: expected 0 to 1, got -1", put(player_id=-1)),
    ("turn: expected 0 or more, got -1", put(turn=-1)),
    ("reward: expected a finite number, got nan", put(reward=float("nan"))),
    ("reward: expected a finite number, got inf", put(reward=float("inf"))),
    ("action: expected -1 to 336", put(action=337)),
    ("action: expected -1 to 336", put(action=-2)),
    ("action: expected one of the mask", put(action=0)),
    ("done: expected it with terminated", put(truncated=True)),
    ("state: expected shape", lambda record: record.state.shape.pop()),
    ("state: expected shape", lambda record: record.ClearField("state")),
    ("next_state: expected shape", lambda record: record.ClearField("next_state")),
    ("state: expected 378 numbers", lambda record: record.state.data.pop()),
    ("state: expected finite", lambda record: state_of(record, 5, float("nan"))),
    ("state: expected finite", lambda record: state_of(record, 5, float("inf"))),
    ("state, next_state: expected what a player can see", lambda record: state_of(record, 5, 1e30)),
    ("state, next_state: expected what a player can see", lambda record: state_of(record, 377, 0.5)),
    ("action_mask: expected that of the state", lambda record: record.action_mask.__setitem__(0, True)),
    ("action_mask: expected 168 or 337 entries", lambda record: record.action_mask.pop()),
    ("collected_at: expected a time", lambda record: setattr(record.collected_at, "seconds", 2**40)),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
@pytest.mark.checklist("B4")
def test_invalid_records_are_refused_with_reason_and_others_are_not(number: int) -> None:
    reason, change = WRONG[number]
    batch = record_game(3, 30, height=6, width=7)
    row = int(np.flatnonzero(batch.action < 168)[0])
    batch = batch.select(np.array([row - 1, row, row + 1]))
    records = records_of(batch)
    change(records[1])
    result, kept, reasons = decode_records(records, batch)
    assert kept == [0, 2]
    assert list(reasons) == [1]
    assert reasons[1].startswith(reason)
    assert result is not None
    assert same(result.states(), batch.select(np.array([0, 2])).states())


def test_boards_of_another_size_in_one_call_are_refused() -> None:
    records = records_of(games_of("two players")[0])[:2] + records_of(games_of("smaller")[0])[:1]
    _, kept, reasons = decode_records(records, None)
    assert kept == [0, 1]
    assert reasons[2] == "state: expected shape [9, 6, 7], as others of this call, got [9, 5, 5]"


def test_call_without_valid_records_gives_no_batch() -> None:
    assert decode_records([], None) == (None, [], {})
    result, kept, reasons = decode_records([pb.Experience()], None)
    assert (result, kept, list(reasons)) == (None, [], [0])


def test_fields_are_counted_as_in_protobuf() -> None:
    data = pb.SubmitExperiencesRequest(experiences=[pb.Experience()] * 5, packed=[b"abc"]).SerializeToString()
    check_fields(data, 6)
    with pytest.raises(ConfigError, match="expected at most 5 fields, got more"):
        check_fields(data, 5)
    for broken in (b"\x0b", b"\x0a\xff", b"\xff" * 20):
        with pytest.raises((ValueError, IndexError)):
            check_fields(broken, 99)


# --- Generated code ---------------------------------------------------------------------------------------------------


def test_generated_code_equals_that_of_proto(tmp_path: Path) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc", reason="grpcio-tools makes the code")
    root = ROOT
    place = "generals_env/recorders/stream/protocol"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "pyi")]
    own = Path(protoc.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"-I{root}", f"-I{own}", *outputs, str(root / place / "experience.proto")]) == 0
    made = sorted((tmp_path / place).iterdir())
    assert len(made) == 3
    for path in made:  # one import differs: descriptors go into a pool of the package's own
        text = path.read_text().replace(
            "from google.protobuf import descriptor_pool as",
            "from generals_env.recorders.stream.protocol import descriptor_pool as",
        )
        assert text == (root / place / path.name).read_text(), path.name


def test_committed_messages_contain_those_of_original() -> None:
    for name, old in old_messages().items():
        fields = {field.number: field for field in getattr(pb, name).DESCRIPTOR.fields}
        for field in old.DESCRIPTOR.fields:
            ours = fields.pop(field.number)
            assert (ours.name, ours.type, ours.is_repeated) == (field.name, field.type, field.is_repeated)
        assert all(number >= 100 for number in fields)
