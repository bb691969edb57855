"""Tests docs/scale.md: its simulation against closed forms, and that its tables are those of the recorded inputs."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simpy

from benchmarks.capacity_tables import filled
from benchmarks.scale import command
from benchmarks.scale.cores import Cores, Link, speeds
from benchmarks.scale.measure import quantiles, samples_of
from benchmarks.scale.runs import real_run, simulated
from benchmarks.scale.simulation import Layout, Samples, simulate
from benchmarks.scale.tables import ACCELERATOR, CORES, PRICE_OF_CORE, rates, tables

INPUTS: dict[str, Any] = json.loads(command.INPUTS.read_text(encoding="utf-8"))
PAGE = command.PAGE.read_text(encoding="utf-8")


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


def test_simulated_server_that_is_asked_answers_in_the_thread_that_stores() -> None:
    samples = fixed(play=0.001, store=0.02, send=0.03)
    pushed = simulate(samples, Layout(workers=4, together=False), 40, 4)
    pulled = simulate(samples, Layout(workers=4, together=False, pulled=4, poll=0.02), 40, 4)
    assert pushed.stored == pytest.approx(100 / 0.02, rel=0.02)
    assert 100 / 0.05 * 0.98 < pulled.stored < pushed.stored  # it answers once for each four requests, or more seldom
    assert 0.02 * pulled.stored + 0.03 * pulled.received == pytest.approx(100, rel=0.05)  # the thread is always busy


def test_simulated_programs_of_others_get_as_much_as_was_measured() -> None:
    samples = fixed(play=0.01, encode=0.01, store=0.01, receive=0.005)
    run = {"workers": 2, "taken": 0.8}
    result, others = simulated("grpc", samples, run, 5, 2, 1.0)
    assert result.others == pytest.approx(0.8, abs=0.05)
    assert others > 0
    alone, none = simulated("grpc", samples, {"workers": 2, "taken": 0.0}, 5, 2, 1.0)
    assert none == 0
    assert result.received < alone.received


def test_simulated_page_has_the_tables_of_its_inputs() -> None:
    assert filled(PAGE, tables(INPUTS)) == PAGE, "run python -m benchmarks scale --write"


def test_simulated_runs_of_the_page_are_those_of_its_samples() -> None:
    for kind, rounds in INPUTS["rounds"].items():
        run = rounds[0]["runs"][0]
        again = command.run_of(kind, INPUTS, rounds[0], run)
        assert again["received"] == pytest.approx(run["simulated"]["received"], rel=0.02)
        assert [run["workers"] for run in sorted(rounds[0]["runs"], key=lambda run: run["workers"])] == [1, 2, 4]


def test_scale_tables_follow_the_formulas() -> None:
    inputs = json.loads(json.dumps(INPUTS))
    for rounds in inputs["rounds"].values():
        for one in rounds:
            one["together"] = {"speed": 0.5, "play": 0.004096, "encode": 0.004096}
            one["times"] |= {"store_busy": [1000.0], "send_busy": [1000.0], "receive_busy": [500.0], "add_busy": [500.0]}
            one["times"]["learn"] = [2560.0]
    inputs["capacity"] = {"mean_turns": 500, "files": 2.0, "files_cpu_microseconds": 0.5}
    found = rates(inputs)
    assert found["core"] == pytest.approx(0.5 * 8192 / 0.008192)
    assert found["core, files"] == pytest.approx(0.5 / 1e-6)
    assert found["grpc"] == pytest.approx(8192 / 9 / 0.001)
    assert found["redis"] == pytest.approx(8192 / 0.002)  # it stores and sends in one thread
    assert found["learner"] == pytest.approx(100_000)
    machines = [line.split(" | ") for line in tables(inputs)["machines"].splitlines()[2:]]
    assert machines[0][1:3] == [str(10 * CORES), "80,000,000"]
    assert machines[0][3:6] == ["288,000,000", "160 MB/s", "576 GB"]
    assert machines[0][7] == f"${160 * PRICE_OF_CORE:.2f}"
    learners = tables(inputs)["learners"].splitlines()[2].split(" | ")
    assert learners[1:5] == ["114,000", learners[2], f"{ACCELERATOR / 500_000:.3f}", "1"]


def test_scale_samples_keep_the_mean_of_what_was_measured() -> None:
    measured = np.random.default_rng(4).exponential(0.01, 1000)
    kept = quantiles(measured.tolist())
    assert len(kept) == 40
    assert np.mean(kept) == pytest.approx(1e6 * measured.mean(), rel=1e-4)
    assert np.std(kept) == pytest.approx(1e6 * measured.std(), rel=0.05)
    one = {name: [1e6 * 0.5] for name in ("play", "encode", "store", "send", "receive", "add", "learn")}
    assert samples_of([one, one], "grpc", 10.0).store.tolist() == [0.5, 0.5]


@pytest.mark.skipif(sys.platform != "linux", reason="reads times of the system's processors and of processes as Linux has them")
def test_scale_can_be_measured_with_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = real_run("grpc", 1, 2.0)
    assert run["received"] > 0
    assert run["latency"] > 0
    assert run["taken"] >= 0


def test_simulated_pieces_that_wait_have_times_of_their_own() -> None:
    samples = dataclasses.replace(fixed(play=0.01, store=0.05, receive=0.02), store_busy=np.array([0.02]))
    one, four = (simulate(samples, Layout(workers=workers, together=False), 40, 4) for workers in (1, 4))
    assert one.stored == pytest.approx(100 / 0.06, rel=0.02)
    assert four.stored == pytest.approx(100 / 0.02, rel=0.02)
