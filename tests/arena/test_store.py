"""Tests the store of played games: what it keeps, how later runs add to it, and damaged files."""

from __future__ import annotations

import errno
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.small_arenas import small

from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import make_players
from generals_env.arena.store import Store
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.errors import StorageError

FIGURES = {"land_25": (3.0, 4.5), "contact": (None, 7.0)}
GAME = PlayedGame(("a", "b"), 1, "won", 30, "8x8, live, 50 turns", 5, 2, figures=FIGURES)
LINE: dict[str, Any] = {
    "version": 1, "players": ["a", "b"], "winner": 1, "ended": "won", "turns": 30, "board": "8x8", "seed": 5, "map": 2,
}  # fmt: skip


def stored(folder: Path, *games: PlayedGame) -> Store:
    with Store(folder) as store:
        store.add(games)
    return Store(folder)


def test_store_returns_games_as_they_were_and_adds_to_them(tmp_path: Path) -> None:
    second = PlayedGame(("b", "a"), -1, "cut_off", 50, GAME.board, 5, 2)
    assert stored(tmp_path, GAME).games(GAME.board) == [GAME]
    assert stored(tmp_path, second).games(GAME.board) == [GAME, second]
    kept = PlayedGame(**{**vars(GAME), "replay": "replays/game-1.generals"})
    assert stored(tmp_path, kept).games(GAME.board) == [kept, second]  # the last line of a game counts
    assert len((tmp_path / "games.jsonl").read_text().splitlines()) == 3


def test_store_never_mixes_two_kinds_of_games(tmp_path: Path) -> None:
    other = PlayedGame(**{**vars(GAME), "board": "9x9, live, 50 turns"})
    store = stored(tmp_path, GAME, other)
    assert store.boards() == [GAME.board, other.board]
    assert store.games(other.board) == [other]
    assert store.games("10x10, live, 50 turns") == []


def test_store_drops_the_unfinished_line_of_a_killed_run(tmp_path: Path) -> None:
    stored(tmp_path, GAME)
    path = tmp_path / "games.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:-9])
    assert Store(tmp_path).games(GAME.board) == [GAME]
    with Store(tmp_path) as store:
        assert store.dropped == len(whole) - 9
    assert path.read_bytes() == whole
    second = PlayedGame(**{**vars(GAME), "map": 3})
    with Store(tmp_path) as store:
        path.write_bytes(whole + b"{")  # another process was killed meanwhile
        store.add([second])
    assert Store(tmp_path).games(GAME.board) == [GAME, second]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"{", "a JSON object"),
        (b"[" * 9000, "a JSON object"),
        (b"\xff", "a JSON object"),
        (b"[]", "a JSON object"),
        ({"version": 2}, "version 1, got 2"),
        ({"players": ["a", "a"]}, "different players"),
        ({"players": ["a"]}, "two names as players"),
        ({"players": ["a", "b\n"]}, "two names as players"),
        ({"winner": 2}, "0 or 1 as winner"),
        ({"winner": True}, "0 or 1 as winner"),
        ({"winner": -1}, "0 or 1 as winner"),
        ({"ended": "draw"}, "-1 as winner"),
        ({"ended": ["won"]}, "as ended"),
        ({"turns": -1}, "non-negative integer as turns"),
        ({"seed": 1.5}, "non-negative integer as seed"),
        ({"map": "x"}, "non-negative integer as map"),
        ({"board": ""}, "a name as board"),
        ({"replay": "replays/../../x"}, "a path below replays/"),
        ({"replay": "/etc/passwd"}, "a path below replays/"),
        ({"figures": {"land_25": [1]}}, "two numbers or nulls"),
        ({"figures": {"land_25": [1, "x"]}}, "two numbers or nulls"),
        ({"figures": {"land_25": [1, float("nan")]}}, "two numbers or nulls"),
        ({"figures": {"land_25": [1, 10**400]}}, "two numbers or nulls"),
        ({"figures": {"land_25": [1, True]}}, "two numbers or nulls"),
        ({"version": True}, "version 1, got True"),
        ({"figures": {str(i): [1, 2] for i in range(65)}}, "at most 64 names"),
        ({"more": 1}, "only fields among"),
        ({"seed": None}, "non-negative integer as seed"),
        (b"x" * 20000, "at most 16384 bytes"),
    ],
)
def test_store_names_the_line_that_is_no_game(line: Any, text: str, tmp_path: Path) -> None:
    data = line if isinstance(line, bytes) else json.dumps({**LINE, **line}).encode()
    (tmp_path / "games.jsonl").write_bytes(json.dumps(LINE).encode() + b"\n" + data + b"\n")
    with pytest.raises(StorageError, match=rf"games\.jsonl, line 2: expected .*{text}"):
        Store(tmp_path)


