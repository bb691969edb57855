"""Draw the figures of docs/architecture.md, one SVG file per layer.

Usage: ``python tools/draw_layers.py``. It writes ``docs/images/layer_*.svg`` in the current folder.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

CELL_WIDTH, CELL_HEIGHT = 230, 112  # of the grid that boxes lie in
GAP = 46  # between two boxes, for an arrow
MARGIN = 24
FILLS = {"engine": "#f4f1ea", "environment": "#e6eef8", "recorder": "#e9f5ea", "other": "#ffffff"}


class Box(NamedTuple):
    """A box with a title, lines of text, and its cells of the grid."""

    column: int
    row: int
    title: str
    lines: tuple[str, ...]
    fill: str = "engine"
    columns: int = 1
    rows: int = 1


class Figure(NamedTuple):
    """Boxes by name, and arrows between two names; both ends of an arrow lie in one row or in one column."""

    boxes: dict[str, Box]
    arrows: tuple[tuple[str, str], ...]
    caption: str


ENGINE = Figure(
    {
        "simulation": Box(0, 0, "simulation", ("plays turns: of one game, or of many games on all cores",), columns=3),
        "rules": Box(0, 1, "rules", ("maps, moves, move order,", "combat, growth, rewards")),
        "observations": Box(1, 1, "observations", ("tensors, masks,", "fog memory, potentials")),
        "policies": Box(2, 1, "policies", ("built-in opponents:", "random, expander")),
        "boards": Box(0, 2, "Boards", ("owner, army, terrain,", "players, games: five arrays")),
        "packed": Box(1, 2, "packed", ("two bytes a tile; expands", "to tensors and masks")),
        "storage": Box(2, 2, "storage", ("ring, game segments,", "sum tree, hash set")),
    },
    (
        ("simulation", "rules"),
        ("rules", "observations"),
        ("observations", "policies"),
        ("rules", "boards"),
        ("boards", "packed"),
        ("packed", "storage"),
    ),
    "Rules change boards; observations are computed from boards; storage holds packed boards.",
)

ENVIRONMENTS = Figure(
    {
        "wrappers": Box(
            1, 0, "wrappers", ("frame stack, fog memory, reward shaping,", "symmetry, Stable-Baselines3"), "environment", 2
        ),
        "pettingzoo": Box(0, 0, "PettingZoo", ("make(): AEC", "parallel_env(): parallel"), "environment", rows=2),
        "vector": Box(1, 1, "all players", ("make_vec()",), "environment"),
        "single": Box(2, 1, "one learner", ("gymnasium.make()", "gymnasium.make_vec()"), "environment"),
        "game": Box(0, 2, "Game", ("one game: boards before", "and after a turn, seeds"), "environment"),
        "batch": Box(1, 2, "Batch", ("B games in preallocated arrays, observations kept current",), columns=2),
        "engine": Box(0, 3, "engine", ("kernels over arrays; imports no library of reinforcement learning",), columns=3),
    },
    (
        ("wrappers", "vector"),
        ("wrappers", "single"),
        ("pettingzoo", "game"),
        ("vector", "batch"),
        ("single", "batch"),
        ("game", "engine"),
        ("batch", "engine"),
    ),
    "An arrow leads from a layer to the one that it calls.",
)

RECORDERS = Figure(
    {
        "environment": Box(0, 0, "environment", ("any of the package,", "wrapped or not"), "environment"),
        "replays": Box(0, 2, "replay files", ("games of people,", "played again"), "environment"),
        "recording": Box(1, 0, "recording", ("turns become batches;", "wrappers become", "a recipe"), "recorder", rows=3),
        "sinks": Box(2, 0, "sinks", ("validate, deduplicate,", "retry, several at once"), "recorder", rows=3),
        "buffers": Box(3, 0, "buffers", ("in memory:", "sampled or in order"), "recorder"),
        "datasets": Box(3, 1, "datasets", ("folders of files,", "local or on S3"), "recorder"),
        "log": Box(3, 2, "log", ("numbered, durable,", "in SQLite"), "recorder"),
        "experience": Box(
            0, 3, "experience", ("ExperienceBatch: packed boards, columns, recipe;", "tensors are derived"), "recorder", 2
        ),
        "encoding": Box(2, 3, "encoding, formats", ("a batch as bytes,", "records or a file"), "recorder"),
        "filesystem": Box(3, 3, "filesystem", ("atomic files, locks,", "stores, retries"), "recorder"),
    },
    (
        ("environment", "recording"),
        ("replays", "recording"),
        ("recording", "sinks"),
        ("sinks", "buffers"),
        ("sinks", "datasets"),
        ("sinks", "log"),
    ),
    "Upper rows: the way of experience, from left to right. Bottom row: packages that the others import.",
)

STREAM = Figure(
    {
        "buffer": Box(0, 0, "ReplayBuffer", ("drops or blocks",), "recorder"),
        "log": Box(0, 1, "ExperienceLog", ("keeps unread segments",), "recorder"),
        "server": Box(1, 0, "server", ("source and filter,", "encoded ranges,", "flow control"), "recorder", rows=2),
        "client": Box(2, 0, "client", ("consumer: position,", "resume after a crash,", "shards"), "recorder", rows=2),
        "training": Box(3, 0, "training", ("double Q-learning",), "recorder"),
        "sink": Box(3, 1, "any sink", ("log cache, buffer, ...",), "recorder"),
        "protocol": Box(1, 2, "protocol", ("experience.proto; records of the original, packed batches",), "recorder", 2),
    },
    (
        ("buffer", "server"),
        ("log", "server"),
        ("server", "client"),
        ("client", "training"),
        ("client", "sink"),
        ("server", "protocol"),
        ("client", "protocol"),
    ),
    "Server and clients run in processes of their own, connected by gRPC.",
)

OPERATIONS = Figure(
    {
        "settings": Box(0, 0, "settings", ("file, environment,", "options; reloaded"), "other"),
        "supervisor": Box(1, 0, "supervisor", ("starts, watches and drains the workers",), "other", 2),
        "http": Box(3, 0, "metrics, health", ("over HTTP, with", "figures of all processes"), "other"),
        "collector": Box(0, 1, "collector", ("plays games,", "records them"), "environment"),
        "sinks": Box(1, 1, "pipeline", ("validation, metrics,", "bounded buffer"), "recorder"),
        "log": Box(2, 1, "ExperienceLog", ("all that is", "acknowledged"), "recorder"),
        "storage": Box(3, 1, "storage", ("a process: log to files", "or S3, each once"), "recorder"),
        "server": Box(2, 2, "server", ("a stream to trainers,", "submissions"), "recorder"),
        "consumers": Box(3, 2, "consumers", ("train, or any client", "of the original"), "recorder"),
    },
    (
        ("settings", "supervisor"),
        ("supervisor", "http"),
        ("collector", "sinks"),
        ("sinks", "log"),
        ("log", "storage"),
        ("log", "server"),
        ("server", "consumers"),
    ),
    "Collector, pipeline, log and server are one process; the supervisor and the storage worker are two others.",
)

FIGURES = {"engine": ENGINE, "environments": ENVIRONMENTS, "recorders": RECORDERS, "stream": STREAM, "operations": OPERATIONS}


def rectangle(box: Box) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a box."""
    left, top = MARGIN + box.column * CELL_WIDTH, MARGIN + box.row * CELL_HEIGHT
    return left, top, left + box.columns * CELL_WIDTH - GAP, top + box.rows * CELL_HEIGHT - GAP


