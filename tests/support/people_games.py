"""Makes replays by hand, and plays recorded games again in the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

import generals_env
from generals_env import replay
from generals_env.config import RewardConfig
from generals_env.learning.cloning import MoveStore, StoreOptions, games_of_replays
from generals_env.learning.cloning.people_games import PeopleGame, player_keys
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.people.human_replays import facts_of, play_parts
from support.paths import DATA

#: A board of 4 rows and 5 columns with generals in opposite corners, a mountain, and a city.
FIELDS: dict[str, Any] = {
    "version": 13,
    "mapWidth": 5,
    "mapHeight": 4,
    "cities": [7],
    "cityArmies": [40],
    "generals": [0, 19],
    "mountains": [12],
    "afks": [],
}


def hand_made(name: str, moves: list[list[int]], usernames: list[str] | None = None, **fields: Any) -> PeopleGame:
    """Return a game on the small board, as ``games_of_replays`` reads it from a file."""
    given = {**FIELDS, "id": name, "moves": moves, **fields} | ({"usernames": usernames} if usernames else {})
    game = replay.from_dict(given)
    parts = list(play_parts(game, RewardConfig().weights(), 0))
    shape = (game.height, game.width)
    batch = ExperienceBatch.concat([ExperienceBatch((name,), rows, boards, shape) for rows, boards in parts])
    keys, named = player_keys(game.names, name)
    winners = facts_of(game, name, parts[-1].boards)["winners"]
    return PeopleGame(name, batch, keys, named, game.stars, tuple(winners))


def store_of(*names: str, **options: Any) -> MoveStore:
    """Return the store of games in ``tests/data``."""
    return MoveStore.of(games_of_replays([DATA / f"{name}.json.gz" for name in names]), StoreOptions(**options))


def seen_by_environment(name: str, side: int) -> Iterator[tuple[int, npt.NDArray[Any], npt.NDArray[Any], list[int]]]:
    """Play a game of ``tests/data`` in the environment on a padded board.

    Yields:
        Turn, observations (P, C, side, side) and masks (P, A) before it, and the actions of the turn.
    """
    game = replay.load(DATA / f"{name}.json.gz")
    start = type(game.boards)._make(array[:1] for array in game.boards)
    rows, columns = (int(start.games[size][0]) for size in ("rows", "columns"))
    venv = generals_env.make_vec(1, start=start, height=side, width=side, observation="full", max_turns=10**4)
    views, _ = venv.reset(seed=0)
    for turn in range(game.turns):
        padded = [on_square(int(action), rows, columns, side) for action in game.actions[turn]]
        yield turn, views["observation"][0].copy(), views["action_mask"][0].copy(), padded
        views, *_ = venv.step(np.array([padded]))
    venv.close()


def on_square(action: int, rows: int, columns: int, side: int) -> int:
    """Return an action of a board of rows x columns on a square board that has it in its upper left corner."""
    if action == 8 * rows * columns:
        return 8 * side * side
    half, rest = divmod(action, 4 * rows * columns)
    tile, direction = divmod(rest, 4)
    row, column = divmod(tile, columns)
    return half * 4 * side * side + 4 * (row * side + column) + direction
