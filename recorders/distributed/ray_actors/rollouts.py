"""Defines ``rollout``: plays tasks on worker actors of Ray, or here, into one sink, with the same result."""

from __future__ import annotations

import itertools
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from generals_env.arguments import check_flag, check_integer, check_options, check_seconds, is_number
from generals_env.concurrency.process_owner import Owner
from generals_env.engine.kernel_cache.compile_notice import is_terminal
from generals_env.errors import ConfigError
from generals_env.pickling import NotCopied, pickled_as
from generals_env.recorders.distributed.policy_player import POLICY
from generals_env.recorders.distributed.ray_actors.ray_session import RaySession, import_ray
from generals_env.recorders.distributed.ray_actors.rollout_worker import RolloutWorker
from generals_env.recorders.distributed.ray_actors.task_sinks import RolloutSink, check_elsewhere
from generals_env.recorders.distributed.ray_actors.weights import pack_weights
from generals_env.recorders.distributed.ray_actors.worker_pool import WorkerPool
from generals_env.recorders.distributed.ray_actors.write_gate import WriteGate
from generals_env.recorders.distributed.rollout_plan import RolloutPlan
from generals_env.recorders.distributed.task_player import TaskResult

__all__ = ["Rollout", "RolloutCounts", "rollout"]

SLICE = 0.1  # seconds between checks for signals

PATIENCE = 30.0  # seconds that ``close`` gives tasks which are being played

LAST_WRITE = 5.0  # seconds that ``close`` gives a write which has begun, when tasks are played here and cut off


@pickled_as("generals_env.recorders.distributed")
class RolloutCounts(NamedTuple):
    """What a rollout has played, in tasks that are over.

    Attributes:
        tasks: Tasks whose experiences are stored.
        turns: Turns of all games together.
        games: Games that ended.
        wins: Games that each player won.
        experiences: Experiences that the sink took.
        deaths: Workers that died and were replaced.
        seconds: Since the beginning, until the end once there is one.
    """

    tasks: int
    turns: int
    games: int
    wins: tuple[int, ...]
    experiences: int
    deaths: int
    seconds: float


