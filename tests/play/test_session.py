"""Tests games of a person against agents without a network: what the seat sees, agents that fail or are slow, the record."""

from __future__ import annotations

import json
import re
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import naive
from support.helpers import PATIENCE
from support.play_games import SMALL, ready_session

from generals_env import replay
from generals_env.engine.boards import CITY, GENERAL, NEUTRAL, Boards
from generals_env.engine.rules.castle_prices import castle_price
from generals_env.engine.simulation.single_game import AFTER
from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.play.options import SessionOptions
from generals_env.play.session import Session
from generals_env.play.sight import build_prices, seen_board
from generals_env.viewer.encoding import encode_game


def play_on(session: Session, turns: int) -> None:
    """Play turns, each with the answers of all agents, until the game ends."""
    for _ in range(turns):
        for thinker in session.seats.values():
            thinker.wait(PATIENCE)
        session.play_turn()


def board_of(session: Session) -> Boards:
    return session._game.board()


def same_but_hidden(boards: Boards, seen: np.ndarray[Any, Any], rng: np.random.Generator) -> Boards:
    """Return the board with other owners, armies and terrain where the seat does not see; obstacles stay obstacles."""
    other = Boards._make(field.copy() for field in boards)
    for tile in np.flatnonzero(~seen):
        if boards.owner[0, tile] < NEUTRAL or boards.terrain[0, tile] == CITY:
            city = bool(rng.integers(2))
            other.owner[0, tile] = rng.choice([-1, 1]) if city else -2
            other.terrain[0, tile] = CITY if city else 3
        else:
            other.owner[0, tile] = rng.choice([-1, 1])
            other.terrain[0, tile] = rng.choice([0, GENERAL])
        other.army[0, tile] = rng.integers(1000)
    return other


def test_page_gets_nothing_of_hidden_tiles() -> None:
    session, rng = ready_session(opponents=("expander",), game={"height": 9, "width": 9}), np.random.default_rng(0)
    session.start()
    hidden = 0
    for _ in range(60):
        play_on(session, 1)
        boards, view = board_of(session), session.view()
        visible = naive.Game.from_boards(boards, 0).visible(0)
        seen = np.array([tile in visible for tile in range(81)])
        hidden += int((~seen & (boards.owner[0] == 1)).sum())
        assert view["seen"] == seen.astype(int).tolist()
        for name in ("owner", "army", "terrain"):
            sent = np.array(view[name])
            assert (sent[seen] == getattr(boards, name)[0][seen]).all()
            assert set(sent[~seen].tolist()) <= {"owner": {-1, -2}, "army": {0}, "terrain": {0}}[name]
        # Whatever the other player has on hidden tiles, the page gets the same.
        assert seen_board(same_but_hidden(boards, seen, rng), 0, 0) == seen_board(boards, 0, 0)
        assert set(view) - {"owner", "army", "terrain", "seen"} == {
            *("type", "id", "turn", "state", "scores", "prices", "queue", "result")
        }
    assert hidden > 100


def test_game_ends_with_the_whole_board_and_is_saved_equal(tmp_path: Path) -> None:
    session = ready_session(opponents=("expander",))
    with pytest.raises(StateError, match="expected a game that is over, got one that is ready"):
        session.recorded()
    session.start()
    play_on(session, 3000)
    view = session.view()
    assert (session.state, view["result"]["kind"], view["seen"]) == ("over", "lost", None)
    assert view["owner"] == board_of(session).owner[0].tolist()
    game = session.recorded()
    assert game.names == ("You", "expander")
    replay.write(tmp_path / "game.generals", game)
    for name in ("game.generals", "game.gior"):
        replay.write(tmp_path / name, game)
        again = replay.load(tmp_path / name)
        assert (again.turns, again.names) == (game.turns, game.names)
        for field in ("owner", "army"):
            assert (getattr(again.boards, field) == getattr(game.boards, field)).all(), name
    assert (replay.load(tmp_path / "game.generals").actions == game.actions).all()


