"""Computes the tables of docs/scale.md from measured inputs.

    experiences a second of a machine = cores * experiences of a chunk / CPU seconds of playing and encoding it
    machines of a component           = experiences a second / what one of it takes in a second

Units are decimal, as in docs/capacity.md.
"""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from benchmarks.capacity_tables import number, quantity, table
from benchmarks.scale.measure import PIECES, samples_of
from benchmarks.scale.simulation import Samples
from benchmarks.scale.workload import CHUNK

__all__ = ["pooled", "tables"]

MACHINES = (10, 100, 1_000)

ACCELERATORS = (1, 10, 100)

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
            "send": ("server: send a piece to one consumer", piece),
            "receive": ("receive and decode a piece", piece),
            "add": ("add a piece to the buffer", piece),
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
            rows.append(
                [
                    NAMES[kind],
                    str(workers),
                    spread([run["received"] for run in found]),
                    spread([run["simulated"]["received"] for run in found]),
                    " - ".join(f"{find(ratios):.2f}" for find in (statistics.median,))
                    + f" ({min(ratios):.2f} - {max(ratios):.2f})",
                    number(1e3 * statistics.median(run["latency"] for run in found)),
                    number(1e3 * statistics.median(run["simulated"]["latency"] for run in found)),
                    f"{statistics.median(run['taken'] for run in found):.2f}",
                ]
            )
    head = ["stream", "workers", "experiences a second", "simulated", "simulated / real", "latency, ms", "simulated, ms"]
    return table([*head, "cores taken by others"], rows)


def curve(inputs: dict[str, Any]) -> str:
    """Return the table of simulated throughput and latency by number of workers, each process on cores of its own."""
    rows = []
    for workers in sorted({point["workers"] for points in inputs["curves"].values() for point in points}):
        row = [str(workers)]
        for points in inputs["curves"].values():
            (point,) = [point for point in points if point["workers"] == workers]
            row += [number(point["received"]), f"{number(1e3 * point['p50'])}, {number(1e3 * point['p99'])}"]
        rows.append(row)
    head = ["workers"]
    for kind in inputs["curves"]:
        head += [f"{NAMES[kind]}: experiences a second", "latency, ms: median, 99%"]
    return table(head, rows)


def rates(inputs: dict[str, Any]) -> dict[str, float]:
    """Return the experiences a second of one core that plays and encodes, and of one of each component."""
    alone = [one["together"] for rounds in inputs["rounds"].values() for one in rounds]
    busy = statistics.median(one["speed"] for one in alone)
    found = {"core": busy * CHUNK / statistics.median(one["play"] + one["encode"] for one in alone)}
    for kind in inputs["rounds"]:
        samples = pooled(inputs, kind)
        piece = CHUNK / PIECES[kind]
        serial = samples.store.mean() + (samples.send.mean() if kind == "redis" else 0)
        found[kind] = piece / serial
        found[f"{kind}, {CORES} sent to"] = piece / max(
            serial + 15 * samples.send.mean() * (kind == "redis"), 16 * samples.send.mean()
        )
        found[f"{kind}, buffer"] = piece / (samples.receive.mean() + samples.add.mean())
        found[f"{kind}, learner"] = 256 / samples.learn.mean()
    return found


