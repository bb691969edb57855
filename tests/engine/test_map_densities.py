"""Tests that mountain_density and city_density set the shares of mountains and cities, counted over many maps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import generals_env
from generals_env import GameConfig
from generals_env.engine.boards import CITY, MOUNTAIN
from generals_env.engine.rules.map_generator import generate_map
from generals_env.operations.settings.load import load_settings
from generals_env.operations.settings.options import game_options

MAPS = 400
AREA = 20 * 20

#: Two players on 20x20 boards have room for all cities up to this share; the search for fair tiles fails more often above it.
ROOMY = 0.1


def terrains_of_vector(**options: Any) -> np.ndarray:
    """Return the terrain of many new games of one vector environment."""
    env = generals_env.make_vec(MAPS, **options)
    env.reset(seed=1)
    terrain = env.boards().terrain.copy()
    env.close()
    return terrain


def terrains_of_config(**options: Any) -> np.ndarray:
    """Return the terrain of many maps that a configuration describes, each with a seed of its own."""
    config = GameConfig.from_options(**options)
    boards = config.empty_boards(1)
    terrain = []
    for seed in range(MAPS):
        assert generate_map(boards, 0, np.array([seed], np.uint64), *config.map_parameters())
        terrain.append(boards.terrain[0].copy())
    return np.stack(terrain)


def terrains_of_one_game(**options: Any) -> np.ndarray:
    """Return the terrain of one game that is reset again and again, each time with another seed."""
    env = generals_env.parallel_env(**options)
    terrain = []
    for seed in range(MAPS):
        env.reset(seed=seed)
        terrain.append(env.board().terrain[0].copy())
    return np.stack(terrain)


def terrains_of_settings(**options: Any) -> np.ndarray:
    """Return the terrain of games that the settings of ``generals-env run`` describe, as a file has them."""
    lines = [f"    {name}: {list(share) if isinstance(share, tuple) else share}" for name, share in options.items()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experience.yaml"
        path.write_text("\n".join(["experience:", "  games:", *lines, ""]), encoding="utf-8")
        settings = load_settings(path, environment={})
    return terrains_of_vector(**game_options(settings.games, settings.rewards))


Terrains = Callable[..., np.ndarray]
WAYS = [
    pytest.param(terrains_of_config, id="GameConfig"),
    pytest.param(terrains_of_one_game, id="parallel_env"),
    pytest.param(terrains_of_vector, id="make_vec"),
    pytest.param(terrains_of_settings, id="settings"),
]


def counted(terrain: np.ndarray, kind: int) -> np.ndarray:
    """Return the number of tiles of a kind in each map, after checking that the maps differ."""
    assert len(np.unique(terrain, axis=0)) == MAPS
    return (terrain == kind).sum(axis=1)


@pytest.mark.checklist("K12")
@pytest.mark.parametrize("terrains", WAYS)
def test_mountain_density_is_the_share_of_mountains(terrains: Terrains) -> None:
    for share in (0.0, 0.05, 0.1, 0.2, 0.3):
        assert counted(terrains(mountain_density=share), MOUNTAIN).tolist() == [round(share * AREA)] * MAPS


@pytest.mark.checklist("K12")
@pytest.mark.parametrize("terrains", WAYS)
def test_mountain_density_range_is_drawn_evenly(terrains: Terrains) -> None:
    low, high = 0.05, 0.25
    found = counted(terrains(mountain_density=(low, high)), MOUNTAIN) / AREA
    assert low <= found.min() < low + 0.02
    assert high - 0.02 < found.max() <= high
    deviation = (high - low) / 12**0.5
    assert abs(found.mean() - (low + high) / 2) < 4 * deviation / MAPS**0.5
    assert found.std() == pytest.approx(deviation, rel=0.15)


@pytest.mark.checklist("K12")
@pytest.mark.parametrize("terrains", WAYS)
def test_city_density_is_the_share_of_cities(terrains: Terrains) -> None:
    means = []
    for share in (0.0, 0.01, 0.02, 0.05, ROOMY, 0.15, 0.2):
        found = counted(terrains(city_density=share, mountain_density=0.15), CITY)
        assert found.max() <= round(share * AREA)
        if share <= ROOMY:
            assert found.mean() > round(share * AREA) - 1
        means.append(float(found.mean()))
    assert all(np.diff(means) > 0), means
    assert means[-1] > 0.9 * 0.2 * AREA


@pytest.mark.checklist("K12")
def test_city_density_without_a_value_is_that_of_the_live_game() -> None:
    for players in (2, 3):
        found = counted(terrains_of_vector(players=players), CITY) / AREA
        assert found.mean() == pytest.approx(0.02 + 0.003 * players, abs=1 / AREA)
