"""One answer to each action in every face: what is an index, what is out of range, what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from pettingzoo.utils.wrappers import OrderEnforcingWrapper

import generals_env
from generals_env import ENV_ID, ActionError, generals_v0
from generals_env.actions import Move, check_action, decode_action, encode_action
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FrameStack, RandomSymmetry

torch = pytest.importorskip("torch")

#: On this map 7 sends the first player's army to the right, as soon as it is more than one.
SMALL: dict[str, Any] = {"map": ".A....\n......\n......\n......\n......\n.....B", "max_turns": 50}
PASS = 288

#: What is an index, by how it is called, and which one.
INDICES: dict[str, tuple[Any, int]] = {
    "int": (7, 7),
    "the pass": (PASS, PASS),
    "numpy int64": (np.int64(7), 7),
    "numpy uint8": (np.uint8(7), 7),
    "numpy uint64": (np.uint64(7), 7),
    "array without axes": (np.array(7), 7),
    "tensor without axes": (torch.tensor(7), 7),
    "tensor of int32": (torch.tensor(7, dtype=torch.int32), 7),
}

#: What is out of range: the text then names the range.
OUT_OF_RANGE: dict[str, Any] = {
    "289": 289,
    "-1": -1,
    "2**31": 2**31,
    "2**63": 2**63,
    "2**70": 2**70,
    "-2**70": -(2**70),
    "10**5000": 10**5000,
    "uint64": np.uint64(2**64 - 1),
    "int64": np.int64(-(2**63)),
    "array": np.array(-1),
    "tensor": torch.tensor(2**40),
}

#: What is no integer.
NONE: dict[str, Any] = {
    "True": True,
    "False": False,
    "numpy bool": np.bool_(True),
    "array of a bool": np.array(True),
    "tensor of a bool": torch.tensor(True),
    "float": 3.0,
    "numpy float": np.float32(3),
    "array of a float": np.array(3.0),
    "tensor of a float": torch.tensor(3.0),
    "complex": 3j,
    "text": "3",
    "None": None,
    "list": [3],
    "tensor with an axis": torch.tensor([3]),
    "array with an axis": np.array([3]),
    "array with two axes": np.array([[3]]),
    "dict": {},
}


class Face:
    """An environment that takes one action: its turn, and how many of its actions were played."""

    def __init__(self, env: Any, give: Callable[[Any, Any], Any], last: Callable[[Any], int]) -> None:
        """Begin a game; ``give`` plays an action, ``last`` tells which one was executed last."""
        self.env, self.give, self.last = env, give, last
        if env is not None:
            env.reset(**({} if hasattr(env, "step_wait") else {"seed": 1}))


def aec(env: Any, action: Any) -> None:
    """Play an action of the first player, and a pass of the second."""
    env.step(action)
    env.step(PASS)


def one_game(env: Any) -> int:
    """Return the last action of the first player of a PettingZoo environment."""
    return int(env.unwrapped.game.actions[0])


def games(env: Any) -> int:
    """Return the last action of the first player of the last game."""
    bottom = env.unwrapped
    return int(getattr(bottom, "games", bottom).batch.outcome.actions[-1, 0])


def sb3() -> Face:
    """Return the vector environment of SB3."""
    pytest.importorskip("stable_baselines3")
    from generals_env.wrappers import SB3VecEnv

    return Face(SB3VecEnv(GeneralsSingleVector(2, **SMALL)), lambda env, action: env.step([PASS, action]), games)


FACES: dict[str, Callable[[], Face]] = {
    "make": lambda: Face(generals_env.make(**SMALL), aec, one_game),
    "generals_v0 in OrderEnforcing": lambda: Face(OrderEnforcingWrapper(generals_v0.env(**SMALL)), aec, one_game),
    "parallel_env": lambda: Face(
        generals_env.parallel_env(**SMALL), lambda env, action: env.step({"player_0": action, "player_1": PASS}), one_game
    ),
    "GeneralsSingle": lambda: Face(GeneralsSingle(**SMALL), lambda env, action: env.step(action), games),
    "gymnasium.make": lambda: Face(gymnasium.make(ENV_ID, **SMALL), lambda env, action: env.step(action), games),
    "FrameStack": lambda: Face(FrameStack(GeneralsSingle(**SMALL)), lambda env, action: env.step(action), games),
    "make_vec, list": lambda: Face(
        generals_env.make_vec(2, **SMALL), lambda env, action: env.step([[PASS, PASS], [action, PASS]]), games
    ),
    "make_vec, tuple": lambda: Face(
        generals_env.make_vec(2, **SMALL), lambda env, action: env.step(((PASS, PASS), (action, PASS))), games
    ),
    "GeneralsSingleVector": lambda: Face(GeneralsSingleVector(2, **SMALL), lambda env, action: env.step([PASS, action]), games),
    "gymnasium.make_vec": lambda: Face(
        gymnasium.make_vec(ENV_ID, num_envs=2, **SMALL), lambda env, action: env.step([PASS, action]), games
    ),
    "SB3VecEnv": sb3,
}


#: Faces that play another index than the one they are given.
TURNED: dict[str, Callable[[], Face]] = {
    "RandomSymmetry": lambda: Face(RandomSymmetry(GeneralsSingle(**SMALL)), lambda env, action: env.step(action), games),
    "RandomSymmetry, batch": lambda: Face(
        RandomSymmetry(GeneralsSingleVector(2, **SMALL)), lambda env, action: env.step([PASS, action]), games
    ),
}


def turn(face: Face) -> int:
    """Return the turn of the last game."""
    bottom = face.env.unwrapped
    boards = bottom.game.boards if hasattr(bottom, "game") else getattr(bottom, "games", bottom).batch.boards
    return int(boards.games[-1]["turn"])


@pytest.mark.parametrize("face", FACES)
def test_action_values_integers_of_all_libraries_are_played(face: str) -> None:
    for name, (action, index) in INDICES.items():
        made = FACES[face]()
        for _ in range(4):
            made.give(made.env, PASS)
        made.give(made.env, action)
        assert (turn(made), made.last(made.env)) == (5, index), name


def refusal(made: Face, action: Any) -> str:
    """Return what a face says of an action that it refuses without playing a turn."""
    before = turn(made)
    with pytest.raises(ActionError, match=r"expected .*got") as caught:
        made.give(made.env, action)
    assert turn(made) == before
    return str(caught.value)


@pytest.mark.parametrize("face", [*FACES, *TURNED])
def test_action_values_out_of_range_are_refused_and_the_range_is_named(face: str) -> None:
    made = (FACES | TURNED)[face]()
    for name, action in OUT_OF_RANGE.items():
        text = refusal(made, action)
        assert "from 0 to 288, got " in text, name
        shown = "a number of many digits" if name == "10**5000" else str(int(action))
        assert shown in text.partition("got ")[2], name


@pytest.mark.parametrize("face", [*FACES, *TURNED])
def test_action_values_that_are_no_integers_are_refused(face: str) -> None:
    made = (FACES | TURNED)[face]()
    for name, action in NONE.items():
        text = refusal(made, action)
        assert "integer" in text, name
        if name in ("True", "False", "numpy bool", "array of a bool", "tensor of a bool"):
            assert "from 0 to 288" in text, name


def test_action_values_in_arrays_of_a_batch() -> None:
    venv = GeneralsSingleVector(2, **SMALL)
    venv.reset(seed=1)
    good: list[Any] = [
        np.array([7, PASS], np.uint16),
        np.array([7, PASS], np.uint64),
        np.array([7, PASS], object),
        torch.tensor([7, PASS]),
        torch.tensor([7, PASS], dtype=torch.int16),
        [np.uint64(7), PASS],  # which numpy alone takes for floats
        (torch.tensor(7), np.int8(3)),
    ]
    for number, actions in enumerate(good, 1):
        venv.step(actions)
        assert venv.batch.boards.games["turn"].tolist() == [number] * 2
    bad: list[Any] = [
        np.array([True, False]),
        torch.tensor([True, False]),
        np.array([7.0, 3.0]),
        torch.tensor([7.0, 3.0]),
        torch.tensor([7.0, 3.0], requires_grad=True),
        np.array([True, 3], object),
        np.array([2**70, 3], object),
        np.array([7, None], object),
        np.array([2**64 - 1, 3], np.uint64),
        torch.tensor([[7], [3]]),
        [[7], [3]],
        [7, [3]],
        [7],
        7,
        None,
        "73",
    ]
    for actions in bad:
        with pytest.raises(ActionError, match=r"^actions: expected integers .*got "):
            venv.step(actions)
    assert venv.batch.boards.games["turn"].tolist() == [len(good)] * 2


def test_action_values_of_opponents_are_checked_alike() -> None:
    answers: list[Any] = [[True, 3], [2**70, 3], torch.tensor([True, False]), [3.0, 3.0], None]
    for answer in answers:
        venv = GeneralsSingleVector(2, opponent=lambda views, answer=answer: answer, **SMALL)
        venv.reset(seed=1)
        with pytest.raises(ActionError, match=r"^opponent: its actions: expected integers"):
            venv.step([PASS, PASS])
    venv = GeneralsSingleVector(2, opponent=lambda views: [torch.tensor(PASS), np.uint8(3)], **SMALL)
    venv.reset(seed=1)
    venv.step([PASS, PASS])


def test_action_values_of_the_helpers_are_checked_alike() -> None:
    for action, index in INDICES.values():
        decoded = decode_action(action, 6, 6)
        assert decoded == decode_action(index, 6, 6)
        assert encode_action(decoded, 6, 6) == check_action(action, 289) == index
    for action in OUT_OF_RANGE.values():
        with pytest.raises(ActionError, match=r"^action: expected an integer from 0 to 288, got "):
            decode_action(action, 6, 6)
        for move in ((action, 0, 0), (0, action, 0, True), Move(0, 0, action)):
            with pytest.raises(ActionError, match=r"^move: expected row, column below 6, 6 and direction below 4, got "):
                encode_action(move, 6, 6)  # type: ignore[arg-type]
    for action in NONE.values():
        with pytest.raises(ActionError, match=r"^action: expected an integer"):
            decode_action(action, 6, 6)
        with pytest.raises(ActionError, match=r"^move: expected row, column below 6, 6 and direction below 4, got "):
            encode_action(Move(0, action, 0), 6, 6)
    assert encode_action(Move(np.int8(5), np.uint8(5), torch.tensor(3), True), 6, 6) == PASS - 1  # type: ignore[arg-type]
    for move in (5, (1,), (1, 2, 3, False, 5), "a"):
        with pytest.raises(ActionError, match=r"^move: expected None or "):
            encode_action(move, 6, 6)  # type: ignore[arg-type]


def test_action_values_are_copied_by_sb3() -> None:
    kinds: list[Callable[[list[int]], Any]] = [np.array, list, torch.tensor]
    for kind in kinds:
        face = sb3()
        for _ in range(4):
            face.env.step([PASS, PASS])
        actions = kind([7, 7])
        face.env.step_async(actions)
        actions[1] = PASS  # callers may write over theirs
        face.env.step_wait()
        assert face.env.games.batch.outcome.actions[:, 0].tolist() == [7, 7]
