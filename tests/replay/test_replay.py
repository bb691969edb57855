"""Tests replays: every file form reads alike, and damaged or forged ones give an error or a playable game."""

from __future__ import annotations

import copy
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lzstring import LZString
from support.helpers import Listener, same
from support.paths import DATA

from generals_env import ReplayError, RewardConfig, replay
from generals_env.engine import boards as codes
from generals_env.replay import lz_string, reader
from generals_env.replay.fields import POSITIONS
from generals_env.replay.lz_string import decompress

HUMAN = DATA / "B5--zeFUe.json.gz"

#: A game on a board of 4 x 5: two moves, a half move, a surrender; player_1 wins.
GAME: dict[str, Any] = {
    "version": 15,
    "id": "made-up",
    "mapWidth": 5,
    "mapHeight": 4,
    "cities": [7],
    "cityArmies": [40],
    "generals": [0, 19],
    "mountains": [2, 12],
    "moves": [[0, 0, 1, 0, 2], [1, 19, 18, 0, 3], [1, 18, 17, 1, 4]],
    "afks": [[0, 9]],
    "teams": None,
    "neutrals": [3, 4],
    "neutralArmies": [-5, 6],
    "swamps": [10],
    "deserts": [11],
}


def positional(fields: dict[str, Any]) -> list[Any]:
    """Return the game as a list in the order of the format, unused fields included."""
    names = {**dict.fromkeys(range(37)), **POSITIONS}
    return [fields.get(name) if name else ["whatever", position] for position, name in names.items()]


def pack(text: str) -> bytes:
    """Return a text as the live game packs it: the code units of ``compress``, the high byte first."""
    return b"".join(ord(unit).to_bytes(2, "big") for unit in LZString().compress(text))


def as_objects(fields: dict[str, Any]) -> dict[str, Any]:
    moves = [dict(zip(("index", "start", "end", "is50", "turn"), move, strict=True)) for move in fields["moves"]]
    return fields | {
        "moves": [move | {"is50": bool(move["is50"])} for move in moves],
        "afks": [{"turn": turn, "index": index} for index, turn in fields["afks"]],
    }


FORMS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "a.json": lambda fields: json.dumps(fields).encode(),
    "spaces.json": lambda fields: b"\n  " + json.dumps(fields, indent=1).encode(),
    "objects.gioreplay": lambda fields: json.dumps(as_objects(fields)).encode(),
    "list.json": lambda fields: json.dumps(positional(fields)).encode(),
    "short.json": lambda fields: json.dumps(positional(fields)[:25]).encode(),
    "a.json.gz": lambda fields: gzip.compress(json.dumps(fields).encode(), mtime=0),
    "a.gior": lambda fields: pack(json.dumps(positional(fields))),
    "a.gior.gz": lambda fields: gzip.compress(pack(json.dumps(positional(fields), separators=(",", ":")))),
}


def whole_game(game: replay.Replay, turns: int = 10**6) -> list[Any]:
    parts = [game.id, game.version, game.players, game.height, game.width, game.start, game.moves, game.events, game.hidden]
    return parts + [list(turn) for turn in islice(game.play(), turns)]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_reads_alike(name: str, tmp_path: Path) -> None:
    with gzip.open(HUMAN) as file:
        human = json.load(file)
    for fields in (GAME, {field: human.get(field) for field in POSITIONS.values()}):
        (tmp_path / name).write_bytes(FORMS[name](fields))
        assert same(whole_game(replay.read(tmp_path / name)), whole_game(replay.from_dict(fields)))
        assert same(whole_game(replay.read(str(tmp_path / name))), whole_game(replay.from_dict(positional(fields))))


def test_game_plays_as_written() -> None:
    game = replay.from_dict(copy.deepcopy(GAME))
    turns = list(game.play())
    assert (game.id, game.version, game.players, game.height, game.width) == ("made-up", 15, 2, 4, 5)
    assert [turn.turn for turn in turns] == list(range(11))
    first = turns[0]
    assert first.owner.tolist() == [[0, -1, -2, -1, -1], [-1] * 5, [-1, -1, -2, -1, -1], [-1, -1, -1, -1, 1]]
    assert first.army.tolist() == [[1, 0, 0, -5, 6], [0, 0, 40, 0, 0], [0] * 5, [0, 0, 0, 0, 1]]
    kinds = [codes.GENERAL, codes.MOUNTAIN, codes.CITY, codes.SWAMP, codes.DESERT]
    assert game.start.terrain[0, [0, 2, 7, 10, 11]].tolist() == kinds
    assert [turn.owner[0, 1] for turn in turns[2:4]] == [-1, 0]
    assert [turn.owner[3, 3] for turn in turns[3:5]] == [-1, 1]
    assert turns[5].owner[3, 2] == -1  # half of one man goes nowhere
    assert [turn.alive.tolist() for turn in turns[9:]] == [[True, True], [False, True]]
    assert first.visible(0).sum() == 4
    assert turns[10].visible(1).sum() == 6


