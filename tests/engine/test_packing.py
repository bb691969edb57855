"""Packed boards lose nothing, and what is expanded of them is what the slow kernels see, on boards that are odd on purpose."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from support.helpers import Listener, play_on, same
from support.odd_boards import inside_of, odd_boards, remembering, viewed

import generals_env
from generals_env.engine.boards import CITY, GAME, GENERAL, TORUS, Boards, copy_boards, empty_boards
from generals_env.engine.observations.fog_memory import FULL_MEMORY, MEMORY, remember
from generals_env.engine.observations.reference import CHANNELS, FULL_CHANNELS
from generals_env.engine.packed.expand import expand_masks, expand_views
from generals_env.engine.packed.fog_memory import expand_memory
from generals_env.engine.packed.gather import gather
from generals_env.engine.packed.packing import ENTRY, PackedBoards, bits_of, pack, packed_of, planes_of, unpack

#: How many bits of a tile hold the army, as the module says it.
ARMY_BITS = {**dict.fromkeys((1, 2), 13), **dict.fromkeys(range(3, 11), 12), **dict.fromkeys(range(11, 17), 11)}


channels_of = pytest.mark.parametrize("full", [False, True], ids=["standard", "full"])


# --- Packing ----------------------------------------------------------------------------------------------------------


def check_round_trip(rng: np.random.Generator, boards: Boards, happened: Counter[str]) -> None:
    packed = pack(boards)
    assert same(unpack(packed), boards)
    order = rng.integers(0, len(boards.owner), 5)
    assert same(unpack(packed, order), copy_boards(boards, order))
    players = boards.players.shape[1]
    limit = 2 ** (ARMY_BITS[players] - 1)
    wide = ((boards.army < -limit) | (boards.army >= limit)).any(axis=1)
    assert (packed.entries["wide"] >= 0).tolist() == wide.tolist()
    assert len(packed.armies) == wide.sum()
    assert (packed.entries["previous"] == -1).all()
    assert not packed.games["turn"].any()  # else boards could not share them
    assert packed.memory.shape == (0, players, boards.owner.shape[1])
    owner, army = planes_of(packed)
    assert same(owner, boards.owner)
    assert same(army, boards.army)
    assert same(packed_of(owner, army, packed.entries, *packed[2:5], packed.memory), packed)
    narrow = boards.army[~wide]
    happened.update(
        {"wide": int(wide.sum()), "lowest": int((narrow == -limit).sum()), "most": int((narrow == limit - 1).sum())}
    )
    happened.update(f"owner {code}" for code in np.unique(owner))
    happened.update({f"terrain {kind}" for kind in np.unique(boards.terrain)} | {f"{players} players"})


def test_boards_come_back_bit_for_bit() -> None:
    happened: Counter[str] = Counter()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        check_round_trip(rng, odd_boards(rng, int(rng.choice((1, 2, 12)))), happened)
    for players in range(1, 17):
        rng = np.random.default_rng(players)
        boards = odd_boards(rng, 3, players, (64, 64) if players in (2, 16) else (1, players))
        limit = 2 ** (ARMY_BITS[players] - 1)
        for low, most in ((-limit, limit - 1), (-limit - 1, 0), (0, limit), (-(2**31), 2**31 - 1)):
            boards.army[:, 0], boards.army[:, -1] = low, most
            check_round_trip(rng, boards, happened)
    expected = {f"owner {code}" for code in range(-6, 16)} | {f"{players} players" for players in range(1, 17)}
    expected |= {f"terrain {kind}" for kind in range(8)} | {"wide", "lowest", "most"}
    assert expected == {name for name in happened if happened[name]}


def test_no_boards_are_packed_too() -> None:
    none = copy_boards(empty_boards(1, 3, 4, 2), slice(0, 0))
    packed = pack(none)
    assert same(unpack(packed), none)
    assert [len(array) for array in gather(packed, np.zeros(0, np.int64))] == [0] * 7


def test_a_board_of_twenty_by_twenty_takes_820_bytes() -> None:
    boards = empty_boards(300, 20, 20, 2)
    boards.army[:] = np.arange(300)[:, None]
    boards.games["turn"] = np.arange(300)
    packed = pack(boards)
    assert packed.tiles[0].nbytes == 800
    assert ENTRY.itemsize == 20
    assert len(packed.games) == 1
    ground = 400 + packed.players.nbytes + GAME.itemsize
    assert sum(array.nbytes for array in packed) == 300 * 820 + ground
    boards.army[7, 3] = 4096
    assert sum(array.nbytes for array in pack(boards)) == 300 * 820 + ground + 1600


def test_grounds_are_shared_when_they_are_equal_and_only_then() -> None:
    first = odd_boards(np.random.default_rng(4), 1, 3, (5, 6))
    boards = copy_boards(first, np.zeros(24, np.int64))
    k = iter(range(1, 24, 2))  # each second board is the first one, but for turn, owners and armies
    boards.terrain[next(k), 0] ^= 1
    boards.terrain[next(k), -1] ^= 1
    for name in ("general", "surrendered", "team"):
        boards.players[next(k), 2][name] ^= 1
    boards.players[next(k), 0]["alive"] ^= True
    for name in ("rows", "columns", "version", "modifiers", "height"):
        boards.games[next(k)][name] ^= 1
    boards.games[next(k)]["fog"] ^= True
    packed = pack(boards)
    assert packed.entries["ground"].tolist() == list(range(24))
    assert same(unpack(packed), boards)

    alike = copy_boards(first, np.zeros(9, np.int64))
    alike.games["turn"], alike.games["last_move"] = np.arange(9), np.arange(9)[::-1]
    alike.owner[:], alike.army[:] = np.arange(9)[:, None] - 6, np.arange(9)[:, None] * 10**8
    packed = pack(alike)
    assert packed.entries["ground"].tolist() == [0] * 9
    assert len(packed.terrain) == len(packed.players) == len(packed.games) == 1
    assert same(unpack(packed), alike)


def test_gathered_boards_keep_what_belongs_to_them() -> None:
    happened: Counter[str] = Counter()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        boards = odd_boards(rng, 12)
        packed = pack(boards)
        packed.entries["previous"] = np.where(rng.random(12) < 0.7, np.arange(12) - 1, -1)
        if seed % 2:
            packed = remembering(packed, int(boards.games[0]["height"]))
        index = rng.integers(0, 12, rng.integers(1, 20)).astype(rng.choice(("i4", "i8", "u1")))
        picked = gather(packed, index)
        assert same(unpack(picked), copy_boards(boards, index))
        assert same(picked.memory, packed.memory[index] if seed % 2 else packed.memory)
        assert len(picked.games) == len(set(packed.entries["ground"][index].tolist()))
        assert len(picked.armies) == (packed.entries["wide"][index] >= 0).sum()
        for old, new in zip(packed.entries["previous"][index], picked.entries["previous"], strict=True):
            linked = old >= 0 and old in index
            assert (index[new] if new >= 0 else -1) == (old if linked else -1)
            happened["kept" if linked else "none" if old < 0 else "cut"] += 1
        assert not any(np.shares_memory(one, other) for one, other in zip(packed, picked, strict=True))
        happened.update({"repeated": len(set(index.tolist())) < len(index), "wide": len(picked.armies)})
    assert all(happened[name] for name in ("kept", "cut", "none", "repeated", "wide")), happened


# --- Expanding --------------------------------------------------------------------------------------------------------


def count_rarities(boards: Boards, b: int, player: int, mask: np.ndarray, happened: Counter[str]) -> None:
    """Count what was odd about a view."""
    game, players = boards.games[b], boards.players[b]
    padded, torus = not inside_of(boards, b).all(), bool(game["modifiers"] & TORUS)
    friends = int((players["team"] == players[player]["team"]).sum())
    own = boards.owner[b] == player
    happened["padded"] += padded and not torus
    happened["wraps inside padding"] += padded and torus and bool(game["fog"])
    happened["no fog"] += not game["fog"]
    happened["team"] += 1 < friends < len(players)
    happened["no enemies"] += friends == len(players)
    happened["dead with land"] += not players[player]["alive"] and bool(own.any())
    moves = mask[: 4 * len(own)].reshape(-1, 4).any(axis=1)
    happened["moves"] += int(moves.any())
    happened["hands over"] += int((moves & (boards.army[b] == 1)).any())
    happened["wide moves"] += int((moves & (boards.army[b] > 4095)).any())
    happened["below zero"] += int((own & (boards.army[b] < 0)).any())


@channels_of
def test_views_and_masks_are_those_of_the_slow_kernels(full: bool) -> None:
    happened: Counter[str] = Counter()
    channels = len(FULL_CHANNELS if full else CHANNELS)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        boards = odd_boards(rng, 6, shape=(64, 64) if seed == 50 else None)
        packed, count, (height, width) = pack(boards), 14, boards.games[0][["height", "width"]]
        index, player = (
            rng.integers(0, 6, count).astype(np.int32),
            rng.integers(0, boards.players.shape[1], count).astype(np.int8),
        )
        first = int(rng.integers(0, 3))
        low, high = (int(edge) for edge in np.sort(rng.integers(0, count + 1, 2))) if seed % 3 else (0, count)
        tensors = np.full((count, first + channels + 2, height * width), -7, np.float32)
        masks = np.full((count, 8 * height * width + 1), -7, np.int8)
        expand_views(packed, index, player, int(height), low, high, full, first, tensors)
        expand_masks(packed, index, player, int(height), low, high, masks)
        for i in range(count):
            tensor, mask = viewed(boards, int(index[i]), int(player[i]), channels)
            written = low <= i < high
            assert same(tensors[i, first : first + channels], tensor if written else np.full_like(tensor, -7))
            assert same(masks[i], mask if written else np.full_like(mask, -7))
            if written:
                count_rarities(boards, int(index[i]), int(player[i]), mask, happened)
        assert (tensors[:, :first] == -7).all()
        assert (tensors[:, first + channels :] == -7).all()
    assert all(happened.values()), happened


# --- Memory -----------------------------------------------------------------------------------------------------------


def check_memory(packed: PackedBoards, height: int, observations: np.ndarray, begun: np.ndarray) -> np.ndarray:
    """Check memory of boards that follow each other against ``remember``, for (n, P, C, H*W) observations; return planes."""
    count, players, channels, tiles = observations.shape
    full = channels == len(FULL_CHANNELS)
    planes = len(FULL_MEMORY if full else MEMORY)
    expected = np.zeros((players, channels + planes, tiles), np.float32)
    out = np.full((players, planes + 2, tiles), -7, np.float32)
    history = []
    for b in range(count):
        remember(observations[b], np.full(players, begun[b]), expected)
        expand_memory(packed, np.full(players, b, np.int32), np.arange(players, dtype=np.int8), 0, players, full, 1, out)
        assert same(out[:, 1:-1], expected[:, channels:])
        assert (out[:, [0, -1]] == -7).all()
        history.append(out[:, 1:-1].copy())
    return np.stack(history)


@channels_of
def test_memory_of_any_boards_is_that_of_their_observations(full: bool) -> None:
    happened: Counter[str] = Counter()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        boards = odd_boards(rng, 12)
        players, tiles = boards.players.shape[1], boards.owner.shape[1]
        packed, begun = pack(boards), rng.random(12) < 0.2
        begun[0] = True
        packed.entries["previous"] = np.where(begun, -1, np.arange(12) - 1)
        packed = remembering(packed, int(boards.games[0]["height"]))
        channels = len(FULL_CHANNELS if full else CHANNELS)
        views = [viewed(boards, b, player, channels)[0] for b in range(12) for player in range(players)]
        observations = np.stack(views).reshape(12, players, channels, tiles)
        memory = check_memory(packed, int(boards.games[0]["height"]), observations, begun)
        hidden = observations[:, :, 8] == 1
        happened["remembered in fog"] += int((memory[:, :, 0] * hidden).sum())
        happened["unknown"] += int((memory[:, :, 0] == 0).sum())
        happened["forgotten by a new game"] += int(begun[1:].sum())
        happened["general or city in fog"] += int((memory[:, :, 5] * hidden).sum())
    assert all(happened.values()), happened


OPTIONS = [
    {"players": 3, "height": 6, "width": 7, "observation": "full"},
    {"players": 4, "height": (6, 7), "width": (6, 7), "teams": (0, 1, 0, 1)},
    {"players": 3, "height": (5, 7), "width": (5, 7), "modifiers": ("torus",), "observation": "full"},
    {"players": 8, "height": 8, "width": 8},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_memory_of_a_game_is_that_of_what_the_environment_showed(options: dict[str, object]) -> None:
    env, listener = generals_env.parallel_env(max_turns=70, **options), Listener()
    env.add_collector(listener)
    env.reset(seed=6)
    shown = [np.stack([env.unwrapped.game.observation(player)["observation"] for player in range(env.config.players)])]
    rng = np.random.default_rng(6)
    while env.agents:
        play_on(env, rng, 1)
        shown.append(np.stack([env.unwrapped.game.observation(player)["observation"] for player in range(env.config.players)]))
    turns = [copy_boards(listener.turns[0].boards, slice(0, 1)), *(copy_boards(t.boards, slice(1, 2)) for t in listener.turns)]
    boards = Boards._make(np.concatenate(arrays) for arrays in zip(*turns, strict=True))
    packed = pack(boards)
    packed.entries["previous"] = np.arange(len(turns)) - 1
    height = int(boards.games[0]["height"])
    observations = np.stack(shown)
    observations = observations.reshape(*observations.shape[:3], -1)
    memory = check_memory(remembering(packed, height), height, observations, np.arange(len(turns)) == 0)
    assert (memory[-1, :, 0] * observations[-1, :, 8]).sum() > 0
    assert bits_of(packed.players.shape[1]) == 16 - ARMY_BITS[packed.players.shape[1]]
    built = (boards.terrain == CITY) | (boards.terrain == GENERAL)
    assert (memory[:, :, 5] <= built.any(axis=0)).all()
