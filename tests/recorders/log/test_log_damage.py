"""Tests damage to a log: every changed byte is reported with its place, and a repair keeps intact chunks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.helpers import same
from support.logs import PART, fill, numbered, numbers, opened, segments
from support.odd_batches import contents

from generals_env.errors import StorageError
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.log.abandoned_ranges import missing
from generals_env.recorders.log.segment_files import PAGE, companions, segment_path

COUNT = 30  # batches of the log that is damaged


@pytest.fixture(scope="module")
def whole(parts: list[ExperienceBatch], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a closed log of some segments and a consumer."""
    folder = tmp_path_factory.mktemp("whole") / "log"
    with opened(folder, segment_bytes=6_000) as log:
        fill(log, parts, COUNT)
        log.commit("consumer", 100)
    assert len(segments(folder)) > 2
    return folder


def flipped(path: Path, place: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << place % 8]))


def check(folder: Path, parts: list[ExperienceBatch], least: int, end: int = COUNT * PART) -> list[int]:
    """Check that experiences read around damage are correct and others below ``end`` reported lost; return the numbers."""
    log = opened(folder, mode="r")
    with log.reader(on_damage="skip") as reader:
        found: list[int] = []
        while (batch := reader.poll()) is not None:
            first = int(batch.sequence[0])
            assert same(contents(batch), contents(numbered(parts[first // PART % len(parts)], first)))
            found += numbers([batch])
        assert found == sorted(set(found))
        assert len(found) >= least
        assert (reader.missed, reader.damaged) == (0, end - len(found))
    if len(found) < end:
        with pytest.raises(StorageError, match=r"expected experiences (from )?\d+ (to|on)"):
            list(log.read())
    return found


def test_changed_byte_is_found_anywhere(whole: Path, parts: list[ExperienceBatch], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lost = 0
    for path in sorted(path for path in whole.rglob("*") if path.is_file() and path.suffix in (".db", ".json")):
        size = path.stat().st_size
        structure = [page + k for page in range(0, size, PAGE) for k in (0, 1, 4, 5, 7, 9)] + [16, 18, 28, 47, 100, 108]
        places = structure + rng.integers(0, size, 25).tolist() if path.suffix == ".db" else range(0, size, 7)
        for place in places:
            folder = tmp_path / "log"
            shutil.copytree(whole, folder)
            damaged = folder / path.relative_to(whole)
            flipped(damaged, int(place))
            report = opened(folder, mode="r").verify()
            assert damaged in {damage.path for damage in report.damage}, (path, place)
            # One page holds only a few chunks.
            found = check(folder, parts, least=(COUNT - 8) * PART)
            assert report.count == len(found), (path, place)
            lost += len(found) < COUNT * PART
            if path.suffix == ".json":
                assert len(found) == COUNT * PART
            shutil.rmtree(folder)
    assert lost > 20


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * PAGE)


DAMAGES: list[Callable[[Path], None]] = [truncated, emptied, overwritten, Path.unlink]


def test_schema_that_is_not_text_is_reported_as_damage(whole: Path, parts: list[ExperienceBatch], tmp_path: Path) -> None:
    """SQLite's error repeats the schema, and Python's ``sqlite3`` raises ``UnicodeDecodeError`` where it is not UTF-8."""
    for ends in (True, False):  # sealed segments, and those of a writer that was killed
        folder = Path(shutil.copytree(whole, tmp_path / f"log{ends}"))
        path = folder / segments(folder)[-1]
        if not ends:
            path.with_suffix(".json").unlink()
        path.write_bytes(path.read_bytes().replace(b"CREATE TABLE chunks", b"CREATE \xd4ABLE chunks"))
        log = opened(folder, mode="r")
        with pytest.raises(StorageError, match=re.escape(str(path))):
            list(log.read())
        if not ends:
            with pytest.raises(StorageError, match=re.escape(str(path))):
                _ = log.last
        assert {damage.path for damage in log.verify().damage} == {path}
        check(folder, parts, COUNT * PART)
        log.repair()
        assert log.verify().ok
        assert numbers(list(log.read())) == list(range(COUNT * PART))


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("damage", DAMAGES)
def test_repair_keeps_intact_chunks_and_records_lost_ones(
    whole: Path, parts: list[ExperienceBatch], tmp_path: Path, which: int, damage: Callable[[Path], None]
) -> None:
    folder = tmp_path / "log"
    shutil.copytree(whole, folder)
    victim = folder / segments(folder)[which]
    damage(victim)
    log = opened(folder, mode="r")
    before = log.verify()
    assert not before.ok
    gone = [one.experiences for one in before.damage if one.experiences]
    # A segment that is not there at the end of the log is missed by verify() and by writers, but not by readers.
    end = int(victim.stem[-20:]) if damage is Path.unlink and which == -1 else COUNT * PART
    found = check(folder, parts, 0, end)
    report = log.repair()
    assert report.damage == before.damage
    after = log.verify()
    assert after.ok, after
    assert after.intact == before.intact
    with log.reader() as reader:
        again = []
        while (batch := reader.poll()) is not None:
            again += numbers([batch])
        assert again == found
        told = reader.missed
    if damage is not Path.unlink:
        assert any(path.name.startswith(victim.name) for path in (folder / "damaged").iterdir())
    with opened(folder) as log:
        assert log.write(parts[0]) == (COUNT + 1) * PART - 1
        with log.reader() as reader:
            more = []
            while (batch := reader.poll()) is not None:
                more += numbers([batch])
        assert more == again + list(range(COUNT * PART, (COUNT + 1) * PART))
        assert reader.missed == COUNT * PART - len(found) >= told
        assert log.verify().ok
    assert gone or damage is overwritten


def test_open_log_is_repaired_and_written_on(whole: Path, parts: list[ExperienceBatch], tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(whole, folder)
    consumer = next((folder / "consumers").iterdir())
    with opened(folder) as log:
        log.write(parts[0])
        flipped(folder / segments(folder)[0], 3 * PAGE + 100)
        flipped(consumer, 5)
        with pytest.raises(StorageError, match="expected a file with its checksum"):
            log.consumers()
        assert {damage.path.name for damage in log.verify().damage} == {segments(folder)[0], consumer.name}
        log.repair()
        assert log.verify().ok
        assert log.consumers() == {}
        assert log.write(parts[1]) == (COUNT + 2) * PART - 1
        assert numbers(log.read(COUNT * PART - 1)) == list(range(COUNT * PART, (COUNT + 2) * PART))


def test_log_damaged_by_crash_refuses_writes_before_repair(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "log"
    with opened(source) as log:
        fill(log, parts, 20)
        shutil.copytree(source, folder)  # as a crash leaves it
    wal = companions(segment_path(folder, 0))[0]
    flipped(wal, wal.stat().st_size // 2)
    with pytest.raises(StorageError, match=r"db-wal: expected intact commits, got damage at byte \d+: run repair\(\)"):
        opened(folder)
    log = opened(folder, mode="r")
    report = log.verify()
    assert [damage.path for damage in report.damage if damage.offset] == [wal]
    log.repair()
    assert log.verify().ok
    found = numbers(log.read())
    # SQLite alone would give half of them.
    assert len(found) >= 18 * PART
    assert missing(0, 20 * PART - 1, report.intact) == list(log.verify().given_up)
    with opened(folder) as log:
        assert log.write(parts[0]) >= 20 * PART - 1
    for batch in log.read(on_damage="skip"):
        first = int(batch.sequence[0])
        if first < 20 * PART:
            assert same(contents(batch), contents(numbered(parts[first // PART % len(parts)], first)))


@pytest.mark.checklist("P5")
def test_torn_tail_is_not_damage(parts: list[ExperienceBatch], tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "log"
    with opened(source) as log:
        fill(log, parts, 5)
        shutil.copytree(source, folder)
    wal = companions(segment_path(folder, 0))[0]
    with wal.open("r+b") as file:
        file.truncate(wal.stat().st_size - 1000)
    assert opened(folder, mode="r").verify().ok
    with opened(folder) as log:
        assert log.write(parts[4]) == 5 * PART - 1
        assert numbers(log.read()) == list(range(5 * PART))
