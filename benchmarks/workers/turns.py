"""Measures turns a second of one build when asked: ``python turns.py GAMES SIDE``.

It uses only functions that older builds have as well, so that the same script measures two builds. All functions begin the
same games, so that each call of each build does the same work.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from answers import answer

import generals_env

GAMES, SIDE = int(sys.argv[1]), int(sys.argv[2])
RANDOM = ("random", "random")
CALL = 512  # turns of a call of play
WHOLE = 2 * CALL  # as long as a game that is truncated: a turn costs more with more land
BEGUN = 250  # turns after which single turns are measured, as the first turns of a game are cheap

Tensors = Callable[[dict[str, Any]], Any]


@cache
def games(observation: str = "standard", threads: int | None = None, rules: str = "live") -> Any:
    """Return the environment, which is made once."""
    return generals_env.make_vec(
        GAMES, height=SIDE, width=SIDE, copy=False, observation=observation, threads=threads, rules=rules
    )


def learner() -> tuple[Any, Tensors]:
    """Return an environment, and a function that makes what a policy takes of its observations.

    That is one float32 tensor of 21 channels for all players of all games, channels last. Where the observations lie in this
    order in memory, torch copies nothing.
    """
    import torch

    def tensors(observations: dict[str, Any]) -> Any:
        planes = torch.from_numpy(observations["observation"]).flatten(0, 1)
        return planes.to(memory_format=torch.channels_last)

    return games("full"), tensors


def play(policy: str) -> dict[str, float]:
    """Play whole games in calls of many turns."""
    venv = games()
    venv.reset(seed=1)
    start = time.perf_counter()
    for _ in range(WHOLE // CALL):
        venv.play(CALL, (policy, policy))
    return {f"play, {CALL} turns a call, {policy}": GAMES * WHOLE / (time.perf_counter() - start)}


def turn_by_turn(turns: int) -> dict[str, float]:
    """Play one turn of all games a call."""
    venv = begun(games())
    start = time.perf_counter()
    for _ in range(turns):
        venv.play(1, RANDOM)
    return {"play, a call a turn, random": GAMES * turns / (time.perf_counter() - start)}


def step(turns: int) -> dict[str, float]:
    """Step with legal actions; the time of ``step`` alone, and with that of ``act``, which chose them."""
    venv = begun(games())
    alone = 0.0
    first = time.perf_counter()
    for _ in range(turns):
        actions = venv.act(RANDOM)
        start = time.perf_counter()
        venv.step(actions)
        alone += time.perf_counter() - start
    both = time.perf_counter() - first
    return {"step(copy=False), given actions": GAMES * turns / alone, "act and step(copy=False)": GAMES * turns / both}


def learn(turns: int) -> dict[str, float]:
    """Step until the tensors of a policy stand; the speed, and its share of that of one plain copy of as many bytes."""
    venv, tensors = learner()
    begun(venv)
    seconds = 0.0
    for _ in range(turns):
        actions = venv.act(RANDOM)
        start = time.perf_counter()
        batch = tensors(venv.step(actions)[0])
        seconds += time.perf_counter() - start
    share = 100 * copy_seconds([batch.numel() * batch.element_size()]) / (seconds / turns)
    return {
        "step until tensors of 21 channels stand": GAMES * turns / seconds,
        "the same, % of the speed of a plain copy": share,
    }


def one_thread(turns: int) -> dict[str, float]:
    """Play and step on one thread, by its CPU time: other processes change that less than the time of a clock."""
    venv = games(threads=1)
    rates = {}
    for policy in ("random", "expander", "hunter"):
        venv.reset(seed=1)
        start = time.thread_time()
        venv.play(CALL, (policy, policy))
        rates[f"play, {policy}"] = GAMES * CALL / (time.thread_time() - start)
    begun(venv)
    times = [0.0, 0.0]
    for _ in range(turns):
        start = time.thread_time()
        actions = venv.act(RANDOM)
        middle = time.thread_time()
        venv.step(actions)
        times = [times[0] + middle - start, times[1] + time.thread_time() - middle]
    rates["act"], rates["step(copy=False)"] = (GAMES * turns / seconds for seconds in times)
    return {f"{name}, a second of CPU of one thread": rate for name, rate in rates.items()}


def rules(turns: int) -> dict[str, float]:
    """Play and step with the rules of the competition and with the live rules, by the CPU time of one thread, in turn.

    Expanders play whole games. Given actions are those of the random policy, and in games of the competition a tenth of those
    who may build a castle build one.
    """
    times: dict[str, list[float]] = {name: [0.0, 0.0] for name in ("competition", "live")}
    rng = np.random.default_rng(1)
    for name, seconds in times.items():
        venv = games(threads=1, rules=name)
        venv.reset(seed=1)
        start = time.thread_time()
        venv.play(CALL, ("expander", "expander"))
        seconds[0] = time.thread_time() - start
    for turn in range(BEGUN + turns):
        for name, seconds in times.items():
            venv = games(threads=1, rules=name)
            if turn == 0:
                venv.reset(seed=1)
            actions = venv.act(RANDOM)
            add_builds(venv.batch.views.masks, actions, rng)
            start = time.thread_time()
            venv.step(actions)
            if turn >= BEGUN:
                seconds[1] += time.thread_time() - start
    rates: dict[str, float] = {}
    for k, what, count in ((0, "play, expander", CALL), (1, "step(copy=False), given actions", turns)):
        rate = {name: GAMES * count / seconds[k] for name, seconds in times.items()}
        rates |= {f"{what}, rules {name}, a second of CPU of one thread": value for name, value in rate.items()}
        rates[f"{what}: rate of the competition, % of that of the live rules"] = 100 * rate["competition"] / rate["live"]
    return rates


def add_builds(masks: Any, actions: Any, rng: Any) -> None:
    """Replace a tenth of the actions of players who may build by a build, where there are builds."""
    first = 8 * SIDE * SIDE + 1
    builds = masks[:, :, first:]
    if builds.shape[2]:
        builders = builds.any(axis=2) & (rng.random(actions.shape) < 0.1)
        actions[builders] = first + builds[builders].argmax(axis=1)


def copies() -> dict[str, float]:
    """Copy arrays of the sizes of those that are handed out a turn."""
    observations = games().reset(seed=1)[0]
    sizes = [array.nbytes for array in observations.values()]
    return {"a plain copy of the arrays handed out": GAMES / copy_seconds(sizes)}


def memory() -> dict[str, float]:
    """Count the bytes of all arrays of a game that the batch holds."""
    bases = {id(base): base.nbytes for array in arrays(vars(games().batch)) for base in [base_of(array)]}
    return {"bytes of arrays a game": sum(bases.values()) / GAMES}


def begun(venv: Any) -> Any:
    """Return the environment with the same games, some turns after they began."""
    venv.reset(seed=1)
    venv.play(BEGUN, RANDOM)
    return venv


def copy_seconds(sizes: list[int], repeats: int = 10) -> float:
    """Return the median seconds of a copy of arrays of these sizes in bytes into arrays that exist."""
    pairs = [(np.ones(size, np.uint8), np.ones(size, np.uint8)) for size in sizes]
    times = [time.perf_counter()]
    for _ in range(repeats):
        for target, source in pairs:
            np.copyto(target, source)
        times.append(time.perf_counter())
    return float(np.median([end - start for start, end in pairwise(times)]))


def arrays(value: Any) -> Iterator[np.ndarray]:
    """Yield the arrays in dictionaries, tuples and lists."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, tuple, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from arrays(inner)


def base_of(array: np.ndarray) -> np.ndarray:
    """Return the array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


if __name__ == "__main__":
    answer({f.__name__: f for f in (play, turn_by_turn, step, learn, one_thread, rules, copies, memory)})
