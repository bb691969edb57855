"""Runs a streaming server that records games on command: prints its address, and obeys a command on each line of its input."""

from __future__ import annotations

import sys
import time

import generals_env
from benchmarks.buffers import ITEMS
from generals_env.recorders import ExperienceLog, ExperienceRecorder, ExperienceServer, ReplayBuffer


class Open:
    """A sink that stays open when a recorder closes."""

    def __init__(self, sink: ExperienceLog | ReplayBuffer) -> None:
        """Write to ``sink``."""
        self.write, self.flush = sink.write, sink.flush

    def close(self) -> None:
        """Do nothing."""


def main(kind: str, folder: str) -> None:
    """Serve a log, a buffer, or a saved buffer (``loaded``), and record 20x20 games into it.

    Commands are ``record n``: n experiences; ``slow n``: n turns, one every 20 ms; ``full n``: for n seconds.
    """
    source = ExperienceLog(folder, "normal") if kind == "log" else ReplayBuffer(1_000_000)
    if kind == "loaded":
        source = ReplayBuffer(ITEMS)
        source.load(folder)
    with ExperienceServer(source, "127.0.0.1:0") as server:
        print(server.address, flush=True)
        for line in sys.stdin:
            word, count = line.split()
            with ExperienceRecorder(generals_env.make_vec(1 if word == "slow" else 64), Open(source)) as env:
                env.reset(seed=1)
                if word == "slow":
                    for _ in range(int(count)):
                        env.step(env.act(("expander", "expander")))
                        env.flush()
                        time.sleep(0.02)
                end = time.monotonic() + int(count)
                while (word == "record" and env.experiences < int(count)) or (word == "full" and time.monotonic() < end):
                    env.play(64, ("expander", "expander"))
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