def test_collector_gets_game_as_from_environment() -> None:
    listener = Listener()
    replay.from_dict(GAME).collect(listener, RewardConfig(win_game=5))
    assert listener.ends == [10]
    assert [turn.actions.tolist() for turn in listener.turns[2:5]] == [[3, 160], [160, 4 * 19 + 2], [160, 160]]
    assert [turn.continues for turn in listener.turns] == [False, *[True] * 8, False]
    assert listener.turns[-1].rewards.tolist() == [-1, 5]
    assert listener.turns[-1].terminated.all()
    listener = Listener()
    replay.from_dict(GAME | {"afks": []}).collect(listener)
    assert [turn.truncated.any() for turn in listener.turns] == [False] * 6 + [True]
    assert listener.turns[-1].truncated.all()


def test_teams_absent_players_and_old_versions_are_read() -> None:
    fields = GAME | {"generals": [0, None, 19, 4], "teams": [1, 2, 1, 2], "afks": []}
    game = replay.from_dict(fields)
    assert game.start.players["alive"][0].tolist() == [True, False, True, True]
    assert game.start.players["general"][0].tolist() == [0, -1, 19, 4]
    assert next(game.play()).visible(0).tolist() == next(game.play()).visible(2).tolist()
    listener = Listener()
    game.collect(listener)
    assert not any(turn.active[1] or turn.terminated[1] or turn.truncated[1] for turn in listener.turns)
    for version in range(1, 19):
        assert len(list(replay.from_dict(GAME | {"version": version}).play())) == 11


def test_game_without_moves_or_with_late_move_ends() -> None:
    empty: dict[str, Any] = {name: [] for name in ("cities", "cityArmies", "mountains", "moves")}
    nothing = replay.from_dict(empty | {"version": 18, "mapWidth": 1, "mapHeight": 2, "generals": [0, 1]})
    assert (nothing.id, len(list(nothing.play()))) == ("", 3)
    alone = replay.from_dict(GAME | {"generals": [0], "moves": [], "afks": []})
    assert len(list(alone.play())) == 1
    late = replay.from_dict(GAME | {"moves": [[0, 0, 1, 0, 59_999]], "afks": []})
    assert 2000 < len(list(late.play())) < 2010  # no player moves: the strongest wins


def test_invisible_moves_can_be_played() -> None:
    for change in ({"lookouts": [8]}, {"observatories": [8]}, {"lights": [8]}, {"modifiers": [6]}):
        game = replay.from_dict(GAME | change)
        first = next(game.play())
        assert len(list(game.play())) == 11
        with pytest.raises(ReplayError, match=r"expected a game with ordinary sight, got (lookouts|observ|lights|modifier 6)"):
            first.visible(0)
        with pytest.raises(ReplayError, match="replay 'made-up': expected a game with ordinary sight"):
            game.collect(Listener())
    for player in (-1, 2):
        with pytest.raises(ReplayError, match=f"player: expected an index from 0 to 1, got {player}"):
            next(replay.from_dict(GAME).play()).visible(player)


