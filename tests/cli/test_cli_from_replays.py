"""Tests ``generals-env dataset from-replays``: files, sets, tables and archives of replays become a dataset."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.helpers import same
from support.paths import DATA
from typer.testing import CliRunner

from generals_env import ReplayError, replay
from generals_env.cli.app import app
from generals_env.recorders import open_dataset, record_replays
from generals_env.recorders.datasets.recorded_games import game_ids, load_game
from generals_env.recorders.people import replay_sources
from generals_env.replay import gior

NAMES = ("duel", "duel_small", "duel_tall", "teams", "three")
#: Columns of the public table of replays, and the type of its lists.
COLUMNS = (
    *("version", "id", "mapWidth", "mapHeight", "usernames", "stars"),
    *("cities", "cityArmies", "generals", "mountains", "moves"),
)


def read_fields(name: str) -> dict[str, Any]:
    """Return the fields of a game of the repository, with names and ranks."""
    fields: dict[str, Any] = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    players = len(fields["generals"])
    return fields | {
        "id": name,
        "usernames": [f"secret {p}" for p in range(players)],
        "stars": [70 + p for p in range(players)],
    }


GAMES = [read_fields(name) for name in NAMES]
UNSUPPORTED = read_fields("duel") | {"id": "misty", "modifiers": [2]}


def run(*arguments: Any) -> Any:
    """Run the command and return its result."""
    return CliRunner().invoke(app, ["dataset", "from-replays", *map(str, arguments)])


def recorded(*paths: Any, status: int = 0) -> dict[str, Any]:
    """Run the command with ``--json`` and return what it prints."""
    result = run(*paths, "--json")
    assert result.exit_code == status, result.output
    summary: dict[str, Any] = json.loads(result.output.strip().splitlines()[-1])
    return summary


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the actions and rewards of each game, as they are recorded from single files."""
    folder = tmp_path_factory.mktemp("single")
    files = []
    for fields in GAMES:
        files.append(folder / f"{fields['id']}.json")
        files[-1].write_text(json.dumps(fields))
    record_replays(files, folder / "out")
    return {name: course(folder / "out", name) for name in NAMES}


def course(source: Path, name: str) -> list[Any]:
    """Return boards, actions and rewards of a game of a dataset."""
    game = load_game(source, name)
    return [game.boards.owner, game.boards.army, game.actions, game.rewards]


def as_set(path: Path) -> None:
    path.write_text(json.dumps([{"replay": fields, "expect": {}} for fields in GAMES]))


def as_list(path: Path) -> None:
    path.write_bytes(gzip.compress(json.dumps(GAMES).encode()))


def as_lines(path: Path) -> None:
    path.write_text("\n".join(map(json.dumps, GAMES)) + "\n\n")


def as_packed_lines(path: Path) -> None:
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, GAMES)).encode()))


def as_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for fields in GAMES[:3]:
            archive.writestr(f"../../{fields['id']}.gior", gior.encode(replay.from_dict(fields)))
        archive.writestr("sets/rest.json", json.dumps(GAMES[3:]))


def as_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for fields in GAMES:
            data = json.dumps(fields).encode()
            member = tarfile.TarInfo(f"/etc/{fields['id']}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)


FORMS = {
    "set.json": as_set,
    "list.json.gz": as_list,
    "lines.jsonl": as_lines,
    "lines.jsonl.gz": as_packed_lines,
    "games.zip": as_zip,
    "games.tar.gz": as_tar,
}


@pytest.mark.parametrize("name", FORMS)
def test_replays_of_every_form_become_the_same_dataset(name: str, expected: dict[str, Any], tmp_path: Path) -> None:
    FORMS[name](tmp_path / name)
    summary = recorded(tmp_path / name, "--out", tmp_path / "out")
    assert (summary["games"], summary["skipped"]) == (len(GAMES), {})
    assert sorted(game_ids(tmp_path / "out")) == sorted(NAMES)
    for game in NAMES:
        assert same(course(tmp_path / "out", game), expected[game])
    assert {file.name for file in tmp_path.iterdir()} == {name, "out"}


@pytest.mark.parametrize("moves", [pa.list_(pa.list_(pa.int64())), pa.list_(pa.list_(pa.int32(), 5))])
def test_public_table_becomes_a_dataset(moves: pa.DataType, expected: dict[str, Any], tmp_path: Path) -> None:
    duels = [fields for fields in GAMES if fields["id"].startswith("duel")]
    table = pa.table({name: pa.array([game[name] for game in duels], moves if name == "moves" else None) for name in COLUMNS})
    parquet.write_table(table, tmp_path / "games.parquet")
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps({name: game[name] for name in COLUMNS}) + "\n" for game in duels))
    for name in ("games.parquet", "lines.jsonl"):
        out = tmp_path / f"{name}.out"
        assert recorded(tmp_path / name, "--out", out)["games"] == len(duels)
        for game in duels:
            assert same(course(out, game["id"]), expected[game["id"]])


