"""Gives tasks to worker actors of Ray, replaces workers that die, and plays their tasks again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from generals_env.errors import StateError
from generals_env.recorders.distributed.ray_actors.ray_session import cause_of, import_ray
from generals_env.recorders.distributed.ray_actors.rollout_worker import RolloutWorker
from generals_env.recorders.distributed.task_player import TaskResult

__all__ = ["WorkerPool"]

SLICE = 0.2  # seconds between checks whether the rollout was stopped

#: Deaths of workers that play the same task after which it is the task that kills them, not chance.
MAX_DEATHS = 10


class WorkerPool:
    """Workers that play the tasks of one rollout; for one thread.

    Attributes:
        deaths: Workers that died and were replaced.
    """

    def __init__(self, num_workers: int, arguments: tuple[Any, ...], ray_options: Mapping[str, Any]) -> None:
        """Start workers.

        Args:
            num_workers: How many.
            arguments: Of ``RolloutWorker``.
            ray_options: Options of Ray's actors.
        """
        ray = import_ray()
        options = {"scheduling_strategy": "SPREAD", **ray_options, "max_restarts": 0, "max_task_retries": 0}
        self._remote = ray.remote(**options)(RolloutWorker)
        self._arguments = [ray.put(argument) for argument in arguments]
        self.deaths = 0
        self._processes: list[Any] = [None] * num_workers  # references of the ids of their processes
        self._workers = [self._start(place) for place in range(num_workers)]

    def _start(self, place: int) -> Any:
        worker = self._remote.remote(*self._arguments)
        self._processes[place] = worker.process.remote()
        return worker

    def results(
        self,
        numbers: Iterable[int],
        weights: Callable[[], tuple[list[Any], int]] = lambda: ([], 0),
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[TaskResult]:
        """Play tasks, also without end, and yield the result of each when its experiences are stored.

        Args:
            numbers: The numbers of the tasks.
            weights: Returns the newest weights and their version, for a task that begins.
            stopped: Returns whether to begin no more tasks.

        Raises:
            StateError: If a task has killed several workers.
            Exception: What a worker raised.
        """
        ray = import_ray()
        idle, running = deque(range(len(self._workers))), {}
        waiting = iter(numbers)
        again: deque[int] = deque()
        killed: Counter[int] = Counter()
        while True:
            while idle and not stopped():
                number = again.popleft() if again else next(waiting, None)
                if number is None:
                    break
                place = idle.popleft()
                answer = self._workers[place].play.remote(number, *weights())
                running[answer] = place, number
            if not running:
                return
            ready, _ = ray.wait(list(running), timeout=SLICE)
            for answer in ready:
                place, number = running.pop(answer)
                try:
                    result: TaskResult = ray.get(answer)
                except ray.exceptions.RayTaskError as error:
                    raise cause_of(error) from None
                except ray.exceptions.RayActorError as error:
                    if stopped():  # it was ended by ``close``
                        continue
                    self.deaths += 1
                    killed[number] += 1
                    if killed[number] >= MAX_DEATHS:
                        raise StateError(
                            f"task {number}: expected a worker that lives, got {MAX_DEATHS} deaths ({error}): give workers "
                            "more memory, or make tasks smaller"
                        ) from None
                    again.append(number)
                    self._workers[place] = self._start(place)
                else:
                    yield result
                idle.append(place)

    @property
    def processes(self) -> list[int]:
        """Ids of the processes of the workers; waits until they have started."""
        ids: list[int] = import_ray().get(self._processes)
        return ids

    def finish(self, seconds: float) -> None:
        """Let the workers, which have no tasks, close their sinks."""
        ray = import_ray()
        ray.wait([worker.close.remote() for worker in self._workers], num_returns=len(self._workers), timeout=seconds)

    def close(self) -> None:
        """End the workers at once."""
        ray = import_ray()
        for worker in self._workers:
            ray.kill(worker)
