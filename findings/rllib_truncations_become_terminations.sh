#!/bin/sh
# Ray 2.60.0 (RLlib, new API stack): a multi-agent environment that tells the truncation of a game for each agent (truncateds = {"a":
# True, "b": True, "__all__": True}, terminateds all False), as RLlib's own ParallelPettingZooEnv does, gets episodes whose agents are
# terminated as well as truncated: the value after the last step counts as 0 instead of being bootstrapped. Told under "__all__"
# alone, with False for each agent, they are truncated only. This script fails if the behaviour changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "ray[rllib]==2.60.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from ray.rllib.env.multi_agent_episode import MultiAgentEpisode


def ends(each: bool) -> set[tuple[bool, bool]]:
    """Return what agents are told, terminated and truncated, when a game of two is cut off."""
    episode, zeros, no = MultiAgentEpisode(), {"a": 0.0, "b": 0.0}, {"a": False, "b": False, "__all__": False}
    episode.add_env_reset(observations=zeros, infos={})
    episode.add_env_step(
        observations=zeros,
        actions={"a": 0, "b": 0},
        rewards=zeros,
        infos={},
        terminateds=no,
        truncateds={"a": each, "b": each, "__all__": True},
    )
    return {(agent.is_terminated, agent.is_truncated) for agent in episode.agent_episodes.values()}


if (ends(True), ends(False)) != ({(True, True)}, {(False, True)}):
    sys.exit(f"changed: (terminated, truncated) {ends(True)} told for each agent, {ends(False)} told for all")
print("as seen: (terminated, truncated) is", ends(True), "told for each agent,", ends(False), "told for all alone")
PYTHON