WHOLE = "expected a whole number from"
RECORDS = "expected records of index, start, end, is50, turn, got"
MALFORMED: list[tuple[dict[str, Any], str]] = [
    *(({"version": bad}, f"version: {WHOLE} 1 to 18, got {bad!r}") for bad in (None, 0, 19, "15", 15.0, True, [15])),
    *(({"mapWidth": bad}, f"mapWidth: {WHOLE} 1 to 128, got {bad!r}") for bad in (None, 0, -5, 129, 10**30)),
    *(({"mapHeight": bad}, f"mapHeight: {WHOLE} 1 to 128, got {bad!r}") for bad in ({}, 1e9)),
    *(({"generals": bad}, f"generals: expected 1 to 16, got {len(bad)}") for bad in ([], list(range(17)))),
    *(({"generals": [0, bad]}, f"generals: {WHOLE} 0 to 19, got {bad!r}") for bad in (20, -1, "3", [1])),
    ({"generals": [7, 7]}, "generals: expected different tiles, got 7 twice"),
    ({"generals": "AB"}, "generals: expected a list of tile numbers, got 'AB'"),
    *(
        ({name: [20]}, f"{name}: {WHOLE} 0 to 19, got 20")
        for name in ("mountains", "swamps", "deserts", "lookouts", "observatories")
    ),
    *(
        ({name: {"0": 1}}, f"{name}: expected a list of ")
        for name in ("mountains", "cities", "moves", "afks", "teams", "modifiers")
    ),
    ({"cities": [7, 8]}, "cityArmies: expected 2, one for each of cities, got 1"),
    ({"cities": None}, "cities: expected a list of tile numbers, got None: write [] where there are none"),
    ({"cities": [20]}, f"cities: {WHOLE} 0 to 19, got 20"),
    ({"cityArmies": ["40"]}, f"cityArmies: {WHOLE} -1000000 to 1000000, got '40'"),
    ({"neutralArmies": [2**40, 1]}, f"neutralArmies: {WHOLE} -1000000 to 1000000, got {2**40}"),
    ({"neutralArmies": None}, "neutralArmies: expected 2, one for each of neutrals, got 0"),
    ({"teams": [1]}, "teams: expected one for each of 2 players, got 1"),
    ({"teams": [1, 128]}, f"teams: {WHOLE} 0 to 127, got 128"),
    *(({"moves": [bad]}, f"moves: {RECORDS} ") for bad in (5, None, "01234", [0, 0, 1, 0], [0] * 6)),
    ({"moves": [{"index": 0}]}, f"moves: start: {WHOLE} 0 to 19, got None"),
    ({"moves": [[2, 0, 1, 0, 2]]}, f"moves: index: {WHOLE} 0 to 1, got 2"),
    ({"moves": [[0, -1, 1, 0, 2]]}, f"moves: start: {WHOLE} 0 to 19, got -1"),
    ({"moves": [[0, 0, 20, 0, 2]]}, f"moves: end: {WHOLE} 0 to 19, got 20"),
    ({"moves": [[0, 0, 1, 2, 2]]}, f"moves: is50: {WHOLE} 0 to 1, got 2"),
    ({"moves": [[0, 0, 1, 0, 60_000]]}, f"moves: turn: {WHOLE} 0 to 59999, got 60000"),
    ({"moves": [[0, 0, 1, 0, 2.5]]}, f"moves: turn: {WHOLE} 0 to 59999, got 2.5"),
    ({"afks": [[0]]}, "afks: expected records of index, turn, got [0]"),
    ({"afks": [[2, 5]]}, f"afks: index: {WHOLE} 0 to 1, got 2"),
    ({"afks": [[1, -5]]}, f"afks: turn: {WHOLE} 0 to 59999, got -5"),
    ({"modifiers": [15]}, f"modifiers: {WHOLE} 0 to 14, got 15"),
    ({"modifiers": [0, 8, 2]}, "modifiers: expected some of 0, 1, 5, 6, 7, 10 (others are not built), got [2, 8]"),
    ({"tunnels": [1, 2]}, "tunnels: expected none (not built), got 2"),
    ({"strongholds": [1]}, "strongholds: expected none (not built), got 1"),
    ({"strongholds": True}, "strongholds: expected a list of tile numbers, got True"),
]


@pytest.mark.parametrize(("change", "start"), MALFORMED, ids=[start for _, start in MALFORMED])
def test_malformed_fields_are_named(change: dict[str, Any], start: str, tmp_path: Path) -> None:
    for fields in (GAME | change, positional(GAME | change)):
        with pytest.raises(ReplayError) as caught:
            replay.from_dict(fields)
        assert str(caught.value).startswith(start)
    (tmp_path / "a.json").write_text(json.dumps(GAME | change))
    with pytest.raises(ReplayError) as caught:
        replay.read(tmp_path / "a.json")
    assert str(caught.value).startswith(f"a.json: {start}")


@pytest.mark.parametrize("fields", [None, 5, "game", (1, 2), [], {}, [15]])
def test_invalid_replay_is_refused(fields: Any) -> None:
    with pytest.raises(ReplayError, match=r"(replay|version|mapWidth): expected .*, got "):
        replay.from_dict(fields)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[1, 2", b"[" * 60_000, b'{"a":' * 60_000, b'{"version": NaN}', b'{"version": ' + b"9" * 10_000 + b"}"]
    + [b'{"id": "\xff"}', b"{'version': 15}", b'"game"', b"null", gzip.compress(b"{}" * 99, mtime=0)[:-9], b"\x1f\x8bnonsense"]
    + [gzip.compress(b"", mtime=0), pack("no json"), pack("[15"), pack("null"), pack(json.dumps("x" * 999)), bytes(999)],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_files_without_replays_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ReplayError):
        replay.read(tmp_path / "a")


