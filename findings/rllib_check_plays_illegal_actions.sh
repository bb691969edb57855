#!/bin/sh
# Ray 2.60.0 (RLlib, new API stack), multi-agent environments: before an environment is used, RLlib resets it and takes one step with
# actions sampled from the whole action space, whatever the mask in the observation allows. An environment that raises on illegal
# actions cannot be used, and one that records its games holds a turn of random actions of each. With
# config.environment(disable_env_checking=True) nothing is played before training. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[rllib]==2.60.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

ACTIONS = 10_000


class OnlyZero(MultiAgentEnv):
    """Allows action 0 of 10,000, says so in its mask, and keeps what was played."""

    def __init__(self) -> None:
        self.agents = self.possible_agents = ["a"]
        super().__init__()
        self.observation_spaces = {"a": Dict({"observations": Box(0, 1, (1,)), "action_mask": Box(0, 1, (ACTIONS,), np.int8)})}
        self.action_spaces = {"a": Discrete(ACTIONS)}
        self.played: list[int] = []

    def observe(self) -> dict:
        mask = np.zeros(ACTIONS, np.int8)
        mask[0] = 1
        return {"a": {"observations": np.zeros(1, np.float32), "action_mask": mask}}

    def reset(self, *, seed=None, options=None):
        return self.observe(), {"a": {}}

    def step(self, action_dict):
        self.played.append(int(action_dict["a"]))
        no = {"a": False, "__all__": False}
        return self.observe(), {"a": 0.0}, no, no, {"a": {}}


env = OnlyZero()
check_multiagent_environments(env)
if len(env.played) != 1 or env.played[0] == 0:
    sys.exit(f"changed: the check played {env.played} where only 0 is legal")
print("as seen: the check played", env.played, "where only 0 is legal")
PYTHON
