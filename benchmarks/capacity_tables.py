"""Computes the tables of docs/capacity.md from measured inputs, and writes them between the markers of the page.

    experiences a second = games a second * turns of a game * players
    bytes a second       = experiences a second * bytes of an experience in this form
    cores                = experiences a second * CPU seconds of an experience for this task

Units are decimal: a megabyte is 10**6 bytes, a megabit a second 125,000 bytes a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.latency import rows_of

SCALES = (100, 500, 1_000, 10_000)  # games a second

BUFFER = 1_000_000  # experiences

#: Experiences a second of a trainer that learns 40 batches of 256 a second.
TRAINER = 10_240

#: Streams by name, and the names of their bytes and CPU times in the inputs; tensors are computed, no stream sends them.
STREAMS = {
    "packed boards": ("packed", "packed"),
    "records of the original, gzip": ("records, gzip", None),
    "records of the original": ("records", "records"),
    "float32 tensors, as the guide computes": ("tensors", None),
}

FILES = {
    '`"games"`': "games",
    '`"parquet"`': "parquet",
    '`"npz"`': "npz",
    '`"tfrecord.gz"`': "tfrecord.gz",
    "log": "log",
    "float32 tensors, as the guide computes": "tensors",
}

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float) -> str:
    """Return a number with three significant digits, and separators of thousands."""
    if value == 0 or abs(value) >= 100:
        digits = max(len(str(int(abs(value)))) - 3, 0)
        return f"{round(value, -digits):,.0f}"
    return f"{value:#.3g}".rstrip(".")


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit and a decimal prefix: ``quantity(1.5e9, "B/s")`` is ``"1.50 GB/s"``."""
    for factor, prefix in PREFIXES:
        if value >= factor:
            return f"{number(value / factor)} {prefix}{unit}"
    return f"{number(value)} {unit}"


def experiences_per_second(games: float, turns: float, players: int) -> float:
    """Return the experiences of games at a rate: each player has one a turn."""
    return games * turns * players


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rates(inputs: dict[str, Any], game: str) -> list[float]:
    """Return the experiences a second of each scale."""
    turns = inputs["games"][game]["mean_turns"]
    return [experiences_per_second(scale, turns, inputs["players"]) for scale in SCALES]


def scale(inputs: dict[str, Any], game: str) -> str:
    """Return the table of data rates and memory for each scale."""
    size, board = inputs["games"][game]["bytes"], inputs["buffers"]["boards"]["bytes"]
    rows = [
        [
            f"{games:,}",
            number(rate),
            quantity(rate * size["tensors"], "B/s"),
            quantity(8 * rate * size["packed"], "bit/s"),
            quantity(3600 * rate * size["games"], "B"),
            f"{number(BUFFER / rate)} s",
            quantity(60 * rate * board, "B"),
        ]
        for games, rate in zip(SCALES, rates(inputs, game), strict=True)
    ]
    head = ["games a second", "experiences a second", "as float32 tensors", "stream to each trainer, packed", "files an hour"]
    return table([*head, "a buffer of 1M holds the last", "memory of the last minute, boards"], rows)


def cores(inputs: dict[str, Any], game: str) -> str:
    """Return the table of the cores that each task needs for each scale."""
    path, packed = inputs["games"][game]["whole_path"], inputs["stream"]["packed"]
    tasks = {
        "play, record, log": path["recorded"]["cpu_microseconds"]["collector"],
        "files": path["games"]["cpu_microseconds"]["storage"],
        "server, each trainer": packed["server"],
        "receive and decode, each trainer": packed["consumer"],
    }
    tasks["all, with one trainer"] = sum(tasks.values())
    rows = [
        [f"{games:,}", *(number(rate * microseconds / 1e6) for microseconds in tasks.values())]
        for games, rate in zip(SCALES, rates(inputs, game), strict=True)
    ]
    return table(["games a second", *(f"cores: {task}" for task in tasks)], rows)


