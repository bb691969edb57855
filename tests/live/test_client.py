"""Tests the client of live games against a local server: whole games, refusals, lost connections and misbehaviour."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.fake_live_server import FakeServer, Mischief, serving
from support.paths import DATA
from typer.testing import CliRunner

from generals_env import replay
from generals_env.cli.app import app
from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.live import LiveClient, LiveOptions, LiveResult, load_live_policy, play_live, read_user_id
from generals_env.live.client import MAX_WAITING
from generals_env.live.options import PUBLIC_SERVER
from generals_env.replay import files

SECRET = "secret-of-the-bot"


@pytest.fixture(scope="module")
def game() -> replay.Replay:
    return replay.read(DATA / "duel_wide.json.gz")


def options(server: FakeServer, **others: Any) -> LiveOptions:
    settings = {"user_id": SECRET, "username": "[Bot] tester", "game": "room", "server": server.address, "pause": 0.01}
    return LiveOptions(**settings | others)


def first_legal(observation: Mapping[str, Any]) -> int:
    """Choose the first legal move, or the pass."""
    return int(np.flatnonzero(observation["action_mask"])[0])


def play(server: FakeServer, policy: Any = first_legal, **others: Any) -> list[LiveResult]:
    with serving(server):
        return play_live(options(server, **others), policy)


def test_client_plays_a_game_and_sends_moves_with_their_indexes(game: replay.Replay) -> None:
    server = FakeServer(game, seat=1, turns=80)
    (result,) = play(server)
    assert (result.outcome, result.turns, result.start.player) == ("won", 80, 1)
    assert server.heard.events[0] == ("set_username", (SECRET, "[Bot] tester"))
    assert server.heard.events[1] == ("join_private", ("room", SECRET))
    assert server.heard.named("set_force_start") == [("room", True)]
    attacks = server.heard.named("attack")
    assert [index for *_, index in attacks] == list(range(1, result.moves + 1))
    assert len(attacks) > 5
    for start, end, half, _ in attacks:
        assert abs(end - start) in (1, game.width)
        assert half is False
    assert server.heard.events[-1][0] == "leave_game"


def test_record_of_a_game_holds_what_its_player_saw(game: replay.Replay, tmp_path: Path) -> None:
    (result,) = play(FakeServer(game, seat=0, turns=60))
    assert result.record is not None
    assert (result.record.turns, result.record.players) == (59, 2)
    turns = list(game.play())
    for b, turn in enumerate(turns[1:61]):
        visible = turn.visible(0).ravel()
        assert np.array_equal(result.record.boards.owner[b][visible], turn.owner.ravel()[visible])
        assert not result.record.boards.army[b][~visible].any()
    files.write(tmp_path / "game.generals", result.record)
    again = files.load(tmp_path / "game.generals")
    assert np.array_equal(again.boards.army, result.record.boards.army)


@pytest.mark.parametrize(
    ("mode", "event"), [("1v1", ("join_1v1", (SECRET,))), ("ffa", ("play", (SECRET,)))], ids=["1v1", "ffa"]
)
def test_client_joins_public_games(game: replay.Replay, mode: str, event: Any) -> None:
    server = FakeServer(game, turns=3)
    (result,) = play(server, mode=mode, game="", username="")
    assert result.turns == 3
    assert server.heard.events[0] == event
    assert server.heard.named("set_force_start") == ([] if mode == "1v1" else [(None, True)])


def test_client_plays_several_games_over_one_connection(game: replay.Replay) -> None:
    server = FakeServer(game, turns=4, ends=(("game_lost", {"killer": 1}), ("game_over", None)))
    results = play(server, games=3)
    assert [(result.outcome, result.turns) for result in results] == [("lost", 4)] * 3
    assert (server.connections, len(server.heard.named("join_private"))) == (1, 3)


def test_client_surrenders_after_the_turn_it_was_told(game: replay.Replay) -> None:
    server = FakeServer(game, turns=12, ends=(("game_lost", {"surrender": True}),))
    (result,) = play(server, max_turns=7)
    assert result.outcome == "surrendered"
    assert len(server.heard.named("surrender")) == 1


def test_move_that_the_server_does_not_process_is_taken_back(game: replay.Replay) -> None:
    def unprocessed(_: int, message: dict[str, Any]) -> dict[str, Any]:
        return message | {"attackIndex": 0}

    server = FakeServer(game, turns=60, mischief=unprocessed)
    (result,) = play(server)
    assert result.moves > 2
    assert len(server.heard.named("clear_moves")) == result.moves - 1


def test_game_on_a_lost_connection_ends_and_the_next_one_is_joined(game: replay.Replay) -> None:
    connections = []

    def cut(number: int, message: dict[str, Any]) -> dict[str, Any] | None:
        connections.append(number)
        return None if number == 5 and len(connections) <= 5 else message

    server = FakeServer(game, turns=8, mischief=cut)
    results = play(server, games=2)
    assert [(result.outcome, result.turns) for result in results] == [("disconnected", 4), ("won", 8)]
    assert server.connections == 2


def test_client_gives_up_on_a_server_that_cannot_be_reached() -> None:
    nowhere = LiveOptions(SECRET, game="room", server="ws://127.0.0.1:9", reconnects=1, pause=0.01)
    with pytest.raises(StateError, match=r"server: expected a connection to ws://127.0.0.1:9, got .*: try again later"):
        play_live(nowhere, first_legal)


@pytest.mark.parametrize(
    ("event", "text", "message"),
    [
        ("gio_error", "Bad <b>room</b>\x1b[2J", r"refused with gio_error 'Bad <b>room</b> \[2J'"),
        ("error_set_username", "Name is taken", "username: refused by the server: 'Name is taken'"),
        ("error_user_id", "no", "refused with error_user_id 'no': check the user id"),
        ("error_banned", None, "refused with error_banned '': this account may not play"),
        ("error_queue_full", None, "try again later"),
        ("removed_from_queue", None, "join again"),
        ("server_restart", None, "try again later"),
    ],
)
def test_refusals_of_the_server_are_errors(game: replay.Replay, event: str, text: str | None, message: str) -> None:
    server = FakeServer(game, greets=lambda _: [(event, text)])
    with pytest.raises(StateError, match=message):
        play(server)
    assert server.connections == 1


def test_accepted_name_is_no_error(game: replay.Replay) -> None:
    server = FakeServer(game, turns=2, greets=lambda _: [("error_set_username", "")])
    assert play(server)[0].turns == 2


MISCHIEF: dict[str, tuple[Mischief, str]] = {
    "index": (lambda n, m: m | {"attackIndex": 10**6} if n == 3 else m, "attackIndex: expected at most"),
    "patch": (lambda n, m: m | {"map_diff": [0, 3, 1]} if n == 3 else m, "map: expected 3 whole numbers"),
    "huge map": (lambda n, m: m | {"map_diff": [0, 2, 10**6, 10**6]}, "map: expected width and height from 1 to 128"),
    "endless map": (lambda n, m: m | {"map_diff": [0, 10**12]}, "map: expected at most 32770 numbers"),
    "no fields": (lambda n, m: {"turn": 1}, "generals: expected a list, got None"),
}


@pytest.mark.parametrize("case", MISCHIEF)
def test_misbehaving_servers_are_refused_with_the_place(game: replay.Replay, case: str) -> None:
    mischief, message = MISCHIEF[case]
    with pytest.raises(StateError, match=message):
        play(FakeServer(game, turns=6, mischief=mischief))


def test_message_beyond_the_limit_ends_the_connection(game: replay.Replay) -> None:
    server = FakeServer(game, turns=6, mischief=lambda n, m: m | {"map_diff": [0] * 10**6} if n == 2 else m)
    (result,) = play(server)
    assert (result.outcome, result.turns) == ("disconnected", 1)


def test_flood_of_messages_is_refused() -> None:
    async def flood() -> int:
        client = LiveClient(LiveOptions(SECRET, game="room"), first_legal)
        client._waiting = asyncio.Queue(MAX_WAITING)
        for _ in range(MAX_WAITING):
            await client._received("queue_update", {"numPlayers": 1})
            await client._received("chat_message", "room", {"text": "not kept"})
        assert (await client._next(1))[0] == "queue_update"
        for _ in range(1000):
            await client._received("queue_update", {"numPlayers": 1})
        with pytest.raises(StateError, match="expected at most 64 waiting messages, got more: it floods this client"):
            await client._next(1)
        return client._waiting.qsize()

    assert asyncio.run(flood()) == MAX_WAITING


def test_policies_that_choose_impossible_actions_or_fail_end_the_game(game: replay.Replay) -> None:
    with pytest.raises(StateError, match="policy: expected an action from 0 to"):
        play(FakeServer(game, turns=40), lambda _: 10**9)

    def broken(_: Any) -> int:
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        play(FakeServer(game, turns=40), broken)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"username": "tester"}, r"username: expected a name that begins with '\[Bot\] '"),
        ({"username": "[Bot] " + "x" * 20}, "username: expected at most 18 characters, got 26"),
        ({"game": ""}, "game: expected the id of a game with mode 'private' only"),
        ({"mode": "2v2"}, "mode: expected one of private, 1v1, ffa, got '2v2'"),
        ({"server": "ftp://x"}, "server: expected an address"),
        ({"games": 0}, "games: expected at least 1, got 0"),
        ({"user_id": "a\nb"}, "user_id: expected 1 to 200 printable characters, got 3"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_options_that_the_server_would_refuse_are_refused_first(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LiveOptions(**{"user_id": SECRET, "game": "room"} | change)


def test_user_id_comes_from_the_environment_or_a_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENERALS_USER_ID", raising=False)
    with pytest.raises(ConfigError, match="expected it in the environment variable GENERALS_USER_ID, or in a file"):
        read_user_id()
    monkeypatch.setenv("GENERALS_USER_ID", f" {SECRET}\n")
    assert read_user_id() == SECRET
    (tmp_path / "id").write_text(f"{SECRET}2\n")
    assert read_user_id(tmp_path / "id") == f"{SECRET}2"
    with pytest.raises(ConfigError, match="expected a readable file of one line"):
        read_user_id(tmp_path)
    assert SECRET not in repr(LiveOptions(SECRET, game="room"))


def test_policies_are_found_by_name() -> None:
    assert callable(load_live_policy("expander", 1))
    chosen = load_live_policy("support.live_policies:first_of_batch")
    assert chosen({"observation": np.zeros((9, 2, 2)), "action_mask": np.ones(33, np.int8)}) == 0
    with pytest.raises(
        GeneralsError, match=r"policy: expected random, expander, .*, a checkpoint that exists or module:callable"
    ):
        load_live_policy("nothing")


def test_command_plays_and_saves_without_showing_the_user_id(
    game: replay.Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENERALS_USER_ID", SECRET)
    with serving(FakeServer(game, turns=30)) as server:
        arguments = ["live", "--server", server.address, "--game", "room", "--save", str(tmp_path), "--seed", "1"]
        done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "won" in done.output
    assert SECRET not in done.output
    (file,) = tmp_path.iterdir()
    assert files.load(file).turns == 29
    assert "NOT YET RUN AGAINST THE LIVE SERVER" in " ".join(CliRunner().invoke(app, ["live", "--help"]).output.split())


def test_public_server_is_the_default_and_named_nowhere_else() -> None:
    assert LiveOptions(SECRET, game="room").server == PUBLIC_SERVER == "wss://botws.generals.io"
