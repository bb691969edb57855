"""Tests that a client of live games observes what an environment shows the same seat, and refuses bad updates."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.fake_live_server import SeatMessages
from support.paths import DATA

from generals_env import replay
from generals_env.engine.observations.fog_memory import remember
from generals_env.engine.simulation.single_game import view_board
from generals_env.errors import StateError
from generals_env.live.belief import BeliefBoard
from generals_env.live.messages import game_start, game_update, readable
from generals_env.recorders.experience.recipe import Recipe

GAMES = ("duel_wide", "teams", "three", "torus", "eight", "old")


@pytest.mark.parametrize("layout", ["standard", "full"])
@pytest.mark.parametrize("name", GAMES)
def test_observations_equal_those_of_an_environment(name: str, layout: str) -> None:
    game = replay.read(DATA / f"{name}.json.gz")
    seats = range(min(game.players, 3))
    tiles, channels = game.height * game.width, 21 if layout == "full" else 9
    messages = [SeatMessages(game, seat) for seat in seats]
    beliefs = [BeliefBoard(game_start(message.start()), Recipe(layout)) for message in messages]
    tensors = np.empty((game.players, channels, tiles), np.float32)
    masks = np.empty((game.players, 8 * tiles + 1), np.int8)
    hidden = np.zeros(tiles, np.bool_)
    for turn in game.play():
        if turn.turn == 0:
            continue
        view_board(turn.boards, 0, tensors, masks)
        for seat in seats:
            beliefs[seat].take(game_update(messages[seat].update(turn, 0), game.players))
            if not turn.alive[seat]:
                continue
            seen = beliefs[seat].observation()
            ours, theirs = seen["observation"].reshape(channels, tiles), tensors[seat]
            assert np.array_equal(ours, theirs), (turn.turn, seat, np.argwhere(ours != theirs)[:3])
            assert np.array_equal(seen["action_mask"], masks[seat]), (turn.turn, seat)
            hidden |= ours[8] > 0
    assert hidden.any()


def test_memory_and_stacked_frames_are_those_of_the_wrappers() -> None:
    game = replay.read(DATA / "duel_wide.json.gz")
    messages = SeatMessages(game, 0)
    belief = BeliefBoard(game_start(messages.start()), Recipe(memory=True, frames=3))
    tiles = game.height * game.width
    tensors, masks = np.empty((2, 9, tiles), np.float32), np.empty((2, 8 * tiles + 1), np.int8)
    memory = np.zeros((1, 16, tiles), np.float32)
    frames: list[Any] = []
    for turn in game.play():
        if not 0 < turn.turn <= 60:
            continue
        view_board(turn.boards, 0, tensors, masks)
        remember(tensors[:1], np.array([turn.turn == 1]), memory)
        frames = [memory[0].copy()] * 3 if not frames else [*frames[1:], memory[0].copy()]
        belief.take(game_update(messages.update(turn, 0), 2))
        assert np.array_equal(belief.observation()["observation"].reshape(48, tiles), np.concatenate(frames))


def updates(count: int = 3) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the start of a game and its first updates."""
    game = replay.read(DATA / "duel_wide.json.gz")
    messages = SeatMessages(game, 0)
    turns = [turn for turn, _ in zip(game.play(), range(count + 1), strict=False)]
    return messages.start(), [messages.update(turn, 0) for turn in turns[1:]]


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "text": (lambda m: "boo", "game_update: expected named fields, got 'boo'"),
    "turn back": (lambda m: m | {"turn": 1}, "turn: expected one after 1, got 1"),
    "turn of text": (lambda m: m | {"turn": "2"}, "turn: expected a whole number from 0 to 60000, got '2'"),
    "negative index": (lambda m: m | {"attackIndex": -1}, "attackIndex: expected a whole number from 0"),
    "no scores": (lambda m: m | {"scores": []}, "scores: expected 2, one a player"),
    "score twice": (lambda m: m | {"scores": [m["scores"][0]] * 2}, "scores: expected each of 2 players once"),
    "generals": (lambda m: m | {"generals": [5]}, "generals: expected 2 tiles"),
    "general off the map": (lambda m: m | {"generals": [16000, -1]}, "generals: expected tiles below"),
    "city off the map": (lambda m: m | {"cities_diff": [0, 1, 9999]}, "cities: expected tiles below"),
    "endless cities": (lambda m: m | {"cities_diff": [0, 10**9]}, "map: expected at most"),
    "map of text": (lambda m: m | {"map_diff": [0, 1, "x"]}, "map: expected 1 whole numbers at 2 of the change"),
    "map keeps too much": (lambda m: m | {"map_diff": [10**6]}, "map: expected at most"),
    "map cut": (lambda m: m | {"map_diff": [0, 5, 1]}, "map: expected 5 whole numbers at 2"),
    "map shrinks": (lambda m: m | {"map_diff": [4]}, "map: expected .* numbers for"),
    "map grows": (lambda m: m | {"map_diff": [0, 2, 200, 200]}, "map: expected width and height from 1 to 128"),
    "map of bools": (lambda m: m | {"map_diff": [True]}, "map: expected a count of numbers at 0"),
    "code of no player": (lambda m: m | {"map_diff": [m["map_diff"][0], 1, 9]}, "map: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_updates_are_refused(case: str) -> None:
    start, (first, second, _) = updates()
    change, message = BAD[case]
    belief = BeliefBoard(game_start(start))
    belief.take(game_update(first, 2))
    with pytest.raises(StateError, match=message):
        belief.take(game_update(change(copy.deepcopy(second)), 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"playerIndex": 7}, "playerIndex: expected a whole number from 0 to 1, got 7"),
        ({"usernames": "ab"}, "usernames: expected 1 to 16 names"),
        ({"usernames": ["a"] * 99}, "usernames: expected 1 to 16 names"),
        ({"teams": [1]}, "teams: expected 2 numbers"),
        ({"swamps": [-1]}, "swamps: expected a whole number"),
        ({"options": {"modifiers": ["x"]}}, "modifiers: expected a whole number"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_malformed_starts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StateError, match=message):
        game_start(updates(1)[0] | change)


def test_texts_of_the_server_are_made_harmless() -> None:
    assert readable("a\x1b[2Jb\nc") == "a [2Jb c"
    assert len(readable("x" * 10_000)) == 200
    assert readable(None) == ""
