"""Holds what ``tools/measure_tasks.py`` measured for the tasks: ratings of their opponents, and digests of their games.

``SCALES`` defines the Elo scale of each task: ``expander`` has 1000 by definition, the others were rated once by the games of
all opponents against each other. The numbers are fixed: another measurement would make a new version of the task.

``DIGESTS`` pins the opponents: it stands for the results of some of their games (``evaluation.task_digests``). If a change of a
policy changes them, the version of the tasks with this opponent must be raised, and their scale be measured anew.
"""

from __future__ import annotations

__all__ = ["DIGESTS", "SCALES"]

SCALES: dict[str, dict[str, float]] = {
    "generals-8x8-v0": {"expander": 1000.0, "hunter:easy": 1425.0, "hunter:medium": 1425.0, "hunter": 1425.0},
    "generals-12x12-v0": {"expander": 1000.0, "hunter:easy": 1798.0, "hunter:medium": 1798.0, "hunter": 1798.0},
    "generals-20x20-v0": {"expander": 1000.0, "hunter:easy": 1849.0, "hunter:medium": 1849.0, "hunter": 1849.0},
    "generals-competition-v0": {"expander": 1000.0, "hunter:easy": 1769.0, "hunter:medium": 1769.0, "hunter": 1769.0},
}

DIGESTS: dict[str, dict[str, str]] = {
    "generals-8x8-v0": {
        "random": "47fb7608a4e2bb8d",
        "expander": "47fb7608a4e2bb8d",
        "hunter:easy": "28fb6d816274164d",
        "hunter:medium": "be09375ceb1304f7",
        "hunter": "1f57b1554b640782",
    },
    "generals-12x12-v0": {
        "random": "1f11e7f189c21b44",
        "expander": "1f11e7f189c21b44",
        "hunter:easy": "83efb04645c9739e",
        "hunter:medium": "0c59cd9f884d6483",
        "hunter": "afee6ce1ab57a4b0",
    },
    "generals-20x20-v0": {
        "random": "e12d3c52f717bfea",
        "expander": "e12d3c52f717bfea",
        "hunter:easy": "8cd0f27c37f32bc1",
        "hunter:medium": "cd43823407f800c9",
        "hunter": "c2965f223cc5ea62",
    },
    "generals-competition-v0": {
        "random": "af6473583349e7e3",
        "expander": "af6473583349e7e3",
        "hunter:easy": "f298f489e0050cfe",
        "hunter:medium": "0120f30202eb3958",
        "hunter": "7a8a1234aa92304d",
    },
}
