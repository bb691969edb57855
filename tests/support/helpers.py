"""Helpers for games: scripted games, random play, a listener, and replay of records in the engine."""

from __future__ import annotations

import math
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pettingzoo import AECEnv

import generals_env
from generals_env.collector import Transition
from generals_env.engine.boards import copy_boards
from generals_env.engine.rules import turn as rules
from generals_env.recorders import ExperienceBatch

#: Seconds after which a test stops waiting. It only detects hangs: no test measures speed, as the machine may be busy.
PATIENCE = 600

DUEL = "A....\n.....\n.....\n....B"

#: player_0 has an army of 301 in turn 3, takes a general with the next move and the last general with four more.
RAID = "A -300 B .\n. . . .\n. . . .\n. . . C"
TEAM_RAID = "A -300 C .\n. . . .\n. . . .\nB . . D"
MARCH = "- - A00r"
TO_THE_LAST = "A02r A03d A13d A23d"


Options = dict[str, Any]
SIZES: list[Options] = [
    {"players": 2, "height": 6, "width": 7},
    {"players": 3, "height": (5, 6), "width": (5, 7)},
    {"players": 8, "height": 8, "width": 9},
]
KINDS = [*SIZES, {"players": 4, "height": 7, "width": 7, "teams": (0, 1, 0, 1)}]


def passing(env: Any) -> int:
    """Return the index of the pass."""
    return 8 * math.prod(env.unwrapped.config.shape)


def move(env: Any, text: str) -> tuple[str, int]:
    """Return agent and index of a move such as ``A03u``: player A from row 0, column 3, up."""
    height, width = env.state().shape[1:]
    action = 4 * (int(text[1]) * width + int(text[2])) + "udlr".index(text[3].lower())
    return f"player_{ord(text[0]) - ord('A')}", action + 4 * height * width * text[3].isupper()


def play(env: Any, script: str) -> Any:
    """Play a turn a word: ``-``, or moves joined by ``+`` (a capital direction sends half); players without a word pass.

    Returns:
        The result of the last ``step`` of a parallel environment; None for an AEC environment.
    """
    result = None
    for word in script.split():
        actions = dict.fromkeys(env.agents, passing(env))
        actions |= dict(move(env, text) for text in word.split("+") if text != "-")
        if not isinstance(env, AECEnv):
            result = env.step(actions)
        else:
            for _ in list(env.agents):
                agent = env.agent_selection
                env.step(None if env.terminations[agent] or env.truncations[agent] else actions[agent])
    return result


