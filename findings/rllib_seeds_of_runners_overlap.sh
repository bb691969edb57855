#!/bin/sh
# Ray 2.60.0 (RLlib, new API stack): with config.debugging(seed=s), environment runner k seeds its i-th game with s + k + i. So game 1 of
# one runner repeats the seed of game 0 of the next: 4 runners of 8 games have 11 different seeds for 32 games. Environments that make
# their maps of the seed play the same maps. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[rllib]==2.60.0" torch==2.13.0
cd "$folder"
RAY_USAGE_STATS_ENABLED=0 "$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from gymnasium.spaces import Box, Discrete
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

SEEDS = []


class Seeded(MultiAgentEnv):
    """Keeps the seeds that it is given."""

    def __init__(self, config=None) -> None:
        self.agents = self.possible_agents = ["a"]
        super().__init__()
        self.observation_spaces, self.action_spaces = {"a": Box(0, 1, (1,))}, {"a": Discrete(2)}

    def reset(self, *, seed=None, options=None):
        SEEDS.append(seed)
        return {"a": np.zeros(1, np.float32)}, {"a": {}}

    def step(self, action_dict):
        no = {"a": False, "__all__": False}
        return {"a": np.zeros(1, np.float32)}, {"a": 0.0}, no, no, {"a": {}}


config = PPOConfig().environment(Seeded, disable_env_checking=True).debugging(seed=100)
config.env_runners(num_env_runners=4, num_envs_per_env_runner=8).multi_agent(policies={"p"}, policy_mapping_fn=lambda *_, **__: "p")
for worker in range(1, 5):
    MultiAgentEnvRunner(config=config, worker_index=worker).sample(num_timesteps=1)
if len(SEEDS) != 32 or len(set(SEEDS)) != 11:
    sys.exit(f"changed: {len(set(SEEDS))} different seeds for {len(SEEDS)} games: {SEEDS}")
print("as seen:", len(set(SEEDS)), "different seeds for", len(SEEDS), "games")
PYTHON