def buffers(inputs: dict[str, Any]) -> str:
    """Return the table of the memory of a buffer of a million experiences."""
    raw = inputs["games"]["expanders"]["bytes"]["tensors"]
    rows = [["float32 tensors and masks, computed", number(raw), quantity(BUFFER * raw, "B"), ""]]
    for store, found in inputs["buffers"].items():
        resident = quantity(BUFFER * found["resident"], "B")
        rows.append([f'`store="{store}"`', number(found["bytes"]), quantity(BUFFER * found["bytes"], "B"), resident])
    return table(["buffer", "bytes an experience", "1M experiences", "resident memory of the process"], rows)


def by_form(inputs: dict[str, Any], game: str, forms: dict[str, str], cell: Callable[[float], str]) -> list[list[str]]:
    """Return a row for each form: its bytes an experience, and a cell of its bytes a second at each scale."""
    size = inputs["games"][game]["bytes"]
    return [
        [name, number(size[form]), *(cell(rate * size[form]) for rate in rates(inputs, game))] for name, form in forms.items()
    ]


def disk(inputs: dict[str, Any], game: str) -> str:
    """Return the table of bytes an hour on disk."""
    head = ["format", "bytes an experience", *(f"{games:,} games/s" for games in SCALES)]
    return table(head, by_form(inputs, game, FILES, lambda rate: quantity(3600 * rate, "B/h")))


def network(inputs: dict[str, Any], game: str) -> str:
    """Return the table of the network that one trainer needs, which receives everything or learns at its own pace."""
    size = inputs["games"][game]["bytes"]
    forms = {name: form for name, (form, _) in STREAMS.items()}
    rows = by_form(inputs, game, forms, lambda rate: quantity(8 * rate, "bit/s"))
    for row, form in zip(rows, forms.values(), strict=True):
        row.append(quantity(8 * TRAINER * size[form], "bit/s"))
    head = ["to one trainer", "bytes an experience", *(f"{games:,} games/s" for games in SCALES)]
    return table([*head, f"{TRAINER:,} experiences/s"], rows)


def stream(inputs: dict[str, Any]) -> str:
    """Return the table of the CPU time of one stream."""
    rows = [
        [name, number(found["per_second"]), number(found["server"]), number(found["consumer"])]
        for name, found in inputs["stream"].items()
    ]
    return table(["stream to one trainer", "experiences a second", "CPU µs of the server", "CPU µs of the trainer"], rows)


def whole_path(inputs: dict[str, Any]) -> str:
    """Return the table of what the whole path handles."""
    titles = {
        "recorded": "play, record, log",
        "games": 'and files of the format `"games"`, and a trainer',
        "npz": 'the same with `"npz"`',
    }
    rows = []
    for game in inputs["games"].values():
        for kind, title in titles.items():
            found = game["whole_path"][kind]
            turns = found["per_second"] / inputs["players"]
            cpu = found["cpu_microseconds"]
            rows.append(
                [
                    f"{game['mean_turns']:.0f}",
                    title,
                    number(turns / game["mean_turns"]),
                    number(turns),
                    f"{number(found['per_second'])} ({' - '.join(map(number, found['spread']))})",
                    *(number(cpu[role]) if role in cpu else "" for role in ("collector", "storage", "consumer")),
                ]
            )
    head = ["turns of a game", "path", "games a second", "turns a second", "experiences a second"]
    return table([*head, "CPU µs: collector", "storage", "trainer"], rows)


