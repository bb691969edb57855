"""Tests replays from other programs: rows of tables, JSON in other encodings, and files that are not replays."""

from __future__ import annotations

import codecs
import gzip
import io
import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lzstring import LZString
from support.helpers import same
from support.paths import DATA
from typer.testing import CliRunner

from generals_env import ReplayError, replay
from generals_env.cli.app import app
from generals_env.recorders import record_replays
from generals_env.replay.fields import POSITIONS, REQUIRED

#: A game of three on a board of 3 x 4, one of whom never spawned.
GAME: dict[str, Any] = {
    "version": 14,
    "id": "of a table",
    "mapWidth": 4,
    "mapHeight": 3,
    "cities": [6],
    "cityArmies": [-1],
    "generals": [0, None, 11],
    "mountains": [5],
    "moves": [[0, 0, 1, 0, 2], [2, 11, 10, 0, 3], [0, 1, 2, 1, 4]],
    "afks": [[2, 8]],
    "teams": [1, 2, 3],
    "neutrals": [9],
    "neutralArmies": [2],
}


def positional(fields: dict[str, Any]) -> list[Any]:
    """Return fields in the order of the format."""
    return [fields.get(POSITIONS[position]) if position in POSITIONS else None for position in range(37)]


def pack(text: str) -> bytes:
    """Return a text as the live game packs it."""
    return b"".join(ord(unit).to_bytes(2, "big") for unit in LZString().compress(text))


def course(game: replay.Replay) -> list[Any]:
    """Return all that there is of a game."""
    return [game.id, game.version, game.players, game.moves, game.events, game.start, [list(turn) for turn in game.play()]]


WANTED = course(replay.from_dict(GAME))


# --- Required fields ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REQUIRED)
def test_replay_without_required_field_is_refused(name: str, tmp_path: Path) -> None:
    fields = {key: value for key, value in GAME.items() if key != name}
    with pytest.raises(ReplayError, match=rf"^{name}: expected a .*, field \d+ of every replay, got none of that name"):
        replay.from_dict(fields)
    path = tmp_path / "game.json"
    path.write_text(json.dumps(fields))
    result = record_replays([path], tmp_path / "out", on_error="skip")
    assert result.games == result.experiences == 0
    assert result.skipped[str(path)].startswith(f"game.json: {name}: expected a")


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_null_in_required_field_is_refused(name: str, nothing: float | None) -> None:
    for fields in (GAME | {name: nothing}, positional(GAME | {name: nothing})):
        with pytest.raises(ReplayError, match=rf"^{name}: expected a (whole number|list) .*, got {nothing}"):
            replay.from_dict(fields)


def test_list_that_ends_before_moves_is_refused() -> None:
    fields = positional(GAME)
    order = [POSITIONS[position] for position in range(11) if position in POSITIONS]
    for length in range(11):
        missing = next(name for position, name in POSITIONS.items() if position >= length and name in REQUIRED)
        assert missing in order
        with pytest.raises(ReplayError, match=rf"^{missing}: expected .* got a list of {length} fields"):
            replay.from_dict(fields[:length])
    assert len(replay.from_dict(fields[:11]).moves) == 3
    with pytest.raises(ReplayError, match="moves: expected a list, field 10 of every replay, got a list of 10 fields"):
        replay.from_dict(fields[:10])


