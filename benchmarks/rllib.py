"""Measures how fast RLlib's environment runners play, beside a loop of one's own, by the network of the example.

Run it with ``PYTHONPATH=examples python -m benchmarks.rllib`` in a virtual environment with RLlib. Rounds take turns, so that
changes of the machine's load meet all rows; each row shows the median and the range of its rounds, all on one thread.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
import torch
import train_rllib
from rich.console import Console
from rich.progress import track
from rich.table import Table

import generals_env
from generals_env.wrappers.rllib import RLlibEnv

ROUNDS = 5
TURNS = 2048  # of all games, a round
BOARD = {"height": 6, "width": 6, "max_turns": 100}

Play = Callable[[], int]


def runner(opponent: str, games: int) -> Play:
    """Return a function that samples with RLlib's runner in this process, and returns the turns it played."""
    algorithm = train_rllib.configure(train_rllib.Arguments(opponent=opponent, games=games)).build_algo()

    def play() -> int:
        episodes = algorithm.env_runner.sample(num_timesteps=TURNS)
        return sum(episode.env_steps() for episode in episodes)

    return play


def adapter_alone() -> int:
    """Play one game after another in ``RLlibEnv`` without a network, all agents passing; return the turns."""
    game, passing = RLlibEnv(BOARD), 8 * 36
    for turn in range(TURNS):
        if turn % BOARD["max_turns"] == 0:
            game.reset(seed=turn)
        game.step(dict.fromkeys(game.possible_agents, passing))
    return TURNS


def own_loop(games: int) -> Play:
    """Return a function that plays both seats of games of ``make_vec`` by the network, and returns the turns."""
    module = train_rllib.configure(train_rllib.Arguments(games=1)).build_algo().get_module("shared")
    env = generals_env.make_vec(games, threads=1, **BOARD)
    seen = env.reset(seed=1)[0]

    def play() -> int:
        nonlocal seen
        for _ in range(TURNS // games):
            views = {"observations": seen["observation"], "action_mask": seen["action_mask"]}
            batch: dict[str, Any] = {name: torch.from_numpy(np.concatenate(view)) for name, view in views.items()}
            with torch.no_grad():
                logits = module.forward_inference({"obs": batch})["action_dist_inputs"]
            actions = torch.distributions.Categorical(logits=logits).sample()
            seen = env.step(actions.numpy().reshape(games, 2))[0]
        return TURNS // games * games

    return play


def main() -> None:
    """Measure and print the table."""
    torch.set_num_threads(1)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    rows: dict[str, Play] = {
        "RLlib, self-play, 8 games": runner("self", 8),
        "RLlib, self-play, 32 games": runner("self", 32),
        "RLlib, one learner, 32 games in a batch": runner("expander", 32),
        "RLlib, one learner, 256 games in a batch": runner("expander", 256),
        "a loop of one's own, self-play, 32 games": own_loop(32),
        "a loop of one's own, self-play, 256 games": own_loop(256),
        "RLlibEnv, one game, no network": adapter_alone,
    }
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for play in rows.values():
        play()
    for _ in track(range(ROUNDS), "rounds", console=Console(stderr=True)):
        for name, play in rows.items():
            began = time.perf_counter()
            turns = play()
            rates[name].append(turns / (time.perf_counter() - began))
    ray.shutdown()
    table = Table("played by", "turns a second", "range", "of the first row")
    first = rates[next(iter(rows))]
    for name, row in rates.items():
        ratio = statistics.median(one / other for one, other in zip(row, first, strict=True))
        table.add_row(name, f"{statistics.median(row):,.0f}", f"{min(row):,.0f}-{max(row):,.0f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
