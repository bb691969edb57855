"""Measures generals-bots 2.6 (JAX) when asked: ``python generals_bots_jax.py GAMES SIDE``, with an interpreter that has jax.

All games advance in one compiled loop (``jit`` of ``scan`` of ``vmap``), for many turns a call; games that end, or are
truncated after 500 turns, are replaced from the library's pool of maps. What a turn hands out is carried from turn to turn:
otherwise the compiler would leave out the work for all turns but the last. Compiling is not measured with the turns.

The ways:

* ``masks``: the observations and masks of both players after each turn, moves drawn uniformly from the masks. The library's
  own random agent is several times slower than its game, so the moves are drawn here, row by row;
* ``tensors``: the same, with observations as the tensors of 14 channels that the library makes for networks;
* ``agent``: the same as ``masks``, with the library's random agent;
* ``given``: the observations of both players, for the moves of ``masks`` recorded before; no masks and no choices;
* ``passes``: both players pass and nothing is handed out, as in the library's own benchmark.
"""

from __future__ import annotations

import sys
import time
from functools import cache
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from answers import answer
from generals import GeneralsEnv, get_observation
from generals.agents import RandomAgent
from generals.core.action import compute_valid_move_mask_obs

GAMES, SIDE = int(sys.argv[1]), int(sys.argv[2])
POOL = 10_000  # maps, as in the library's own benchmark
TURNS = 50  # of each game in a call: short, so that both libraries are measured at nearly the same time
WAYS = ("masks", "tensors", "agent", "given", "passes")
PASS = jnp.broadcast_to(jnp.array([1, 0, 0, 0, 0]), (GAMES, 2, 5))

env = GeneralsEnv(grid_dims=(SIDE, SIDE), truncation=500, pool_size=POOL)
step = jax.vmap(env.step, in_axes=(0, 0, None))
mask_of = jax.vmap(jax.vmap(compute_valid_move_mask_obs))


class Games:
    """The games between two questions: states, what the last turn handed out, and the maps of new games."""

    def __init__(self) -> None:
        """Make the maps."""
        start = time.perf_counter()
        self.pool, _ = jax.block_until_ready(env.reset(jax.random.PRNGKey(0)))
        self.states = jax.jit(jax.vmap(env.init_state))(jax.random.split(jax.random.PRNGKey(1), GAMES))
        self.observations = jax.jit(jax.vmap(both))(self.states)
        self.key = jax.random.PRNGKey(2)
        jax.block_until_ready(self.observations)
        self.seconds = time.perf_counter() - start


def both(state: Any) -> Any:
    """Return the observations of both players of a game."""
    return jax.tree.map(lambda *fields: jnp.stack(fields), get_observation(state, 0), get_observation(state, 1))


@jax.vmap
@jax.vmap
def drawn(key: Any, mask: Any) -> Any:
    """Return a move drawn uniformly from whole moves, half moves and passing, from a mask of rows, columns and directions."""
    lines = mask.reshape(SIDE, 4 * SIDE)
    ends = jnp.cumsum(lines.sum(1, dtype=jnp.int32))
    ticket = jax.random.randint(key, (), 0, 2 * ends[-1] + 1)
    move = ticket // 2
    row = jnp.minimum((ends <= move).sum(), SIDE - 1)
    left = move - jnp.where(row > 0, ends[row - 1], 0)
    place = (jnp.cumsum(lines[row].astype(jnp.int32)) <= left).sum()
    return jnp.stack([ticket == 2 * ends[-1], row, place // 4, place % 4, ticket % 2]).astype(jnp.int32)


def handed_out(way: str, observations: Any) -> Any:
    """Return what a turn hands out in a way of playing."""
    if way == "passes":
        return ()
    if way == "given":
        return observations
    return observations.as_tensor() if way == "tensors" else observations, mask_of(observations)


def played(way: str, states: Any, observations: Any, key: Any, pool: Any, moves: Any) -> Any:
    """Play turns; return the states, what the last turn handed out, its observations, the key, and the moves of all turns."""

    def turn(carry: Any, given: Any) -> Any:
        states, out, seen, key = carry
        key, own = jax.random.split(key)
        keys = jax.random.split(own, (GAMES, 2))
        if way in ("masks", "tensors"):
            chosen = drawn(keys, out[1])
        elif way == "agent":
            chosen = jax.vmap(jax.vmap(RandomAgent().act))(seen, keys)
        else:
            chosen = given if way == "given" else PASS
        timestep, states = step(states, chosen, pool)
        # Only these two ways need the observations beside what is handed out.
        seen = timestep.observation if way in ("masks", "agent") else ()
        return (states, handed_out(way, timestep.observation), seen, key), chosen if way == "masks" else None

    seen = observations if way in ("masks", "agent") else ()
    return jax.lax.scan(turn, (states, handed_out(way, observations), seen, key), moves, length=TURNS)


@cache
def games() -> Games:
    """Return the games, which are made once."""
    return Games()


@cache
def compiled(way: str) -> Any:
    """Return the compiled function of a way, and the seconds that compiling took."""
    now = games()
    moves = jnp.zeros((TURNS, GAMES, 2, 5), jnp.int32) if way == "given" else None
    start = time.perf_counter()
    function = jax.jit(played, static_argnums=0).lower(way, now.states, now.observations, now.key, now.pool, moves).compile()
    return function, time.perf_counter() - start


def prepare() -> dict[str, float]:
    """Compile; return the seconds of the maps and of compiling, and the bytes that a turn of a game hands out."""
    result = {f"maps: {POOL:,} and {GAMES:,}, compiled and made": games().seconds}
    for way in WAYS:
        result[f"compiling: {way}"] = compiled(way)[1]
    return result


def turns() -> dict[str, float]:
    """Play the same turns in all ways, and go on from their end with the next question."""
    now = games()
    result: dict[str, float] = {}
    moves = None
    for way in WAYS:
        function, _ = compiled(way)
        start = time.perf_counter()
        carry, chosen = jax.block_until_ready(
            function(now.states, now.observations, now.key, now.pool, moves if way == "given" else None)
        )
        result[way] = GAMES * TURNS / (time.perf_counter() - start)
        if way == "masks":
            after, moves = carry, chosen
        elif way == "given" and not all(map(np.array_equal, jax.tree.leaves(carry[0]), jax.tree.leaves(after[0]))):
            raise RuntimeError("the same moves led to other games")
    now.states, _, now.observations, now.key = after
    return result


def copies() -> dict[str, float]:
    """Copy the arrays of a turn with masks, in the library's own form and as tensors."""
    result = {}
    for way in ("masks", "tensors"):
        arrays = [np.array(array) for array in jax.tree.leaves(handed_out(way, games().observations))]
        targets = [np.ones_like(array) for array in arrays]
        times = [time.perf_counter()]
        for _ in range(10):
            for target, array in zip(targets, arrays, strict=True):
                np.copyto(target, array)
            times.append(time.perf_counter())
        result[f"copy of {way}"] = GAMES / float(np.median([end - start for start, end in pairwise(times)]))
    return result


if __name__ == "__main__":
    answer({function.__name__: function for function in (prepare, turns, copies)})
