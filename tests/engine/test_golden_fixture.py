"""Tensors, masks and rewards against numbers in the repository that were worked out without the package: ``make_golden.py``.

What the original server computed is compared in ``test_golden.py``, where it is at hand.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from support import make_golden
from support.helpers import Memory, same, step_all
from support.paths import TESTS

import generals_env
from generals_env import RewardConfig
from generals_env.engine.boards import Boards
from generals_env.engine.observations import reference as sight
from generals_env.engine.rules import turn as rules
from generals_env.engine.rules.rewards import score_turn
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_decoder import decode_records

GAMES: list[dict[str, Any]] = [json.loads(line) for line in gzip.decompress(make_golden.FILE.read_bytes()).splitlines()]
WEIGHTS = {"default": RewardConfig(), "original": RewardConfig.original()}
EACH = pytest.mark.parametrize("game", GAMES, ids=lambda game: game["map"].splitlines()[0])


def options(game: dict[str, Any], weights: str) -> dict[str, Any]:
    """Return the options of an environment that plays this game."""
    chosen = {name: game[name] for name in ("map", "teams", "modifiers", "fog", "rules") if name in game}
    return {**chosen, "max_turns": make_golden.MAX_TURNS, "reward": WEIGHTS[weights]}


def size(game: dict[str, Any]) -> tuple[int, int]:
    rows = game["map"].splitlines()
    return len(rows), len(rows[0].split())


def tensor(game: dict[str, Any], view: dict[str, Any]) -> np.ndarray:
    """Return a view's tensor, (9, H, W) float32."""
    cells = np.zeros((9, *size(game)), np.float32)
    for place, value in view["cells"]:
        cells.ravel()[place] = value
    return cells


def mask(game: dict[str, Any], view: dict[str, Any]) -> np.ndarray:
    """Return a view's mask, (8*H*W + 1,) int8."""
    height, width = size(game)
    legal = np.zeros(8 * height * width + 1, np.int8)
    legal[view["legal"]] = 1
    return legal


def boards_of(game: dict[str, Any]) -> Boards:
    """Return all boards of a game as the engine keeps them."""
    config = generals_env.GameConfig.from_options(**options(game, "default"))
    told = game["boards"]
    boards = config.empty_boards(len(told))
    for name in ("owner", "army", "terrain"):
        getattr(boards, name)[:] = [board[name] for board in told]
    boards.players["general"], boards.players["alive"] = ([board[name] for board in told] for name in ("general", "alive"))
    boards.games["turn"], boards.games["last_move"] = ([board[name] for board in told] for name in ("turn", "last_move"))
    return boards


def test_golden_file_is_what_the_plain_rules_give() -> None:
    assert json.loads(json.dumps(make_golden.golden())) == GAMES