def test_fields_of_later_versions_and_unknown_fields_are_optional() -> None:
    least = {name: GAME[name] for name in REQUIRED}
    game = replay.from_dict(least)
    assert (game.id, len(game.events), game.start.players["team"][0].tolist()) == ("", 0, [0, 1, 2])
    others = [name for name in POSITIONS.values() if name not in REQUIRED]
    for nothing in (None, float("nan"), np.float32("nan")):
        assert same(course(replay.from_dict(least | dict.fromkeys(others, nothing))), course(game))
    assert same(course(replay.from_dict(least | {"chat": 5, "usernames": {}, "newer": [1]})), course(game))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"moves": [[0, 0, 1, 0, 2], [0, 1]]},
            "moves: expected records of index, start, end, is50, turn, got [0, 1] (number 1)",
        ),
        ({"moves": [[0, 0, 1, 0, 2], {"index": True}]}, "moves: index: expected a whole number from 0 to 2, got True"),
        ({"moves": [[True, 0, 1, 0, 2]]}, "moves: index: expected a whole number from 0 to 2, got True"),
        ({"moves": [[0, 0, 1, 0, np.True_]]}, "moves: turn: expected a whole number from 0 to 59999, got np.True_"),
        ({"moves": np.full((2, 5), 77)}, "moves: index: expected a whole number from 0 to 2, got 77"),
        ({"moves": np.zeros((2, 4), int)}, "moves: expected records of index, start, end, is50, turn, got [0, 0, 0, 0]"),
        ({"moves": np.zeros(5, int)}, "moves: expected records of index, start, end, is50, turn, got 0 (number 0)"),
        ({"moves": np.array([[0, 0, 1, 0, 2.5]])}, "moves: turn: expected a whole number from 0 to 59999, got 2.5"),
        ({"moves": np.int64(5)}, "moves: expected a list of moves, got "),
        ({"moves": "00100"}, "moves: expected a list of moves, got "),
        (
            {"moves": {"index": [0], "start": [0], "end": [1], "is50": [0], "turn": []}},
            "moves: expected columns of one length, got [1, 1, 1, 1, 0]",
        ),
        ({"cityArmies": np.array([1, 2])}, "cityArmies: expected 1, one for each of cities, got 2"),
        ({"version": np.array([14])}, "version: expected a whole number from 1 to 18, got array([14])"),
        ({"version": np.float64(14)}, "version: expected a whole number from 1 to 18, got np.float64(14.0)"),
        ({"version": np.bool_(True)}, "version: expected a whole number from 1 to 18, got np.True_"),
        ({"mapWidth": np.uint64(2**63)}, f"mapWidth: expected a whole number from 1 to 128, got np.uint64({2**63})"),
        ({"mountains": np.array([True])}, "mountains: expected a whole number from 0 to 11, got True"),
        ({"generals": np.array([0, 1.5])}, "generals: expected a whole number from 0 to 11, got 1.5"),
        ({"id": ["a"]}, "id: expected text, got ['a']"),
        ({"id": True}, "id: expected text, got True"),
        ({"id": "\ud800"}, "id: expected text, got '\\ud800' (surrogates not allowed)"),
        ({"lights": np.array([1]), "afks": [[9, 9]]}, "afks: index: expected a whole number from 0 to 2, got 9"),
    ],
)
def test_wrong_field_is_named_in_one_error(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ReplayError) as caught:
        replay.from_dict(GAME | change)
    assert str(caught.value).startswith(text)


# --- Rows of tables -----------------------------------------------------------------------------------------------


def arrays(value: Any) -> Any:
    """Return lists as arrays, the innermost first, records in an array of objects; a gap makes floats of whole numbers."""
    if not isinstance(value, list):
        return value
    parts = [arrays(item) for item in value]
    if not any(isinstance(part, np.ndarray) for part in parts):
        return np.array([np.nan if part is None else part for part in parts]) if parts else np.array([], np.float64)
    nested = np.empty(len(parts), object)
    nested[:] = parts
    return nested


def tuples(value: Any) -> Any:
    """Return lists as tuples."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def scalars(value: Any) -> Any:
    """Return whole numbers as numpy's, in lists."""
    if isinstance(value, list):
        return [scalars(item) for item in value]
    return np.int16(value) if isinstance(value, int) else value


def columns(fields: dict[str, Any]) -> dict[str, Any]:
    """Return records as a mapping of columns, as ``datasets`` gives a sequence of features."""
    keys = {"moves": ("index", "start", "end", "is50", "turn"), "afks": ("index", "turn")}
    table = {name: dict(zip(names, map(list, zip(*fields[name], strict=True)), strict=True)) for name, names in keys.items()}
    return fields | table