def draw_arrow(start: Box, end: Box) -> str:
    """Return an arrow: horizontal if the boxes share a row, else vertical."""
    a, b = rectangle(start), rectangle(end)
    if start.row < end.row + end.rows and end.row < start.row + start.rows:
        y = (max(a[1], b[1]) + min(a[3], b[3])) / 2
        points = (a[2], y, b[0], y) if a[2] < b[0] else (a[0], y, b[2], y)
    else:
        x = (max(a[0], b[0]) + min(a[2], b[2])) / 2
        points = (x, a[3], x, b[1]) if a[3] < b[1] else (x, a[1], x, b[3])
    return '<path d="M{} {} L{} {}"/>'.format(*points)


def draw_box(box: Box) -> str:
    """Return the rectangle of a box and its text."""
    left, top, right, bottom = rectangle(box)
    middle, first = (left + right) / 2, (top + bottom) / 2 - 9 * len(box.lines) + 4
    size = f'width="{right - left}" height="{bottom - top}"'
    lines = [
        f'<rect x="{left}" y="{top}" {size} rx="8" fill="{FILLS[box.fill]}" stroke="#888"/>',
        f'<text x="{middle}" y="{first}" font-weight="bold" fill="#222">{escape(box.title)}</text>',
    ]
    for number, line in enumerate(box.lines, 1):
        lines.append(f'<text x="{middle}" y="{first + 18 * number}" font-size="12.5" fill="#444">{escape(line)}</text>')
    return "\n".join(lines)


def draw(figure: Figure) -> str:
    """Return a figure as the text of an SVG file."""
    edges = [rectangle(box) for box in figure.boxes.values()]
    width, bottom = max(edge[2] for edge in edges) + MARGIN, max(edge[3] for edge in edges)
    arrows = [draw_arrow(figure.boxes[start], figure.boxes[end]) for start, end in figure.arrows]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 44}"'
            ' font-family="Helvetica, Arial, sans-serif" font-size="14" text-anchor="middle">',
            f'<rect width="{width}" height="{bottom + 44}" fill="#ffffff"/>',
            '<marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0 L10 5 L0 10 z" fill="#444"/></marker>',
            *map(draw_box, figure.boxes.values()),
            '<g stroke="#444" stroke-width="1.5" fill="none">',
            *(arrow.replace("/>", ' marker-end="url(#arrow)"/>') for arrow in arrows),
            "</g>",
            f'<text x="{width / 2}" y="{bottom + 28}" font-size="12.5" fill="#444">{escape(figure.caption)}</text>',
            "</svg>\n",
        ]
    )


def main() -> None:
    """Write all figures."""
    for name, figure in FIGURES.items():
        Path(f"docs/images/layer_{name}.svg").write_text(draw(figure), encoding="utf-8")


if __name__ == "__main__":
    main()