def test_ranks_and_results_are_metadata_of_games(tmp_path: Path) -> None:
    as_set(tmp_path / "set.json")
    recorded(tmp_path / "set.json", "--out", tmp_path / "out")
    told: dict[str, Any] = {}
    for batch in open_dataset(tmp_path / "out"):
        assert set(batch.metadata["games"]) == set(batch.game_ids)
        told.update(batch.metadata["games"])
    assert set(told) == set(NAMES)
    for fields in GAMES:
        *_, last = replay.from_dict(fields).play()
        living = [player for player, alive in enumerate(last.alive) if alive]
        about = told[fields["id"]]
        assert (about["stars"], about["version"]) == (fields["stars"], fields["version"])
        assert (about["turns"], about["source"]) == (last.turn, f"{tmp_path / 'set.json'}[{NAMES.index(fields['id'])}]")
        teams = fields["teams"] or list(range(len(last.alive)))
        assert about["winners"] == (living if len({teams[player] for player in living}) == 1 else [])
    assert "secret" not in json.dumps(told)
    shown = CliRunner().invoke(app, ["dataset", "info", str(tmp_path / "out")])
    assert shown.exit_code == 0
    assert "secret" not in shown.output


def test_replays_that_are_not_supported_are_counted_by_reason(tmp_path: Path) -> None:
    broken = [
        UNSUPPORTED,
        UNSUPPORTED | {"modifiers": [3]},
        UNSUPPORTED | {"modifiers": [], "lookouts": [3]},
        {"version": 3},
        7,
    ]
    (tmp_path / "set.json").write_text(json.dumps([*GAMES[:1], *broken]))
    (tmp_path / "page.json").write_text("<html>")
    summary = recorded(tmp_path / "set.json", tmp_path / "page.json", "--out", tmp_path / "out")
    assert summary["games"] == 1
    assert len(summary["skipped"]) == sum(summary["reasons"].values()) == 6
    assert summary["reasons"]["modifiers: expected some of N, N, N, N, N, N (others are not built)"] == 2
    assert summary["reasons"]["expected a game with ordinary sight"] == 1
    result = run(tmp_path / "set.json", tmp_path / "page.json", "--out", tmp_path / "other")
    assert result.exit_code == 0
    assert "modifiers: expected some of" in " ".join(result.output.split())
    assert recorded(tmp_path / "page.json", "--out", tmp_path / "third", status=1)["games"] == 0
    missing = run(tmp_path / "none", "--out", tmp_path / "fourth")
    assert missing.exit_code == 2
    assert not (tmp_path / "fourth").exists()


def test_hostile_archives_are_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_sources, "ARCHIVE_BYTES", 300_000)
    monkeypatch.setattr(replay_sources, "MAX_BYTES", 200_000)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.json", "{}")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nested.zip", inner.getvalue())
        archive.writestr("large.json", " " * 250_000)
        archive.writestr("next.json", " " * 250_000)
    with tarfile.open(tmp_path / "bomb.tar", "w") as archive:
        member = tarfile.TarInfo("claims.json")
        member.size = 10**12
        archive.fileobj.write(member.tobuf())  # type: ignore[union-attr]
    (tmp_path / "cut.zip").write_bytes((tmp_path / "bomb.zip").read_bytes()[:-30])
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(GAMES[0]).encode())[:-40])
    (tmp_path / "long.jsonl").write_text("[" + " " * 300_000)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + bytes(50))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    files = sorted(tmp_path.iterdir())
    errors = {}
    for source in replay_sources.replay_sources(files):
        with pytest.raises(ReplayError) as caught:
            source.read()
        errors[Path(source.name).name] = str(caught.value)
    for name, text in {
        "nested.zip": "expected a replay or a set in JSON, got an archive",
        "large.json": "path: expected at most 200000 bytes",
        "next.json": "expected an archive with at most 300000 bytes",
        "claims.json": "expected an archive with at most 300000 bytes",
        "cut.zip": "expected a ZIP archive, got a damaged",
        "cut.jsonl.gz": "expected a whole gzip file",
        "long.jsonl:0": "line 0: expected at most 200000 bytes",
        "cut.parquet": "expected a Parquet table, got a damaged one at row 0",
        "deep.json": "",
    }.items():
        assert errors.pop(name).startswith(text), name
    assert not errors


def zipped(kind: int, old: bytes, new: bytes) -> bytes:
    """Return a ZIP archive with the file ``name`` in which some bytes were replaced."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", kind) as archive:
        archive.writestr("name", bytes(range(80)) * 4)
    assert old in content.getvalue()
    return content.getvalue().replace(old, new)


#: Archives whose damage raises other exceptions from the standard library than those of its archives.
DAMAGED = {
    "properties.zip": zipped(zipfile.ZIP_LZMA, b"\x05\x00\x5d", b"\x05\x00\xff"),
    "block.zip": zipped(zipfile.ZIP_BZIP2, b"1AY&SY", b"1AY&SX"),
    "name.zip": zipped(zipfile.ZIP_STORED, b"name", b"\0ame"),
    "head.tar.gz": b"\x1f\x8b\x08\x04\0\0\0\0\0\xff",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_archive_gives_a_replay_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(DAMAGED[name])
    (source,) = replay_sources.replay_sources([path])
    with pytest.raises(ReplayError, match="got a damaged"):
        source.read()


def test_folder_is_searched_for_replays_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "deep" / ".git").mkdir(parents=True)
    for name in ("b.json", "deep/a.json", ".hidden.json", "deep/.git/c.json"):
        (tmp_path / name).write_text(json.dumps(GAMES[1] | {"id": name}))
    found = replay_sources.find_files([tmp_path, tmp_path / ".hidden.json"])
    assert [file.relative_to(tmp_path).as_posix() for file in found] == ["b.json", "deep/a.json", ".hidden.json"]
    with pytest.raises(ReplayError, match="paths: expected files and folders that exist, got"):
        replay_sources.find_files([tmp_path / "none"])
