"""Tests the maps of the competition: the guarantees of their generator, and statistics of its own maps."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from support.competition_traces import read_file

from generals_env.bridge.competition_boards import MOUNTAIN_NUMBER
from generals_env.config import GameConfig
from generals_env.engine.boards import CITY, NEUTRAL, Boards
from generals_env.engine.rules.map_generator import generate_map

MAPS = 150


def grid_of(boards: Boards) -> np.ndarray:
    """Return the grid of the first board, without padding, as ``board_of`` reads it."""
    game = boards.games[0]
    numbers = np.where(boards.owner[0] < NEUTRAL, MOUNTAIN_NUMBER, np.where(boards.terrain[0] == CITY, boards.army[0], 0))
    for player in range(boards.players.shape[1]):
        numbers[boards.players[0, player]["general"]] = player + 1
    return numbers.reshape(int(game["height"]), int(game["width"]))[: int(game["rows"]), : int(game["columns"])]


def drawn(count: int, seed: int, **options: Any) -> list[np.ndarray]:
    """Return grids of new maps."""
    config = GameConfig.from_options(rules="competition", **options)
    boards, rng = config.empty_boards(1), np.array([seed], np.uint64)
    grids = []
    for _ in range(count):
        assert generate_map(boards, 0, rng, *config.map_parameters())
        grids.append(grid_of(boards))
    return grids


def steps_from(grid: np.ndarray, start: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Return the number of steps to each tile that can be reached."""
    steps, waiting = {start: 0}, deque([start])
    while waiting:
        row, column = waiting.popleft()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if near not in steps and 0 <= near[0] < grid.shape[0] and 0 <= near[1] < grid.shape[1] and grid[near] != -2:
                steps[near] = steps[row, column] + 1
                waiting.append(near)
    return steps


def measures(grid: np.ndarray) -> dict[str, float]:
    """Return what is compared of a map."""
    homes = [tuple(int(k) for k in np.argwhere(grid == number)[0]) for number in (1, 2)]
    steps = [steps_from(grid, (home[0], home[1])) for home in homes]
    rooms = [sum(0 < distance <= 7 for distance in reached.values()) for reached in steps]
    return {
        "rows": grid.shape[0],
        "columns": grid.shape[1],
        "mountains": float((grid == -2).mean()),
        "apart": steps[0][homes[1]],
        "gap": abs(rooms[0] - rooms[1]),
        "room": sum(rooms) / 2,
        "reached": len(steps[0]) / float((grid != -2).sum()),
        "reach": max(steps[0].values()),
    }


def test_competition_maps_keep_their_guarantees() -> None:
    found = [measures(grid) for grid in drawn(MAPS, 1)]
    sizes = {(measure["rows"], measure["columns"]) for measure in found}
    assert {rows for rows, _ in sizes} == {columns for _, columns in sizes} == {18, 19, 20, 21}
    assert len(sizes) > 10  # rows and columns are drawn independently
    for measure in found:
        area = measure["rows"] * measure["columns"]
        mountains = round(measure["mountains"] * area)
        assert int(0.24 * area) - 11 <= mountains <= min(int(0.26 * area), area // 4) - 9
        assert measure["apart"] >= 17
        assert measure["gap"] <= 5


@pytest.mark.parametrize("size", [4, (5, 7), 12, (30, 34), 64])
def test_competition_maps_exist_on_boards_of_other_sizes(size: Any) -> None:
    for grid in drawn(4 if size == 64 else 25, 2, height=size, width=size):
        measure = measures(grid)  # there is a path between the generals
        assert measure["apart"] >= 1
        if grid.size >= 144:
            sides = sum(grid.shape)
            assert measure["apart"] >= 17 * sides // min(max(sides, 36), 42)
            assert 0.19 < measure["mountains"] < 0.25


def test_competition_maps_have_the_statistics_of_its_own() -> None:
    theirs = [measures(np.array(one["grid"]).reshape(one["h"], one["w"])) for one in read_file("maps.json.gz")]
    ours = [measures(grid) for grid in drawn(300, 3)]
    for name in theirs[0]:
        one, other = (np.array([measure[name] for measure in found]) for found in (theirs, ours))
        error = np.sqrt(one.var() / len(one) + other.var() / len(other))
        assert abs(one.mean() - other.mean()) < 4 * error, (name, one.mean(), other.mean())
