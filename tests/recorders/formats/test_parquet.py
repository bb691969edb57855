"""Parquet files as other tools see them: rows to be asked, boards in plain arrays, and nothing that a header can make up."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.duels import whole_of
from support.helpers import same
from support.odd_batches import contents, put, simple
from support.recorded import facts, games_of

from generals_env.engine.packed.packing import planes_of
from generals_env.errors import StorageError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.formats import parquet as form

pyarrow = pytest.importorskip("pyarrow")
compute = pytest.importorskip("pyarrow.compute")
dataset = pytest.importorskip("pyarrow.dataset")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make groups of 50 rows."""
    monkeypatch.setattr(form, "MAX_ROWS", 50)


def opened(batch: ExperienceBatch) -> Any:
    return parquet.ParquetFile(pyarrow.BufferReader(form.encode(batch)))


# --- Other tools ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_groups")
def test_rows_are_asked_for_by_turn_reward_and_game(pack: Path | None, tmp_path: Path) -> None:
    batch = whole_of(pack)
    name = batch.game_ids[2]
    path = tmp_path / "a.parquet"
    path.write_bytes(form.encode(batch))
    table = dataset.dataset(path, format="parquet")
    field = dataset.field
    for question, expected in (
        (field("turn") >= 30, batch.turn >= 30),
        (field("reward") != 0, batch.reward != 0),
        ((field("game_id") == name) & (field("player_id") == 1), (batch.game_id == name) & (batch.player_id == 1)),
        (field("terminated") | field("truncated"), batch.terminated | batch.truncated),
    ):
        found = table.to_table(filter=question, columns=["sequence", "collected_at", "action"])
        assert 0 < len(found) < len(batch)
        assert found["sequence"].to_pylist() == batch.sequence[expected].tolist()
        assert found["action"].to_pylist() == batch.action[expected].tolist()
        assert compute.cast(found["collected_at"], pyarrow.int64()).to_pylist() == batch.collected_at[expected].tolist()
    longest = table.to_table().group_by("game_id").aggregate([("turn", "max")]).to_pydict()
    assert longest["turn_max"] == [batch.turn[batch.game_id == game].max() for game in longest["game_id"]]


@pytest.mark.usefixtures("small_groups")
def test_groups_tell_what_is_in_them() -> None:
    batch = ExperienceBatch.concat(games_of("two players"))
    metadata = opened(batch).metadata
    assert metadata.num_row_groups == -(-len(batch) // 50)
    for number in range(metadata.num_row_groups):
        group, part = metadata.row_group(number), slice(50 * number, 50 * number + 50)
        told = {}
        for k in range(group.num_columns):
            column = group.column(k)
            assert column.compression == "ZSTD"
            if column.statistics is not None:
                told[column.path_in_schema] = column.statistics.min, column.statistics.max
        for name in ("turn", "reward", "player_id", "sequence", "action", "terminated"):
            values = getattr(batch, name)[part]
            assert told[name] == (values.min(), values.max())
        assert told["game_id"] == (min(batch.game_id[part]), max(batch.game_id[part]))
        assert not any(name.startswith("boards") for name in told)  # of bytes they would be no use


@pytest.mark.usefixtures("small_groups")
def test_boards_of_a_group_are_an_array() -> None:
    """What the docstring of the module promises to those who read it without this package."""
    batch = ExperienceBatch.concat(games_of("padded torus"))
    owner, army = planes_of(batch.boards)
    file, seen = opened(batch), 0
    for number in range(file.num_row_groups):
        table = file.read_row_group(number)
        items = table["boards"].combine_chunks().flatten()
        column = items.field("tiles")
        tiles = np.frombuffer(column.buffers()[1], "<i2").reshape(len(column), -1)
        index = table["state_index"].to_numpy()
        mine = slice(seen, seen + len(table))
        assert same((tiles[index] >> 4).astype(np.int32), army[batch.state_index[mine]])
        assert same(((tiles[index] & 15) - 6).astype(np.int8), owner[batch.state_index[mine]])
        grounds = table["grounds"].combine_chunks().flatten()
        places = np.array(items.field("ground"))[index]
        terrain = [np.frombuffer(grounds.field("terrain")[place].as_py(), np.int8) for place in places.tolist()]
        assert same(np.stack(terrain), batch.boards.terrain[batch.boards.entries["ground"][batch.state_index[mine]]])
        most = max(len(boards) for boards in table["boards"].to_pylist())
        assert most <= 2
        seen += len(table)
    assert seen == len(batch)


def test_boards_that_only_frames_need_hang_on_the_first_row() -> None:
    (batch,) = games_of("frames", 1)
    last = batch.slice(len(batch) - 1, len(batch))
    (row,) = opened(last).read().to_pylist()
    assert len(row["boards"]) == len(last.compact().boards.tiles) == 4
    assert same(form.decode(form.encode(last)).states(), last.states())


def test_columns_are_those_of_the_schema() -> None:
    """Files that others have to read: a change of names or types needs a new schema."""
    columns = {field.name: str(field.type).replace(" not null", "") for field in opened(simple()).schema_arrow}
    players = "list<element: struct<general: int32, surrendered: int32, team: int8, alive: bool>>"
    assert form.SCHEMA == 1
    assert columns == {
        "game_id": "string",
        "turn": "int32",
        "sequence": "int64",
        "state_index": "int32",
        "next_state_index": "int32",
        "action": "int32",
        "reward": "float",
        "steps": "int16",
        "player_id": "int8",
        "illegal": "bool",
        "terminated": "bool",
        "truncated": "bool",
        "collected_at": "timestamp[ns, tz=UTC]",
        "before": "int32",
        "after": "int32",
        "boards": "list<element: struct<tiles: fixed_size_binary[40], ground: int32, turn: int32, last_move: int32, "
        "previous: int32, armies: binary, memory: fixed_size_binary[120]>>",
        "grounds": "list<element: struct<terrain: fixed_size_binary[20], rows: int64, columns: int64, version: int64, "
        f"modifiers: int64, fog: bool, players: {players}>>",
        "observations": "list<element: binary>",
    }


# --- Groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("kind", ["two players", "eight players", "wide armies", "frames", "memory", "one seat"])
def test_games_of_several_groups_come_back(kind: str) -> None:
    batch = ExperienceBatch.concat(games_of(kind, 3))
    assert opened(batch).num_row_groups > 3
    result = form.decode(form.encode(batch))
    assert facts(result) == facts(batch)
    assert result.game_ids == batch.game_ids
    assert result.metadata == batch.metadata


@pytest.mark.usefixtures("small_groups")
def test_observations_of_several_groups_come_back() -> None:
    batch = ExperienceBatch.concat([simple()] * 3)
    result = form.decode(form.encode(batch))
    assert opened(batch).num_row_groups == 3
    assert same(result.states(), batch.states())
    assert same(result.next_states(), batch.next_states())
    assert same(result.game_id, batch.game_id)


def test_duels_take_few_bytes(pack: Path | None) -> None:
    batch = whole_of(pack)
    assert len(form.encode(batch)) < 18 * len(batch)


# --- What is refused --------------------------------------------------------------------------------------------------

HUGE = 10**11
CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    *(put("shape", value) for value in ((5, 4, 1), (-4, -5), (0, 20), (4,), (HUGE, HUGE), (4, 6), "4", None)),
    *(put("players", value) for value in (0, -3, 2, 4, HUGE, "three", None)),
    *(put("schema", value) for value in (0, form.SCHEMA + 1, None)),
    *(put("memory", value) for value in (False, 0, None)),
    *(put("recipe", value) for value in (None, {}, {"layout": "large"})),
    *(put("dense", value) for value in (None, [], ["|O", []], ["<f4", [2]], ["<f4", [HUGE] * 3], ["<f8", [2, 2]], ["x", []])),
    *(put("game_ids", value) for value in (None, [], ["one"], [1, 2, 3], 5)),
    *(put("metadata", value) for value in (None, [1], 7)),
]


