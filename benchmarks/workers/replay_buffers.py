"""What a replay buffer does in a second: ``python replay_buffers.py LIBRARY TRANSITIONS_DIR SECONDS``, in a python with it.

LIBRARY is ``stable-baselines3``, ``cpprb``, ``torchrl`` or ``numpy``: the last is nobody's, a ring of plain arrays, the least
that a buffer has to do. TRANSITIONS_DIR holds ``state``, ``next_state``, ``action_mask``, ``next_action_mask``, ``action``,
``reward`` and ``terminated``, each an ``.npy`` file with a row a transition; the buffer has room for just as many. Every batch
has all seven, as arrays or tensors of its own. Printed on the last line, as JSON:

* ``library``, ``version``, ``items``;
* ``bytes_per_item``, and ``bytes_how``: whether the arrays of the storage were summed or the growth of the process measured;
* ``add_1``, ``add_256``: transitions a second into the full buffer, one a call and 256 a call, each from one thread;
* ``sample_256``: batches of 256 a second, one thread calling, in the fastest way (``sample_how``);
* ``sample_256_one_core``: likewise without threads of torch's own, where torch does the work;
* ``sample_256_default_malloc``: batches a second before ``keep_memory``, which is what a program gets that does not care;
* ``sample_256_two_threads``: batches a second of two threads that call at once, or of one where the library is faster so on
  threads of its own (``two_threads_how``);
* ``prioritized_256``: prioritized batches of 256 a second, each with a new priority for all of it, and ``prioritized_items``
  of the buffer. Null where the library has no such buffer or it fails, with the reason under ``notes``.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import json
import logging
import sys
import threading
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

BATCH = 256
SINGLES = 2048
WARM_UP_SECONDS = 0.5
ALPHA, BETA = 0.6, 0.4
FIELDS = ("state", "next_state", "action_mask", "next_action_mask", "action", "reward", "terminated")

Arrays: TypeAlias = dict[str, np.ndarray]
Work: TypeAlias = Callable[[], Any]


class Buffer(ABC):
    """A library's buffer of the transitions, with what is measured of it."""

    distribution: ClassVar[str]
    torch: ClassVar[bool] = False
    buffer: Any  #: of the library

    def __init__(self, transitions: Arrays) -> None:
        """Make the buffer, empty, with room for all transitions."""
        self.transitions = transitions
        self.items = len(transitions["action"])

    @abstractmethod
    def fill(self) -> None:
        """Add every transition once."""

    @abstractmethod
    def adder(self, size: int) -> Work:
        """Return what adds so many transitions a call. They are put into the library's form before, as its own code does."""

    def sampler(self) -> Work:
        """Return a function that draws a batch, for one thread."""
        return lambda: self.buffer.sample(BATCH)

    def fields(self, batch: Any) -> Mapping[str, Any]:
        """Return the seven fields of a batch."""
        return {name: batch[name] for name in FIELDS}

    def held_bytes(self) -> int | None:
        """Return the bytes of the storage's arrays, None where the library does not show them."""
        return None

    def prefetching(self) -> dict[str, Work]:
        """Return samplers that draw ahead on threads of the library's own."""
        return {}

    def prioritized(self) -> Work:
        """Return what draws a prioritized batch and gives it new priorities, from a buffer as large. Ends this one."""
        raise NotImplementedError(f"{self.distribution} has no prioritized buffer")

    def parts(self, size: int, count: int) -> Iterator[Arrays]:
        """Yield ``size`` transitions at a time, from the first ``count``."""
        for start in range(0, count, size):
            yield {name: array[start : start + size] for name, array in self.transitions.items()}


class NumpyRing(Buffer):
    """A ring of plain arrays."""

    distribution = "numpy"

    def __init__(self, transitions: Arrays) -> None:
        super().__init__(transitions)
        self.storage = {name: np.zeros(array.shape, array.dtype) for name, array in transitions.items()}
        self.position = 0

    def fill(self) -> None:
        """Add every transition once."""
        for part in self.parts(BATCH, self.items):
            self.add(part, len(part["action"]))

    def add(self, part: Arrays, size: int) -> None:
        """Write transitions over the oldest ones."""
        start, end = self.position, self.position + size
        over = end - self.items
        for name, array in part.items():
            if over <= 0:
                self.storage[name][start:end] = array
            else:
                self.storage[name][start:] = array[:-over]
                self.storage[name][:over] = array[-over:]
        self.position = end % self.items

    def adder(self, size: int) -> Work:
        """Return what adds so many transitions a call."""
        parts = itertools.cycle(list(self.parts(size, SINGLES)))
        return lambda: self.add(next(parts), size)

    def sampler(self) -> Work:
        """Return a function that draws a batch."""
        rng = np.random.default_rng()

        def sample() -> Arrays:
            index = rng.integers(0, self.items, BATCH)
            return {name: array.take(index, axis=0) for name, array in self.storage.items()}

        return sample

    def held_bytes(self) -> int | None:
        """Return the bytes of the storage's arrays."""
        return sum(array.nbytes for array in self.storage.values())


