"""Tests docs/capacity.md: its tables are those of the recorded inputs, its formula, and that the inputs can be measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from rich.console import Console

from benchmarks import capacity, capacity_inputs
from benchmarks.capacity_tables import SCALES, experiences_per_second, filled, number, quantity, tables
from generals_env.recorders import ExperienceLog, ExperienceServer
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.experience_pb2_grpc import ExperienceServiceStub

INPUTS: dict[str, Any] = json.loads(capacity.INPUTS.read_text(encoding="utf-8"))
PAGE = capacity.PAGE.read_text(encoding="utf-8")


def cells_of(text: str, row: int) -> list[str]:
    """Return the cells of a row of a Markdown table, from 0 below its head."""
    return [cell.strip() for cell in text.splitlines()[row + 2].strip("|").split("|")]


@pytest.mark.checklist("N1", "N2", "N3", "O3", "O5")
def test_capacity_page_has_the_tables_of_its_inputs() -> None:
    assert filled(PAGE, tables(INPUTS)) == PAGE, "run python -m benchmarks capacity --write"


def test_capacity_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected lines <!-- stream --> and <!-- end of stream -->"):
        filled(PAGE.replace("<!-- end of stream -->", ""), tables(INPUTS))


@pytest.mark.checklist("O3", "O5")
def test_capacity_tables_follow_the_formula() -> None:
    assert experiences_per_second(1000, 50, 2) == 100_000
    inputs = json.loads(json.dumps(INPUTS))
    game = inputs["games"]["guide"]
    game["mean_turns"] = 50.0
    game["bytes"] |= {"tensors": 30_000, "packed": 10, "games": 2, "npz": 40}
    game["whole_path"]["recorded"]["cpu_microseconds"]["collector"] = 2.0
    game["whole_path"]["games"]["cpu_microseconds"]["storage"] = 3.0
    inputs["stream"]["packed"] |= {"server": 0.5, "consumer": 1.0}
    inputs["buffers"]["boards"]["bytes"] = 500
    found = tables(inputs)
    assert cells_of(found["scale 50"], SCALES.index(1000)) == [
        *("1,000", "100,000", "3.00 GB/s", "8.00 Mbit/s", "720 MB", "10.0 s", "3.00 GB"),
    ]
    assert cells_of(found["cores 50"], SCALES.index(1000)) == ["1,000", "0.200", "0.300", "0.0500", "0.100", "0.650"]
    assert cells_of(found["scale 50"], SCALES.index(10_000))[1:5] == ["1,000,000", "30.0 GB/s", "80.0 Mbit/s", "7.20 GB"]
    assert cells_of(found["disk 50"], 2) == ['`"npz"`', "40.0", "1.44 GB/h", "7.20 GB/h", "14.4 GB/h", "144 GB/h"]
    assert cells_of(found["network 50"], 0) == [
        *("packed boards", "10.0", "800 kbit/s", "4.00 Mbit/s", "8.00 Mbit/s", "80.0 Mbit/s", "819 kbit/s"),
    ]


def test_capacity_numbers_have_three_digits() -> None:
    assert [number(value) for value in (0, 0.01234, 1.5, 99.96, 123.4, 1234.5, 1_234_567)] == [
        *("0", "0.0123", "1.50", "100", "123", "1,230", "1,230,000"),
    ]
    assert [quantity(value, "B/s") for value in (12, 1500, 2.5e6, 1.5e9, 3e12)] == [
        *("12.0 B/s", "1.50 kB/s", "2.50 MB/s", "1.50 GB/s", "3.00 TB/s"),
    ]


@pytest.mark.checklist("N1", "N2", "N3", "O1", "O2", "O4")
def test_capacity_inputs_support_what_the_page_says_of_the_guide() -> None:
    size, buffers = INPUTS["games"]["guide"]["bytes"], INPUTS["buffers"]
    rate = experiences_per_second(1000, 50, INPUTS["players"])
    assert size["state"] == 9 * 20 * 20 * 4 == 14_400
    assert 30_000 < size["records"] < 31_000
    assert size["tensors"] == 2 * size["state"] + 2 * (8 * 20 * 20 + 1)
    assert buffers["zstd"]["bytes"] < buffers["games"]["bytes"] < buffers["boards"]["bytes"] < 10_000
    assert 1.4e9 < rate / INPUTS["players"] * size["records"] < 1.6e9
    assert rate * size["tensors, zstd"] < 300e6
    assert 3600 * rate * size["games"] < 1e9 < 3600 * rate * size["npz"]
    assert 10 * 8 * rate * size["packed"] < 100e6
    assert INPUTS["games"]["guide"]["whole_path"]["recorded"]["per_second"] > 50_000


@pytest.mark.checklist("O1", "O2", "O4", "N1", "N2", "N3")
def test_capacity_bytes_are_those_of_recorded_games(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What does not depend on the speed of the machine is measured again, with the same games.
    monkeypatch.chdir(tmp_path)
    assert capacity_inputs.mean_turns(16, 50) == 50
    batch = capacity_inputs.recorded(512, 50)
    assert len(batch) == INPUTS["games"]["guide"]["experiences"]
    for form, size in capacity_inputs.bytes_of(batch).items():
        spread = 0.25 if "gz" in form else 0.1  # versions of zlib and zstd compress differently
        assert size == pytest.approx(INPUTS["games"]["guide"]["bytes"][form], rel=spread), form


@pytest.mark.checklist("N3")
def test_capacity_bytes_are_those_of_streamed_messages(tmp_path: Path) -> None:
    batch = capacity_inputs.recorded(64, 50)
    expected = capacity_inputs.bytes_of(batch)
    found = {}
    with ExperienceLog(tmp_path / "log", "normal") as log, ExperienceServer(log, "127.0.0.1:0") as server:
        for chunk in capacity_inputs.chunks_of(batch):
            log.write(chunk)
        with grpc.insecure_channel(server.address, [("grpc.max_receive_message_length", 2**24)]) as channel:
            stub: Any = ExperienceServiceStub(channel)  # type: ignore[no-untyped-call]
            for name, encoding in (("packed", pb.PACKED), ("records", pb.RECORDS)):
                request = pb.StreamExperiencesRequest(encoding=encoding, batch_size=0 if name == "packed" else 32)
                found[name] = sum(message.ByteSize() for message in stub.StreamExperienceBatches(request)) / len(batch)
    for name, size in found.items():
        assert size == pytest.approx(expected[name], rel=0.05), name


@pytest.mark.skipif(sys.platform != "linux", reason="reads resident memory from /proc")
@pytest.mark.checklist("L10", "O3")
def test_capacity_can_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # The two kinds of games differ in one number alone, and each would start eight processes more.
    monkeypatch.setattr(capacity_inputs, "GAMES", {"expanders": capacity_inputs.GAMES["expanders"]})
    inputs = capacity_inputs.measure(Console(quiet=True), 0.2, buffer=10_000)
    inputs["games"]["guide"] = inputs["games"]["expanders"]
    assert tables(inputs).keys() == tables(INPUTS).keys()
    filled(PAGE, tables(inputs))
    for game in inputs["games"].values():
        for path in game["whole_path"].values():
            assert 0 < path["spread"][0] <= path["per_second"] <= path["spread"][1]
            assert min(path["cpu_microseconds"].values()) > 0
    for row in inputs["latency"].values():
        assert 0 < row["p50"] <= row["p95"] <= row["p99"]
