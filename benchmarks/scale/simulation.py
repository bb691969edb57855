"""Simulates producers, a stream, and consumers with a buffer and a learner, chunk by chunk (a discrete-event simulation).

A producer plays and records a chunk. It encodes and sends it in pieces, and waits for each until the server has stored it. The
server stores one piece at a time, and sends those that it has stored to each consumer. A consumer receives and decodes a piece,
adds it to its buffer, and makes a step of the learner now and then. Processes on one machine share its cores.

All service times are drawn from measured ones; nothing is fitted to rates of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simpy

from benchmarks.scale.cores import Cores, Link, speeds

__all__ = ["Layout", "Result", "Samples", "simulate"]

Seconds = npt.NDArray[np.float64]

#: Pieces that a consumer receives ahead of those that it decodes.
AHEAD = 2


@dataclass(frozen=True)
class Samples:
    """Measured seconds of CPU: arrays of values from which each is drawn with the same probability.

    Attributes:
        experiences: Experiences of a chunk.
        pieces: Pieces in which a chunk is sent.
        nbytes: Bytes of an encoded piece.
        play: Playing and recording a chunk.
        encode: Encoding and sending a piece, in the process of the producer.
        store: Taking and storing a piece, in the server.
        send: Sending a piece to one consumer, in the server.
        receive: Receiving and decoding a piece, in the consumer.
        add: Adding a piece to the buffer.
        learn: Sampling a batch from the buffer, and a step of the learner with it.
        store_busy: As ``store``, of a piece that waited for earlier ones: the process need not be woken. ``store`` if None.
        send_busy: As ``send``, of such a piece.
        receive_busy: As ``receive``, of such a piece.
        add_busy: As ``add``, of such a piece.
    """

    experiences: float
    pieces: int
    nbytes: float
    play: Seconds
    encode: Seconds
    store: Seconds
    send: Seconds
    receive: Seconds
    add: Seconds
    learn: Seconds
    store_busy: Seconds | None = None
    send_busy: Seconds | None = None
    receive_busy: Seconds | None = None
    add_busy: Seconds | None = None


@dataclass(frozen=True)
class Layout:
    """Which processes run where.

    Attributes:
        workers: Producers in all.
        consumers: Consumers; each gets every chunk.
        together: Whether all processes share one machine. Else the server and each consumer have a machine of their own, and
            ``workers_of_machine`` producers share one.
        workers_of_machine: Producers of a machine.
        cores: Cores of a machine.
        busy_speed: Speed of a core while all are busy, against that of a core while the others are idle.
        others: Threads of other programs that want to run all the time, on each machine.
        pieces_of_step: Pieces between two steps of the learner.
        capacity: Pieces that the server holds for a consumer before it lets producers wait; infinite for a log.
        pulled: Pieces that a consumer asks for at once, of a server that answers in the thread that stores, as Redis does; 0
            where the server sends by itself, in a thread for each consumer.
        poll: Seconds after which such a consumer asks again when the server had nothing for it.
        bytes_per_second: Of the network link into the server, and of that out of it.
        delay: Seconds that a message travels.
    """

    workers: int = 1
    consumers: int = 1
    together: bool = True
    workers_of_machine: int = 1
    cores: int = 2
    busy_speed: float = 1.0
    others: float = 0.0
    pieces_of_step: int = 1
    capacity: float = float("inf")
    pulled: int = 0
    poll: float = 0.0
    bytes_per_second: float = 1.25e9
    delay: float = 0.0


@dataclass
class Result:
    """What happened between ``warm_up`` and the end of a simulation.

    Attributes:
        stored: Experiences a second that the server has stored.
        received: Experiences a second that were added to the buffer, of one consumer.
        steps: Steps of the learner a second, of one consumer.
        latencies: Seconds from the begin of playing a chunk until a piece of it is in the buffer.
        acknowledged: Seconds from sending a piece until the server's answer.
        busy: Mean number of cores that each kind of work occupied, at full speed.
        others: Mean number of cores that threads of other programs had, on the machine of the server.
    """

    stored: float
    received: float
    steps: float
    latencies: Seconds
    acknowledged: Seconds
    busy: dict[str, float]
    others: float


@dataclass
class Consumer:
    """A simulated consumer: the cores on which it runs, and the pieces that it has handled."""

    cores: Cores
    received: int = 0


class World:
    """The simulated processes and what they share."""

    def __init__(self, samples: Samples, layout: Layout, seed: int, warm_up: float) -> None:
        self.samples, self.layout, self.warm_up = samples, layout, warm_up
        self.env = simpy.Environment()
        self.rng = np.random.default_rng(seed)
        self.speed = speeds(layout.cores, layout.busy_speed, layout.others)
        machine = Cores(self.env, self.speed)
        self.server_cores = machine if layout.together else Cores(self.env, self.speed)
        self.taking = simpy.Resource(self.env, 1)  # a server stores one chunk at a time
        self.inward = Link(self.env, layout.bytes_per_second, layout.delay)
        self.outward = Link(self.env, layout.bytes_per_second, layout.delay)
        self.queues = [simpy.Store(self.env, layout.capacity) for _ in range(layout.consumers)]
        self.work: dict[str, float] = {}
        self.counts = {"stored": 0, "received": 0, "steps": 0}
        self.latencies: list[float] = []
        self.acknowledged: list[float] = []
        cores = machine
        for number in range(layout.workers):
            if not layout.together and number % layout.workers_of_machine == 0:
                cores = Cores(self.env, self.speed)
            self.env.process(self._produce(cores))
        for queue in self.queues:
            consumer = Consumer(machine if layout.together else Cores(self.env, self.speed))
            if layout.pulled:
                self.env.process(self._pull(queue, consumer))
                continue
            arrivals = simpy.Store(self.env, AHEAD)
            self.env.process(self._send(queue, arrivals))
            self.env.process(self._receive(arrivals, consumer))

    def _draw(self, name: str, busy: bool = False) -> float:
        values: Seconds = getattr(self.samples, name)
        if busy and (others := getattr(self.samples, f"{name}_busy")) is not None:
            values = others
        return float(values[self.rng.integers(len(values))]) if len(values) else 0.0

    def _run(self, cores: Cores, kind: str, seconds: float) -> simpy.Event:
        if self.env.now >= self.warm_up:
            self.work[kind] = self.work.get(kind, 0.0) + seconds
        return cores.work(seconds)

    def _count(self, name: str) -> None:
        if self.env.now >= self.warm_up:
            self.counts[name] += 1

    def _produce(self, cores: Cores) -> Iterator[Any]:
        while True:
            begun = self.env.now
            yield self._run(cores, "play", self._draw("play"))
            for _ in range(self.samples.pieces):
                yield self._run(cores, "encode", self._draw("encode"))
                sent = self.env.now
                yield from self.inward.send(self.samples.nbytes)
                with self.taking.request() as turn:
                    waits = not turn.triggered
                    yield turn
                    yield self._run(self.server_cores, "store", self._draw("store", waits))
                for queue in self.queues:
                    yield queue.put(begun)
                self._count("stored")
                if self.layout.delay:
                    yield self.env.timeout(self.layout.delay)
                if self.env.now >= self.warm_up:
                    self.acknowledged.append(self.env.now - sent)

    def _send(self, queue: simpy.Store, arrivals: simpy.Store) -> Iterator[Any]:
        while True:
            waits = bool(queue.items)
            begun = yield queue.get()
            yield self._run(self.server_cores, "send", self._draw("send", waits))
            yield from self.outward.send(self.samples.nbytes)
            yield arrivals.put(begun)

    def _receive(self, arrivals: simpy.Store, consumer: Consumer) -> Iterator[Any]:
        while True:
            waits = bool(arrivals.items)
            yield from self._handle((yield arrivals.get()), consumer, waits)

    def _pull(self, queue: simpy.Store, consumer: Consumer) -> Iterator[Any]:
        while True:
            while not queue.items:
                yield self.env.timeout(self.layout.poll)
            asked = min(len(queue.items), self.layout.pulled)
            waits = asked == self.layout.pulled  # more came than it was asked for
            answer = []
            with self.taking.request() as turn:
                yield turn
                for _ in range(asked):
                    answer.append((yield queue.get()))
                    yield self._run(self.server_cores, "send", self._draw("send", waits))
            yield from self.outward.send(asked * self.samples.nbytes)
            for begun in answer:
                yield from self._handle(begun, consumer, waits)

    def _handle(self, begun: float, consumer: Consumer, waited: bool) -> Iterator[Any]:
        """Decode a piece whose playing began at ``begun``, add it, and learn if it is time."""
        yield self._run(consumer.cores, "receive", self._draw("receive", waited))
        yield self._run(consumer.cores, "add", self._draw("add", waited))
        consumer.received += 1
        self._count("received")
        if self.env.now >= self.warm_up:
            self.latencies.append(self.env.now - begun)
        if consumer.received % self.layout.pieces_of_step == 0:
            yield self._run(consumer.cores, "learn", self._draw("learn"))
            self._count("steps")


def simulate(samples: Samples, layout: Layout, seconds: float, warm_up: float, seed: int = 0) -> Result:
    """Simulate some seconds, and return what happened after ``warm_up`` of them; equal arguments give equal results."""
    world = World(samples, layout, seed, warm_up)
    world.env.run(until=seconds)
    counted = seconds - warm_up
    rate = samples.experiences / samples.pieces / counted
    return Result(
        stored=world.counts["stored"] * rate,
        received=world.counts["received"] * rate / layout.consumers,
        steps=world.counts["steps"] / counted / layout.consumers,
        latencies=np.array(world.latencies),
        acknowledged=np.array(world.acknowledged),
        busy={kind: spent / counted for kind, spent in world.work.items()},
        others=world.server_cores.shared_with(layout.others, layout.cores),
    )
