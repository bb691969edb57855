"""What simulated processes share: the cores of a machine, and a link of the network."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import simpy

__all__ = ["Cores", "Link", "speeds"]


def speeds(cores: int, together: float = 1.0, others: float = 0.0) -> Callable[[int], float]:
    """Return the function from the number of running jobs to the speed of all of them together.

    Args:
        cores: Cores of the machine.
        together: Speed of a core while all are busy, against that of a core while the others are idle.
        others: Threads of other programs that want to run all the time; each gets as much as a job.
    """

    def speed(jobs: int) -> float:
        running = jobs + others
        busy = min(running, cores)
        alone = 1 - (1 - together) * max(busy - 1, 0) / max(cores - 1, 1)
        return jobs * busy / running * alone if jobs else 0.0

    return speed


class Cores:
    """The cores of a machine: all running jobs progress at once, at equal speed, as the threads of an operating system do.

    Attributes:
        worked: Seconds of work done so far, those of jobs that run included.
        jobs_seconds: For each number of running jobs, how many seconds it lasted so far.
    """

    def __init__(self, env: simpy.Environment, speed: Callable[[int], float]) -> None:
        """Take the speed of all jobs together from their number, see ``speeds``."""
        self._env, self._speed = env, speed
        self._jobs: list[tuple[float, int, simpy.Event]] = []  # by the progress at which they end
        self._progress = 0.0  # work that a job has got that runs since the beginning
        self._updated = 0.0  # when it was brought up to date
        self._order = itertools.count()
        self._wake = 0  # number of the newest alarm: earlier ones are out of date
        self.worked = 0.0
        self.jobs_seconds: dict[int, float] = defaultdict(float)

    def work(self, seconds: float) -> simpy.Event:
        """Return the event that so much work, in seconds of a core of its own, is done."""
        done = self._env.event()
        if seconds <= 0:
            return done.succeed()
        self._advance()
        heapq.heappush(self._jobs, (self._progress + seconds, next(self._order), done))
        self._set_alarm()
        return done

    def _advance(self) -> None:
        """Bring the progress of all jobs up to date."""
        self.jobs_seconds[len(self._jobs)] += self._env.now - self._updated
        if self._jobs:
            passed = (self._env.now - self._updated) * self._speed(len(self._jobs))
            self._progress += passed / len(self._jobs)
            self.worked += passed
        self._updated = self._env.now

    def shared_with(self, others: float, cores: int) -> float:
        """Return how many of ``cores`` other programs had on average until now, of which so many threads wanted to run."""
        self._advance()
        total = sum(self.jobs_seconds.values())
        used = sum(lasted * others * min(1, cores / max(jobs + others, 1e-9)) for jobs, lasted in self.jobs_seconds.items())
        return used / total if total else 0.0

    def _set_alarm(self) -> None:
        """Wake up when the next job ends."""
        self._wake += 1
        if self._jobs:
            left = max(self._jobs[0][0] - self._progress, 0.0)
            alarm = self._env.timeout(left * len(self._jobs) / self._speed(len(self._jobs)), self._wake)
            alarm.callbacks.append(self._end)

    def _end(self, alarm: simpy.Event) -> None:
        """End all jobs whose work is done."""
        if alarm.value != self._wake:
            return
        self._advance()
        ends = self._jobs[0][0]  # the alarm was set for it: rounding may leave the progress a little short of it
        self._progress = max(self._progress, ends)
        while self._jobs and self._jobs[0][0] <= self._progress:
            heapq.heappop(self._jobs)[2].succeed()
        self._set_alarm()


class Link:
    """A link that passes on one message after another.

    Attributes:
        sent: Bytes that were passed on.
    """

    def __init__(self, env: simpy.Environment, bytes_per_second: float, delay: float = 0.0) -> None:
        """Pass on so many bytes a second; each message arrives ``delay`` seconds after its last byte was sent."""
        self._env, self._rate, self._delay = env, bytes_per_second, delay
        self._line = simpy.Resource(env, 1)
        self.sent = 0.0

    def send(self, size: float) -> Iterator[Any]:
        """Wait until a message of ``size`` bytes has arrived."""
        with self._line.request() as turn:
            yield turn
            yield self._env.timeout(size / self._rate)
        self.sent += size
        if self._delay:
            yield self._env.timeout(self._delay)
