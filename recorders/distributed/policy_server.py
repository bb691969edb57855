"""Evaluates one policy for many processes, as an actor of Ray: requests that wait at the same time are one batch."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from generals_env.observations.joined import kind_of
from generals_env.observations.packed import PackedObservations

__all__ = ["PolicyServer", "SharedEvaluator"]

Numbers = npt.NDArray[np.float32] | None
Actions = npt.NDArray[np.int64]


class SharedEvaluator(Protocol):
    """Protocol of policies that can be shared; ``DevicePolicy`` is one."""

    temperature: float
    version: int

    def evaluate(self, parts: Sequence[Any], numbers: Numbers) -> list[Actions]:
        """Return the actions of several parts of one kind, evaluated together."""

    def set_weights(self, weights: Any, version: int | None = None) -> int:
        """Replace the weights."""


class Request(NamedTuple):
    """A call that waits for its actions: observations, their random numbers, their kind, when they came, and the answer."""

    part: Any
    numbers: Numbers
    states: int
    kind: tuple[Any, ...]
    arrived: float
    answer: asyncio.Future[tuple[Actions, int]]


class PolicyServer:
    """Evaluates a policy for calls from many processes. Ray runs its coroutines in one event loop.

    While a batch is evaluated, in a thread, the calls that arrive wait and form the next one. So the batches grow with the
    number of callers, and a single caller waits for nothing. The server keeps no random numbers: each call brings its own.
    """

    def __init__(self, make: Callable[[], SharedEvaluator], max_batch: int, max_wait: float) -> None:
        """Make the policy.

        Args:
            make: Returns the policy.
            max_batch: Number of states from which on a batch is full.
            max_wait: Seconds that a batch waits to become full, from its first call on.
        """
        self._policy = make()
        self._max_batch, self._max_wait = max_batch, max_wait
        self._waiting: deque[Request] = deque()
        self._arrived = asyncio.Event()
        self._working: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "policy")
        self._weights: list[Any] = []  # the reference to the current weights, unless they are those of ``make``
        self._sizes: deque[int] = deque(maxlen=1000)

    async def start(self) -> float:
        """Return the temperature of the policy; its answer tells that the policy is there."""
        return self._policy.temperature

    async def sizes(self) -> list[int]:
        """Return how many states the last thousand batches had."""
        return list(self._sizes)

    async def evaluate(self, part: Any, numbers: Numbers, version: int) -> tuple[Actions | None, int]:
        """Return the actions of a caller's states, and the version of the weights that chose them.

        Args:
            part: Packed observations, or observations and masks.
            numbers: A random number for each state, or None.
            version: The version that the caller has seen. A server that was started again does not know it yet, and returns
                None in place of actions: the caller then brings it, see ``restore``.
        """
        if version > self._policy.version:
            return None, self._policy.version
        if isinstance(part, PackedObservations):
            count, kind = part.board.size, kind_of(part)
        else:
            observations, masks = part
            count, kind = math.prod(masks.shape[:-1]), (observations.shape[-3:], observations.dtype, masks.shape[-1])
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[tuple[Actions, int]] = loop.create_future()
        self._waiting.append(Request(part, numbers, count, kind, loop.time(), answer))
        self._arrived.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await answer

    async def set_weights(self, weights: list[Any], seen: int) -> int:
        """Replace the weights by those of a reference; return their version, one more than the caller or the server has seen.

        A call that is repeated since the server died gives them the same version again.
        """
        return await self._load(weights, max(seen, self._policy.version) + 1)

    async def restore(self, weights: list[Any], version: int) -> None:
        """Take weights that the server had before it died, unless another caller was faster."""
        if version > self._policy.version:
            await self._load(weights, version)

    async def weights(self) -> tuple[int, list[Any]]:
        """Return the version of the weights, and the reference to them."""
        return self._policy.version, self._weights

    async def _load(self, weights: list[Any], version: int) -> int:
        tensors = await weights[0]
        await self._in_thread(self._policy.set_weights, tensors, version)
        self._weights = weights
        return version

    # --- Batches ------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        """Evaluate batches until no call waits."""
        while self._waiting:
            await self._fill()
            batch = self._take()
            try:
                answers = await self._in_thread(self._evaluated, batch)
            except Exception as error:
                answers = [error] * len(batch)
            for request, answer in zip(batch, answers, strict=True):
                if request.answer.done():  # the caller has gone
                    continue
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)

    async def _fill(self) -> None:
        """Wait until the next batch is full, or its first call has waited long enough."""
        await asyncio.sleep(0)  # calls that have arrived come first
        loop, first = asyncio.get_running_loop(), self._waiting[0]
        while (left := first.arrived + self._max_wait - loop.time()) > 0:
            if sum(request.states for request in self._waiting if request.kind == first.kind) >= self._max_batch:
                return
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left)

    def _take(self) -> list[Request]:
        """Return the next batch: the first call that waits, and others of its kind."""
        kind, count = self._waiting[0].kind, 0
        batch: list[Request] = []
        left: deque[Request] = deque()
        for request in self._waiting:
            if request.kind == kind and (not batch or count + request.states <= self._max_batch):
                batch.append(request)
                count += request.states
            else:
                left.append(request)
        self._waiting = left
        self._sizes.append(count)
        return batch

    def _evaluated(self, batch: Sequence[Request]) -> list[tuple[Actions, int] | Exception]:
        """Return the answers to the calls of a batch; if it fails, each alone, so that a wrong call fails no other one."""
        known = [request.numbers for request in batch if request.numbers is not None]
        try:
            actions = self._policy.evaluate([request.part for request in batch], np.concatenate(known) if known else None)
        except Exception as error:
            if len(batch) == 1:  # a future takes no StopIteration
                return [RuntimeError(f"StopIteration: {error}") if isinstance(error, StopIteration) else error]
            return [self._evaluated([request])[0] for request in batch]
        if len(actions) != len(batch):
            raise ValueError(f"expected actions for {len(batch)} calls of evaluate, got {len(actions)}")
        return [(chosen, self._policy.version) for chosen in actions]

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