class StableBaselines3(Buffer):
    """The buffer of observations that are dicts: the masks are part of them."""

    distribution = "stable-baselines3"
    torch = True

    def __init__(self, transitions: Arrays) -> None:
        super().__init__(transitions)
        self.buffer = self.make(1)

    def make(self, size: int) -> Any:
        """Return a buffer that is given ``size`` transitions a call, which is its number of environments."""
        from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
        from stable_baselines3.common.buffers import DictReplayBuffer

        actions = self.transitions["action_mask"].shape[1]
        shape = self.transitions["state"].shape[1:]
        space = Dict({"observation": Box(-np.inf, np.inf, shape, np.float32), "action_mask": MultiBinary(actions)})
        # Without optimize_memory_usage, which is refused for dicts. What is told is terminations alone, so nothing has to be
        # taken from infos.
        return DictReplayBuffer(
            self.items, space, Discrete(actions), device="cpu", n_envs=size, handle_timeout_termination=False
        )

    def arguments(self, size: int, count: int) -> Iterator[tuple[Any, ...]]:
        """Yield what ``add`` takes."""
        for part in self.parts(size, count):
            now = {"observation": part["state"], "action_mask": part["action_mask"]}
            then = {"observation": part["next_state"], "action_mask": part["next_action_mask"]}
            yield now, then, part["action"], part["reward"], part["terminated"], [{}] * size

    def fill(self) -> None:
        """Add every transition once."""
        for arguments in self.arguments(1, self.items):
            self.buffer.add(*arguments)

    def adder(self, size: int) -> Work:
        """Return what adds so many transitions a call."""
        buffer = self.buffer if size == 1 else self.make(size)
        parts = itertools.cycle(list(self.arguments(size, SINGLES)))
        for _ in range(0 if size == 1 else self.items // size):
            buffer.add(*next(parts))
        return lambda: buffer.add(*next(parts))

    def fields(self, batch: Any) -> Mapping[str, Any]:
        """Return the seven fields of a batch."""
        return {
            "state": batch.observations["observation"],
            "next_state": batch.next_observations["observation"],
            "action_mask": batch.observations["action_mask"],
            "next_action_mask": batch.next_observations["action_mask"],
            "action": batch.actions,
            "reward": batch.rewards,
            "terminated": batch.dones,
        }

    def held_bytes(self) -> int | None:
        """Return the bytes of the storage's arrays."""
        buffer = self.buffer
        arrays = (*buffer.observations.values(), *buffer.next_observations.values())
        return sum(int(a.nbytes) for a in (*arrays, buffer.actions, buffer.rewards, buffer.dones, buffer.timeouts))


class Cpprb(Buffer):
    """The buffers of cpprb."""

    distribution = "cpprb"

    def __init__(self, transitions: Arrays) -> None:
        from cpprb import ReplayBuffer

        super().__init__(transitions)
        # With the types we have, which are float32 otherwise. Not with next_of: it keeps a next state once where transitions
        # come from one game in order, and ours come from many.
        self.types = {name: {"shape": array.shape[1:] or 1, "dtype": array.dtype} for name, array in transitions.items()}
        self.buffer = ReplayBuffer(self.items, self.types)

    def fill(self) -> None:
        """Add every transition once."""
        for part in self.parts(BATCH, self.items):
            self.buffer.add(**part)

    def adder(self, size: int) -> Work:
        """Return what adds so many transitions a call."""
        parts = itertools.cycle(list(self.parts(size, SINGLES)))
        return lambda: self.buffer.add(**next(parts))

    def prioritized(self) -> Work:
        """Return what draws a prioritized batch and gives it new priorities."""
        from cpprb import PrioritizedReplayBuffer

        self.buffer = None
        # Without check_for_update, which is for writers in other processes.
        self.buffer = buffer = PrioritizedReplayBuffer(self.items, self.types, alpha=ALPHA)
        self.fill()
        buffer.update_priorities(np.arange(self.items), next(priorities(self.items)))
        errors = priorities(BATCH)

        def work() -> Any:
            batch = buffer.sample(BATCH, BETA)
            buffer.update_priorities(batch["indexes"], next(errors))
            return batch

        return work


class TorchRL(Buffer):
    """The buffers of torchrl for tensordicts, flat ones: a level more costs time."""

    distribution = "torchrl"
    torch = True

    def __init__(self, transitions: Arrays) -> None:
        import torch
        from tensordict import TensorDict
        from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

        logging.getLogger("torchrl").setLevel(logging.WARNING)
        super().__init__(transitions)
        tensors = {name: torch.from_numpy(array) for name, array in transitions.items()}
        self.tensors = TensorDict(tensors, batch_size=[self.items])
        # "compilable" does without values shared between processes, and so does "shared", which is off by default. A batch
        # size known beforehand is the documented way, and prefetch asks for it.
        self.storage: Any = LazyTensorStorage(self.items, compilable=True)
        self.buffer = TensorDictReplayBuffer(storage=self.storage, batch_size=BATCH, compilable=True)

    def fill(self) -> None:
        """Add every transition once."""
        for start in range(0, self.items, BATCH):
            self.buffer.extend(self.tensors[start : start + BATCH])

    def adder(self, size: int) -> Work:
        """Return what adds so many transitions a call."""
        if size == 1:
            singles = itertools.cycle([self.tensors[i] for i in range(SINGLES)])
            return lambda: self.buffer.add(next(singles))
        parts = itertools.cycle([self.tensors[start : start + size] for start in range(0, SINGLES, size)])
        return lambda: self.buffer.extend(next(parts))

    def held_bytes(self) -> int | None:
        """Return the bytes of the storage's arrays."""
        # One more than ours: the place of an item, which the library writes beside it.
        return sum(int(tensor.nbytes) for tensor in self.storage[:].values(include_nested=True, leaves_only=True))

    def prefetching(self) -> dict[str, Work]:
        """Return samplers that draw ahead."""
        from torchrl.data import TensorDictReplayBuffer

        def ahead(count: int) -> Work:
            buffer = TensorDictReplayBuffer(storage=self.storage, batch_size=BATCH, prefetch=count, compilable=True)
            return lambda: buffer.sample(BATCH)

        return {f"one thread, prefetch={count}": ahead(count) for count in (1, 2)}

    def prioritized(self) -> Work:
        """Return what draws a prioritized batch and gives it new priorities."""
        import torch
        from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

        try:
            import torchrl._torchrl  # noqa: F401 - the trees of priorities are compiled
        except ImportError as error:
            raise RuntimeError(f"torchrl's compiled part was built for another torch than {torch.__version__}") from error
        self.buffer = self.storage = None
        gc.collect()
        self.storage = LazyTensorStorage(self.items, compilable=True)
        # Without prefetch: batches drawn ahead would not know the new priorities.
        self.buffer = buffer = TensorDictPrioritizedReplayBuffer(
            alpha=ALPHA, beta=BETA, storage=self.storage, batch_size=BATCH, compilable=True
        )
        self.fill()
        buffer.update_priority(torch.arange(self.items), torch.from_numpy(next(priorities(self.items))))
        errors = map(torch.from_numpy, priorities(BATCH))

        def work() -> Any:
            batch = buffer.sample(BATCH)
            # What update_tensordict_priority does once it has looked up both.
            buffer.update_priority(batch["index"], next(errors))
            return batch

        return work


def priorities(size: int) -> Iterator[np.ndarray]:
    """Return priorities without end, float32 ``(size,)``, drawn beforehand."""
    rng = np.random.default_rng(1)
    return itertools.cycle(np.abs(rng.standard_normal((16, size), np.float32)) + np.float32(0.01))


def keep_memory() -> bool:
    """Tell glibc's malloc to keep what is freed, and return whether it was there to be told.

    A batch is 9 MB. By default malloc may give them back to the system after every batch and ask for them again, and then most
    of the time is the system's clearing of pages. It does so or not depending on what else lies on the heap.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    trim, mmap = -1, -3
    return bool(mallopt and mallopt(trim, 1 << 30) and mallopt(mmap, 1 << 25))


def anonymous_bytes() -> float:
    """Return how much of the process is in memory, without files that are mapped, as the transitions are; nan if not told."""
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="ascii").splitlines() if status.exists() else ():
        if line.startswith("RssAnon:"):
            return 1024.0 * int(line.split()[1])
    return float("nan")


def check(buffer: Buffer, batch: Any) -> None:
    """Refuse a batch that is not made of the transitions."""

    def sums(fields: Mapping[str, Any], count: int) -> list[int]:
        found = [0] * count
        for name in FIELDS:
            source = buffer.transitions[name]
            values = np.asarray(fields[name])
            if source.dtype == np.float32 and values.dtype != np.float32:
                raise RuntimeError(f"{name}: expected float32, got {values.dtype}")
            rows = values.astype(source.dtype, copy=False).reshape(count, -1)
            found = [zlib.crc32(row.tobytes(), before) for row, before in zip(rows, found, strict=True)]
        return found

    known = set(sums(buffer.transitions, buffer.items))
    if not known.issuperset(sums(buffer.fields(batch), BATCH)):
        raise RuntimeError("a batch has transitions that were never added")


def per_second(work: Work, seconds: float) -> float:
    """Return how many calls a second there are, once everything is warm."""
    count = 0
    for limit in (WARM_UP_SECONDS, seconds):
        count = 0
        start = now = time.perf_counter()
        while now - start < limit:
            work()
            count += 1
            now = time.perf_counter()
    return count / (now - start)


def per_second_of_two(make: Callable[[], Work], seconds: float) -> float:
    """Return how many calls a second two threads make that call at once."""
    counts: list[int] = []
    barrier = threading.Barrier(3, timeout=60)  # broken, not waited for, where a thread fails

    def call() -> None:
        work = make()
        end = time.perf_counter() + WARM_UP_SECONDS
        while time.perf_counter() < end:
            work()
        barrier.wait()
        count = 0
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            work()
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    if len(counts) < len(threads):
        raise RuntimeError("a thread that samples has failed")
    return sum(counts) / (time.perf_counter() - start)


def set_torch_threads(count: int) -> None:
    """Set how many threads torch uses for one operation."""
    import torch

    torch.set_num_threads(count)


def best(buffer: Buffer, work: Work, seconds: float) -> float:
    """Return how many calls a second there are, with torch on one core or on two, whichever is faster.

    Two are faster on an idle machine, and far slower where another process wants one of them.
    """
    rates = []
    for count in (1, 2) if buffer.torch else (1,):
        if buffer.torch:
            set_torch_threads(count)
        rates.append(per_second(work, seconds))
    return max(rates)


def samples(buffer: Buffer, seconds: float) -> dict[str, Any]:
    """Return the figures of sampling, the best of each kind."""
    sample = buffer.sampler()
    result: dict[str, Any] = {"sample_256_one_core": None}
    plain = "one thread, torch on two" if buffer.torch else "one thread"
    ways, two = {}, {}
    if buffer.torch:
        set_torch_threads(1)
        result["sample_256_one_core"] = ways["one thread"] = per_second(sample, seconds)
        two["two threads"] = per_second_of_two(buffer.sampler, seconds)
        set_torch_threads(2)
    ways[plain] = per_second(sample, seconds)
    ways.update({name: per_second(work, seconds) for name, work in buffer.prefetching().items()})
    two["two threads, torch on two each" if buffer.torch else "two threads"] = per_second_of_two(buffer.sampler, seconds)
    # Threads of the library's own may be its better way to use two cores.
    two.update({name: rate for name, rate in ways.items() if name != "one thread"})
    how, how_two = max(ways, key=ways.__getitem__), max(two, key=two.__getitem__)
    result.update(sample_256=ways[how], sample_how=how, sample_256_two_threads=two[how_two], two_threads_how=how_two)
    return result


BUFFERS: dict[str, type[Buffer]] = {
    "stable-baselines3": StableBaselines3,
    "cpprb": Cpprb,
    "torchrl": TorchRL,
    "numpy": NumpyRing,
}


def main() -> None:
    """Measure and print."""
    library, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    # Copy on write: read only would do, but torch warns of arrays that it could not write to.
    transitions = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in FIELDS}
    before = anonymous_bytes()
    buffer = BUFFERS[library](transitions)
    buffer.fill()
    grown = anonymous_bytes() - before
    held = buffer.held_bytes()
    check(buffer, buffer.sampler()())
    result: dict[str, Any] = {
        "library": library,
        "version": version(buffer.distribution),
        "items": buffer.items,
        "bytes_per_item": (grown if held is None else held) / buffer.items,
        "bytes_how": "growth of the process" if held is None else "arrays of the storage",
        "sample_256_default_malloc": best(buffer, buffer.sampler(), seconds),
        "malloc_kept": keep_memory(),
        "add_1": best(buffer, buffer.adder(1), seconds),
        "add_256": BATCH * best(buffer, buffer.adder(BATCH), seconds),
    }
    gc.collect()
    result.update(samples(buffer, seconds))
    gc.collect()
    result.update(prioritized_256=None, prioritized_items=None, notes={})
    try:
        prioritized = buffer.prioritized()
        check(buffer, prioritized())
        result.update(prioritized_256=best(buffer, prioritized, seconds), prioritized_items=buffer.items)
    except Exception as error:
        result["notes"]["prioritized_256"] = f"{type(error).__name__}: {error}"
    print(json.dumps({name: round(value, 1) if isinstance(value, float) else value for name, value in result.items()}))


if __name__ == "__main__":
    main()
