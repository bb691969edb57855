"""Tests the storage worker of ``generals-env run`` while its bucket does not answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.helpers import wait_until
from support.run_process import SMALL, RunProcess
from support.s3 import BUCKET, FaultyProxy, faulty_s3, s3, s3_process

from generals_env.recorders import ExperienceLog, open_dataset

__all__ = ["faulty_s3", "s3", "s3_process"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals that Windows does not have")

SETTINGS = (*SMALL, "storage.s3.format=games", "storage.max_file_seconds=1")


def test_bucket_that_does_not_answer_is_reported_and_ends_no_worker(faulty_s3: FaultyProxy, tmp_path: Path) -> None:
    place = f"s3://{BUCKET}/experiences"
    with RunProcess(tmp_path, "--out", place, settings=SETTINGS) as run:
        pid = run.ready("storage")["pid"]
        run.ready("collector")
        wait_until(lambda: any(name.startswith("PUT") for name in faulty_s3.seen))
        faulty_s3.faults.extend(["stall"] * 20)
        wait_until(lambda: "a file has been written for" in run.get("/readyz")[1])
        assert "has not answered" not in run.get("/readyz")[1]
        faulty_s3.faults.clear()
        faulty_s3.stopping.set()  # ends the requests that wait
        wait_until(lambda: run.get("/readyz")[0] == 200)
        assert run.ready("storage")["pid"] == pid
        run.stop()
    assert not any("has not answered" in line["message"] or "started again" in line["message"] for line in run.lines)
    found = sorted(int(number) for batch in open_dataset(place) for number in batch.sequence)
    assert found == list(range(ExperienceLog(tmp_path / "runs/log", mode="r").last + 1))