def test_golden_file_is_made_without_the_package() -> None:
    script = """
from support import make_golden
import sys
print([name for name in sys.modules if name.split('.')[0] in ('generals_env', 'numba')])
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_golden_games_hold_what_is_rare() -> None:
    turns = [turn for game in GAMES for turn in game["turns"]]
    earned = [reward for turn in turns for reward in turn["rewards"]["original"]]
    assert (max(earned), min(earned)) == (pytest.approx(2.56, abs=0.01), -1.0)
    assert {reward for turn in turns for reward in turn["rewards"]["default"]} == {-1.0, -0.1, 0.0, 0.1, 1.0}
    assert sum(sum(turn["illegal"]) for turn in turns) > 10
    assert max(max(board["army"]) for game in GAMES for board in game["boards"]) > 1000  # a cell of 1
    assert sum(not all(game["boards"][-1]["alive"]) for game in GAMES) > 2
    assert min(army for game in GAMES for board in game["boards"] for army in board["army"]) < 0


@EACH
def test_kernels_give_the_golden_tensors_and_masks(game: dict[str, Any]) -> None:
    boards, (height, width) = boards_of(game), size(game)
    visible, cells = np.empty(height * width, np.uint32), np.empty((9, height * width), np.float32)
    legal = np.empty(8 * height * width + 1, np.int8)
    for number, board in enumerate(game["boards"]):
        sight.visible_to(boards, number, visible)
        for player, view in enumerate(board["views"]):
            sight.observe(boards, number, player, visible, cells)
            sight.action_mask(boards, number, player, legal)
            assert same(cells.reshape(9, height, width), tensor(game, view))
            assert same(legal, mask(game, view))


@EACH
def test_kernels_give_the_golden_turns_and_rewards(game: dict[str, Any]) -> None:
    boards = boards_of(game)
    for number, turn in enumerate(game["turns"]):
        played = Boards._make(array[number : number + 1].copy() for array in boards)
        illegal = np.zeros(len(turn["actions"]), np.bool_)
        rules.advance(played, 0, np.array(turn["actions"], np.int64), illegal)
        assert illegal.tolist() == turn["illegal"]
        assert same(played, Boards._make(array[number + 1 : number + 2] for array in boards))
        active, standing = np.array(turn["active"]), np.array(game["boards"][number + 1]["alive"])
        won = np.isin(boards.players["team"][number], boards.players["team"][number][standing])
        result = np.where(turn["terminated"], np.where(won, 1, -1), 0).astype(np.int8)
        rewards = np.empty(len(active), np.float32)
        for name, weights in WEIGHTS.items():
            score_turn(boards, number, number + 1, active, result, weights.weights(), rewards)
            np.testing.assert_allclose(rewards, turn["rewards"][name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("face", [generals_env.parallel_env, generals_env.make])
@EACH
def test_environments_give_what_is_golden(game: dict[str, Any], face: Any, weights: str) -> None:
    env = face(**options(game, weights))
    result = env.reset(seed=1)
    views = result[0] if result else {agent: env.observe(agent) for agent in env.agents}
    for turn, before, after in zip(game["turns"], game["boards"], game["boards"][1:], strict=False):
        agents = [f"player_{player}" for player, active in enumerate(turn["active"]) if active]
        assert env.agents == agents
        for agent in agents:
            view = before["views"][int(agent[-1])]
            assert same(views[agent], {"observation": tensor(game, view), "action_mask": mask(game, view)})
        actions = {agent: turn["actions"][int(agent[-1])] for agent in agents}
        views, rewards, terminated, truncated, infos = step_all(env, actions)
        for agent in agents:
            player = int(agent[-1])
            view = after["views"][player]
            assert same(views[agent], {"observation": tensor(game, view), "action_mask": mask(game, view)})
            assert rewards[agent] == pytest.approx(turn["rewards"][weights][player], abs=1e-6)
            assert (terminated[agent], truncated[agent]) == (turn["terminated"][player], turn["truncated"][player])
            assert infos[agent]["illegal_action"] == turn["illegal"][player]


@pytest.mark.parametrize("weights", WEIGHTS)
@EACH
def test_vector_environment_gives_what_is_golden(game: dict[str, Any], weights: str) -> None:
    venv = generals_env.make_vec(2, autoreset_mode=AutoresetMode.DISABLED, **options(game, weights))
    views, _ = venv.reset(seed=1)
    for turn, before in zip(game["turns"], game["boards"], strict=False):
        for player, view in enumerate(before["views"]):
            shown = turn["active"][player]
            for number in range(2):
                seen = tensor(game, view) if shown else np.zeros_like(tensor(game, view))
                assert same(views["observation"][number, player], seen)
                assert not shown or same(views["action_mask"][number, player], mask(game, view))
        views, rewards, terminated, truncated, infos = venv.step(np.array([turn["actions"]] * 2))
        np.testing.assert_allclose(rewards, [turn["rewards"][weights]] * 2, rtol=0, atol=1e-6)
        told = (terminated, truncated, infos["illegal_action"])
        assert [column.tolist() for column in told] == [[turn[name]] * 2 for name in ("terminated", "truncated", "illegal")]
    venv.close()


@EACH
def test_records_give_what_is_golden(game: dict[str, Any]) -> None:
    batches = Memory()
    env = ExperienceRecorder(generals_env.parallel_env(**options(game, "original")), batches)
    env.reset(seed=1)
    for turn in game["turns"]:
        env.step({agent: turn["actions"][int(agent[-1])] for agent in env.agents})
    env.close()
    batch = ExperienceBatch.concat(batches)
    states, following = batch.states(), batch.next_states()
    masks, after = batch.action_masks(), batch.next_action_masks()
    expected = [(number, player) for number, turn in enumerate(game["turns"]) for player in np.flatnonzero(turn["active"])]
    assert list(zip(batch.turn.tolist(), batch.player_id.tolist(), strict=True)) == expected
    for row, (number, player) in enumerate(expected):
        turn, (old, new) = game["turns"][number], game["boards"][number : number + 2]
        assert same(states[row], tensor(game, old["views"][player]))
        assert same(following[row], tensor(game, new["views"][player]))
        assert same(masks[row], mask(game, old["views"][player]))
        assert same(after[row], mask(game, new["views"][player]))
        assert batch.action[row] == turn["executed"][player]
        assert batch.reward[row] == pytest.approx(turn["rewards"]["original"][player], abs=1e-6)
        told = (batch.illegal[row], batch.terminated[row], batch.truncated[row])
        assert told == (turn["illegal"][player], turn["terminated"][player], turn["truncated"][player])


#: A board, and what player_0 sees of it, by hand: the channels, a character a tile (armies in thousandths).
BY_HAND = "A . # B\n. $7 . .\n. . . .\n. s . ."
CHANNELS = [
    "1000 0000 0000 0000",  # own army
    "0000 0000 0000 0000",  # enemy army: out of sight
    "1000 0000 0000 0000",  # own tile
    "0000 0000 0000 0000",  # enemy tile
    "0100 1100 0000 0000",  # neutral tile
    "1000 0100 0000 0000",  # city or general
    "0000 0000 0000 0000",  # mountain: two columns away
    "1100 1100 0000 0000",  # visible
    "0011 0011 1111 1111",  # not visible
]


def test_channels_and_masks_are_those_worked_out_by_hand() -> None:
    env = generals_env.parallel_env(map=BY_HAND)
    views, _ = env.reset(seed=1)
    expected = np.array([[list(row) for row in channel.split()] for channel in CHANNELS], np.float32)
    expected[0] /= np.float32(1000)
    assert same(views["player_0"]["observation"], expected)
    assert np.flatnonzero(views["player_0"]["action_mask"]).tolist() == [128]  # one man cannot leave: only the pass
    for _ in range(2):  # the general grows in turn 2
        views, *_ = env.step({"player_0": 128, "player_1": 128})
    expected[0, 0, 0] = np.float32(0.002)
    assert same(views["player_0"]["observation"], expected)
    # Down (1) and right (3) from tile 0; the same with half of the men, 64 further; the pass.
    assert np.flatnonzero(views["player_0"]["action_mask"]).tolist() == [1, 3, 65, 67, 128]
    views, rewards, *_ = env.step({"player_0": 3, "player_1": 128})
    assert rewards == {"player_0": 0.0, "player_1": 0.0}
    expected[0, 0, :2], expected[2, 0, 1], expected[4, 0, 1] = np.float32(0.001), 1, 0
    expected[6, 0, 2] = 1  # a visible mountain: that and visible, nothing else
    expected[4, 1, 2] = 1
    expected[7, :2, :3], expected[8, :2, :3] = 1, 0
    assert same(views["player_0"]["observation"], expected)


def test_rewards_of_the_original_are_those_worked_out_by_hand() -> None:
    env = generals_env.parallel_env(map=BY_HAND, reward=RewardConfig.original())
    env.reset(seed=1)
    for _ in range(2):
        _, rewards, *_ = env.step({"player_0": 128, "player_1": 128})
    assert rewards["player_0"] == pytest.approx(0.001)  # one man more than before; as strong as the other
    _, rewards, *_ = env.step({"player_0": 3, "player_1": 128})
    assert rewards == {"player_0": pytest.approx(0.01), "player_1": pytest.approx(0)}  # a tile


@EACH
def test_stream_takes_golden_tensors_as_records(game: dict[str, Any]) -> None:
    """As a client of the original submits them: tensors, without a board."""
    accepted = 0
    for number, turn in enumerate(game["turns"]):
        for player in np.flatnonzero(turn["active"]).tolist():
            reward = turn["rewards"]["original"][player]
            record = pb.Experience(game_id="g", player_id=player, turn=number, reward=reward, action=-1)
            for state, board in ((record.state, game["boards"][number]), (record.next_state, game["boards"][number + 1])):
                state.shape.extend((9, *size(game)))
                state.data.extend(tensor(game, board["views"][player]).ravel())
            batch, _, reasons = decode_records([record], None)
            assert batch is not None, reasons
            assert same(batch.states()[0], tensor(game, game["boards"][number]["views"][player]))
            assert same(batch.next_states()[0], tensor(game, game["boards"][number + 1]["views"][player]))
            accepted += 1
    assert accepted > 20