def test_surrender_is_part_of_the_record(tmp_path: Path) -> None:
    session = ready_session(seat=1)
    with pytest.raises(StateError, match="surrender: expected a game that is being played"):
        session.surrender()
    session.start()
    play_on(session, 5)
    session.surrender()
    assert session.result() == {"kind": "lost", "surrendered": True, "turns": 6, "reason": ""}
    game = session.recorded()
    assert game.events.tolist() == [[1, 5, 1]]
    replay.write(tmp_path / "game.generals", game)
    again = replay.load(tmp_path / "game.generals")
    assert (again.boards.players["alive"] == game.boards.players["alive"]).all()
    assert not again.boards.players["alive"][-1, 1]


def test_queued_moves_are_played_and_shown() -> None:
    session = ready_session()
    board = np.array(session.view()["owner"]).reshape(6, 7)
    row, column = np.argwhere(board == 0)[0]
    start = int(row * 7 + column)
    end = next(
        tile
        for tile, inside in ((start - 1, column > 0), (start + 1, column < 6), (start - 7, row > 0), (start + 7, row < 5))
        if inside and board.ravel()[tile] == NEUTRAL
    )
    session.add_move(start, end, False)
    session.start()
    play_on(session, 1)  # an army of 1 does not move: the move is dropped
    assert session.queued() == []
    play_on(session, 2)
    session.add_move(start, end, False)
    session.add_move(end, start, True)
    play_on(session, 1)
    assert session.queued() == [{"from": end, "to": start, "half": True}]
    assert session.view()["owner"][end] == 0