def limits(inputs: dict[str, Any]) -> str:
    """Return the table of where each component stops scaling."""
    found, size = rates(inputs), inputs["bytes"]["packed"]
    first = next(iter(inputs["rounds"]))
    files = FILE_BYTES / inputs["bytes"]["memory"]
    shards = "more servers, each with producers of its own"
    rows = [
        [f"one {NAMES[kind]}", number(found[kind]), number(found[kind] / found["core"]), f"{shards}; {after}"]
        for kind, after in (("grpc", "or a log a machine, without a server"), ("redis", "a consumer group reads all streams"))
        if kind in found
    ]
    rows += [
        [
            "one buffer: receive, decode, add",
            number(found[f"{first}, buffer"]),
            number(found[f"{first}, buffer"] / found["core"]),
            "a buffer a learner: `ShardedConsumer`, or `shard` and `shards`; a consumer group",
        ],
        [
            "one learner here, 256 experiences a step",
            number(found[f"{first}, learner"]),
            number(found[f"{first}, learner"] / found["core"]),
            "more learners, each with a shard of the stream",
        ],
        [
            "one accelerator, as reported",
            number(ACCELERATOR),
            number(ACCELERATOR / found["core"]),
            "more accelerators: players are hardly ever the limit with built-in policies",
        ],
        [
            "a network link of 10 Gbit/s, packed",
            number(LINK / size),
            number(LINK / size / found["core"]),
            "keep experience on the machine that plays: write files, or sample before sending",
        ],
        [
            "S3, one prefix, files of 32 MiB in memory",
            number(PREFIX * files),
            number(PREFIX * files / found["core"]),
            "more prefixes (a dataset for each group of machines), larger files (`max_file_bytes`)",
        ],
    ]
    return table(["component", "experiences a second at most", "cores that play to fill it", "then"], rows)


def machines(inputs: dict[str, Any]) -> str:
    """Return the table of what machines give that only play, record and encode."""
    found, size = rates(inputs), inputs["bytes"]
    rows = []
    for count in MACHINES:
        rate = count * CORES * found["core"]
        stored = rate * size["games"]
        puts = rate * size["memory"] / FILE_BYTES
        rows.append(
            [
                f"{count:,}",
                f"{count * CORES:,}",
                number(rate),
                number(3600 * rate / 2 / inputs["mean_turns"]),
                quantity(rate * size["packed"], "B/s"),
                quantity(3600 * stored, "B"),
                number(puts),
                f"${number(count * CORES * PRICE_OF_CORE)}",
                f"${number(3600 * puts * PRICE_OF_PUT)}",
                f"${number(3600 * stored / 1e9 * 730 * PRICE_OF_STORAGE)}",
            ]
        )
    head = ["machines", "cores", "experiences a second", "games an hour", "packed", 'files an hour, `"games"`', "PUTs a second"]
    return table([*head, "cores an hour", "PUTs an hour", "an hour's files, kept a month"], rows)


def learners(inputs: dict[str, Any]) -> str:
    """Return the table of what it takes to give accelerators new experience as fast as they learn."""
    found, size = rates(inputs), inputs["bytes"]["packed"]
    rows = []
    for count in ACCELERATORS:
        rate = count * ACCELERATOR
        row = [str(count), number(rate), quantity(rate * size, "B/s"), number(rate / found["core"])]
        servers = 0.0
        for kind in inputs["rounds"]:
            row.append(f"{-(-rate // found[kind]):.0f}")
            servers = rate / found[kind]
        first = next(iter(inputs["rounds"]))
        cores = rate / found["core"] + servers + rate / found[f"{first}, buffer"]
        row += [
            number(rate / found[f"{first}, buffer"]),
            f"${number(cores * PRICE_OF_CORE)}",
            f"${number(count * PRICE_OF_ACCELERATOR)}",
        ]
        rows.append(row)
    head = ["accelerators", "experiences a second", "packed", "cores that play"]
    head += [f"{NAMES[kind]}: servers" for kind in inputs["rounds"]]
    return table([*head, "cores that receive", "all these cores, an hour", "accelerators, an hour"], rows)


def measured_on(inputs: dict[str, Any]) -> str:
    """Return a line about the machine and the inputs."""
    host = inputs["machine"]
    loads = [run["load"] for rounds in inputs["rounds"].values() for one in rounds for run in one["runs"]]
    busy = statistics.median(one["together"]["speed"] for rounds in inputs["rounds"].values() for one in rounds)
    return (
        f"Measured on {host['date']} with {host['cores']} cores ({host['processor']}), load {min(loads):.1f} to {max(loads):.1f} "
        f"during the runs, Python {host['python']}, numpy {host['numpy']}, generals_env {host['generals_env']}; "
        f"{max(len(rounds) for rounds in inputs['rounds'].values())} rounds. A core has {100 * busy:.0f}% of its speed while all are busy."
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
