"""Tests 10,000 random maps with a slow search in plain Python: connected, fair and of the requested size."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest

import generals_env
from generals_env.engine.boards import CITY, GENERAL, MOUNTAIN, PLAIN, Boards
from generals_env.engine.rules import map_generator as maps
from generals_env.errors import ConfigError

KINDS = [  # players, rows, columns, padded to rows, columns, games
    (2, 20, 20, 20, 20, 4000),
    (2, 8, 8, 8, 8, 2000),
    (2, 10, 18, 20, 20, 1500),
    (3, 16, 16, 16, 16, 1000),
    (8, 23, 23, 23, 23, 600),
    (4, 15, 25, 15, 25, 600),
    (16, 24, 24, 24, 24, 100),
    (2, 4, 4, 4, 4, 150),
    (2, 4, 40, 4, 40, 50),
]


def steps_from(terrain: np.ndarray, origin: tuple[int, int], through: set[int]) -> dict[tuple[int, int], int]:
    rows, columns = terrain.shape
    steps = {origin: 0}
    queue = deque([origin])
    while queue:
        row, column = queue.popleft()
        for place in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            inside = 0 <= place[0] < rows and 0 <= place[1] < columns
            if inside and place not in steps and int(terrain[place]) in through:
                steps[place] = steps[row, column] + 1
                queue.append(place)
    return steps


def check_map(boards: Boards, players: int, rows: int, columns: int) -> None:
    width = int(boards.games[0]["width"])
    terrain = boards.terrain[0].reshape(-1, width)[:rows, :columns]
    seats = [divmod(int(tile), width) for tile in boards.players["general"][0]]
    ground = int((terrain != MOUNTAIN).sum())
    assert 0.15 - 1e-9 <= 1 - ground / (rows * columns) <= 0.25 + 1e-9
    walks = [steps_from(terrain, seat, {PLAIN, GENERAL, CITY}) for seat in seats]
    assert len(walks[0]) == ground, "some ground cannot be reached"
    around_cities = steps_from(terrain, seats[0], {PLAIN, GENERAL})
    assert len(around_cities) == ground - int((terrain == CITY).sum()), "some ground lies behind a city"
    apart = maps.min_distance.py_func(rows, columns, players)
    assert all(walks[a][seats[b]] >= apart for a in range(players) for b in range(a))
    radius = max(apart // 2, 2)
    rooms = [sum(steps <= radius for steps in walk.values()) for walk in walks]
    assert max(rooms) - min(rooms) <= maps.ROOM_TOLERANCE * max(rooms)
    near, nearest = [0] * players, [0] * players
    for place in zip(*(axis.tolist() for axis in np.nonzero(terrain == CITY)), strict=True):
        distances = [walk[place] for walk in walks]
        for player, distance in enumerate(distances):
            near[player] += distance <= radius
            nearest[player] += distance == min(distances) and distances.count(distance) == 1
    assert len(set(near)) == 1
    assert len(set(nearest)) == 1
    armies = boards.army[0][boards.terrain[0] == CITY]
    assert ((armies >= 40) & (armies <= 50)).all()
    assert (boards.terrain[0].reshape(-1, width)[rows:] == MOUNTAIN).all()
    assert (boards.terrain[0].reshape(-1, width)[:, columns:] == MOUNTAIN).all()


@pytest.mark.parametrize(("players", "rows", "columns", "height", "width", "games"), KINDS)
def test_maps_are_connected_and_fair(players: int, rows: int, columns: int, height: int, width: int, games: int) -> None:
    config = generals_env.GameConfig.from_options(players=players, height=(rows, height), width=(columns, width))
    boards = config.empty_boards(1)
    rng = np.array([players * 1000 + rows], np.uint64)
    _, densities = config.map_parameters()
    sizes = np.array([rows, rows, columns, columns, 0, 0], np.int64)
    cities = 0
    for _ in range(games):
        assert maps.generate_map(boards, 0, rng, sizes, densities)
        check_map(boards, players, rows, columns)
        cities += int((boards.terrain == CITY).sum())
    wanted = round(config.city_share * rows * columns)
    if rows * columns >= 20 * 20 and players <= 3:
        assert cities / games > 0.95 * wanted


def test_map_sizes_are_drawn_from_whole_range() -> None:
    env = generals_env.parallel_env(height=(8, 10), width=(9, 11))
    env.reset(seed=0)
    seen = set()
    for _ in range(100):
        env.reset()
        game = env.board().games[0]
        seen.add((int(game["rows"]), int(game["columns"])))
    assert seen == {(rows, columns) for rows in (8, 9, 10) for columns in (9, 10, 11)}


def test_player_positions_are_random() -> None:
    # No player has a side of the board: over many maps each one is on the left as often as on the right.
    env = generals_env.parallel_env(height=12, width=12)
    env.reset(seed=1)
    left = 0
    for _ in range(400):
        env.reset()
        left += int(env.board().players["general"][0, 0]) % 12 < 6
    assert 150 < left < 250


def test_impossible_map_is_refused_at_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    # No options are known for which the search fails; its error text is tested all the same.
    env = generals_env.parallel_env(mountain_density=0.3)
    monkeypatch.setattr("generals_env.game.generate_map", lambda *_: False)
    with pytest.raises(ConfigError, match=r"mountain_density: expected room for a fair map, found none in 2000 tries, got 0.3"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("players", "height", "width"), [(8, 4, 16), (16, 4, 32), (8, 8, 8), (2, 4, 64), (2, 4, 4), (2, 64, 64), (16, 8, 16)]
)
def test_hardest_accepted_options_have_maps(players: int, height: int, width: int) -> None:
    env = generals_env.parallel_env(players=players, height=height, width=width, mountain_density=0.3)
    for seed in range(20):
        env.reset(seed=seed)
        assert (env.board().players["general"] >= 0).all()
