"""Makes batches of games without a recorder, and the facts that must be read back from them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

import numpy as np

import generals_env
from generals_env.engine.boards import Boards
from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.packed.packing import pack, unpack
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.recipe import Recipe
from support.helpers import Listener, any_legal

#: Armies too large for 16 bits beside their owner.
WIDE = "A +9000 . . .\n+9000 . # . .\n. . . . .\n. . . +70000 .\n. . . +70000 B"

#: Armies for castles next to both generals.
CASTLES = "A -300 . . . .\n-60 . # . . .\n. . . $3 . .\n. # . . . -90\n. . . . -300 B"

#: Options of the recorded games of one kind.
GAMES: dict[str, dict[str, Any]] = {
    "two players": {"height": 6, "width": 7, "max_turns": 70},
    "smaller": {"height": 5, "width": 5, "max_turns": 40},
    "padded torus": {"players": 3, "height": (5, 6), "width": (6, 8), "modifiers": ("torus",), "surrenders": True},
    "teams": {"players": 4, "height": 7, "width": 7, "teams": (0, 1, 0, 1), "surrenders": True},
    "eight players": {"players": 8, "height": 8, "width": 9, "surrenders": True},
    "sixteen players": {"players": 16, "height": 13, "width": 13, "turns": 40},
    "wide armies": {"map": WIDE},
    "one seat": {"height": 6, "width": 6, "seat": 1},
    "frames": {"height": 6, "width": 7, "players": 3, "recipe": Recipe(frames=3), "surrenders": True},
    "frames of one seat": {"height": 6, "width": 6, "seat": 0, "recipe": Recipe(frames=4)},
    "builds": {"rules": "competition", "map": CASTLES, "touch_turn": 30, "max_turns": 90},
    "remembered builds": {"rules": "competition", "map": CASTLES, "touch_turn": 0, "recipe": Recipe("full", True, 2)},
    "memory": {"height": 6, "width": 7, "max_turns": 50, "recipe": Recipe("full", memory=True, frames=2)},
}

#: Of experiences that no other run has recorded.
_sequences = count()


def record_game(
    seed: int,
    turns: int = 90,
    *,
    name: str | None = None,
    seat: int | None = None,
    recipe: Recipe = Recipe(),  # noqa: B008 - it never changes
    surrenders: bool = False,
    **options: Any,
) -> ExperienceBatch:
    """Play a game at random and return all its experiences, players of a turn one after another.

    Args:
        seed: Of the map and the actions.
        turns: At most.
        name: Of the game.
        seat: The only player to take experiences of.
        recipe: How observations are made of the boards.
        surrenders: Whether players give up at times: the board before that turn differs from the one after the last turn.
        **options: Of the environment.
    """
    env, listener, rng = generals_env.parallel_env(**options), Listener(), np.random.default_rng(seed)
    env.unwrapped.game.collectors = [listener]
    views, _ = env.reset(seed=seed)
    for _ in range(turns):
        if not env.agents:
            break
        living = [agent for agent in env.agents if env.unwrapped.game.boards.players[1, env.unwrapped.index[agent]]["alive"]]
        if surrenders and len(living) > 2 and rng.random() < 0.05:
            env.surrender(living[int(rng.integers(len(living)))])
        passes = 8 * math.prod(env.unwrapped.config.shape)
        views, *_ = env.step({agent: any_legal(views[agent]["action_mask"], rng, passes) for agent in env.agents})
    boards: list[Boards] = []
    previous, rows = [], []
    for number, (two, continues, active, *columns) in enumerate(listener.turns):
        if not continues:
            boards.append(Boards._make(array[:1] for array in two))
            previous.append(-1)
        boards.append(Boards._make(array[1:] for array in two))
        previous.append(len(boards) - 2)
        for player in np.flatnonzero(active if seat is None else active & (np.arange(len(active)) == seat)).tolist():
            action, illegal, reward, terminated, truncated = (column[player] for column in columns)
            row = np.zeros((), EXPERIENCE)
            row["sequence"], row["collected_at"], row["steps"] = next(_sequences), 10**18 + 1000 * number, 1
            row["state_index"], row["next_state_index"] = len(boards) - 2, len(boards) - 1
            row["player_id"], row["action"], row["reward"], row["illegal"] = player, action, reward, illegal
            row["terminated"], row["truncated"] = terminated, truncated
            rows.append(row)
    packed = pack(Boards._make(np.concatenate(arrays) for arrays in zip(*boards, strict=True)))
    packed.entries["previous"] = previous
    height, width = (int(packed.games[0][side]) for side in ("height", "width"))
    if recipe.memory:
        packed = packed._replace(memory=np.empty((len(boards), packed.players.shape[1], height * width), np.uint16))
        recall_rows(packed, height, 0, len(boards))
    game = f"game-{seed}" if name is None else name
    recipe = replace(recipe, builds=options.get("rules") == "competition")
    return ExperienceBatch((game,), np.stack(rows), packed, (height, width), recipe, metadata={"seed": "several"})


@cache
def games_of(kind: str, number: int = 6) -> list[ExperienceBatch]:
    """Return whole games of a kind of ``GAMES``."""
    return [record_game(seed, **GAMES[kind]) for seed in range(number)]


def cut(batch: ExperienceBatch, size: int) -> Iterator[ExperienceBatch]:
    """Yield the experiences of a batch, ``size`` at a time, with the boards that they need."""
    for low in range(0, len(batch), size):
        yield batch.select(np.arange(low, min(low + size, len(batch))))


def interleaved(
    rng: np.random.Generator, games: list[ExperienceBatch], most: int = 60, turns: bool = False
) -> Iterator[ExperienceBatch]:
    """Yield parts of games, in the order of each, as several recorders write them; of whole ``turns`` or not."""
    places = [0] * len(games)
    while left := [number for number, place in enumerate(places) if place < len(games[number])]:
        number = int(rng.choice(left))
        low = places[number]
        places[number] = min(low + int(rng.integers(1, most)), len(games[number]))
        while turns and places[number] < len(games[number]) and len(set(games[number].turn[places[number] - 1 :][:2])) == 1:
            places[number] += 1
        yield games[number].select(np.arange(low, places[number]))


Facts = list[tuple[Any, ...]]

#: Columns that are kept as they are.
COLUMNS = ("sequence", "collected_at", "action", "reward", "steps", "player_id", "illegal", "terminated", "truncated")


def digests(array: np.ndarray) -> list[bytes]:
    """Return a hash of each row of an array."""
    return [hashlib.blake2b(row.tobytes(), digest_size=12).digest() for row in np.ascontiguousarray(array)]


def board_digests(batch: ExperienceBatch, index: np.ndarray) -> list[bytes]:
    """Return a hash of all that is known of each board."""
    boards = unpack(batch.boards, index)
    columns = [boards.owner, boards.army, boards.terrain]
    columns += [np.ascontiguousarray(boards.players[name]) for name in boards.players.dtype.names or ()]
    columns += [np.ascontiguousarray(boards.games[name])[:, None] for name in boards.games.dtype.names or ()]
    flat = [np.ascontiguousarray(column).view(np.uint8).reshape(len(index), -1) for column in columns]
    return digests(np.concatenate(flat, axis=1))


def facts(batch: ExperienceBatch) -> Facts:
    """Return all facts of each experience; equal for equal experiences, independent of their batch."""
    return list(
        zip(
            [batch.game_ids[game] for game in batch.game.tolist()],
            batch.turn.tolist(),
            *(batch.rows[name].tolist() for name in COLUMNS),
            board_digests(batch, batch.state_index),
            board_digests(batch, batch.next_state_index),
            digests(batch.states()),
            digests(batch.next_states()),
            digests(batch.action_masks()),
            digests(batch.next_action_masks()),
            strict=True,
        )
    )


class Oracle:
    """The expected contents of a buffer of ``capacity`` experiences, as a list."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held: list[tuple[ExperienceBatch, int]] = []
        self.added = self.dropped = self.removed = 0
        self._known: dict[tuple[int, tuple[int, int]], tuple[ExperienceBatch, Facts]] = {}

    def write(self, batch: ExperienceBatch) -> None:
        self.added += len(batch)
        self.held += [(batch, number) for number in range(len(batch))]
        over = max(len(self.held) - self.capacity, 0)
        self.dropped += over
        del self.held[:over]

    def clear(self) -> None:
        self.removed += len(self.held)
        self.held.clear()

    def facts(self, shape: tuple[int, int]) -> Facts:
        """Return the facts of all that is held, on boards of a shape."""
        for batch, _ in self.held:
            if (id(batch), shape) not in self._known:  # the batch is kept, so that no other gets its id
                self._known[id(batch), shape] = batch, facts(batch.padded(*shape))
        return [self._known[id(batch), shape][1][number] for batch, number in self.held]

    def rewards(self) -> np.ndarray:
        return np.array([batch.reward[number] for batch, number in self.held], np.float32)

    def games(self) -> set[str]:
        return {batch.game_ids[batch.game[number]] for batch, number in self.held}


def renamed(batch: ExperienceBatch, name: str, sequence: int) -> ExperienceBatch:
    """Return a batch of one game as one of another name, with sequence numbers from ``sequence`` on."""
    rows = batch.rows.copy()
    rows["sequence"] = np.arange(sequence, sequence + len(batch))
    return replace(batch, game_ids=(name,), rows=rows)


def spread(batch: ExperienceBatch) -> ExperienceBatch:
    """Return the same experiences, each with boards of its own, as samplers give them."""
    return replace(ExperienceBatch.concat(list(cut(batch, 1))), game_ids=batch.game_ids)