def arrays_of_positions(fields: dict[str, Any]) -> Any:
    """Return positions as an array of objects."""
    row = np.empty(37, object)
    row[:] = positional(fields)
    return row


RECORD = [(name, np.int32) for name in ("index", "start", "end", "is50", "turn")]

ROWS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "arrays": lambda fields: {name: arrays(value) for name, value in fields.items()},
    "square arrays": lambda fields: fields | {name: np.array(fields[name]) for name in ("moves", "afks", "mountains")},
    "arrays of floats": lambda fields: fields | {name: np.array(fields[name], float) for name in ("moves", "afks", "cities")},
    "tuples": lambda fields: {name: tuples(value) for name, value in fields.items()},
    "scalars": lambda fields: {name: scalars(value) for name, value in fields.items()},
    "arrays without dimensions": lambda fields: (
        fields | {name: np.array(fields[name]) for name in ("version", "mapWidth", "id")}
    ),
    "flags of numpy": lambda fields: fields | {"moves": [[*move[:3], np.bool_(move[3]), move[4]] for move in fields["moves"]]},
    "columns": columns,
    "columns of arrays": lambda fields: {
        name: {key: np.array(column) for key, column in value.items()} if isinstance(value, dict) else value
        for name, value in columns(fields).items()
    },
    "a named tuple": lambda fields: namedtuple("Row", sorted(fields))(**fields),
    "a tuple of positions": lambda fields: tuples(positional(fields)),
    "an array of positions": arrays_of_positions,
    "structured records": lambda fields: fields | {"moves": np.array(list(map(tuple, fields["moves"])), RECORD)},
}


@pytest.mark.parametrize("name", ROWS)
def test_table_rows_are_read_by_their_contents(name: str) -> None:
    assert same(course(replay.from_dict(ROWS[name](GAME))), WANTED)


def tables(games: list[dict[str, Any]]) -> Any:
    """Return games as a table, a game a row, as such data is shared."""
    pa = pytest.importorskip("pyarrow")
    return pa.Table.from_pylist(games)


def test_rows_of_parquet_file_read_by_pandas_are_replays() -> None:
    pandas = pytest.importorskip("pandas")
    pq = pytest.importorskip("pyarrow.parquet")
    with gzip.open(DATA / "eight.json.gz") as file:
        other = json.load(file)
    names = ("index", "start", "end", "is50", "turn")
    flags = [dict(zip(names, [*move[:3], bool(move[3]), move[4]], strict=True)) for move in GAME["moves"]]
    for moves in (GAME["moves"], flags):
        games = [GAME | {"moves": moves}, other | {"id": None, "moves": [moves[0]] * 2, "teams": None}]
        content = io.BytesIO()
        pq.write_table(tables(games), content)
        for frame in (pandas.read_parquet(content), pandas.read_parquet(content, dtype_backend="numpy_nullable")):
            row = frame.iloc[0]
            for fields in (row, row.to_dict(), next(frame.itertuples(index=False))):
                assert same(course(replay.from_dict(fields)), WANTED)
            second = replay.from_dict(frame.iloc[1])
            assert (second.id, second.players, len(second.moves)) == ("", 8, 2)
    gaps = pandas.DataFrame([GAME, {name: GAME[name] for name in REQUIRED}]).iloc[1]
    assert isinstance(gaps["teams"], float)
    assert len(replay.from_dict(gaps).events) == 0


@pytest.mark.parametrize("form", [None, "numpy", "torch"])
def test_rows_of_hugging_face_datasets_are_replays(form: str | None) -> None:
    datasets = pytest.importorskip("datasets")
    if form == "torch":
        pytest.importorskip("torch")
    rows = datasets.Dataset(tables([GAME])).with_format(form)
    assert same(course(replay.from_dict(rows[0])), WANTED)


# --- JSON of other programs ---------------------------------------------------------------------------------------


