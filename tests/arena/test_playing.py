"""Tests that games of the arena equal single games, whatever is played beside them, and that bad policies are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.small_arenas import checkpoint, played, small

import generals_env
from generals_env.arena.game_kind import map_seed
from generals_env.arena.played_game import CUT_OFF, WON
from generals_env.arena.players import make_player, make_players
from generals_env.arena.table import SWAPPED, Table
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.errors import ConfigError, StateError, StorageError


@pytest.mark.parametrize("second", ["random", "hunter:easy"])
def test_arena_games_equal_single_games_played_step_by_step(second: str) -> None:
    for game in played(["expander", second], games=8, seed=3):
        venv = generals_env.make_vec(1, height=8, width=8, max_turns=160, autoreset_mode="DISABLED")
        venv.reset(seed=map_seed(3, game.map))
        if game.players == (second, "expander"):
            venv.batch.policy_rng ^= SWAPPED
        over, turns = False, 0
        while not over:
            _, _, terminated, truncated, _ = venv.step(venv.act(game.players))
            turns += 1
            over = bool((terminated | truncated).any())
        alive = venv.boards().players["alive"][0]
        assert turns == game.turns
        assert game.ended == (CUT_OFF if alive.all() else WON)
        assert game.winner == (-1 if alive.all() else int(alive.argmax()))


def test_arena_results_depend_on_no_batch_thread_or_other_player() -> None:
    games = played(["expander", "random"], games=20)
    assert {game.winner for game in games} == {-1, 0, 1}
    assert played(["random", "expander"], games=20, block=3, threads=2) == games
    others = played(["random", "support.small_arenas:first_legal", "expander"], games=20)
    assert [game for game in others if set(game.players) == {"expander", "random"}] == games
    assert played(["expander", "random"], games=12) == games[:12]
    assert played(["expander", "random"], games=20, seed=1) != games


def test_arena_plays_each_map_from_both_seats() -> None:
    games = played(["expander", "random"], games=6)
    assert [(game.map, game.players) for game in games] == [
        (number, seats) for number in range(3) for seats in (("expander", "random"), ("random", "expander"))
    ]
    one, two = make_players(["expander", "random"])
    boards = [
        Table(small(), seats, range(3), 0, swapped).batch.boards for seats, swapped in (((one, two), False), ((two, one), True))
    ]
    for left, right in zip(*boards, strict=True):
        assert left.tobytes() == right.tobytes()
    assert len({army.tobytes() for army in boards[0].terrain}) == 3


def test_arena_plays_checkpoints_in_batches_that_change_nothing(tmp_path: Path) -> None:
    names = ["random", str(checkpoint(tmp_path / "model.pt"))]
    games = played(names, games=8)
    assert games == played(names, games=8, block=1)
    name = next(name for name in games[0].players if name != "random")
    assert name.startswith("model-")
    (tmp_path / "other").mkdir()
    other = make_player(str(checkpoint(tmp_path / "other" / "model.pt", seed=1)))
    assert other.name.startswith("model-")
    assert other.name != name
    assert make_player(str(checkpoint(tmp_path / "my\nmodel [1].pt"))).name.startswith("my_model_1_-")
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    with pytest.raises(StorageError, match="expected a checkpoint, got"):
        make_player(str(tmp_path / "broken.pt"))


def test_arena_draws_the_actions_of_torch_modules_by_map_and_turn() -> None:
    names = ["support.small_arenas:flat", "random"]
    games = played(names, games=8)
    assert games == played(names, games=8, block=1)
    land = [game.figures["land_50"] for game in games]
    assert 3 < np.mean([seats[0] for seats in land]) < 20
    assert len(set(land)) > 4


def test_arena_gives_each_policy_the_layout_that_it_takes() -> None:
    games = played(["support.small_arenas:all_planes", "support.small_arenas:first_legal"], games=2, config=small(max_turns=20))
    assert [game.turns for game in games] == [20, 20]


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        ("far_actions", "integers from 0 to 512, got"),
        ("one_action", r"integers from 0 to 512, got array\(0\)"),
        ("unequal_lists", "inhomogeneous"),
        ("broken", "KeyError"),
    ],
)
def test_arena_names_the_policy_that_gives_no_actions(policy: str, text: str) -> None:
    with pytest.raises(StateError, match=f"player 'support.small_arenas:{policy}.*{text}"):
        played(["random", f"support.small_arenas:{policy}"], games=2)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["random"], "players: expected at least two, got 1"),
        (["random", "expander", "random"], "which are the same"),
        (["random", "nothing.pt"], "player: expected random, .* got 'nothing.pt'"),
        (["random", "hunter:huge"], "policy: expected one of"),
    ],
)
def test_arena_refuses_players_that_it_cannot_compare(names: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        make_players(names)


def test_arena_loads_sb3_files_only_if_they_are_trusted(tmp_path: Path) -> None:
    import gymnasium
    from sb3_contrib import MaskablePPO

    from generals_env.wrappers import SB3VecEnv

    env = SB3VecEnv(gymnasium.make_vec(generals_env.ENV_ID, num_envs=1, opponent="random", height=8, width=8))
    MaskablePPO("MultiInputPolicy", env, n_steps=8, policy_kwargs={"net_arch": [4]}).save(tmp_path / "model.zip")
    env.close()
    path = str(tmp_path / "model.zip")
    with pytest.raises(ConfigError, match=r"runs no code, got 'model\.zip'.*--trust"):
        make_player(path)
    pairs = pairs_of(make_players(["random", path], trust=True))
    games = play_arena(pairs, ArenaOptions(config=small(max_turns=30), games=4))
    assert games == play_arena(pairs, ArenaOptions(config=small(max_turns=30), games=4, block=1))
    with pytest.raises(ConfigError, match="expected boards of the training"):
        play_arena(pairs, ArenaOptions(config=small(height=9), games=2))
    assert np.isfinite([game.turns for game in games]).all()
