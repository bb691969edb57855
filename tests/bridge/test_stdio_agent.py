"""Tests agents over standard input and output."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

import generals_env.bridge
from generals_env.bridge.competition_boards import board_of
from generals_env.bridge.stdio_agent import load_frame_policy, play_stdio
from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake
from generals_env.errors import ConfigError, StateError

GRID = [1, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0, 0, 0, -2, 9, 2]
START = {"time": 40, "owner": [0, -1, -1, -1, -2, -1, -1, -1, -1, -1, -1, -1, -1, -2, -1, 1], "army": [30] + 14 * [0] + [5]}
LAUNCHER = Path(generals_env.bridge.__file__).with_name("launcher.py")


def game_text(frames: int = 3) -> bytes:
    board = board_of(GRID, 4, 4, 800, {**START, "castle": [0] * 16})
    return encode_handshake(0, 4, 4) + frames * encode_frame(board, 0, 0)


def test_launcher_imports_numpy_alone_and_writes_replies_alone() -> None:
    code = (
        "import sys, runpy, atexit\n"
        "atexit.register(lambda: sys.stderr.write(' '.join(sorted(sys.modules))))\n"
        f"sys.argv = ['agent', '--policy', 'expander']\nrunpy.run_path({str(LAUNCHER)!r}, run_name='__main__')"
    )
    ended = subprocess.run([sys.executable, "-I", "-c", code], input=game_text(), capture_output=True, check=True)
    assert ended.stdout == 3 * b"0 0 0 3 0\n"  # right: up and left are off the board, a mountain is below
    modules = ended.stderr.decode().split()
    assert "numpy" in modules
    assert not {"numba", "gymnasium", "pettingzoo", "typer", "rich", "torch"} & set(modules)


def test_agent_plays_a_callable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bot_of_the_test.py").write_text(
        "shapes = []\n"
        "class Bot:\n"
        "    channels = 21\n"
        "    def __call__(self, views):\n"
        "        shapes.append((views['observation'].shape, views['action_mask'].shape))\n"
        "        return [8 * 16]\n"
        "bot = Bot()\n"
        "def wild(views):\n"
        "    return [10**6]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    replies = io.BytesIO()
    assert play_stdio(load_frame_policy("bot_of_the_test:bot"), io.BytesIO(game_text()), replies) == 3
    assert replies.getvalue() == 3 * b"1 0 0 0 0\n"
    shapes = sys.modules["bot_of_the_test"].shapes

    assert shapes == 3 * [((1, 21, 4, 4), (1, 145))]
    with pytest.raises(StateError, match="policy: expected an action from 0 to 144, got 1000000"):
        play_stdio(load_frame_policy("bot_of_the_test:wild"), io.BytesIO(game_text()), replies)


@pytest.mark.parametrize("policy", ["greedy", "no_such_module:bot", "os:no_such", ":", "a b:c"])
def test_unknown_policy_is_refused(policy: str) -> None:
    with pytest.raises(ConfigError, match=r"policy: expected .*module:callable.* got '" + policy):
        load_frame_policy(policy)


def test_random_agent_depends_on_its_seed() -> None:
    def replies(seed: int) -> bytes:
        out = io.BytesIO()
        play_stdio(load_frame_policy("random", seed), io.BytesIO(game_text(8)), out)
        return out.getvalue()

    assert replies(1) == replies(1)
    assert replies(1) != replies(2)
