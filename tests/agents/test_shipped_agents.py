"""Tests the agents that the package ships: their files, their names everywhere, and that they need no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from support.helpers import PATIENCE
from support.paths import ROOT

import generals_env
from generals_env.agents.sampled_player import SampledPlayer
from generals_env.agents.shipped import (
    FOLDER,
    TRAINED,
    is_shipped,
    shipped_agents,
    shipped_file,
    shipped_network,
    shipped_player,
    trained_boards,
)
from generals_env.arena.game_kind import game_config
from generals_env.arena.players import CHECKPOINT, make_player
from generals_env.arena.tournament import ArenaOptions, play_arena
from generals_env.errors import ConfigError
from generals_env.live.agent import load_live_policy
from generals_env.opponents import as_policy, is_builtin
from generals_env.play.agents import make_agent

GAME = {"height": 8, "width": 8, "max_turns": 40, "observation": "full"}


@pytest.mark.parametrize("name", [TRAINED, *shipped_agents()])
def test_shipped_agent_is_small_and_says_how_it_was_made(name: str) -> None:
    path = shipped_file(name)
    assert path.stat().st_size < 5 * 10**6
    made = shipped_network(name).made
    low, high = trained_boards(name)
    assert 4 <= low <= high <= 64
    assert made["command"]
    readme = (FOLDER / "README.md").read_text()
    assert f"## {TRAINED}:{path.stem}\n" in readme
    assert made["command"] in readme
    assert all(f"| {one['won']} | {one['lost']} | {one['neither']} |" in readme for one in made.get("results", ()))
    assert shipped_player(name).made == made


def test_names_of_agents_are_checked() -> None:
    assert is_shipped(TRAINED)
    assert not is_shipped("expander")
    assert not is_shipped(None)
    assert not is_builtin(TRAINED)
    for check in (is_shipped, as_policy, lambda name: make_agent(name, 1), load_live_policy, make_player):
        with pytest.raises(ConfigError, match=r"agent: expected trained or .*trained:8x8.*got 'trained:none'"):
            check("trained:none")


def test_agent_opposes_learners_reproducibly() -> None:
    def rewards(env: gymnasium.Env) -> list[float]:  # type: ignore[type-arg]
        observation, _ = env.reset(seed=3)
        tensors = []
        for _ in range(20):
            observation, *_ = env.step(8 * 64)
            tensors.append(observation["observation"].sum())
        return tensors

    env = gymnasium.make(generals_env.ENV_ID, opponent=TRAINED, **GAME)
    first = rewards(env)
    assert first == rewards(env)  # the seed of the reset decides the draws of the opponent, too
    assert first == rewards(gymnasium.make(generals_env.ENV_ID, opponent=TRAINED, **GAME))
    games = gymnasium.make_vec(generals_env.ENV_ID, num_envs=2, opponent=TRAINED, **GAME)
    for seed in ([4, None], [None, None], 4, None):
        games.reset(seed=seed)
    games.step(np.full(2, 8 * 64))
    with pytest.raises(ConfigError, match=r'make\(observation="full"\)'):
        rewards(gymnasium.make(generals_env.ENV_ID, opponent=TRAINED, **{**GAME, "observation": "standard"}))


def test_agent_plays_in_the_arena_alike_in_blocks_of_any_size() -> None:
    player = make_player(TRAINED)
    assert (player.kind, player.random_moves, player.channels) == (CHECKPOINT, 0.0, 21)
    assert player.name.startswith(f"{TRAINED}-")
    pair = (player, make_player("expander"))
    results = []
    for block in (1, 4):
        options = ArenaOptions(game_config(height=8, width=8, max_turns=30), games=8, block=block)
        results.append([(game.winner, game.turns, game.figures) for game in play_arena([pair], options)])
    assert results[0] == results[1]
    assert make_player(f"{TRAINED}:8x8").identity == player.identity


def test_agent_plays_where_torch_is_not_installed(tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        class Refuse:
            def find_spec(self, name, *rest):
                if name.partition(".")[0] == "torch":
                    raise ModuleNotFoundError("No module named 'torch'", name="torch")
        sys.meta_path.insert(0, Refuse())
        from generals_env.agents.shipped import shipped_player
        from generals_env.play.agents import make_agent
        from generals_env.bridge.batch_policies import load_batch_policy
        make_agent("trained", 1)
        print(shipped_player("trained", 1).step, type(load_batch_policy("opponent", {str(shipped_file(TRAINED))!r})).__name__)
    """
    lines = "\n".join(line.removeprefix("        ") for line in code.splitlines())
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "SampledPlayer"


def test_builtin_rules_with_builds_fit_the_agent() -> None:
    player = as_policy(TRAINED)
    assert isinstance(player, SampledPlayer)
    masks = np.zeros((1, 9 * 64 + 1), np.int8)
    masks[0, [8 * 64, 8 * 64 + 5]] = 1  # only a pass and a build are legal
    assert player({"observation": np.zeros((1, 21, 8, 8), np.float32), "action_mask": masks}).tolist() == [8 * 64]
