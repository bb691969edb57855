"""Holds what ``tools/measure_tasks.py`` measured for the tasks: ratings of their opponents, and digests of their games.

``SCALES`` defines the Elo scale of each task: ``expander`` has 1000 by definition, the others were rated once by the games of
all opponents against each other. The numbers are fixed: another measurement would make a new version of the task.

``DIGESTS`` pins the opponents: it stands for the results of some of their games (``evaluation.task_digests``). If a change of a
policy changes them, the version of the tasks with this opponent must be raised, and their scale be measured anew.
"""

from __future__ import annotations

__all__ = ["DIGESTS", "SCALES"]

SCALES: dict[str, dict[str, float]] = {
    "generals-8x8-v0": {"hunter:easy": 945.0, "expander": 1000.0, "hunter:medium": 1179.0, "hunter": 1413.0},
    "generals-12x12-v0": {"hunter:easy": 911.0, "expander": 1000.0, "hunter:medium": 1246.0, "hunter": 1601.0},
    "generals-20x20-v0": {"hunter:easy": 829.0, "expander": 1000.0, "hunter:medium": 1154.0, "hunter": 1675.0},
    "generals-competition-v0": {"hunter:easy": 741.0, "expander": 1000.0, "hunter:medium": 1075.0, "hunter": 1652.0},
}

DIGESTS: dict[str, dict[str, str]] = {
    "generals-8x8-v0": {
        "random": "47fb7608a4e2bb8d",
        "hunter:easy": "6ef65cda2b105d2a",
        "expander": "47fb7608a4e2bb8d",
        "hunter:medium": "8dbbde30d5f025b2",
        "hunter": "752092807e228be2",
    },
    "generals-12x12-v0": {
        "random": "1f11e7f189c21b44",
        "hunter:easy": "60ac3d80054877e9",
        "expander": "1f11e7f189c21b44",
        "hunter:medium": "a10793115eb2dfbb",
        "hunter": "933827b01e8a36b7",
    },
    "generals-20x20-v0": {
        "random": "e12d3c52f717bfea",
        "hunter:easy": "9393eedc5dd8b8dc",
        "expander": "e12d3c52f717bfea",
        "hunter:medium": "02b5cfa3cdddcc66",
        "hunter": "60e60f27713a9d61",
    },
    "generals-competition-v0": {
        "random": "af6473583349e7e3",
        "hunter:easy": "1bb17580c83c8286",
        "expander": "af6473583349e7e3",
        "hunter:medium": "8b8142871206bf8e",
        "hunter": "f83736ddc9f4b4cc",
    },
}
