"""Tests batches expanded by torch bit for bit against the kernels, on odd boards."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.helpers import same

import generals_env
from generals_env.engine.boards import (
    CITY,
    DESERT,
    GENERAL,
    LOOKOUT,
    MOUNTAIN,
    OBSERVATORY,
    OWNER_LOOKOUT,
    OWNER_MOUNTAIN,
    OWNER_OBSERVATORY,
    PLAIN,
    SWAMP,
    TORUS,
    Boards,
    empty_boards,
)
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.packing import pack
from generals_env.errors import ConfigError
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch, torch_tensors
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe, Shaping
from generals_env.recorders.experience.tensors import Tensors
from generals_env.recorders.experience.torch_tensors import TorchTensors, expand_on

CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that torch can use")
)

#: Armies around every limit: of moves, observations, packed tiles, float32 and int32.
ARMIES = (0, 1, 1, 1, 2, 3, 7, 333, 998, 999, 1000, 1001, 1023, 1024, 2047, 2048)
LARGE = (2049, 4095, 4096, 9999, 10000, 10001, 32768, 70000, 2**24 + 1, 2**31 - 1)

OBSTACLES = {MOUNTAIN: OWNER_MOUNTAIN, LOOKOUT: OWNER_LOOKOUT, OBSERVATORY: OWNER_OBSERVATORY}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: beside other tests on busy cores, torch's threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", CUDA])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- Odd boards -------------------------------------------------------------------------------------------------------


def odd_boards(rng: np.random.Generator, count: int, players: int) -> Boards:
    """Return boards of one shape; some share the terrain of the one before."""
    height, width = (int(size) for size in rng.integers(2, 9, 2))
    boards = empty_boards(count, height, width, players)
    for b in range(count):
        if b and rng.random() < 0.4:
            for array in boards:
                array[b] = array[b - 1]
        else:
            lay_ground(rng, boards, b)
        settle(rng, boards, b)
        boards.games[b]["turn"] = rng.choice((rng.integers(0, 60), rng.integers(900, 1100), rng.integers(100_000)))
    return boards


def lay_ground(rng: np.random.Generator, boards: Boards, b: int) -> None:
    """Choose terrain, teams, living players and the rules of a board."""
    game, players = boards.games[b], boards.players[b]
    height, width, count = int(game["height"]), int(game["width"]), len(players)
    rows, columns = (int(max(1, size - rng.choice((0, 0, 1, 2, 7)))) for size in (height, width))
    game["rows"], game["columns"] = rows, columns
    game["modifiers"] = rng.choice((0, TORUS, TORUS | 1, 1 << 5))
    game["fog"] = rng.random() < 0.8
    players["team"] = np.arange(count) if rng.random() < 0.4 else rng.integers(0, rng.choice((1, 2, 3)), count)
    players["alive"] = rng.random(count) < 0.8
    inside = inside_of(boards, b)
    kinds = (PLAIN, GENERAL, CITY, MOUNTAIN, SWAMP, DESERT, LOOKOUT, OBSERVATORY)
    terrain = rng.choice(kinds, height * width, p=(0.5, 0.1, 0.1, 0.1, 0.06, 0.06, 0.04, 0.04))
    boards.terrain[b] = np.where(inside, terrain, MOUNTAIN)


def settle(rng: np.random.Generator, boards: Boards, b: int) -> None:
    """Choose owners and armies of tiles."""
    terrain, tiles, players = boards.terrain[b], boards.owner.shape[1], boards.players.shape[1]
    owned = rng.random(tiles) < rng.choice((0.05, 0.3, 0.9))
    owner = np.where(owned, rng.integers(0, players, tiles), -1)
    army = rng.choice(ARMIES, tiles) if rng.random() < 0.8 else rng.choice(ARMIES + LARGE, tiles)
    army = np.where(owned, army, rng.choice((0, 0, 40, -1, -300, *ARMIES), tiles))
    for kind, code in OBSTACLES.items():
        owner[terrain == kind] = code
    owner[rng.random(tiles) < 0.02] = OWNER_MOUNTAIN  # on any terrain: no game has that, but the kernels take it
    boards.owner[b], boards.army[b] = owner, np.where(owner < -1, 0, army)


def inside_of(boards: Boards, b: int) -> np.ndarray:
    """Return which tiles are no padding, (H*W,) bool."""
    game = boards.games[b]
    row, column = np.divmod(np.arange(boards.owner.shape[1]), game["width"])
    return (row < game["rows"]) & (column < game["columns"])


def odd_batch(rng: np.random.Generator, players: int, recipe: Recipe, count: int = 40, boards: int = 30) -> ExperienceBatch:
    """Return experiences between any two boards, of players in any order."""
    plain = odd_boards(rng, boards, players)
    height, width = int(plain.games[0]["height"]), int(plain.games[0]["width"])
    packed = pack(plain)
    packed.entries["previous"] = np.where(rng.random(boards) < 0.7, np.arange(boards) - 1, -1)
    if recipe.memory:
        packed = packed._replace(memory=np.zeros((boards, players, height * width), np.uint16))
        recall_rows(packed, height, 0, boards)
    rows = np.zeros(count, EXPERIENCE)
    rows["state_index"] = rng.integers(0, boards, count)
    rows["next_state_index"] = rng.integers(0, boards, count)
    rows["player_id"] = rng.integers(0, players, count)
    rows["action"] = rng.integers(0, 8 * height * width + 1, count)
    rows["reward"] = rng.normal(size=count)
    rows["steps"] = rng.integers(1, 4, count)
    rows["terminated"] = rng.random(count) < 0.2
    rows["truncated"] = rng.random(count) < 0.2
    return ExperienceBatch(("a game",), rows, packed, (height, width), recipe)


def assert_equal(batch: ExperienceBatch, device: str) -> Tensors:
    """Check that torch expands a batch as the kernels do, and return the result."""
    dense = batch.dense
    expected = Tensors(
        dense.observations[dense.before] if dense else batch.states(),
        batch.action.astype(np.int64),
        batch.rewards(),
        dense.observations[dense.after] if dense else batch.next_states(),
        batch.terminated.copy(),
        batch.truncated.copy(),
        batch.action_masks(),
        batch.next_action_masks(),
        batch.steps.copy(),
    )
    given = expand_on(batch, device)
    assert isinstance(given, TorchTensors)
    assert given._fields == expected._fields
    for name, tensor, array in zip(expected._fields, given, expected, strict=True):
        assert tensor.device.type == device, name
        assert tensor.is_contiguous(), name
        assert same(tensor.cpu().numpy(), array), name
    return expected


def count_rarities(batch: ExperienceBatch, tensors: Tensors, happened: Counter[str]) -> None:
    """Count rare features among the states of a batch."""
    boards, unpacked = batch.boards, batch.unpacked()
    happened["wide"] += int((boards.entries["wide"] >= 0).sum())
    happened["ground shared"] += len(boards.tiles) - len(boards.games)
    side = batch.shape[0] * batch.shape[1]
    for i, (b, player) in enumerate(zip(batch.state_index, batch.player_id, strict=True)):
        game, owner, army = unpacked.games[b], unpacked.owner[b], unpacked.army[b]
        padded, torus = side > game["rows"] * game["columns"], bool(game["modifiers"] & TORUS)
        moves = tensors.action_masks[i, : 4 * side].reshape(side, 4)
        players = unpacked.players[b]
        happened["wraps inside padding"] += padded and torus and bool(game["fog"])
        happened["no fog"] += not game["fog"]
        happened["dead with land"] += not players[player]["alive"] and bool((owner == player).any())
        happened["hands over"] += int(moves[(owner == player) & (army == 1)].sum())
        rows = np.arange(side) // batch.shape[1]
        happened["moves over the edge"] += int(moves[rows == 0, 0].sum() + moves[rows == game["rows"] - 1, 1].sum())
        happened["without enemies"] += bool((players["team"] == players[player]["team"]).all())


# --- Tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["standard", "full"])
def test_odd_boards_are_expanded_alike(device: str, layout: str) -> None:
    happened: Counter[str] = Counter()
    for seed in range(120):
        rng = np.random.default_rng(seed)
        players = int(rng.choice((2, 2, 3, 4, 8, 10, 11, 16)))
        shaping = (Shaping(0.99, 1.0, 0.5, 0.25), Shaping(1.0, land=-2.0))[: rng.integers(3)]
        recipe = Recipe(layout, memory=bool(rng.random() < 0.5), frames=int(rng.choice((1, 1, 2, 4))), shaping=shaping)
        batch = odd_batch(rng, players, recipe)
        count_rarities(batch, assert_equal(batch, device), happened)
    assert all(happened.values()), happened


@pytest.mark.parametrize("layout", ["standard", "full"])
def test_every_army_turn_and_share_is_rounded_alike(device: str, layout: str) -> None:
    """Check all divided numbers: each visible army, each turn, each land and total of two players."""
    rng = np.random.default_rng(5)
    boards = empty_boards(1100, 3, 7, 2)
    boards.terrain[:] = PLAIN
    boards.owner[:] = rng.integers(-1, 2, boards.owner.shape)
    boards.army[:] = rng.integers(0, 1050, boards.army.shape)
    boards.army[:, 0] = boards.games["turn"] = np.arange(1100)
    boards.army[:, 1] = boards.army[:, 1] // 100
    rows = np.zeros(2200, EXPERIENCE)
    rows["state_index"] = np.arange(2200) // 2
    rows["next_state_index"] = np.minimum(rows["state_index"] + 1, 1099)
    rows["player_id"] = np.arange(2200) % 2
    batch = ExperienceBatch(("a game",), rows, pack(boards), (3, 7), Recipe(layout))
    tensors = assert_equal(batch, device)
    assert len(np.unique(tensors.states[:, 0])) > 900
    if layout == "full":
        assert len(np.unique(tensors.states[:, 20])) == 1001
        assert len(np.unique(tensors.states[:, 16])) > 900


def test_any_bits_of_memory_are_read_alike(device: str) -> None:
    for seed, layout in enumerate(("standard", "full")):
        rng = np.random.default_rng(seed)
        batch = odd_batch(rng, 3, Recipe(layout, memory=True))
        bits = rng.integers(0, 1 << 16, batch.boards.memory.shape, np.uint16)
        assert_equal(replace(batch, boards=batch.boards._replace(memory=bits)), device)


def test_parts_of_batches_are_expanded_alike(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Boards without experiences, experiences in several portions, and an empty batch."""
    rng = np.random.default_rng(2)
    for layout in ("standard", "full"):
        batch = odd_batch(rng, 4, Recipe(layout, memory=True, frames=3), count=90)
        assert_equal(batch.slice(10, 13), device)
        assert_equal(batch.select(np.arange(0, 90, 7)), device)
        whole = assert_equal(batch, device)
        monkeypatch.setattr(torch_tensors, "MAX_TILES", 7 * batch.shape[0] * batch.shape[1])
        assert same(assert_equal(batch, device), whole)
        monkeypatch.setattr(torch_tensors, "MAX_TILES", 1)
        assert same(assert_equal(batch, device), whole)
        assert_equal(batch.slice(0, 0), device)
        plain = replace(batch, recipe=Recipe(layout))
        assert_equal(plain.select([]), device)


