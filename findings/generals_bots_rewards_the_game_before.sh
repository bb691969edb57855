#!/bin/sh
# generals-bots 2.5.0: PettingZooGenerals keeps the last observations of a game over reset(), and the reward of the first step of the
# next game is computed from them: with the default reward the player who won the game before gets -1 for a pass, and the one who
# lost it gets 1. (The first step of the first game has the reward 0, even if it wins.) GymnasiumGenerals keeps none. A return that is
# summed up over such games is 0 for winners. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet generals-bots==2.5.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from generals.core.action import Action
from generals.envs import PettingZooGenerals

wait = Action(to_pass=True)


def right(column):
    return Action(to_pass=False, row=0, col=column, direction=3)


env = PettingZooGenerals(agents=["one", "other"])
env.reset(options={"grid": "A.B."})
for _ in range(6):
    env.step({"one": wait, "other": wait})
env.step({"one": right(0), "other": right(2)})  # the other's general is left with an army of 1
_, rewards, terminated, *_ = env.step({"one": right(1), "other": wait})
if not terminated or rewards != {"one": 1, "other": -1}:
    sys.exit(f"changed: the first game ends with {terminated}, {rewards}")
env.reset(options={"grid": "A.B."})
_, rewards, *_ = env.step({"one": wait, "other": wait})
if rewards != {"one": -1, "other": 1}:
    sys.exit(f"changed: the first step of the next game, in which both pass, has the rewards {rewards}")
print("as seen: the first step of the next game, in which both pass, has the rewards", rewards)
PYTHON
