"""Publishes files to one dataset on moto's S3 server from several processes, and counts the requests.

``python -m benchmarks.workers.s3_publishes [--producers 8] [--publishes 25] [--format npz]``
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import generals_env
from generals_env.recorders import DatasetWriter, ExperienceBatch, ExperienceRecorder, open_dataset

__all__ = ["main"]

PLACE = "s3://games/experiences"

REQUEST = re.compile(r'"(GET|PUT|HEAD|DELETE|POST) (\S+) HTTP[^"]*" (\d+)')


def publish(number: int, count: int, form: str, start: Any, results: Any) -> None:
    """Publish files of one producer, and tell how long flushes and the closing took."""
    batches: list[ExperienceBatch] = []

    class Kept:
        write = staticmethod(batches.append)

        def flush(self) -> None:
            """Do nothing."""

        close = flush

    with ExperienceRecorder(generals_env.make_vec(1, height=8, width=8), Kept(), f"run{number}") as env:
        env.reset(seed=number)
        env.play(20, ("random", "random"))
    writer = DatasetWriter(PLACE, form)
    start.wait()
    begun, failed = time.perf_counter(), 0
    for _ in range(count):
        writer.write(batches[0])
        try:
            writer.flush()
        except generals_env.StorageError:
            failed += 1
    flushed = time.perf_counter() - begun
    writer.close()
    results.put((flushed, time.perf_counter() - begun, failed))


def serve(log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start moto's server, and return it with its URL once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("wb") as output:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], stdout=output, stderr=output)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/").close()
        except OSError:
            if server.poll() is not None:
                raise
            time.sleep(0.1)
            continue
        return server, f"http://127.0.0.1:{port}"


def main() -> None:
    """Print a line for each kind of request, and the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--producers", type=int, default=8)
    parser.add_argument("--publishes", type=int, default=25, help="of each producer")
    parser.add_argument("--format", default="npz")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        server, url = serve(log)
        try:
            os.environ |= {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
            os.environ["AWS_ENDPOINT_URL"] = url
            urllib.request.urlopen(urllib.request.Request(f"{url}/games", method="PUT")).close()
            context = multiprocessing.get_context("spawn")
            start, results = context.Barrier(options.producers + 1), context.Queue()
            arguments = [(number, options.publishes, options.format, start, results) for number in range(options.producers)]
            processes = [context.Process(target=publish, args=one) for one in arguments]
            for process in processes:
                process.start()
            start.wait()
            mark = log.stat().st_size
            times = [results.get() for _ in processes]
            for process in processes:
                process.join()
            lines = log.read_text(errors="replace")[mark:]
            dataset = open_dataset(PLACE)
        finally:
            server.kill()
            server.wait()
    counts = collections.Counter(
        (verb, "list" if "list-type" in path else "index" if "index" in path else "file", status)
        for verb, path, status in REQUEST.findall(re.sub(r"\x1b\[[0-9;]*m", "", lines))
    )
    for (verb, what, status), count in sorted(counts.items()):
        print(f"{verb:6} {what:5} {status} {count:6}")
    total = options.producers * options.publishes
    print(
        f"{total / max(flushed for flushed, _, _ in times):.1f} publishes a second, {counts.total() / total:.2f} requests each"
    )
    print(f"{max(closed for _, closed, _ in times):.1f} s until all writers were closed, {sum(one[2] for one in times)} failed")
    print(f"{len(dataset.files)} files, {dataset.experiences} experiences in the index")


if __name__ == "__main__":
    main()