TEXTS = json.dumps(GAME), "\r\n " + json.dumps(positional(GAME), indent=1)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("text", TEXTS, ids=["names", "positions"])
def test_json_of_every_encoding_is_read(text: str, encoding: str, zipped: bool, tmp_path: Path) -> None:
    data = text.encode(encoding)
    assert json.loads(data) is not None
    (tmp_path / "game").write_bytes(gzip.compress(data) if zipped else data)
    assert same(course(replay.read(tmp_path / "game")), WANTED)


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE])
def test_json_of_other_byte_order_is_read(mark: bytes, tmp_path: Path) -> None:
    encoding = "utf-16-be" if len(mark) == 2 else "utf-32-be"
    (tmp_path / "game").write_bytes(mark + TEXTS[0].encode(encoding))
    assert same(course(replay.read(tmp_path / "game")), WANTED)


def test_duplicate_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "game.json"
    path.write_text(TEXTS[0][:-1] + ', "moves": []}')
    with pytest.raises(ReplayError, match=r"^game\.json: moves: expected once, got it 2 times"):
        replay.read(path)


# --- Other kinds of files -----------------------------------------------------------------------------------------


PAGE = "<!DOCTYPE html>\n<html><head><title>generals.io</title></head><body>Not found</body></html>"
PACKED = pack(json.dumps(positional(GAME)))
ZIPPED = gzip.compress(json.dumps(GAME).encode() * 20, mtime=0)

