#!/bin/sh
# generals-bots 2.5.0: PettingZooGenerals.observation_space(agent) and action_space(agent), which every PettingZoo environment has to
# have, raise AttributeError ('GridFactory' object has no attribute 'padding') before and after reset, with all options: its own
# checker, wrappers and training libraries cannot use the environment. Its agents are asked with an Observation, not through the
# environment, so that they play all the same. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet generals-bots==2.5.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from generals.envs import PettingZooGenerals

env = PettingZooGenerals(agents=["one", "other"])
env.reset(seed=1)
for name in ("observation_space", "action_space"):
    try:
        getattr(env, name)("one")
    except AttributeError as error:
        print(f"as seen: {name}: {error}")
    else:
        sys.exit(f"changed: {name} returns a space")
PYTHON