def step_all(env: Any, actions: dict[str, int]) -> Any:
    """Play a turn of either environment and return the result of a parallel ``step``; eliminated agents leave."""
    if not isinstance(env, AECEnv):
        return env.step(actions)
    for agent in list(env.agents):
        env.step(actions[agent])
    seen = {agent: env.observe(agent) for agent in env.agents}
    result = (seen, *map(dict, (env.rewards, env.terminations, env.truncations, env.infos)))
    while env.agents and (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
        env.step(None)
    return result


def idle(env: Any, turns: int) -> Any:
    """Let everybody pass for some turns; result as for ``play``."""
    return play(env, "- " * turns)


def any_legal(mask: np.ndarray, rng: np.random.Generator, passes: int = -1) -> int:
    """Return one of the actions that the mask allows, seldom the pass, whose index is the last one unless ``passes`` is."""
    legal = np.flatnonzero(mask)
    others = legal[legal != passes % len(mask)]
    return int(rng.choice(others if len(others) and rng.random() < 0.95 else legal))


def started(text: str = DUEL, script: str = "", **options: Any) -> Any:
    """Return a parallel environment on a map after some turns."""
    env = generals_env.parallel_env(map=text, **options)
    env.reset(seed=1)
    play(env, script)
    return env


def told(result: Any) -> tuple[list[float], list[bool], list[bool]]:
    """Return rewards, terminations and truncations of a turn."""
    return tuple(list(part.values()) for part in result[1:4])  # type: ignore[return-value]


def course_of(env: Any, seed: int, turns: int = 60) -> list[Any]:
    """Return all results of a parallel environment in a game with actions that depend on the seed."""
    rng = np.random.default_rng(seed)
    course: list[Any] = [env.reset(seed=seed), env.state()]
    while env.agents and len(course) < 2 * turns:
        masks = {agent: course[-2][0][agent]["action_mask"] for agent in env.agents}
        course += [env.step({agent: any_legal(mask, rng) for agent, mask in masks.items()}), env.state()]
    return course


def go_on(env: Any, agents: int) -> list[Any]:
    """Return all that an AEC environment gives from now on, a new game without a seed included."""
    rng = np.random.default_rng(9)
    course = []
    for _ in range(2):
        for agent in env.agent_iter(agents):
            course.append((agent, *env.last(), env.state()))
            over = course[-1][3] or course[-1][4]
            env.step(None if over else any_legal(course[-1][1]["action_mask"], rng))
        env.reset()
    return course


def play_on(env: Any, rng: np.random.Generator, turns: int = 1000) -> list[tuple[Any, ...]]:
    """Play, illegal actions included, and return one experience per row from the results of the environment."""
    log = []
    seen = {agent: env.unwrapped.game.observation(env.unwrapped.index[agent]) for agent in env.agents}
    for _ in range(turns):
        if not env.agents:
            break
        turn = env.unwrapped.game.turn
        actions = {agent: any_legal(view["action_mask"], rng) for agent, view in seen.items()}
        if rng.random() < 0.2:
            actions[env.agents[-1]] = int(rng.integers(passing(env)))
        following, rewards, terminated, truncated, infos = step_all(env, actions)
        for agent, action in actions.items():
            illegal = infos[agent]["illegal_action"]
            told = (rewards[agent], terminated[agent], truncated[agent])
            player = env.unwrapped.index[agent]
            log.append((player, turn, passing(env) if illegal else action, illegal, *told, seen[agent], following[agent]))
        seen = {agent: following[agent] for agent in env.agents}
    return log


def rewards_of(result: Any) -> Any:
    """Return the rewards of a turn, to be compared with others up to rounding."""
    return pytest.approx(list(result[1].values()), abs=1e-6)


def same(one: Any, other: Any) -> bool:
    """Return whether two results are equal to the last bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray) and one.dtype.names:  # the bytes between the fields mean nothing
        return bool(np.array_equal(one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    return bool(one == other)


class Listener:
    """A collector that keeps all its calls."""

    def __init__(self) -> None:
        self.turns: list[Transition] = []
        self.ends: list[int] = []

    def on_state_transition(self, transition: Transition) -> None:
        boards, continues, *columns = transition
        self.turns.append(Transition(copy_boards(boards), continues, *(column.copy() for column in columns)))

    def on_game_end(self) -> None:
        self.ends.append(len(self.turns))


def check_batches(batches: Iterable[ExperienceBatch]) -> int:
    """Check that the engine leads from each recorded board to the next, and other properties of all records.

    Returns:
        Number of experiences.
    """
    sequence, collected_at = 0, 0
    ended: set[tuple[str, int]] = set()
    for batch in batches:
        assert np.array_equal(batch.sequence, np.arange(sequence, sequence + len(batch)))
        sequence += len(batch)
        assert (np.diff(batch.collected_at, prepend=collected_at) >= 0).all()
        collected_at = batch.collected_at[-1]
        height, width = batch.shape
        boards = batch.unpacked()
        assert batch.action_masks()[np.arange(len(batch)), batch.action].all()
        assert (batch.action[batch.illegal] == 8 * height * width).all()
        assert np.isfinite(batch.reward).all()
        assert np.array_equal(batch.turn + 1, boards.games["turn"][batch.next_state_index])
        for before in np.unique(batch.state_index):
            players = np.flatnonzero(batch.state_index == before)
            after = np.unique(batch.next_state_index[players])
            assert len(after) == 1
            assert len(set(batch.player_id[players])) == len(players)
            actions = np.full(batch.players, 8 * height * width, np.int64)
            actions[batch.player_id[players]] = batch.action[players]
            board = copy_boards(boards, np.array([before]))
            illegal = np.zeros(len(actions), np.bool_)
            rules.advance(board, 0, actions, illegal)
            assert not illegal.any()
            assert same(board, copy_boards(boards, after))
        for game, player, over in zip(batch.game_id, batch.player_id, batch.terminated | batch.truncated, strict=True):
            assert (game, player) not in ended
            if over:
                ended.add((game, player))
    return sequence


def let_others_through(folder: Path) -> None:
    """Give other users access to a folder: the folders above it belong to this user only."""
    for place in (folder, *folder.parents):
        if place.exists() and place.stat().st_uid == 0 and not place.stat().st_mode & stat.S_IXOTH:
            place.chmod(place.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)


def wait_until(condition: Callable[[], Any]) -> None:
    """Wait until something is so, however long it takes."""
    limit = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < limit, f"expected {condition} to be so in {PATIENCE} s"
        time.sleep(0.005)


class Memory(list[ExperienceBatch]):
    """A sink that keeps the batches, and counts how often it was flushed and closed."""

    write = list.append
    flushed = 0
    closed = 0

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        self.closed += 1

    def column(self, name: str) -> np.ndarray:
        """Return a column, or the result of a method, of all batches."""
        parts = [getattr(batch, name) for batch in self]
        return np.concatenate([part() if callable(part) else part for part in parts])