def test_large_files_and_bombs_are_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_BYTES", 10_000)
    monkeypatch.setattr(reader, "MAX_CHARACTERS", 10_000)
    text = json.dumps(GAME) + " " * 20_000
    for number, data in enumerate((text.encode(), gzip.compress(text.encode(), mtime=0))):
        (tmp_path / str(number)).write_bytes(data)
        with pytest.raises(ReplayError, match="path: expected at most 10000 bytes, got more"):
            replay.read(tmp_path / str(number))
    (tmp_path / "gior").write_bytes(pack(text))
    with pytest.raises(ReplayError, match="gior: data: expected at most 10000 characters, got more"):
        replay.read(tmp_path / "gior")


anything = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=()))
repeating = st.lists(st.sampled_from(["0,", "[12,", "],", "null", "\u2603", "player"]), max_size=300).map("".join)


@settings(max_examples=150, deadline=None, database=None)
@example("")
@example("a" * 70_000)
@given(anything | repeating)
def test_decoder_inverts_reference_encoder(text: str) -> None:
    assert decompress(pack(text)) == text
    assert decompress(pack(text), max_characters=len(text)) == text
    if text:
        with pytest.raises(ReplayError, match=f"data: expected at most {len(text) - 1} characters, got more"):
            decompress(pack(text), max_characters=len(text) - 1)


@settings(max_examples=200, deadline=None, database=None)
@given(st.binary(max_size=400))
def test_decoder_accepts_any_bytes(data: bytes) -> None:
    try:
        text = decompress(data, max_characters=5000)
    except ReplayError as error:
        assert "data: expected" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert len(text) <= 5000


def test_compression_bomb_costs_no_more_than_its_cap() -> None:
    bomb = pack("a" * 4_000_000)  # 6 kilobytes
    assert len(bomb) < 8000
    tracemalloc.start()
    with pytest.raises(ReplayError, match="data: expected at most 60000 characters"):
        decompress(bomb, max_characters=60_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20
    with pytest.raises(ReplayError, match="data: expected an end mark, got the end of 6 bytes"):
        decompress(pack("abcdef")[:6])
    assert lz_string.MAX_CHARACTERS <= 2**26


def reads_or_refuses(path: Path, data: bytes) -> None:
    """Check that damaged data gives a ReplayError or a game that plays."""
    path.write_bytes(data)
    began = time.process_time()
    try:
        game = replay.read(path)
    except ReplayError:
        pass
    else:
        assert len(game.start.owner[0]) == game.height * game.width
        for turn in islice(game.play(), 60):
            assert turn.owner.shape == (game.height, game.width)
            assert (turn.owner < game.players).all()
    assert time.process_time() - began < 20


PLAIN = json.dumps(GAME).encode()
WHOLES = [PLAIN, pack(json.dumps(positional(GAME))), gzip.compress(PLAIN, mtime=0), gzip.decompress(HUMAN.read_bytes())]


@settings(max_examples=250, deadline=None, database=None)
@given(st.integers(0, 3), st.data())
def test_damaged_replays_neither_crash_nor_hang(
    tmp_path_factory: pytest.TempPathFactory, which: int, data: st.DataObject
) -> None:
    spoilt = bytearray(WHOLES[which])
    for position in data.draw(st.lists(st.integers(0, len(spoilt) - 1), max_size=4), "bytes to spoil"):
        spoilt[position] ^= data.draw(st.integers(1, 255), "bits")
    cut = data.draw(st.none() | st.integers(0, len(spoilt)), "length")
    reads_or_refuses(tmp_path_factory.getbasetemp() / "damaged", bytes(spoilt[:cut]))


small = st.integers(-2, 21) | st.sampled_from([50, 255, 256, 99_999, 2**31, 2**63, -(2**31)])
values = st.recursive(
    st.none() | st.booleans() | small | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["index", "turn", "start"]), inner, max_size=3),
    max_leaves=12,
)
likely = st.lists(st.integers(0, 19), max_size=6) | st.lists(st.lists(st.integers(0, 19), min_size=2, max_size=5), max_size=4)


@settings(max_examples=400, deadline=None, database=None)
@given(st.dictionaries(st.sampled_from(sorted(POSITIONS.values())), small | likely | values, max_size=4))
def test_forged_fields_give_named_error_or_playable_game(change: dict[str, Any]) -> None:
    try:
        game = replay.from_dict(GAME | change)
    except ReplayError as error:
        assert str(error).split(":")[0] in POSITIONS.values()  # noqa: PT017 - either outcome is right
    else:
        turns = list(islice(game.play(), 40))
        assert all(np.isin(turn.owner, [-6, -5, -2, -1, *range(game.players)]).all() for turn in turns)
        if not game.hidden:
            turns[-1].visible(game.players - 1)
            game.collect(Listener()) if game.last_turn < 300 else None
