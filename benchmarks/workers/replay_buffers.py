"""Measures replay buffers of other libraries: ``python replay_buffers.py LIBRARY TRANSITIONS_DIR SECONDS``.

LIBRARY is ``stable-baselines3``, ``cpprb``, ``torchrl``, or ``numpy`` for a ring of arrays, the minimum that a buffer must do.
TRANSITIONS_DIR holds ``state``, ``next_state``, ``action_mask``, ``next_action_mask``, ``action``, ``reward`` and
``terminated``, each an ``.npy`` file with a row a transition; their number is the capacity of the buffer. Each batch has all
seven fields, as new arrays or tensors. The last line of the output is a JSON object:

* ``library``, ``version``, ``items``;
* ``bytes_per_item``, and ``bytes_how``: whether the arrays of the storage were summed or the growth of the process measured;
* ``add_1``, ``add_256``: transitions a second into the full buffer, one a call and 256 a call, from one thread;
* ``sample_256``: batches of 256 a second for one calling thread, in the fastest way (``sample_how``);
* ``sample_256_one_core``: the same without threads of torch, for libraries that use torch;
* ``sample_256_default_malloc``: batches a second before ``keep_memory``, with the defaults of malloc;
* ``sample_256_two_threads``: batches a second of two calling threads, or of one if the library is faster with its own threads
  (``two_threads_how``);
* ``prioritized_256``: prioritized batches of 256 a second, each followed by an update of its priorities, and
  ``prioritized_items``. Null if the library has no such buffer or it fails; ``notes`` has the reason.
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
    """Base class of the adapters: a buffer of a library that holds the transitions, and its operations."""

    distribution: ClassVar[str]
    torch: ClassVar[bool] = False
    buffer: Any  # of the library

    def __init__(self, transitions: Arrays) -> None:
        """Create an empty buffer whose capacity is the number of transitions."""
        self.transitions = transitions
        self.items = len(transitions["action"])

    @abstractmethod
    def fill(self) -> None:
        """Add every transition once."""

    @abstractmethod
    def adder(self, size: int) -> Work:
        """Return a function that adds ``size`` transitions a call, converted beforehand to the form of the library."""

    def sampler(self) -> Work:
        """Return a function that draws a batch, for one thread."""
        return lambda: self.buffer.sample(BATCH)

    def fields(self, batch: Any) -> Mapping[str, Any]:
        """Return the seven fields of a batch."""
        return {name: batch[name] for name in FIELDS}

    def held_bytes(self) -> int | None:
        """Return the bytes of the arrays of the storage, or None if the library hides them."""
        return None

    def prefetching(self) -> dict[str, Work]:
        """Return samplers that prefetch with threads of the library."""
        return {}

    def prioritized(self) -> Work:
        """Return a function that draws a prioritized batch and updates its priorities; this replaces the buffer."""
        raise NotImplementedError(f"{self.distribution} has no prioritized buffer")

    def parts(self, size: int, count: int) -> Iterator[Arrays]:
        """Yield the first ``count`` transitions, ``size`` at a time."""
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
        """Overwrite the oldest transitions."""
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
        """Return a function that adds ``size`` transitions a call."""
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
        """Return the bytes of the arrays of the storage."""
        return sum(array.nbytes for array in self.storage.values())


class StableBaselines3(Buffer):
    """The buffer for observations that are dicts, which contain the masks."""

    distribution = "stable-baselines3"
    torch = True

    def __init__(self, transitions: Arrays) -> None:
        super().__init__(transitions)
        self.buffer = self.make(1)

    def make(self, size: int) -> Any:
        """Return a buffer for ``size`` environments, and so ``size`` transitions a call."""
        from gymnasium.spaces import Box, Dict, Discrete, MultiBinary
        from stable_baselines3.common.buffers import DictReplayBuffer

        actions = self.transitions["action_mask"].shape[1]
        shape = self.transitions["state"].shape[1:]
        space = Dict({"observation": Box(-np.inf, np.inf, shape, np.float32), "action_mask": MultiBinary(actions)})
        # Without optimize_memory_usage, which SB3 refuses for dicts. Only terminations are added, so infos are not needed.
        return DictReplayBuffer(
            self.items, space, Discrete(actions), device="cpu", n_envs=size, handle_timeout_termination=False
        )

    def arguments(self, size: int, count: int) -> Iterator[tuple[Any, ...]]:
        """Yield arguments of ``add``."""
        for part in self.parts(size, count):
            now = {"observation": part["state"], "action_mask": part["action_mask"]}
            then = {"observation": part["next_state"], "action_mask": part["next_action_mask"]}
            yield now, then, part["action"], part["reward"], part["terminated"], [{}] * size

    def fill(self) -> None:
        """Add every transition once."""
        for arguments in self.arguments(1, self.items):
            self.buffer.add(*arguments)

    def adder(self, size: int) -> Work:
        """Return a function that adds ``size`` transitions a call."""
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
        """Return the bytes of the arrays of the storage."""
        buffer = self.buffer
        arrays = (*buffer.observations.values(), *buffer.next_observations.values())
        return sum(int(a.nbytes) for a in (*arrays, buffer.actions, buffer.rewards, buffer.dones, buffer.timeouts))


class Cpprb(Buffer):
    """The buffers of cpprb."""

    distribution = "cpprb"

    def __init__(self, transitions: Arrays) -> None:
        from cpprb import ReplayBuffer

        super().__init__(transitions)
        # With the dtypes of the transitions, as the default is float32. Without next_of, which shares next states only if the
        # transitions come from one game in order; these come from many.
        self.types = {name: {"shape": array.shape[1:] or 1, "dtype": array.dtype} for name, array in transitions.items()}
        self.buffer = ReplayBuffer(self.items, self.types)

    def fill(self) -> None:
        """Add every transition once."""
        for part in self.parts(BATCH, self.items):
            self.buffer.add(**part)

    def adder(self, size: int) -> Work:
        """Return a function that adds ``size`` transitions a call."""
        parts = itertools.cycle(list(self.parts(size, SINGLES)))
        return lambda: self.buffer.add(**next(parts))

    def prioritized(self) -> Work:
        """Return a function that draws a prioritized batch and updates its priorities."""
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
    """The buffers of torchrl for flat tensordicts, as nested ones are slower."""

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
        # "compilable" avoids values shared between processes, as does "shared", which is off by default. A fixed batch size is
        # the documented way, and prefetch requires it.
        self.storage: Any = LazyTensorStorage(self.items, compilable=True)
        self.buffer = TensorDictReplayBuffer(storage=self.storage, batch_size=BATCH, compilable=True)

    def fill(self) -> None:
        """Add every transition once."""
        for start in range(0, self.items, BATCH):
            self.buffer.extend(self.tensors[start : start + BATCH])

    def adder(self, size: int) -> Work:
        """Return a function that adds ``size`` transitions a call."""
        if size == 1:
            singles = itertools.cycle([self.tensors[i] for i in range(SINGLES)])
            return lambda: self.buffer.add(next(singles))
        parts = itertools.cycle([self.tensors[start : start + size] for start in range(0, SINGLES, size)])
        return lambda: self.buffer.extend(next(parts))

    def held_bytes(self) -> int | None:
        """Return the bytes of the arrays of the storage."""
        # Includes the index of each item, which the library stores beside it.
        return sum(int(tensor.nbytes) for tensor in self.storage[:].values(include_nested=True, leaves_only=True))

    def prefetching(self) -> dict[str, Work]:
        """Return samplers that prefetch."""
        from torchrl.data import TensorDictReplayBuffer

        def ahead(count: int) -> Work:
            buffer = TensorDictReplayBuffer(storage=self.storage, batch_size=BATCH, prefetch=count, compilable=True)
            return lambda: buffer.sample(BATCH)

        return {f"one thread, prefetch={count}": ahead(count) for count in (1, 2)}

    def prioritized(self) -> Work:
        """Return a function that draws a prioritized batch and updates its priorities."""
        import torch
        from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

        try:
            import torchrl._torchrl  # noqa: F401 - the compiled sum trees
        except ImportError as error:
            raise RuntimeError(f"torchrl was compiled for another torch than {torch.__version__}") from error
        self.buffer = self.storage = None
        gc.collect()
        self.storage = LazyTensorStorage(self.items, compilable=True)
        # Without prefetch: prefetched batches would have old priorities.
        self.buffer = buffer = TensorDictPrioritizedReplayBuffer(
            alpha=ALPHA, beta=BETA, storage=self.storage, batch_size=BATCH, compilable=True
        )
        self.fill()
        buffer.update_priority(torch.arange(self.items), torch.from_numpy(next(priorities(self.items))))
        errors = map(torch.from_numpy, priorities(BATCH))

        def work() -> Any:
            batch = buffer.sample(BATCH)
            # As update_tensordict_priority does after looking up both arrays.
            buffer.update_priority(batch["index"], next(errors))
            return batch

        return work


def priorities(size: int) -> Iterator[np.ndarray]:
    """Return an infinite iterator of priorities, float32 ``(size,)``, drawn beforehand."""
    rng = np.random.default_rng(1)
    return itertools.cycle(np.abs(rng.standard_normal((16, size), np.float32)) + np.float32(0.01))


def keep_memory() -> bool:
    """Make glibc's malloc keep freed memory, and return whether that succeeded.

    A batch is 9 MB. By default, depending on the state of the heap, malloc may return its memory to the system and request it
    again for the next batch; then most of the time is spent on clearing pages.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    trim, mmap = -1, -3
    return bool(mallopt and mallopt(trim, 1 << 30) and mallopt(mmap, 1 << 25))


