"""Defines how an engine under test is called, and reads its boards.

An engine under test is a callable that gets a ``Setup`` and returns an object with the attributes ``owner`` and ``army`` and
the method ``step(actions)``. ``docs/conformance.md`` lists the optional parts; a part that is missing is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.bridge.named_objects import load_callable

__all__ = ["EngineFactory", "EngineFailed", "ReplayActions", "Setup", "View", "load_engine", "view_of"]

#: Rows of codes that ``View.owner`` may hold: observatories are -6, players go up to 15.
MIN_OWNER, MAX_OWNER = -6, 15


@dataclass(frozen=True)
class Setup:
    """The position at which an engine under test begins a game.

    Attributes:
        rules: ``"replay"`` or ``"competition"``.
        version: Version of the replay format, which determines the order of moves; 0 with the rules of the competition.
        height: H.
        width: W.
        players: P.
        owner: (H*W,) int64: -1 neutral, -2 mountain, -5 lookout, -6 observatory, or a player.
        army: (H*W,) int64.
        terrain: (H*W,) int64: 0 plain, 1 general, 2 city or castle, 3 mountain, 4 swamp, 5 desert, 6 lookout, 7 observatory.
        generals: Tile of each player's general; -1 for a player who never spawned.
        teams: Number of each player's team.
        modifiers: Numbers of the active modifiers of the replay format.
        turn: Turns played before this position.
        touch_turn: Turn from which a touch of the general wins, with the rules of the competition; -1 otherwise.
        max_turns: Turn at which the game is cut off, with the rules of the competition; -1 otherwise.
    """

    rules: str
    version: int
    height: int
    width: int
    players: int
    owner: npt.NDArray[np.int64]
    army: npt.NDArray[np.int64]
    terrain: npt.NDArray[np.int64]
    generals: tuple[int, ...]
    teams: tuple[int, ...]
    modifiers: tuple[int, ...] = ()
    turn: int = 0
    touch_turn: int = -1
    max_turns: int = -1


class ReplayActions(NamedTuple):
    """What the players of a recorded game did before one turn.

    Attributes:
        left: Players who leave before the moves of this turn, in order: a living one dies, the land of a dead one goes to a
            team-mate or turns neutral.
        moves: Moves that enter the queues of their players now, in order: player, start, end, half.
    """

    left: tuple[int, ...]
    moves: tuple[tuple[int, int, int, int], ...]


#: Makes an engine under test from a ``Setup``.
EngineFactory = Callable[[Setup], Any]


class EngineFailed(Exception):  # noqa: N818 - never leaves this package: it becomes a verdict
    """An engine under test raised an exception or returned something that is no board."""


@dataclass(frozen=True)
class View:
    """The board of an engine after a turn; parts that the engine does not tell are None.

    Attributes:
        owner: (H*W,) int64.
        army: (H*W,) int64.
        castle: (H*W,) uint8, 1 for castles built.
        alive: (P,) bool.
        cities: Sorted tile numbers of cities and captured generals.
        generals: Tile of each player's general, -1 once lost.
        over: Whether the game is over.
        winner: The player who won, -1 for a draw or a running game.
        truncated: Whether the game was cut off.
        visible: Returns the tiles that a player sees, (H*W,) bool.
    """

    owner: npt.NDArray[np.int64]
    army: npt.NDArray[np.int64]
    castle: npt.NDArray[np.uint8] | None = None
    alive: npt.NDArray[np.bool_] | None = None
    cities: list[int] | None = None
    generals: list[int] | None = None
    over: bool | None = None
    winner: int | None = None
    truncated: bool | None = None
    visible: Callable[[int], npt.NDArray[np.bool_]] | None = None


def load_engine(name: str) -> EngineFactory:
    """Return the callable that ``module:callable`` names; modules of the current folder are found, too.

    Raises:
        ConfigError: If the module cannot be imported, or has no such callable.
    """
    return load_callable("engine", name)


def view_of(engine: Any, setup: Setup) -> View:
    """Return the board of an engine under test.

    Raises:
        EngineFailed: If an attribute is missing or has another form.
    """
    count, players = setup.height * setup.width, setup.players
    over, winner, truncated = (getattr(engine, name, None) for name in ("over", "winner", "truncated"))
    castle, alive = (getattr(engine, name, None) for name in ("castle", "alive"))
    cities, generals = (getattr(engine, name, None) for name in ("cities", "generals"))
    see = getattr(engine, "visible", None)
    return View(
        owner=numbers(engine, "owner", count, MIN_OWNER, MAX_OWNER),
        army=numbers(engine, "army", count, -(2**31), 2**31 - 1),
        castle=None if castle is None else numbers(engine, "castle", count, 0, 1).astype(np.uint8),
        alive=None if alive is None else numbers(engine, "alive", players, 0, 1).astype(np.bool_),
        cities=None if cities is None else sorted(numbers(engine, "cities", len(cities), 0, count - 1).tolist()),
        generals=None if generals is None else numbers(engine, "generals", players, -1, count - 1).tolist(),
        over=None if over is None else bool(over),
        winner=None if winner is None else int(winner),
        truncated=None if truncated is None else bool(truncated),
        visible=None if see is None else lambda player: seen(see, player, count),
    )


def numbers(engine: Any, name: str, count: int, minimum: int, maximum: int) -> npt.NDArray[np.int64]:
    """Return an attribute of an engine under test as (count,) int64; also (H, W) is accepted, and None in place of -1.

    Raises:
        EngineFailed: If it is missing, has another size, or holds other numbers.
    """
    value = getattr(engine, name, None)
    if value is None:
        raise EngineFailed(f"{name}: expected an attribute with {count} integers, got none")
    if isinstance(value, Sequence | Set):
        value = [-1 if item is None else item for item in value]
    try:
        array = np.asarray(value)
    except ValueError as error:  # ragged lists
        raise EngineFailed(f"{name}: expected {count} integers, got {error}") from error
    if array.size != count or (count and array.dtype.kind not in "biu"):
        raise EngineFailed(f"{name}: expected {count} integers, got {array.dtype} of shape {array.shape}")
    array = array.astype(np.int64).ravel()
    if count and not (minimum <= array.min() and array.max() <= maximum):
        raise EngineFailed(f"{name}: expected integers from {minimum} to {maximum}, got {array.min()} to {array.max()}")
    return array


def seen(see: Callable[[int], Any], player: int, count: int) -> npt.NDArray[np.bool_]:
    """Return what ``visible`` of an engine under test says, (count,) bool.

    Raises:
        EngineFailed: If it has another size.
    """
    array = np.asarray(see(player)).astype(np.bool_).ravel()
    if array.size != count:
        raise EngineFailed(f"visible: expected {count} bools, got {array.size}")
    return array
