"""Computes the tables of docs/scale.md from measured inputs.

    experiences a second = cores * experiences of a chunk / CPU seconds of a chunk
    servers, receivers   = experiences a second / experiences a second of one of them

Units are decimal, as in docs/capacity.md.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from benchmarks.capacity_tables import number, quantity, table
from benchmarks.scale.measure import PIECES, samples_of
from benchmarks.scale.runs import PULLED
from benchmarks.scale.simulation import Samples
from benchmarks.scale.workload import CHUNK

__all__ = ["pooled", "tables"]

MACHINES = (10, 100, 1_000)

ACCELERATORS = (1, 10, 100)

BOUND = 0.15  # of the difference between simulated and real rates

NAMES = {"grpc": "gRPC server with a log", "redis": "Redis"}

#: What is not measured here, but stated on the page.
CORES = 16  # of a machine
PRICE_OF_CORE = 0.0408  # dollars an hour
PRICE_OF_STORAGE = 0.023 / 730  # dollars of a gigabyte and hour
PRICE_OF_PUT = 0.005 / 1000  # dollars
PRICE_OF_ACCELERATOR = 2.25  # dollars an hour
ACCELERATOR = 114_000  # experiences a second that one learns from
PREFIX = 3_500  # PUTs a second that S3 takes for one prefix
FILE_BYTES = 2**25  # in memory, of the experiences of one file: default of ``DatasetWriter``
LINK = 1.25e9  # bytes a second of a network of 10 Gbit/s


def pooled(inputs: dict[str, Any], kind: str) -> Samples:
    """Return the samples of all rounds."""
    return samples_of([one["times"] for one in inputs["rounds"][kind]], kind, inputs["bytes"]["packed"])


def spread(values: list[float]) -> str:
    """Return median, minimum and maximum."""
    return f"{number(statistics.median(values))} ({number(min(values))} - {number(max(values))})"


def costs(inputs: dict[str, Any]) -> str:
    """Return the table of service times."""
    rows = []
    for kind in inputs["rounds"]:
        samples = pooled(inputs, kind)
        piece = CHUNK / PIECES[kind]
        titles = {
            "play": ("play and record a chunk", CHUNK),
            "encode": ("encode and send a piece", piece),
            "store": ("server: take and store a piece", piece),
            "store_busy": ("the same while others wait", piece),
            "send": ("server: send a piece to one consumer", piece),
            "send_busy": ("the same to one that is behind", piece),
            "receive": ("receive and decode a piece", piece),
            "receive_busy": ("the same, behind", piece),
            "add": ("add a piece to the buffer", piece),
            "add_busy": ("the same, behind", piece),
        }
        for name, (title, count) in titles.items():
            values = 1e6 * getattr(samples, name)
            low, middle, high = np.percentile(values, (5, 50, 95))
            rows.append(
                [
                    NAMES[kind],
                    title,
                    number(count),
                    f"{number(middle)} ({number(low)} - {number(high)})",
                    number(float(values.mean()) / count),
                    number(1e6 * count / float(values.mean())),
                ]
            )
    learn = 1e6 * np.concatenate([pooled(inputs, kind).learn for kind in inputs["rounds"]])
    low, middle, high = np.percentile(learn, (5, 50, 95))
    step = f"{number(middle)} ({number(low)} - {number(high)})"
    rows.append(
        [
            "",
            "sample 256 as tensors, and a step of the learner",
            "256",
            step,
            number(learn.mean() / 256),
            number(256e6 / learn.mean()),
        ]
    )
    head = ["stream", "work", "experiences", "CPU µs: median (5% - 95%)", "mean of an experience", "a second of one core"]
    return table(head, rows)


def runs(inputs: dict[str, Any]) -> str:
    """Return the table of real runs beside simulated ones."""
    rows = []
    for kind, rounds in inputs["rounds"].items():
        for workers in sorted({run["workers"] for one in rounds for run in one["runs"]}):
            found = [run for one in rounds for run in one["runs"] if run["workers"] == workers]
            ratios = [run["simulated"]["received"] / run["received"] for run in found]
            middle = statistics.median(ratios)
            row = [NAMES[kind], str(workers), spread([run["received"] for run in found])]
            row += [spread([run["simulated"]["received"] for run in found])]
            row += [f"{middle:.2f} ({min(ratios):.2f} - {max(ratios):.2f})", "yes" if abs(middle - 1) <= BOUND else "no"]
            row += [number(1e3 * statistics.median(run["latency"] for run in found))]
            row += [number(1e3 * statistics.median(run["simulated"]["latency"] for run in found))]
            rows.append([*row, f"{statistics.median(run['taken'] for run in found):.2f}"])
    head = ["stream", "workers", "experiences a second", "simulated", "simulated / real"]
    return table([*head, "within 15%", "latency, ms", "simulated, ms", "cores taken by others"], rows)


def curve(inputs: dict[str, Any]) -> str:
    """Return the table of simulated throughput and latency by number of workers, server and consumer apart."""
    rows = []
    for workers in sorted({point["workers"] for points in inputs["curves"].values() for point in points}):
        row = [str(workers)]
        for points in inputs["curves"].values():
            (point,) = (point for point in points if point["workers"] == workers)
            latency = f"{number(1e3 * point['p50'])}, {number(1e3 * point['p99'])}"
            row += [number(point["stored"]), number(point["received"]), latency]
        rows.append(row)
    head = ["workers"]
    for kind in inputs["curves"]:
        head += [f"{NAMES[kind]}: stored a second", "in the buffer a second", "latency, ms: median, 99%"]
    return table(head, rows)


def busy_mean(samples: Samples, name: str) -> float:
    """Return the mean seconds of a piece that waited for earlier ones."""
    return float(getattr(samples, f"{name}_busy").mean())


def rates(inputs: dict[str, Any]) -> dict[str, float]:
    """Return the experiences a second of one core that plays, and of one of each other component."""
    alone = [one["together"] for rounds in inputs["rounds"].values() for one in rounds]
    busy = statistics.median(one["speed"] for one in alone)
    play, encode = (statistics.median(one[name] for one in alone) / CHUNK for name in ("play", "encode"))
    found = {"core": busy / (play + encode), "core, files": busy / (play + 1e-6 * inputs["capacity"]["files_cpu_microseconds"])}
    for kind in inputs["rounds"]:
        samples = pooled(inputs, kind)
        piece = CHUNK / PIECES[kind]
        found[kind] = piece / (busy_mean(samples, "store") + (busy_mean(samples, "send") if PULLED[kind] else 0))
        found[f"{kind}, buffer"] = piece / (busy_mean(samples, "receive") + busy_mean(samples, "add"))
    learn = np.concatenate([pooled(inputs, kind).learn for kind in inputs["rounds"]])
    found["learner"] = 256 / learn.mean()
    return found


def limits(inputs: dict[str, Any]) -> str:
    """Return the table of where each component stops scaling."""
    found, size = rates(inputs), inputs["bytes"]["packed"]
    files = FILE_BYTES / inputs["bytes"]["memory"]
    rows = []
    for kind in inputs["rounds"]:
        buffer = f"one buffer, filled from {NAMES[kind]}: receive, decode, add"
        rows.append((f"one {NAMES[kind]}", found[kind], "more servers, each with workers of its own"))
        rows.append((buffer, found[f"{kind}, buffer"], "a buffer a learner, each with its share of the stream"))
    rows += [
        ("one learner on one core, as here, 256 experiences a step", found["learner"], "more learners, each with its share"),
        ("one accelerator, as reported", ACCELERATOR, "more accelerators"),
        ("a network link of 10 Gbit/s, packed", LINK / size, "write files, or sample, where experience is made"),
        ("S3, one prefix, files of 32 MiB in memory", PREFIX * files, "a dataset for each group of machines; larger files"),
    ]
    head = ["component", "experiences a second at most", "cores that play to fill it", "then"]
    return table(head, [[title, number(rate), number(rate / found["core"]), then] for title, rate, then in rows])


def machines(inputs: dict[str, Any]) -> str:
    """Return the table of what machines give that only play, record and write files."""
    rate_of_core, size = rates(inputs)["core, files"], inputs["bytes"]
    rows = []
    for count in MACHINES:
        rate = count * CORES * rate_of_core
        stored = rate * inputs["capacity"]["files"]
        puts = rate * size["memory"] / FILE_BYTES
        row = [f"{count:,}", f"{count * CORES:,}", number(rate)]
        row += [
            number(3600 * rate / 2 / inputs["capacity"]["mean_turns"]),
            quantity(stored, "B/s"),
            quantity(3600 * stored, "B"),
        ]
        row += [number(puts), f"${number(count * CORES * PRICE_OF_CORE)}", f"${number(3600 * puts * PRICE_OF_PUT)}"]
        rows.append([*row, f"${number(3600 * stored / 1e9 * 730 * PRICE_OF_STORAGE)}"])
    head = ["machines", "cores", "experiences a second", "games an hour", "bytes a second", "bytes an hour", "PUTs a second"]
    return table([*head, "cores an hour", "PUTs an hour", "an hour's files, kept a month"], rows)


def learners(inputs: dict[str, Any]) -> str:
    """Return the table of what it takes to give accelerators new experience as fast as they learn."""
    found, size = rates(inputs), inputs["bytes"]["packed"]
    rows = []
    for count in ACCELERATORS:
        rate = count * ACCELERATOR
        row = [str(count), number(rate), quantity(rate * size, "B/s"), number(rate / found["core"])]
        for kind in inputs["rounds"]:
            cores = rate / found["core"] + rate / found[kind] + rate / found[f"{kind}, buffer"]
            row += [
                f"{-(-rate // found[kind]):.0f}",
                number(rate / found[f"{kind}, buffer"]),
                f"${number(cores * PRICE_OF_CORE)}",
            ]
        rows.append([*row, f"${number(count * PRICE_OF_ACCELERATOR)}"])
    head = ["accelerators", "experiences a second", "packed", "cores that play"]
    for kind in inputs["rounds"]:
        head += [f"{NAMES[kind]}: servers", "cores that receive", "all cores, an hour"]
    return table([*head, "accelerators, an hour"], rows)


def measured_on(inputs: dict[str, Any]) -> str:
    """Return a line about the machine and the inputs."""
    host, rounds = inputs["machine"], [one for kind in inputs["rounds"].values() for one in kind]
    loads = [run["load"] for one in rounds for run in one["runs"]]
    busy = statistics.median(one["together"]["speed"] for one in rounds)
    return (
        f"Measured on {host['date']} with {host['cores']} cores ({host['processor']}; load {min(loads):.1f} to "
        f"{max(loads):.1f} during the runs), Python {host['python']}, numpy {host['numpy']}, generals_env "
        f"{host['generals_env']}, in {len(rounds) // len(inputs['rounds'])} rounds. A core has {100 * busy:.0f}% of its speed "
        "while all are busy."
    )


def tables(inputs: dict[str, Any]) -> dict[str, str]:
    """Return all tables by the names of their markers."""
    return {
        "machine": measured_on(inputs),
        "costs": costs(inputs),
        "runs": runs(inputs),
        "curve": curve(inputs),
        "limits": limits(inputs),
        "machines": machines(inputs),
        "learners": learners(inputs),
    }