def anonymous_bytes() -> float:
    """Return the resident anonymous memory, without mapped files, as the transitions are; nan if it is unknown."""
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="ascii").splitlines() if status.exists() else ():
        if line.startswith("RssAnon:"):
            return 1024.0 * int(line.split()[1])
    return float("nan")


def check(buffer: Buffer, batch: Any) -> None:
    """Raise an error if a batch contains rows that are not transitions."""

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
    """Return the calls a second after a warm-up."""
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
    """Return the calls a second of two concurrent threads."""
    counts: list[int] = []
    barrier = threading.Barrier(3, timeout=60)  # breaks if a thread fails

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
    """Set the number of threads that torch uses for one operation."""
    import torch

    torch.set_num_threads(count)


def best(buffer: Buffer, work: Work, seconds: float) -> float:
    """Return the calls a second with torch on one core or on two, the faster of both.

    Two cores are faster on an idle machine, and far slower if another process uses one of them.
    """
    rates = []
    for count in (1, 2) if buffer.torch else (1,):
        if buffer.torch:
            set_torch_threads(count)
        rates.append(per_second(work, seconds))
    return max(rates)


def samples(buffer: Buffer, seconds: float) -> dict[str, Any]:
    """Return the best rate of each kind of sampling."""
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
    # Threads of the library may use two cores better than two calling threads.
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
    # Copy on write, as torch warns about read-only arrays.
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
