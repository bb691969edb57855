"""Tests the option ``start`` with a range of steps between generals."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import generals_env
from generals_env import ConfigError, GameConfig, SpawnDistance
from generals_env.engine.boards import MOUNTAIN, Boards
from generals_env.engine.rules.map_generator import generate_map

SIZES = st.integers(8, 14) | st.tuples(st.integers(8, 10), st.integers(11, 14))

#: Digests of the first 200 maps after seed 7, as they were before there was a spawn distance.
GOLDEN: list[tuple[dict[str, Any], str]] = [
    ({}, "4e16d3b39083dde0"),
    ({"players": 4, "height": (15, 18), "width": 20}, "c6cdcb811ecab374"),
    ({"rules": "competition"}, "a23ef7d6f623411e"),
    ({"players": 8, "height": 24, "width": 24}, "089b419fd08eee6f"),
]


def steps_between_generals(boards: Boards) -> np.ndarray:
    """Return (P, P) walking distances between the generals of one board, found tile by tile."""
    width = int(boards.games["width"][0])
    open_tiles = set(np.flatnonzero(boards.terrain[0] != MOUNTAIN).tolist())
    homes = boards.players["general"][0].tolist()
    table = np.zeros((len(homes), len(homes)), np.int64)
    for player, home in enumerate(homes):
        steps, queue = {home: 0}, deque([home])
        while queue:
            tile = queue.popleft()
            row, column = divmod(tile, width)
            for other in [
                *([tile - 1] if column else []),
                *([tile + 1] if column < width - 1 else []),
                *([tile - width] if row else []),
                tile + width,
            ]:
                if other in open_tiles and other not in steps:
                    steps[other] = steps[tile] + 1
                    queue.append(other)
        table[player] = [steps[other] for other in homes]
    return table


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(2, "live"), (2, "competition"), (3, "live"), (5, "live")]),
    SIZES,
    SIZES,
    st.tuples(st.integers(1, 9), st.integers(1, 30)),
    st.integers(0, 2**32),
)
def test_spawn_distance_holds_for_every_general(
    kind: tuple[int, str], height: Any, width: Any, spawn: tuple[int, int], seed: int
) -> None:
    players, rules = kind
    if players > 2:
        spawn = min(spawn[0], 4), spawn[1]  # room for all
    spawn = spawn[0], max(spawn)
    config = GameConfig.from_options(players=players, rules=rules, height=height, width=width, start=spawn)
    boards = config.empty_boards(1)
    assert generate_map(boards, 0, np.array([seed], np.uint64), *config.map_parameters())
    steps = steps_between_generals(boards)
    np.fill_diagonal(steps, 10**6)
    assert (steps.min(axis=1) >= spawn[0]).all()
    assert (steps.min(axis=1) <= spawn[1]).all()


@pytest.mark.parametrize("rules", ["live", "competition"])
@pytest.mark.parametrize("spawn", [(2, 6), (17, 28), (26, 26)])
def test_spawn_distance_of_a_curriculum_uses_its_whole_range(rules: str, spawn: tuple[int, int]) -> None:
    env = generals_env.parallel_env(height=20, width=20, rules=rules, start={"spawn_distance": list(spawn)})
    seen = set()
    for seed in range(60):
        env.reset(seed=seed)
        seen.add(int(steps_between_generals(env.board())[0, 1]))
    assert seen <= set(range(spawn[0], spawn[1] + 1))
    assert len(seen) > (spawn[1] - spawn[0]) // 2


@pytest.mark.parametrize(("options", "digest"), GOLDEN)
def test_maps_without_spawn_distance_stay_as_they_were(options: dict[str, Any], digest: str) -> None:
    config = GameConfig.from_options(**options)
    boards = config.empty_boards(1)
    state = hashlib.sha256()
    rng = np.array([7], np.uint64)
    for _ in range(200):
        assert generate_map(boards, 0, rng, *config.map_parameters())
        for field in boards:
            state.update(field.tobytes())
    assert state.hexdigest().startswith(digest)


def test_spawn_distance_gives_equal_maps_in_all_environments() -> None:
    options: dict[str, Any] = {"height": 9, "width": (8, 10), "start": SpawnDistance(3, 5)}
    venv = generals_env.make_vec(3, **options)
    venv.reset(seed=4)
    for b in range(3):
        for make in (generals_env.make, generals_env.parallel_env):
            env: Any = make(**options)
            env.reset(seed=4 + b)
            assert np.array_equal(env.state(), venv.state()[b])
    venv.close()


@pytest.mark.parametrize("options", [{}, {"rules": "competition", "height": 8, "width": 8}])
def test_spawn_distance_that_no_board_has_is_refused_at_reset(options: dict[str, Any]) -> None:
    options = {"height": 8, "width": 8, "start": SpawnDistance(60, 61), **options}
    venv = generals_env.make_vec(2, **options)
    for env in (generals_env.make(**options), venv):
        with pytest.raises(ConfigError, match=r"^start: expected generals 60 to 61 steps apart, found no such map .*wider"):
            env.reset(seed=0)
    venv.close()


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ((6, 2), "expected a minimum up to the maximum"),
        ((0, 2), "minimum: expected an integer from 1"),
        ((2.5, 3), "minimum: expected an integer"),
        ((2, True), "maximum: expected an integer"),
        ((1, 2, 3), "expected None, SpawnDistance"),
        (7, "expected None, SpawnDistance"),
        ({"spawn_distance": 3}, "expected None, SpawnDistance"),
        ({"minimum": 3}, "expected None, SpawnDistance"),
        ({"spawn": [1, 2]}, "expected None, SpawnDistance"),
    ],
)
def test_spawn_distance_of_another_form_is_refused(start: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=f"^start: {told}"):
        generals_env.make(start=start)


def test_spawn_distance_is_refused_beside_a_map() -> None:
    with pytest.raises(ConfigError, match=r"^start: expected None with a map"):
        generals_env.make(start=(2, 6), map="A...\n....\n....\n...B")
