"""Gives each key of the settings a valid value that differs from its default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from generals_env.operations.settings.keys import KEYS

SPECIAL: dict[str, Any] = {
    "games.policies": ("random", "expander"),
    "games.rules": "v18",
    "games.teams": (1, 0),
    "games.modifiers": ("torus", "leapfrog"),
    "games.mountain_density": 0.1,
    "games.city_density": 0.05,
    "games.observation": "full",
    "collection.keep_probability": 0.5,
    "collection.pressure_keep_probability": 0.5,
    "compression.low_cpu": 0.25,
    "compression.high_cpu": 0.9,
    "streaming.address": "localhost:50052",
    "streaming.token_variable": "STREAM_TOKEN",
    "storage.s3.endpoint": "http://127.0.0.1:9000",
    "metrics.address": "0.0.0.0:9091",
    "debug.address": "[::1]:6061",
    "training.gamma": 0.5,
}

#: Keys that a key needs beside itself.
COMPANIONS: dict[str, dict[str, Any]] = {
    "streaming.certificate": {"streaming.key": "key.pem"},
    "streaming.key": {"streaming.certificate": "chain.pem"},
    "streaming.client_ca": {"streaming.certificate": "chain.pem", "streaming.key": "key.pem"},
    "training.capacity": {},
}


def sample(name: str) -> Any:
    """Return a valid value of a key, other than its default."""
    key = KEYS[name]
    if name in SPECIAL:
        return SPECIAL[name]
    if key.kinds == {bool}:
        return not key.default
    if "one of" in key.expected:
        return next(choice for choice in key.expected.removeprefix("one of ").split(", ") if choice != key.default)
    if str in key.kinds:
        return "another/text"
    if float in key.kinds:
        return 0.5 if key.default is None else key.default + 0.125
    return 7 if key.default is None else key.default + 1


def write_keys(path: Path, values: dict[str, str]) -> None:
    """Write a file with dotted keys and the YAML text of their values."""
    lines = ["experience:"]
    for name, text in values.items():
        *sections, last = name.split(".")
        lines += [f"{'  ' * (depth + 1)}{section}:" for depth, section in enumerate(sections)]
        lines.append(f"{'  ' * (len(sections) + 1)}{last}: {text}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