def test_headers_that_are_made_up_are_refused_before_they_cost_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    written, batch = form.header_bytes, simple()

    def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
        def write(header: dict[str, Any]) -> bytes:
            change(header)
            return written(header)

        monkeypatch.setattr(form, "header_bytes", write)
        return form.encode(batch)

    assert same(contents(form.decode(changed(lambda header: None))), contents(form.decode(form.encode(batch))))
    tracemalloc.start()
    try:
        for number, change in enumerate(CHANGES):
            data = changed(change)
            tracemalloc.reset_peak()
            with pytest.raises(StorageError, match=r"^data: expected a file of experiences \(schema 1\), got "):
                pytest.fail(f"change {number} gave {form.decode(data)}")
            assert tracemalloc.get_traced_memory()[1] < 30 * 2**20, number
    finally:
        tracemalloc.stop()


def test_what_lies_outside_the_pages_has_a_checksum() -> None:
    """Pages have checksums of their own; names, the header and how columns go together have not."""
    data = form.encode(replace(simple(), metadata={"seed": "1000"}))
    assert data.count(b'"seed": "1000"') == 1
    for old, new in ((b'"seed": "1000"', b'"seed": "1001"'), (b'"layout": "standard"', b'"layout": "standarD"')):
        with pytest.raises(StorageError, match=r"got ValueError: expected numbers of checksum|ConfigError: recipe"):
            pytest.fail(f"gave {form.decode(data.replace(old, new)).metadata}")


def test_indices_that_lead_nowhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = form.groups
    for name, value in {"action": 161, "player_id": 3, "reward": np.nan, "steps": 0, "next_state_index": 99}.items():

        def broken(batch: ExperienceBatch, name: str = name, value: Any = value) -> Any:
            for group in groups(batch):
                group.part.rows[name][7] = value
                yield group

        with monkeypatch.context() as patch:
            patch.setattr(form, "groups", broken)
            data = form.encode(simple())
        with pytest.raises(StorageError, match=rf"got ValueError: .*{name}.*: expected"):
            pytest.fail(f"gave {form.decode(data)}")


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_no_thread_of_pyarrow_lets_go_of_what_is_pythons() -> None:
    """One that does while the process ends is ended in the midst of it, which aborts the process."""
    data, threads = form.encode(simple()), []

    class Content(bytes):
        def __del__(self) -> None:
            threads.append(threading.get_ident())

    for _ in range(300):
        form.decode(Content(data))
    gc.collect()
    assert threads == [threading.get_ident()] * 300
