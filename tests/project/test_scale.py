"""Tests the simulation of docs/scale.md against closed forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import simpy

from benchmarks.scale.cores import Cores, Link, speeds
from benchmarks.scale.simulation import Layout, Samples, simulate


def fixed(**seconds: float) -> Samples:
    """Return samples of constant times, 0 by default, of chunks with 100 experiences and 1,000 bytes."""
    names = ("play", "encode", "store", "send", "receive", "add", "learn")
    return Samples(experiences=100, pieces=1, nbytes=1000, **{name: np.array([seconds.get(name, 0.0)]) for name in names})


def waits(load: float, services: Iterator[float], customers: int) -> float:
    """Return the mean time before service at a queue with one core, arrivals at random, and a mean service of a second."""
    env, waited = simpy.Environment(), []
    cores, server = Cores(env, speeds(1)), simpy.Resource(env, 1)
    arrivals = np.random.default_rng(1).exponential(1 / load, customers)

    def customer() -> Iterator[Any]:
        came = env.now
        with server.request() as turn:
            yield turn
            waited.append(env.now - came)
            yield cores.work(next(services))

    def source() -> Iterator[Any]:
        for gap in arrivals:
            yield env.timeout(gap)
            env.process(customer())

    env.process(source())
    env.run()
    return float(np.mean(waited))


def test_simulated_queue_waits_as_long_as_the_closed_form_says() -> None:
    constant = waits(0.5, iter(lambda: 1.0, None), 20_000)
    assert constant == pytest.approx(0.5 / (2 * (1 - 0.5)), rel=0.06)  # M/D/1
    draw = np.random.default_rng(2)
    assert waits(0.5, iter(draw.exponential, None), 20_000) == pytest.approx(0.5 / (1 - 0.5), rel=0.08)  # M/M/1


def test_simulated_cores_are_shared_equally() -> None:
    env, ends = simpy.Environment(), {}
    cores = Cores(env, speeds(2))

    def job(name: str, start: float, seconds: float) -> Iterator[Any]:
        yield env.timeout(start)
        yield cores.work(seconds)
        ends[name] = env.now

    for name, start, seconds in (("a", 0, 2), ("b", 0, 2), ("c", 1, 2), ("d", 1, 1)):
        env.process(job(name, start, seconds))
    env.run()
    # Four jobs on two cores from 1 on, each at half speed: a, b and d have one second left, c two.
    assert ends == {"a": 3, "b": 3, "d": 3, "c": 4}
    assert cores.worked == 7


def test_simulated_cores_slow_down_together_and_for_other_programs() -> None:
    assert [speeds(2, together=0.8)(jobs) for jobs in (1, 2, 4)] == [1, 1.6, 1.6]
    assert [speeds(2, others=2)(jobs) for jobs in (1, 2, 6)] == pytest.approx([2 / 3, 1, 1.5])  # as one job of a third, half...
    assert [speeds(1)(jobs) for jobs in (0, 3)] == [0, 1]


def test_simulated_link_takes_one_message_at_a_time() -> None:
    env = simpy.Environment()
    link = Link(env, 100.0, delay=1.0)
    for _ in range(2):
        env.process(link.send(200))
    env.run()
    assert (env.now, link.sent) == (5, 400)  # two seconds each, one after another, and one on the way


@pytest.mark.parametrize(
    ("seconds", "bottleneck"),
    [
        ({"play": 0.08, "encode": 0.01, "store": 0.02}, 4 / 0.11),  # four workers, none waits long
        ({"play": 0.01, "store": 0.05}, 1 / 0.05),
        ({"play": 0.01, "store": 0.01, "receive": 0.03, "add": 0.02, "learn": 0.05}, 1 / 0.1),
    ],
)
def test_simulated_pipeline_is_as_fast_as_its_bottleneck(seconds: dict[str, float], bottleneck: float) -> None:
    layout = Layout(workers=4, together=False, capacity=8, bytes_per_second=1e12)
    result = simulate(fixed(**seconds), layout, 40, 4)
    assert result.stored == pytest.approx(100 * bottleneck, rel=0.05 if "encode" in seconds else 0.02)
    assert result.received == pytest.approx(result.stored, rel=0.02)


def test_simulated_network_bounds_the_pipeline() -> None:
    layout = Layout(workers=8, together=False, bytes_per_second=20_000)
    result = simulate(fixed(play=0.01), layout, 40, 4)
    assert result.stored == pytest.approx(100 * 20, rel=0.02)


def test_simulated_processes_share_the_cores_of_one_machine() -> None:
    samples = fixed(play=0.04, encode=0.02, store=0.03, receive=0.01)
    alone, four = (simulate(samples, Layout(workers=workers), 40, 4) for workers in (1, 4))
    assert alone.stored == pytest.approx(100 / 0.09, rel=0.03)  # one after another: the second core only receives
    assert four.stored == pytest.approx(100 * 2 / 0.1, rel=0.03)  # both cores are busy
    assert sum(four.busy.values()) == pytest.approx(2, rel=0.03)


def test_simulated_results_are_equal_for_equal_seeds() -> None:
    times = np.random.default_rng(3).exponential(0.01, (7, 50))
    samples = Samples(100, 2, 1000, *times)
    one, same, other = (simulate(samples, Layout(workers=3), 10, 1, seed) for seed in (1, 1, 2))
    assert one.stored == same.stored
    assert (one.latencies == same.latencies).all()
    assert len(other.latencies) != len(one.latencies) or (other.latencies != one.latencies).any()