@pytest.mark.parametrize("line", [b"{}", b"[]", b'{"name": 1, "identity": "x"}', b"\xff", b"[" * 9000])
def test_store_names_the_line_that_is_no_player(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "players.jsonl").write_bytes(line + b"\n")
    with pytest.raises(StorageError, match=r"players\.jsonl, line 1: expected"):
        Store(tmp_path)


def test_store_takes_games_of_several_processes_at_once(tmp_path: Path) -> None:
    def add(first: int) -> None:
        with Store(tmp_path) as store:
            for number in range(first, first + 40):
                store.add([replace(GAME, map=number)])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(add, (0, 100, 200)))
    assert sorted(game.map for game in Store(tmp_path).games(GAME.board)) == [*range(40), *range(100, 140), *range(200, 240)]
    with pytest.raises(StorageError, match="use it in a with block"):
        Store(tmp_path).add([GAME])


def test_store_keeps_no_half_line_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path) as store:
        store.add([GAME])
        before = (tmp_path / "games.jsonl").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_disk)
            with pytest.raises(StorageError, match="expected one that can be written"):
                store.add([replace(GAME, map=3)])
        assert (tmp_path / "games.jsonl").read_bytes() == before
        assert store.games(GAME.board) == [GAME]


def full_disk(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "full")


def test_store_holds_the_games_before_an_interruption(tmp_path: Path) -> None:
    pairs = pairs_of(make_players(["random", "expander"]))
    options = ArenaOptions(config=small(), games=2000, block=2)

    def interrupt(_: Any, games: Any) -> None:
        raise KeyboardInterrupt

    with Store(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        play_arena(pairs, options, store, interrupt)
    assert [game.map for game in Store(tmp_path).games(options.kind)] == [0, 0, 1, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("arena")]


def test_store_refuses_another_player_of_the_same_name(tmp_path: Path) -> None:
    one, two = make_players(["random", "expander"])
    with Store(tmp_path) as store:
        store.add_players([one, two])
        store.add_players([one])
    with (
        Store(tmp_path) as store,
        pytest.raises(StorageError, match=r"'random' to be 'policy version 1'.*got .*2'"),
    ):
        store.add_players([replace(one, identity="policy version 2")])


def test_arena_plays_only_the_games_that_its_store_lacks(tmp_path: Path) -> None:
    pairs = pairs_of(make_players(["random", "expander"]))
    options = ArenaOptions(config=small(), games=4)
    with Store(tmp_path) as store:
        first = play_arena(pairs, options, store)
    lines = (tmp_path / "games.jsonl").read_text().splitlines()
    (tmp_path / "games.jsonl").write_text("".join(line + "\n" for line in lines[:3]))  # as if it had been killed
    counts: list[int] = []
    with Store(tmp_path) as store:
        again = play_arena(pairs, ArenaOptions(config=small(), games=8), store, lambda _, games: counts.append(len(games)))
    assert again[:2] == first[:2]
    assert counts == [2, 6]
    assert Store(tmp_path).games(options.kind) == again
    players = [json.loads(line) for line in (tmp_path / "players.jsonl").read_text().splitlines()]
    assert [player["name"] for player in players] == ["expander", "random"]