def guide(inputs: dict[str, Any]) -> str:
    """Return the table of the guide's figures beside measured ones, at 1,000 games of 50 turns a second."""
    size = inputs["games"]["guide"]["bytes"]
    rate = experiences_per_second(1000, 50, inputs["players"])
    board, zstd = inputs["buffers"]["boards"]["bytes"], inputs["zstd_megabytes_per_second"] * 1e6
    tensors, network_rate = size["tensors"], 8 * rate * size["packed"]
    recorded = inputs["games"]["guide"]["whole_path"]["recorded"]["per_second"]
    rows = [
        ["a 20x20 state", "14.4 kB", quantity(size["state"], "B"), "holds"],
        [
            "an experience",
            "30 kB",
            f"{quantity(size['records'], 'B')} as a record, {quantity(tensors, 'B')} as tensors, {number(board)} B as boards",
            "holds for a record; tensors here have a mask before and after the turn, of all actions",
        ],
        [
            "a buffer of 1M experiences",
            "10 GB; 3, 15, 30 GB",
            f"{quantity(BUFFER * tensors, 'B')} as tensors, {quantity(BUFFER * board, 'B')} as boards",
            "30 GB holds for its tensors, at every rate of games; no layout of the guide has the 10 kB an experience of 10 GB",
        ],
        [
            "data rate",
            "1.5 GB/s",
            f"{quantity(rate * tensors, 'B/s')} as tensors, {quantity(rate * board, 'B/s')} as boards",
            "holds for one player of each game",
        ],
        [
            "after zstd",
            "300-500 MB/s",
            f"{quantity(rate * size['tensors, zstd'], 'B/s')}; a core compresses {quantity(zstd, 'B/s')} of tensors",
            "far too high: most numbers of a tensor are zeros, and those of the next turn are nearly the same",
        ],
        [
            "files",
            "1 GB an hour",
            f"{quantity(3600 * rate * size['games'], 'B')} as `games`, {quantity(3600 * rate * size['npz'], 'B')} as `npz`",
            "holds in the format `games`; 1.5 GB/s would be 5.4 TB an hour",
        ],
        [
            "network of one trainer",
            "2.4-4, 12 Gbit/s",
            f"{quantity(network_rate, 'bit/s')} packed, {quantity(8 * rate * size['records'], 'bit/s')} as records",
            "12 Gbit/s are the records of one player; packed messages are what a trainer of this package receives",
        ],
        [
            "network of 10 trainers",
            "100 Mbit/s",
            f"{quantity(10 * network_rate, 'bit/s')} packed; {quantity(network_rate, 'bit/s')} if they share the games",
            "holds with packed messages",
        ],
        [
            "experiences collected a second",
            "at least 50,000",
            f"{number(recorded)} with {inputs['machine']['cores']} cores",
            "holds",
        ],
    ]
    return table(["at 1,000 games a second of 50 turns", "the guide", "measured", "which holds, and why"], rows)


def latency(inputs: dict[str, Any]) -> str:
    """Return the table of the quantiles of serialisation."""
    head = ["serialisation", "experiences a call", "calls", "p50, µs", "p95, µs", "p99, µs"]
    return table(head, [list(row) for row in rows_of(inputs["latency"])])


def measured_on(inputs: dict[str, Any]) -> str:
    """Return a line about the machine and the inputs."""
    host, game = inputs["machine"], inputs["games"]["expanders"]
    return (
        f"Measured on {host['date']} with {host['cores']} cores ({host['processor']}, load {host['load']} before), Python "
        f"{host['python']}, numpy {host['numpy']}, generals_env {host['generals_env']}. Games between expanders take "
        f"{game['mean_turns']:.0f} turns on average (cut off after {game['max_turns']:,})."
    )


def tables(inputs: dict[str, Any]) -> dict[str, str]:
    """Return all tables by the names of their markers."""
    return {
        "machine": measured_on(inputs),
        "guide": guide(inputs),
        "scale 50": scale(inputs, "guide"),
        "cores 50": cores(inputs, "guide"),
        "scale expanders": scale(inputs, "expanders"),
        "cores expanders": cores(inputs, "expanders"),
        "buffers": buffers(inputs),
        "disk 50": disk(inputs, "guide"),
        "disk expanders": disk(inputs, "expanders"),
        "network 50": network(inputs, "guide"),
        "network expanders": network(inputs, "expanders"),
        "stream": stream(inputs),
        "whole path": whole_path(inputs),
        "latency": latency(inputs),
    }


def filled(page: str, found: dict[str, str]) -> str:
    """Return the text of a page with each table between its markers ``<!-- NAME -->`` and ``<!-- end of NAME -->``.

    Raises:
        ValueError: If the page has no markers of a table.
    """
    for name, text in found.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        if not begin or not end:
            raise ValueError(f"page: expected lines <!-- {name} --> and <!-- end of {name} -->, found none: add both")
        page = f"{before}{begin}\n{text}\n\n{end}{after}"
    return page
