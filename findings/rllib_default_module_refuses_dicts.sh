#!/bin/sh
# Ray 2.60.0 (RLlib, new API stack): PPO with its default module cannot be built for an environment with Dict observations, the form
# in which action masks come: ValueError "No default encoder config for obs space=Dict(...)". A module of one's own is needed.
# This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[rllib]==2.60.0" torch==2.13.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from gymnasium.spaces import Box, Dict, Discrete
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule

space = Dict({"observations": Box(0, 1, (4,)), "action_mask": Box(0, 1, (3,))})
try:
    DefaultPPOTorchRLModule(observation_space=space, action_space=Discrete(3), model_config={})
except ValueError as error:
    print("as seen:", str(error).splitlines()[0][:120])
else:
    sys.exit("changed: the default module takes Dict observations")
PYTHON