def test_frames_reach_back_to_boards_stored_only_for_them(device: str) -> None:
    boards = odd_boards(np.random.default_rng(3), 6, 2)
    packed = pack(boards)
    packed.entries["previous"] = np.arange(6) - 1
    rows = np.zeros(2, EXPERIENCE)
    rows["state_index"], rows["next_state_index"], rows["player_id"] = (4, 1), (5, 2), (0, 1)
    shape = int(boards.games[0]["height"]), int(boards.games[0]["width"])
    tensors = assert_equal(ExperienceBatch(("a game",), rows, packed, shape, Recipe(frames=4)), device)
    newest = tensors.states[1, 27:]
    assert not same(tensors.states[1, 18:27], newest)  # board 0
    assert same(tensors.states[1, :9], tensors.states[1, 18:27])  # and again, as the game began with it


def test_boards_of_several_sizes_are_expanded_alike(device: str) -> None:
    rng = np.random.default_rng(4)
    for layout in ("standard", "full"):
        parts = [odd_batch(rng, 3, Recipe(layout, memory=True, frames=2), count=10, boards=7) for _ in range(5)]
        batch = ExperienceBatch.concat(parts)
        assert len({part.shape for part in parts}) > 1
        assert_equal(batch, device)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float32", (9, 3, 3)), ("float16", (4,)), ("uint8", (2, 5)), ("uint16", (3,)), ("float64", ()), ("bool", (7,))],
)
def test_observations_of_foreign_wrappers_are_uploaded(device: str, dtype: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(6)
    batch = odd_batch(rng, 2, Recipe("full", memory=True, frames=2), count=25)
    batch = replace(batch, boards=batch.boards._replace(memory=batch.boards.memory[:0]))
    observations = rng.integers(0, 250, (60, *shape)).astype(dtype)
    before, after = (rng.integers(0, 60, 25).astype(np.int32) for _ in range(2))
    assert_equal(replace(batch, dense=Dense(observations, before, after)), device)


def test_read_only_arrays_are_copied(device: str) -> None:
    batch = odd_batch(np.random.default_rng(7), 2, Recipe(memory=True))
    arrays: list[Any] = [batch.rows, *batch.boards]
    for array in arrays:
        array.flags.writeable = False
    tensors = expand_on(batch, device)  # a warning would be an error
    tensors.steps.zero_()
    assert (batch.steps > 0).all()


def test_batch_to_torch_equals_states_of_batch(device: str) -> None:
    batch = odd_batch(np.random.default_rng(8), 2, Recipe())
    assert same(batch.to_torch(device).states.cpu().numpy(), batch.states())
    assert batch.to_torch(torch.device(device)).states.device.type == device
    assert batch.to_torch().states.device.type == "cpu"


def test_missing_memory_is_reported() -> None:
    batch = replace(odd_batch(np.random.default_rng(9), 2, Recipe()), recipe=Recipe(memory=True))
    with pytest.raises(ConfigError, match=r"recipe: expected boards with the memory of the players, got none"):
        expand_on(batch, "cpu")


def test_missing_torch_gives_install_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = odd_batch(np.random.default_rng(10), 2, Recipe())
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, torch_tensors.__name__)
    monkeypatch.delattr(generals_env.recorders.experience, "torch_tensors")
    with pytest.raises(ImportError, match=r'pip install "generals_env\[torch\]"'):
        batch.to_torch()