OTHERS: dict[str, tuple[bytes, str]] = {
    "a page": (PAGE.encode(), "expected a replay, got a web page that begins with '<!DOCTYPE html>"),
    "a page with a mark": (PAGE.encode("utf-8-sig"), "expected a replay, got a web page that begins with '<!DOCTYPE html>"),
    "a page in UTF-16": (PAGE.encode("utf-16"), "expected a replay, got a web page that begins with '<!DOCTYPE html>"),
    "a page in Latin-1": (("  " + PAGE + "\xe4").encode("latin-1"), "expected a replay, got a web page that begins with"),
    "a zipped page": (gzip.compress(PAGE.encode()), "expected a replay, got a web page that begins with"),
    "a page without a type": (b"\n <HTML lang=en>", "expected a replay, got a web page that begins with '<HTML lang=en>'"),
    "XML": (b"<Error><Code>NoSuchKey</Code></Error>", "expected a replay, got XML or part of a web page that begins with"),
    "nothing": (b"", "expected a replay, got an empty file"),
    "white space": (b" \r\n\n", "expected a replay, got an empty file"),
    "a mark alone": (codecs.BOM_UTF8, "expected a replay, got an empty file"),
    "nothing, zipped": (gzip.compress(b""), "expected a replay, got an empty file"),
    "text": (b"404: Not Found", "expected a replay, got text that begins with '404: Not Found'"),
    "text in UTF-16": ("Nicht gefunden".encode("utf-16"), "expected a replay, got text that begins with 'Nicht gefunden'"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "expected a replay, got text that begins with 'version"),
    "a number": (b"17", "replay: expected named fields or a list, got int"),
    "cut JSON": (TEXTS[0][:90].encode(), "expected whole JSON, got its first 90 characters: it is cut off"),
    "JSON cut in a name": (TEXTS[0][:5].encode(), "expected whole JSON, got its first 5 characters: it is cut off"),
    "damaged JSON": (TEXTS[0].replace(":", ";", 1).encode(), "expected JSON, got text that is none at line 1, column 11"),
    "two games": ("\n".join([TEXTS[0]] * 2).encode(), "expected one replay, got more text behind it (line 2, column 1)"),
    "JSON in Latin-1": ('{"id": "\xe4"}'.encode("latin-1"), "expected JSON in UTF-8, got byte 0xe4 at 8, which is none"),
    "deep JSON": (b"[" * 100_000, "expected a replay, got JSON with lists in lists without end"),
    "a long number": (b"[" + b"9" * 9999 + b"]", "expected a replay, got JSON that cannot be read (Exceeds the limit"),
    "cut gzip": (ZIPPED[:-30], f"expected a whole gzip file, got the first {len(ZIPPED) - 30} bytes of one"),
    "damaged gzip": (ZIPPED[:30] + bytes(9) + ZIPPED[39:], "expected a gzip file, got a damaged one ("),
    "not gzip": (b"\x1f\x8bnonsense", "expected a gzip file, got a damaged one (Unknown compression method)"),
    "gzip twice": (gzip.compress(ZIPPED), "expected a replay in the gzip file, got another gzip file: unpack it once"),
    "a ZIP": (b"PK\x03\x04" + bytes(range(200)), "expected a replay, got a ZIP archive"),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + bytes(range(200)), "expected a replay, got a Zstandard file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "expected a replay, got a picture"),
    "cut .gior": (PACKED[:-40], f"data: expected an end mark, got the end of {len(PACKED) - 40} bytes: it is cut off"),
    "damaged .gior": (PACKED[:9] + b"\xff" * 9 + PACKED[18:], "data: expected LZ-string, got what it cannot be at byte 10 of"),
    "a .gior of text": (pack("[1, 2;"), "expected a .gior file, got a damaged one: unpacked it is no replay (expected JSON"),
    "bytes": (bytes([200, 3, 150]) * 99, "expected .gior or JSON, got 297 bytes of another kind that begin with b'\\xc8"),
    "zeros": (bytes(1000), "expected .gior or JSON, got 1000 bytes of another kind that begin with b'\\x00"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_invalid_replay_error_names_its_type(name: str, tmp_path: Path) -> None:
    data, text = OTHERS[name]
    for ending in ("gior", "json"):
        path = tmp_path / f"game.{ending}"
        path.write_bytes(data)
        with pytest.raises(ReplayError) as caught:
            replay.read(path)
        assert str(caught.value).startswith(f"game.{ending}: {text}")


def test_truncated_or_flipped_gior_gives_game_or_one_error(tmp_path: Path) -> None:
    path = tmp_path / "game.gior"
    kinds: set[str] = set()
    for position in range(len(PACKED)):
        for data in (
            PACKED[:position],
            PACKED[:position] + bytes([PACKED[position] ^ 1 << position % 8]) + PACKED[position + 1 :],
        ):
            path.write_bytes(data)
            try:
                replay.read(path)
            except ReplayError as error:
                kinds.add(str(error).split(":")[1].strip())
                assert str(error).startswith("game.gior: ")  # noqa: PT017 - either outcome is right
    assert {"data", "expected a replay, got an empty file", "expected a .gior file, got a damaged one"} <= kinds


# --- The command line ---------------------------------------------------------------------------------------------


def test_command_line_names_missing_paths(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["replay", str(DATA / "duel.json.gz"), str(tmp_path / "gone"), str(tmp_path / "lost.gior")]
    )
    assert result.exit_code == 2
    text = "".join(result.output.replace("│", " ").split())
    assert f"files or folders that exist, got {tmp_path / 'gone'}, {tmp_path / 'lost.gior'}".replace(" ", "") in text


def test_command_line_renders_first_valid_replay(tmp_path: Path) -> None:
    folder = tmp_path / "games"
    folder.mkdir()
    (folder / "a page.gior").write_text(PAGE)
    (folder / "game.json").write_text(TEXTS[0])
    for options in ([], ["--out", str(tmp_path / "set")]):
        result = CliRunner().invoke(app, ["replay", str(folder), "--gif", str(tmp_path / "game.gif"), *options])
        assert result.exit_code == 0
        assert "got a web page" in " ".join(result.output.split())
        assert (tmp_path / "game.gif").stat().st_size > 100
        (tmp_path / "game.gif").unlink()
    (folder / "game.json").unlink()
    result = CliRunner().invoke(app, ["replay", str(folder), "--gif", str(tmp_path / "game.gif")])
    assert result.exit_code == 1
    assert not (tmp_path / "game.gif").exists()
