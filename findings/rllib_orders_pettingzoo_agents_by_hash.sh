#!/bin/sh
# Ray 2.60.0 (RLlib) with PettingZoo 1.27.0: ParallelPettingZooEnv lists the agents of an environment in the order of a set of their
# names, which depends on the hashes of strings: it is another one in most processes, also in environment runners of one algorithm.
# Agents must be told apart by their names. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[rllib]==2.60.0" pettingzoo==1.27.0
cd "$folder"
cat > order.py <<'PYTHON'
from gymnasium.spaces import Discrete
from pettingzoo import ParallelEnv
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv


class Four(ParallelEnv):
    metadata = {"name": "four"}
    possible_agents = ["player_0", "player_1", "player_2", "player_3"]

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        return dict.fromkeys(self.agents, 0), dict.fromkeys(self.agents, {})

    def observation_space(self, agent):
        return Discrete(2)

    action_space = observation_space


print(*(agent[-1] for agent in ParallelPettingZooEnv(Four()).possible_agents))
PYTHON
for seed in 1 2 3 4; do
    PYTHONHASHSEED=$seed "$folder/venv/bin/python" order.py 2> /dev/null >> orders
done
if [ "$(sort -u orders | wc -l)" -lt 2 ]; then
    echo "changed: one order in all processes: $(cat orders)"
    exit 1
fi
echo "as seen: orders of the seats in four processes:"
cat orders
