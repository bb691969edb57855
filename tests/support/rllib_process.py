"""Trains with RLlib in a process of its own; see ``wrappers/test_rllib.py``.

Its arguments are a folder for recorded games and for what was seen, as ``seen.json``, and one with a short path for Ray.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import ray
import torch
import train_rllib
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from generals_env.wrappers.rllib import RLlibEnv

SMALL = {"height": 5, "width": 5, "max_turns": 20}
ARGUMENTS = train_rllib.Arguments(board=5, max_turns=20, games=4, turns=160, epochs=1, minibatch=80, channels=8)


def check_games() -> int:
    """Pass games to RLlib's own check of environments; return how many."""
    games: list[dict[str, Any]] = [
        {},
        {"opponents": "hunter"},
        {"max_turns": 1},
        {"players": 3, "opponents": [None, "random", None]},
    ]
    for options in games:
        game = RLlibEnv({**SMALL, "height": 8, "width": 8, **options})
        assert isinstance(game, MultiAgentEnv)
        check_multiagent_environments(game)
    return len(games)


def sampled(episodes: list[Any]) -> dict[str, Any]:
    """Return how the episodes of self-play ended for their agents, and how many of their actions were illegal."""
    ends, actions, illegal = [], 0, 0
    for episode in episodes:
        for agent in episode.agent_episodes.values():
            ends.append((agent.agent_id, bool(agent.is_terminated), bool(agent.is_truncated)))
            masks, chosen = agent.get_observations(slice(0, len(agent)))["action_mask"], agent.get_actions()
            actions += len(chosen)
            illegal += int((np.take_along_axis(masks, np.asarray(chosen)[:, None], 1) == 0).sum())
    return {"ends": ends, "actions": actions, "illegal": illegal}


def play_opponent(folder: Path) -> dict[str, Any]:
    """Train against a built-in opponent, in two processes that record into one folder; return the experiences played."""
    arguments = dataclasses.replace(ARGUMENTS, opponent="expander", env_runners=2, record=folder / "single")
    algorithm = train_rllib.configure(arguments).build_algo()
    played = algorithm.train()["env_runners"]
    algorithm.stop()
    return {"illegal": int(played.get("illegal", 0)), "turns": int(played["num_env_steps_sampled_lifetime"])}


def play_several(folder: Path) -> dict[str, Any]:
    """Play games of self-play in this process, each recorded by a writer of its own; return how they ended."""
    arguments = dataclasses.replace(ARGUMENTS, record=folder / "several")
    algorithm = train_rllib.configure(arguments).build_algo()
    seen = sampled(algorithm.env_runner.sample(num_episodes=4))
    algorithm.stop()
    return seen


def main() -> None:
    """Run all parts on one Ray instance."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    checked = check_games()
    ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        object_store_memory=80 * 2**20,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=sys.argv[2],
    )
    try:
        seen = {
            "gymnasium": gymnasium.__version__,
            "checked": checked,
            "lines": train_rllib.train(dataclasses.replace(ARGUMENTS, iterations=2)),
            "single": play_opponent(folder),
            "several": play_several(folder),
        }
    finally:
        ray.shutdown()
    (folder / "seen.json").write_text(json.dumps(seen, default=np.generic.item))


if __name__ == "__main__":
    main()