class SlowPolicy:
    """Waits to be released before it answers, but for its first answer."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.calls = 0

    def __call__(self, views: dict[str, Any]) -> Any:
        self.calls += 1
        if self.calls > 1:
            assert self.released.wait(PATIENCE)
        return views["action_mask"].argmax(axis=1)


slow = SlowPolicy()


def broken(views: dict[str, Any]) -> Any:
    assert views["observation"].shape == (1, 9, 6, 7)
    raise ValueError("no idea <b>")


def outside(_: dict[str, Any]) -> Any:
    return np.array([999_999])


def wordy(_: dict[str, Any]) -> Any:
    return np.array(["up"])


def here(name: str) -> tuple[str, ...]:
    """Return the opponent that is a function of this module."""
    sys.modules["opponents_of_tests"] = sys.modules[__name__]
    return (f"opponents_of_tests:{name}",)


def test_clock_goes_on_while_an_agent_thinks() -> None:
    session = ready_session(opponents=here("slow"))
    session.start()
    for _ in range(10):
        session.play_turn()
    assert session.turn == 10
    pass_index = 8 * 42
    assert [int(actions[1]) for actions in session._actions] == [pass_index] * 10
    slow.released.set()
    play_on(session, 3)
    assert int(session._actions[-1][1]) != pass_index
    session.close()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "ValueError: no idea <b>"),
        ("outside", "expected an action from 0 to 336, got 999999"),
        ("wordy", "expected one action index"),
    ],
)
def test_agent_that_fails_ends_the_game(name: str, reason: str) -> None:
    session = ready_session(opponents=here(name))
    if session.state == "ready":
        session.start()
        play_on(session, 1)
    assert session.state == "over"
    assert session.result()["kind"] == "failed"
    assert reason in session.view()["result"]["reason"]
    assert session.recorded().turns == 0


def test_seats_players_and_options_of_a_rematch() -> None:
    session = ready_session(seat=2, opponents=("random", "expander", "random"), game={"players": 4, "height": 8, "width": 8})
    assert session.names() == ("random", "expander", "You", "random")
    assert sorted(session.seats) == [0, 1, 3]
    with pytest.raises(ConfigError, match="seat"):
        session.again({"seat": 4})
    with pytest.raises(ConfigError, match="players"):
        session.again({"height": 4, "width": 4})
    with pytest.raises(ConfigError, match="competition"):
        session.again({"rules": "competition"})
    assert session.state == "ready"
    before = session.facts()["id"]
    session.again({"seat": 0, "height": 7, "speed": 4})
    assert session.state == "preparing"
    session.prepare()
    facts = session.facts()
    assert (facts["rows"], facts["columns"], facts["seat"], facts["speed"]) == (7, 8, 0, 4)
    assert facts["id"] != before
    session.start()
    with pytest.raises(StateError, match="end it before"):
        session.again({})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"opponents": ("no_such_policy",)}, "opponent: expected random, expander, hunter, "),
        ({"opponents": ("random", "random")}, "expected one for all 1 other players"),
        ({"opponents": ("no_such_module:policy",)}, "can be imported"),
        ({"opponents": ("stdio:./bot",)}, "--rules competition"),
        ({"seat": 2}, "seat: expected an index from 0 to 1"),
        ({"speed": 0}, "speed: expected 0.1 to 50"),
        ({"game": {"rules": "v99"}}, "rules: expected"),
    ],
)
def test_sessions_with_invalid_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(GeneralsError, match=words):
        Session(SessionOptions(**options))


def test_castles_are_priced_built_and_recorded(tmp_path: Path) -> None:
    session = ready_session(game={"rules": "competition", "height": 18, "width": 18}, seed=2)
    boards = session._game.boards
    tile = int(np.flatnonzero((boards.owner[AFTER] == NEUTRAL) & (boards.terrain[AFTER] == 0))[0])
    boards.owner[AFTER, tile], boards.army[AFTER, tile] = 0, 60
    session._boards[0] = session._game.board()
    session._game.masks[0, 8 * 18 * 18 + 1 + tile] = 1
    prices = build_prices(boards, AFTER, 0)
    assert prices is not None
    expected = castle_price.py_func(boards.owner[AFTER], boards.terrain[AFTER], 0, tile, 18, 18, 18)  # type: ignore[attr-defined]
    assert prices == {str(tile): expected}
    session.add_build(tile)
    session.start()
    play_on(session, 1)
    assert session.view()["terrain"][tile] == CITY
    session.surrender()
    replay.write(tmp_path / "game.generals", session.recorded())
    assert replay.load(tmp_path / "game.generals").boards.terrain[-1, tile] == CITY
    assert encode_game(session.recorded())
    with pytest.raises(ConfigError, match="build: expected the rules of the competition"):
        ready_session().add_build(0)


def test_views_are_plain_json() -> None:
    session = ready_session(game={**SMALL, "players": 3})
    for content in (session.facts(), session.view()):
        assert json.loads(json.dumps(content)) == content


BAD_PROGRAMS = {
    "import sys; print('not now', file=sys.stderr); sys.exit(3)": r"ended with status 3 not now",
    "print('hello'); import time; time.sleep(0.05)": r"ended with status 0|closed its output",
}


def test_program_of_the_competition_plays_on_a_padded_board() -> None:
    session = ready_session(opponents=("stdio:builtin:expander",), game={"rules": "competition"}, seat=1, seed=8)
    session.start()
    play_on(session, 60)
    land = session.view()["scores"]
    assert (session.turn, session.state) == (60, "playing")
    assert land[0]["land"] > 8
    assert land[1]["land"] == 1
    session.surrender()
    session.again({})
    session.prepare()
    assert session.state == "ready"
    session.close()


@pytest.mark.parametrize(("program", "reason"), BAD_PROGRAMS.items())
def test_program_that_ends_is_reported(program: str, reason: str) -> None:
    name = f"stdio:{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    session = ready_session(opponents=(name,), game={"rules": "competition"}, seed=8)
    if session.state == "ready":
        session.start()
        play_on(session, 3)
    assert (session.state, session.result()["kind"]) == ("over", "failed")
    assert re.search(reason, session.failure)
