"""Tests that the page decodes what was recorded: boards, actions, sight, scores, rewards and probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.kept_games import sampled_game

from generals_env.actions import DIRECTIONS
from generals_env.engine.boards import CITY, Boards
from generals_env.engine.observations.reference import visible_to
from generals_env.errors import ConfigError
from generals_env.replay.recorded_game import UNKNOWN, RecordedGame
from generals_env.viewer import write_page
from generals_env.viewer.encoding import encode_game, varints, zigzag

GAMES: dict[str, dict[str, Any]] = {
    "duel": {"height": 6, "width": 7, "max_turns": 150},
    "smallest": {"height": 4, "width": 4, "max_turns": 60},
    "padded, wrapping": {"seed": 2, "players": 3, "height": (5, 6), "width": (6, 8), "modifiers": ("torus",), "max_turns": 80},
    "teams": {"players": 4, "height": 7, "width": 6, "teams": (0, 1, 0, 1), "max_turns": 70, "surrender": 20},
    "competition": {"height": 7, "width": 6, "rules": "competition", "touch_turn": 20, "max_turns": 400},
    "sixteen": {"players": 16, "height": 16, "width": 17, "max_turns": 10},
}

#: Returns what the page decodes of its first game.
DECODED = """() => {
  const game = viewer.panels[0].game, frames = [...Array(game.frames).keys()], seats = [...game.names.keys()];
  // Frames are visited backwards and forwards, as a reader jumps.
  const boards = [];
  for (const frame of [...frames].reverse()) boards[frame] = Object.fromEntries(Object.entries(game.at(frame))
    .filter(([name]) => name !== "frame").map(([name, field]) => [name, [...field]]));
  const again = frames.every((frame) => ["owner", "army", "terrain"].every((name) =>
    game.at(frame)[name].every((value, tile) => value === boards[frame][name][tile])));
  return {
    again, boards, land: [...game.land], army: [...game.army],
    actions: frames.slice(1).map((frame) => seats.map((seat) => game.action(frame - 1, seat))),
    seen: frames.filter((frame) => frame % 10 === 0).map((frame) => seats.map((seat) => [...(game.seen(frame, seat) || [])])),
    alive: frames.map((frame) => seats.map((seat) => game.isAlive(frame, seat))),
    rewards: [...game.rewards].map(String), cumulated: [...game.cumulated],
    moments: game.moments,
  };
}"""


def trimmed(boards: Boards, field: Any) -> Any:
    """Return (n, rows * columns): a field of boards without padding."""
    first = boards.games[0]
    rows, columns = int(first["rows"]), int(first["columns"])
    return field.reshape(-1, int(first["height"]), int(first["width"]))[:, :rows, :columns].reshape(-1, rows * columns)


def action_of(index: int, boards: Boards) -> dict[str, Any]:
    """Return an action as the page gives it, without its player."""
    first = boards.games[0]
    height, width, rows, columns = (int(first[name]) for name in ("height", "width", "rows", "columns"))
    plane = 4 * height * width
    if index == 2 * plane:
        return {"kind": "pass"}
    if index > 2 * plane:
        row, column = divmod(index - 2 * plane - 1, width)
        return {"kind": "build", "from": row * columns + column, "build": True}
    tile, direction = divmod(index % plane, 4)
    row, column = divmod(tile, width)
    down, right = DIRECTIONS[direction]
    end = (row + down) % rows * columns + (column + right) % columns
    return {"kind": "move", "from": row * columns + column, "to": end, "half": index >= plane}


@pytest.mark.parametrize("name", GAMES)
def test_page_decodes_a_game_as_it_was_recorded(name: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    game = sampled_game(**GAMES[name])
    boards = game.boards
    decoded = open_page(write_page([game], tmp_path / "page.html")).evaluate(DECODED)
    assert decoded["again"]
    for field in ("owner", "army", "terrain"):
        frames = np.array([board[field] for board in decoded["boards"]])
        np.testing.assert_array_equal(frames, trimmed(boards, getattr(boards, field)))
    land = [[(frame == player).sum() for frame in boards.owner] for player in range(game.players)]
    army = [((boards.owner == player) * boards.army).sum(axis=1) for player in range(game.players)]
    assert decoded["land"] == np.ravel(land).tolist()
    assert decoded["army"] == np.ravel(army).tolist()
    for turn, actions in enumerate(decoded["actions"]):
        for player, action in enumerate(actions):
            assert action.pop("player") == player
            assert action == action_of(int(game.actions[turn, player]), boards)
    bits = np.empty(boards.owner.shape[1], np.uint32)
    for frame, seen in zip(range(0, game.turns + 1, 10), decoded["seen"], strict=True):
        visible_to(boards, frame, bits)
        for player in range(game.players):
            np.testing.assert_array_equal(seen[player], trimmed(boards, bits >> np.uint32(player) & 1)[0])
    assert decoded["alive"] == boards.players["alive"].tolist()
    assert game.rewards is not None
    np.testing.assert_array_equal(np.array(decoded["rewards"], np.float32), game.rewards.T.ravel())
    sums = np.cumsum(np.pad(game.rewards.T.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    np.testing.assert_allclose(decoded["cumulated"], sums.ravel())
    castles = [moment for moment in decoded["moments"] if moment["kind"] == "castle"]
    assert len(castles) == (boards.terrain[-1] == CITY).sum() if name == "competition" else not castles
    assert {moment["frame"] for moment in decoded["moments"] if moment["kind"] in ("out", "general")} == set(
        (1 + np.flatnonzero((boards.players["alive"][1:] != boards.players["alive"][:-1]).any(axis=1))).tolist()
    )


def test_page_holds_unknown_actions_values_and_likeliest_actions(open_page: Callable[..., Any], tmp_path: Path) -> None:
    game = sampled_game(height=5, width=5, max_turns=30)
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(201, 0.02), (30, 2))
    probabilities[3, 1] = np.nan
    actions = game.actions.copy()
    actions[:, 1] = UNKNOWN
    values = rng.normal(size=(30, 2)).astype(np.float32)
    rewards = np.full((30, 2), np.nan, np.float32)
    game = replace(game, actions=actions, values=values, probabilities=probabilities, rewards=rewards)
    page = open_page(write_page([game], tmp_path / "page.html"))
    kinds, shown, sums, likeliest = page.evaluate("""() => {
      const { game } = viewer.panels[0], turns = [...Array(game.turns).keys()];
      return [turns.map((turn) => game.action(turn, 1).kind), [...game.values], [...game.cumulated],
        turns.map((turn) => [0, 1].map((seat) => game.likeliest(turn, seat)))];
    }""")
    assert set(kinds) == {"unknown"}
    assert shown == values.T.ravel().tolist()
    assert sums == [0] * 62
    assert likeliest[3][1] == []
    for turn in (0, 7, 29):
        listed = likeliest[turn][0]
        best = int(np.argmax(probabilities[turn, 0]))
        expected = action_of(best, game.boards)  # moves off the board are possible here, so where they end does not count
        assert all(listed[0]["action"][key] == expected[key] for key in expected if key != "to")
        assert listed[0]["share"] == pytest.approx(probabilities[turn, 0, best], abs=1 / 255)
        assert [entry["share"] for entry in listed] == sorted((entry["share"] for entry in listed), reverse=True)
        assert len(listed) == min((np.rint(probabilities[turn, 0] * 255) > 0).sum(), 24)


def read_varints(data: bytes) -> list[int]:
    numbers, number, shift = [], 0, 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return numbers


def test_varints_hold_numbers_of_every_length() -> None:
    numbers = np.array([0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**28, 2**32 - 1])
    assert read_varints(varints(numbers)) == numbers.tolist()
    assert varints(np.array([], np.int64)) == b""
    signed = np.array([0, -1, 1, -(2**31), 2**31 - 1])
    assert zigzag(signed).tolist() == [0, 1, 2, 2**32 - 1, 2**32 - 2]


def test_games_whose_arrays_do_not_belong_together_are_refused() -> None:
    game = sampled_game(height=5, width=5, max_turns=5)
    assert game.rewards is not None
    for change, text in (
        ({"actions": game.actions[:-1]}, "expected one board more than turns"),
        ({"actions": game.actions[:, :1]}, "and actions of 2 players"),
        ({"actions": game.actions + 9 * 25}, "expected actions from -1 to 225"),
        ({"names": ("one",)}, "expected 2 names or none, got 1"),
        ({"rewards": game.rewards[:3]}, r"expected rewards of shape \(5, 2, ...\)"),
    ):
        wrong: RecordedGame = replace(game, **change)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=text):
            encode_game(wrong)
