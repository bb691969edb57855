"""Tests the option ``start`` with boards in the middle of a game, and the option of that name of ``reset``."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import Memory

import generals_env
from generals_env import ConfigError, GameConfig, start_boards
from generals_env.engine.boards import Boards, copy_boards, fit_boards
from generals_env.recorders import ExperienceRecorder
from generals_env.recorders.datasets.recorded_games import game_of_batch
from generals_env.starts import StartBoards
from generals_env.wrappers import FogMemory

POLICIES = ["expander", "expander"]


def boards_at(turn: int, games: int = 3, **options: Any) -> Boards:
    """Return boards of games in the middle."""
    venv = generals_env.make_vec(games, **{"height": 7, "width": 7, **options})
    venv.reset(seed=5)
    venv.play(turn, ["expander"] * venv.config.players)
    boards = venv.boards()
    venv.close()
    return boards


BOARDS = boards_at(40)


def board_number(boards: Boards, b: int, choices: Boards) -> int:
    """Return which of the choices board ``b`` is."""
    equal = (choices.army == boards.army[b]).all(axis=1) & (choices.owner == boards.owner[b]).all(axis=1)
    assert equal.sum() == 1
    return int(equal.argmax())


def test_start_boards_are_drawn_by_each_game_and_used_evenly() -> None:
    venv = generals_env.make_vec(300, start=BOARDS)
    assert venv.config.shape == (7, 7)
    for seed in (1, 1, 2):
        observations, _ = venv.reset(seed=seed)
        drawn = [board_number(venv.boards(), b, BOARDS) for b in range(300)]
        if seed == 1:
            first = drawn
    assert all(80 <= count <= 120 for count in np.bincount(drawn, minlength=3))
    assert first[1:] == drawn[:-1]  # seed 2 of game b is that of game b + 1
    assert (observations["observation"].reshape(300, -1).any(axis=1)).all()
    venv.reset()
    assert [board_number(venv.boards(), b, BOARDS) for b in range(300)] != drawn
    venv.close()


@pytest.mark.parametrize("make", [generals_env.make, generals_env.parallel_env])
def test_start_boards_are_those_of_vectors_in_single_games(make: Any) -> None:
    venv = generals_env.make_vec(4, start=BOARDS)
    env = make(start=BOARDS)
    for seed in (9, None):
        views, _ = venv.reset(seed=seed)
        env.reset(seed=seed)
        assert np.array_equal(env.state(), venv.state()[0])
        assert env.game.turn == 40
        assert np.array_equal(env.game.observations, views["observation"][0])
        assert np.array_equal(env.game.masks, views["action_mask"][0])
    single = gymnasium.make("generals_env/Generals-v0", start=BOARDS)
    single.reset(seed=10)
    assert np.array_equal(single.unwrapped.state(), generals_state(seed=10))  # type: ignore[attr-defined]
    venv.close()


def generals_state(seed: int) -> np.ndarray:
    """Return the state of the parallel environment that begins with the boards."""
    env = generals_env.parallel_env(start=BOARDS)
    env.reset(seed=seed)
    return env.state()


@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP", "DISABLED"])
def test_start_boards_begin_every_new_game_and_count_their_turn(mode: str) -> None:
    venv = generals_env.make_vec(4, start=BOARDS, max_turns=45, autoreset_mode=mode)
    venv.reset(seed=1)
    for turn in range(1, 6):
        truncated = venv.step(venv.act(POLICIES))[3]
        assert truncated.all() == (turn == 5)
    if mode == "NEXT_STEP":
        venv.step(venv.act(POLICIES))
    if mode == "DISABLED":
        venv.reset(options={"reset_mask": np.ones(4, np.bool_)})
    assert (venv.boards().games["turn"] == 40).all()
    counts = venv.play(10, POLICIES)
    assert counts.games == 8
    venv.close()


def test_start_boards_survive_json_pickling_and_spec() -> None:
    config = GameConfig.from_options(start=BOARDS)
    again = GameConfig.from_options(**json.loads(json.dumps(dataclasses.asdict(config))))
    assert again == config
    assert hash(again) == hash(config)
    assert isinstance(again.start, StartBoards)
    assert len(repr(again)) < 700
    for one, other in zip(again.start.boards(), BOARDS, strict=True):
        assert np.array_equal(one, other)
    env = gymnasium.make("generals_env/Generals-v0", start=BOARDS)
    assert env.spec is not None
    made: Any = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert made.unwrapped.config == env.unwrapped.config  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "options",
    [
        {"rules": "competition", "touch_turn": 70, "height": (6, 7)},
        {"players": 4, "teams": (0, 1, 0, 1), "modifiers": ("torus",), "fog": False},
        {"rules": "v13"},
    ],
)
def test_start_boards_set_the_options_that_are_left_out(options: dict[str, Any]) -> None:
    boards = boards_at(30, **options)
    config = GameConfig.from_options(start=boards)
    for name in ("players", "rules", "touch_turn", "teams", "modifiers", "fog"):
        assert getattr(config, name) == getattr(GameConfig.from_options(**options), name), name
    env = generals_env.parallel_env(start=boards)
    env.reset(seed=1)
    assert env.game.turn == 30


def test_start_boards_of_smaller_boards_are_padded() -> None:
    venv = generals_env.make_vec(3, start=BOARDS, height=9, width=12)
    observations, _ = venv.reset(seed=1)
    assert observations["observation"].shape == (3, 2, 9, 9, 12)
    assert (venv.boards().games["columns"] == 7).all()
    small, large = generals_env.make_vec(3, start=BOARDS), venv
    small.reset(seed=1)
    for _ in range(30):
        small.step(small.act(POLICIES))
        actions = small.batch.outcome.actions
        tiles, halves = 49, actions // (4 * 49)
        tile, direction = actions % (4 * tiles) // 4, actions % 4
        moved = ((tile // 7 * 12 + tile % 7) * 4 + direction) + halves * 4 * 108
        large.step(np.where(actions == 8 * tiles, 8 * 108, moved))
        assert np.array_equal(large.state()[:, :, :7, :7], small.state())
    assert (large.boards().games["turn"] == 70).all()
    for one, other in zip(fit_boards(large.boards(), 7, 7), small.boards(), strict=True):
        assert np.array_equal(one, other)


def test_start_boards_with_a_dead_player_begin_without_him() -> None:
    venv = generals_env.make_vec(40, height=8, width=8, players=3, autoreset_mode="DISABLED")
    venv.reset(seed=1)
    boards = None
    while boards is None:
        venv.step(venv.act(["expander"] * 3))
        alive = venv.boards().players["alive"]
        dead = np.flatnonzero((alive.sum(axis=1) == 2) & venv.going)
        if len(dead):
            boards = copy_boards(venv.boards(), dead[:1])
    gone = int(np.flatnonzero(~boards.players["alive"][0])[0])
    again = generals_env.make_vec(2, start=boards)
    observations, _ = again.reset(seed=0)
    assert not observations["observation"][:, gone].any()
    assert not again.batch.outcome.active[:, gone].any()
    for make in (generals_env.make, generals_env.parallel_env):
        env: Any = make(start=boards)
        env.reset(seed=0)
        assert env.agents == [f"player_{player}" for player in range(3) if player != gone]
    assert again.play(60, ["expander"] * 3).turns == 120
    venv.close()
    again.close()


def test_reset_option_start_begins_with_these_boards() -> None:
    venv = generals_env.make_vec(3, height=7, width=8)
    venv.reset(seed=1)
    venv.reset(options={"start": BOARDS})
    assert np.array_equal(venv.state()[..., :7], BOARDS.owner.reshape(3, 1, 7, 7).repeat(3, 1) * 0 + stacked(BOARDS))
    mask = np.array([False, True, False])
    before = venv.state()
    venv.step(venv.act(POLICIES))
    after = venv.state()
    views, _ = venv.reset(options={"start": copy_boards(BOARDS, slice(1, 2)), "reset_mask": mask})
    assert np.array_equal(venv.state()[~mask], after[~mask])
    assert np.array_equal(venv.state()[1], before[1])
    for make in (generals_env.make, generals_env.parallel_env):
        env: Any = make(height=7, width=8)
        env.reset(seed=3, options={"start": copy_boards(BOARDS, slice(1, 2))})
        assert np.array_equal(env.state(), before[1])
        assert np.array_equal(env.game.observations, views["observation"][1])
    single = gymnasium.make("generals_env/Generals-v0", height=7, width=8)
    observation, _ = single.reset(options={"start": copy_boards(BOARDS, slice(1, 2))})
    assert np.array_equal(observation["observation"], views["observation"][1, 0])
    venv.close()


def stacked(boards: Boards) -> np.ndarray:
    """Return boards as ``state`` shows them."""
    return np.stack([boards.owner, boards.army, boards.terrain], axis=1).reshape(len(boards.games), 3, 7, 7)


@pytest.mark.parametrize("start", [BOARDS.owner, copy_boards(BOARDS, slice(2)), "boards"])
def test_reset_option_start_of_another_form_is_refused(start: Any) -> None:
    venv = generals_env.make_vec(3, height=7, width=7)
    with pytest.raises(ConfigError, match=r"^start: expected Boards, one or 3 of them"):
        venv.reset(options={"start": start})
    env = generals_env.parallel_env(height=7, width=7)
    with pytest.raises(ConfigError, match=r"^start: expected Boards, one of them"):
        env.reset(options={"start": start})
    venv.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"height": 6}, "start: expected boards of at most 6 rows, got 7"),
        ({"width": (4, 5)}, "start: expected boards of at most 5 columns, got 7"),
        ({"players": 3}, "start: expected boards with players=3"),
        ({"rules": "v13"}, "start: expected boards with rules='v13'"),
        ({"rules": "competition"}, "start: expected boards with rules='competition'"),
        ({"fog": False}, "start: expected boards with fog=False"),
        ({"modifiers": ("torus",)}, r"start: expected boards with modifiers=\('torus',\)"),
        ({"teams": (1, 0)}, r"start: expected boards with teams=\(1, 0\)"),
        ({"max_turns": 40}, "start: expected boards before turn 40, got one in turn 40"),
        ({"map": "A...\n....\n....\n...B"}, "start: expected None with a map"),
    ],
)
def test_start_boards_that_do_not_fit_the_options_are_refused(options: dict[str, Any], told: str) -> None:
    if "map" in options:
        options["height"] = options["width"] = 4
    with pytest.raises(ConfigError, match=f"^{told}"):
        generals_env.make_vec(2, start=BOARDS, **options)


def altered(**changes: Any) -> Boards:
    """Return the boards with changes: name of an array or field, and what its first board gets."""
    boards = copy_boards(BOARDS)
    for name, value in changes.items():
        field = getattr(boards, name, None)
        if field is None:
            field = (boards.games if name in (boards.games.dtype.names or ()) else boards.players)[name]
        field[0] = value
    return boards


@pytest.mark.parametrize(
    ("boards", "told"),
    [
        (altered(owner=-3), "owners that fit the terrain"),
        (altered(owner=2), "owners that fit the terrain"),
        (altered(terrain=9), "terrain of the known kinds"),
        (altered(army=-5), "armies up to"),
        (altered(general=49), "generals on the board"),
        (altered(general=-1), "one player for each general"),
        (altered(general=0), "generals on own tiles"),
        (altered(rows=8), "rows and columns within the board"),
        (altered(rows=6), "mountains beyond rows and columns"),
        (altered(height=9), "boards of 4 to 64 rows and columns"),
        (altered(version=17), "boards of the same version"),
        (altered(team=3), "boards of the same teams"),
        (altered(turn=-1), "turns from 0"),
        (altered(last_move=41), "last moves and surrenders"),
        (altered(alive=False), "games that go on for two teams"),
        (BOARDS._replace(owner=BOARDS.owner.astype(np.int64)), "owner: expected an array of 2 axes and dtype int8"),
        (BOARDS._replace(army=BOARDS.army[:2]), "arrays of the same boards"),
        (copy_boards(BOARDS, slice(0)), "at least one board"),
    ],
)
def test_start_boards_of_no_running_game_are_refused(boards: Boards, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^start: (expected )?{told}"):
        generals_env.make_vec(2, start=boards)
    with pytest.raises(ConfigError, match=r"^start: "):
        generals_env.make_vec(3, height=7, width=7).reset(options={"start": boards})


TEXT = str(StartBoards.of(BOARDS))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3x7x7x2:",
        TEXT[:-9],
        TEXT[:60] + "!" + TEXT[61:],
        TEXT.replace("3x7", "2x7"),
        "999999999x64x64x16:AAAA",
        "3x7x7x99:A",
    ],
)
def test_start_text_that_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^start: expected "):
        generals_env.make(start=text)


def test_start_games_are_recorded_and_read_back() -> None:
    memory = Memory()
    venv = generals_env.make_vec(2, start=BOARDS, max_turns=60)
    with ExperienceRecorder(FogMemory(venv), memory) as recorder:
        recorder.reset(seed=1)
        first = venv.boards()
        for _ in range(25):
            recorder.step(venv.act(POLICIES))
    batch = type(memory[0]).concat(list(memory))
    recorded = batch.metadata["config"]["start"]
    assert recorded == StartBoards(TEXT).summary()
    assert json.dumps(batch.metadata)
    game = game_of_batch(batch)
    assert game.boards.games["turn"].tolist() == list(range(40, 61))
    assert np.array_equal(game.boards.army[0], first.army[0])
    later = start_boards([game, copy_boards(BOARDS, slice(1))], turn=50)
    assert later.games["turn"].tolist() == [50]
    again = generals_env.parallel_env(start=later)
    again.reset(seed=1)
    assert np.array_equal(again.board().army[0], game.boards.army[10])


def test_start_boards_joins_games_of_all_sizes(tmp_path: Path) -> None:
    other = boards_at(20, games=2, height=9, width=6)
    joined = start_boards([BOARDS, other])
    assert joined.owner.shape == (5, 63)
    assert GameConfig.from_options(start=joined).shape == (9, 7)
    with pytest.raises(ConfigError, match=r"^games: expected a board on which a game goes on, got none in turn 999"):
        start_boards([BOARDS], turn=999)
    with pytest.raises(ConfigError, match=r"^games: expected games of the same number of players"):
        start_boards([BOARDS, boards_at(5, players=3)])
    with pytest.raises(ConfigError, match=r"^games: expected Boards or recorded games"):
        start_boards([tmp_path])
