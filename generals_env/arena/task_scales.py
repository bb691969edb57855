"""Holds what ``tools/measure_tasks.py`` measured for the tasks: ratings of their opponents, and digests of their games.

``SCALES`` defines the Elo scale of each task: ``expander`` has 1000 by definition, the others were rated once by the games of
all opponents against each other. The numbers are fixed: another measurement would make a new version of the task.

``DIGESTS`` pins the opponents: it stands for the results of some of their games (``evaluation.task_digests``). If a change of a
policy changes them, the version of the tasks with this opponent must be raised, and their scale be measured anew.
"""

from __future__ import annotations

__all__ = ["DIGESTS", "SCALES"]

SCALES: dict[str, dict[str, float]] = {
    "generals-8x8-v0": {"expander": 1000.0, "hunter:easy": 934.0, "hunter:medium": 1185.0, "hunter": 1415.0},
    "generals-12x12-v0": {"expander": 1000.0, "hunter:easy": 927.0, "hunter:medium": 1248.0, "hunter": 1586.0},
    "generals-20x20-v0": {"expander": 1000.0, "hunter:easy": 824.0, "hunter:medium": 1145.0, "hunter": 1658.0},
    "generals-competition-v0": {"expander": 1000.0, "hunter:easy": 745.0, "hunter:medium": 1112.0, "hunter": 1638.0},
}

DIGESTS: dict[str, dict[str, str]] = {
    "generals-8x8-v0": {
        "random": "47fb7608a4e2bb8d",
        "expander": "47fb7608a4e2bb8d",
        "hunter:easy": "7a16b958008321cf",
        "hunter:medium": "2160bb98d65475db",
        "hunter": "1ff398863c6cbbea",
    },
    "generals-12x12-v0": {
        "random": "1f11e7f189c21b44",
        "expander": "1f11e7f189c21b44",
        "hunter:easy": "b51f1fc8c25cc790",
        "hunter:medium": "c1947111b875a58c",
        "hunter": "04ed322da13cabf1",
    },
    "generals-20x20-v0": {
        "random": "e12d3c52f717bfea",
        "expander": "e12d3c52f717bfea",
        "hunter:easy": "20a78f69f07c7206",
        "hunter:medium": "b0c7c9032a60d89f",
        "hunter": "36c4a338f420f4a1",
    },
    "generals-competition-v0": {
        "random": "af6473583349e7e3",
        "expander": "af6473583349e7e3",
        "hunter:easy": "59f5977b16e133f4",
        "hunter:medium": "af8cfda6940d408b",
        "hunter": "9a1325a7e69e15fa",
    },
}