@pickled_as("generals_env.recorders.distributed")
class Rollout(NotCopied):
    """A rollout that is being played; made by ``rollout``. Iterating yields the ``TaskResult`` of each task that is over.

    Attributes:
        plan: The plan that is played.
        tasks: Number of tasks, None without end.
    """

    _instead = "begin another rollout with this one's plan"

    def __init__(
        self,
        num_workers: int,
        sink: RolloutSink,
        plan: RolloutPlan,
        tasks: int | None,
        make_policy: Callable[[], Any] | None,
        ray_options: Mapping[str, Any],
    ) -> None:
        """Begin to play; arguments as of ``rollout``."""
        self.plan, self.tasks = plan, tasks
        self._results: list[TaskResult] = []
        self._weights: tuple[list[Any], int] = ([], 0)
        self._stop = threading.Event()
        self._gate = WriteGate()  # before the sink, if the tasks are played here
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._began, self._ended = time.monotonic(), 0.0
        self._owner = Owner()
        held = math.ceil(num_workers * ray_options.get("num_cpus", 0))
        self._session = RaySession(held + 1) if num_workers else None
        self._pool: WorkerPool | None = None
        if num_workers:
            self._pool = self._started(num_workers, (plan, sink, make_policy, time.time()), ray_options)
            results = self._played_by(self._pool)
        else:
            results = self._played_here(RolloutWorker(plan, sink, make_policy, time.time(), self._gate))
        self._thread = threading.Thread(target=self._run, args=(results,), daemon=True, name="rollout")
        self._thread.start()

    def _started(self, num_workers: int, arguments: tuple[Any, ...], ray_options: Mapping[str, Any]) -> WorkerPool:
        """Return workers; if they cannot start, end the Ray that was started for them."""
        try:
            return WorkerPool(num_workers, arguments, ray_options)
        except BaseException as error:
            if self._session is not None:
                self._session.close()
            if isinstance(error, (TypeError, ValueError)):  # Ray cannot pickle an argument, or does not know an option
                raise ConfigError(
                    f"sink, make_policy, ray_options: expected what Ray can send to workers and its options of actors, got "
                    f"{ray_options} and others: {error}"
                ) from error
            raise

    # --- In the thread --------------------------------------------------------------------------------------------

    def _run(self, results: Iterator[TaskResult]) -> None:
        try:
            for result in results:
                with self._changed:
                    self._results.append(result)
                    self._changed.notify_all()
        except BaseException as error:  # raised by the methods that wait
            if not self._gate.is_shut:  # else ``close`` has cut off a task
                self._error = error
        finally:
            with self._changed:
                self._ended = time.monotonic()
                self._changed.notify_all()

    def _numbers(self) -> Iterable[int]:
        return itertools.count() if self.tasks is None else range(self.tasks)

    def _played_here(self, worker: RolloutWorker) -> Iterator[TaskResult]:
        try:
            for number in self._numbers():
                if self._stop.is_set():
                    return
                yield worker.play(number, *self._weights)
        finally:
            worker.close()

    def _played_by(self, pool: WorkerPool) -> Iterator[TaskResult]:
        try:
            yield from pool.results(self._numbers(), lambda: self._weights, self._stop.is_set)
            pool.finish(PATIENCE)
        finally:
            pool.close()

    # --- In the threads of the caller -----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether tasks are still played."""
        return not self._ended

    @property
    def processes(self) -> list[int]:
        """Ids of the processes of the workers; none if the tasks are played here."""
        return [] if self._pool is None else self._pool.processes

    def counts(self) -> RolloutCounts:
        """Return what was played so far."""
        with self._changed:
            results, deaths = list(self._results), self._pool.deaths if self._pool else 0
        wins = tuple(map(sum, zip(*(result.wins for result in results), strict=True)))
        sums = [sum(part) for part in zip(*((one.turns, one.games, one.experiences) for one in results), strict=True)]
        turns, games, experiences = sums or (0, 0, 0)
        return RolloutCounts(
            len(results), turns, games, wins, experiences, deaths, (self._ended or time.monotonic()) - self._began
        )

    def __iter__(self) -> Iterator[TaskResult]:
        """Yield the results of tasks as they end; errors as of ``wait``."""
        for place in itertools.count():
            self._await_result(place)
            if len(self._results) <= place:
                self._raise()
                return
            yield self._results[place]

    def _await(self, condition: Callable[[], bool], until: float = float("inf")) -> None:
        """Wait until a condition holds; in slices, so that signals are handled."""
        with self._changed:
            while not condition() and time.monotonic() < until:
                self._changed.wait(SLICE)

    def _await_result(self, place: int, until: float = float("inf")) -> None:
        """Wait until so many results came before another one, or the end."""
        self._await(lambda: len(self._results) > place or not self.running, until)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float | None = None, progress: bool | None = None) -> RolloutCounts:
        """Wait until all tasks are over, or for a limited time, and return what was played.

        Args:
            seconds: Maximum time to wait; None for no limit.
            progress: Whether to show a bar; by default if the program's errors go to a terminal.

        Raises:
            ConfigError: If the options of the environment, the policies or the sink are invalid, or an argument is.
            StateError: If a task has killed several workers, or in a process that was forked off the one that began.
            Exception: What the policy or the sink has raised in a worker.
        """
        self._owner.check("rollout")
        until = float("inf") if seconds is None else time.monotonic() + check_seconds("seconds", seconds)
        progress = is_terminal(sys.stderr) if progress is None else check_flag("progress", progress)
        if progress:
            self._show(until)
        self._await(lambda: not self.running, until)
        if not self.running:
            self._raise()
        return self.counts()

    def _show(self, until: float) -> None:
        """Show a bar until the end."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("tasks", total=self.tasks)
            while self.running and time.monotonic() < until:
                counts = self.counts()
                bar.update(task, completed=counts.tasks, description=f"{counts.experiences:,} experiences")
                self._await_result(counts.tasks, min(until, time.monotonic() + 1))

    def set_weights(self, weights: Any) -> int:
        """Let tasks that begin from now on be played with other weights, and return their version: 1, 2, and so on.

        Args:
            weights: A state dict, which is stored once in Ray's object store and not copied for each worker; or another
                object that the policy's ``set_weights`` takes.
        """
        packed: Any = pack_weights(weights)
        if self._session is not None:
            packed = import_ray().put(packed)
        self._weights = [packed], self._weights[1] + 1
        return self._weights[1]

    def close(self, seconds: float = PATIENCE) -> None:
        """End the rollout: no task begins, and those that are being played get some time before their workers are ended.

        A task that is cut off then leaves the beginning of its experiences in the sink; nothing is written after ``close``.

        Args:
            seconds: The time for tasks that are being played.

        Raises:
            ConfigError: If ``seconds`` is no number of at least 0.
        """
        seconds = check_seconds("seconds", seconds)
        if not self._owner.is_here:
            return
        self._stop.set()
        self._await(lambda: not self.running, time.monotonic() + seconds)
        if self._pool is not None:
            if self.running:
                self._pool.close()
            self._thread.join()
        else:
            until = time.monotonic() + LAST_WRITE
            if self.running:
                self._gate.shut(LAST_WRITE)
            self._thread.join(max(until - time.monotonic(), 0.0))  # a policy or a sink may never return
        if self._session is not None:
            self._session.close()

    def __enter__(self) -> Rollout:
        """Return the rollout."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        """Close it; after an exception without waiting for tasks."""
        self.close(PATIENCE if kind is None else 0.0)


def rollout(
    num_workers: int,
    sink: RolloutSink,
    *,
    plan: RolloutPlan | None = None,
    tasks: int | None = 1,
    make_policy: Callable[[], Any] | None = None,
    ray_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Rollout:
    """Play the tasks of a plan on worker actors of Ray, each with an environment of its own, into one sink.

    The experiences are those that one process plays, whatever the number of workers: each task has its own seeds and ids. A
    worker that dies is replaced, and its task played again from the beginning; what the sink had taken of it is recognised
    there: by a ``RayBuffer`` and Redis, by the names of files in a dataset.

    Ray is started on loopback if the program has not done so, and ended with the rollout.

    Args:
        num_workers: Number of actors; 0 plays the tasks in a thread of this process, without Ray.
        sink: A ``RayBuffer``; a folder or URL that each worker opens; a list of these; or a function that returns a sink,
            called in each worker. With ``num_workers=0`` any sink, too.
        plan: What is played.
        tasks: Number of tasks; None to play until ``close``, as fast as the sink takes it.
        make_policy: Returns the policy object that has the seats named ``"policy"``, in each worker. See ``ActingPolicy``.
        ray_options: Options of Ray's actors, for example ``{"num_cpus": 1}``.
        **options: Fields of the plan, instead of ``plan``. A worker plays with one thread, unless ``env`` has ``threads``.

    Raises:
        ConfigError: If an argument is invalid, or other processes cannot write to the sink.
        ImportError: If Ray is needed and not installed.

    Examples:
        >>> with rollout(4, "runs/a", tasks=16, policies=("hunter", "expander"), seed=1) as games:  # doctest: +SKIP
        ...     print(games.wait())
    """
    check_integer("num_workers", num_workers, 0, 2**16)
    if tasks is not None:
        check_integer("tasks", tasks, 1, 2**31)
    check_options(rollout, options, [field.name for field in fields(RolloutPlan)])
    if plan is not None and options:
        raise ConfigError(f"plan: expected it or its fields, got both it and {', '.join(options)}: pass one of them")
    if plan is not None and not isinstance(plan, RolloutPlan):
        raise ConfigError(f"plan: expected a RolloutPlan, got {plan!r:.200}")
    if make_policy is not None and not callable(make_policy):
        raise ConfigError(f"make_policy: expected a function that returns a policy object, got {make_policy!r:.200}")
    if ray_options is not None and not isinstance(ray_options, Mapping):
        raise ConfigError(f"ray_options: expected a mapping of options of Ray's actors, got {ray_options!r:.200}")
    cpus = (ray_options or {}).get("num_cpus", 0)
    if not is_number(cpus) or not 0 <= cpus < 2**16:
        raise ConfigError(f"ray_options: expected num_cpus of at least 0, got {cpus!r:.200}")
    chosen = plan or RolloutPlan(**options)
    if (POLICY in chosen.policies) != (make_policy is not None):
        raise ConfigError(
            f"make_policy: expected it together with the name {POLICY!r} in policies, got {make_policy!r:.200} and "
            f"{chosen.policies}: name the seats of the policy object"
        )
    if num_workers:
        check_elsewhere(sink)
        chosen = replace(chosen, env={"threads": 1, **chosen.env})
    return Rollout(num_workers, sink, chosen, tasks, make_policy, ray_options or {})
