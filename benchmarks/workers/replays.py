"""Measures speed and memory of ``record_replays``: ``python replays.py FOLDER nothing|FORMAT [FILES]``."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from generals_env.recorders import DatasetWriter, record_replays


class Nothing:
    """A sink that discards all batches."""

    def write(self, batch: Any) -> None:
        """Discard a batch."""

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def main(folder: str, target: str, files: str = "1000000") -> None:
    """Measure and print as JSON."""
    paths = list(islice(sorted(Path(folder).glob("*.json")), int(files)))
    record_replays(paths[:1], Nothing())  # compiles
    with tempfile.TemporaryDirectory(dir=".") as out:
        sink = Nothing() if target == "nothing" else DatasetWriter(out, target)
        began, cpu = time.perf_counter(), time.process_time()
        result = record_replays(paths, sink)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts kilobytes
    figures = {"experiences": result.experiences, "seconds": seconds, "cpu_seconds": cpu_seconds, "resident": resident}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
