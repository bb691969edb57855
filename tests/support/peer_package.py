"""Stand-ins for generals-bots, with its interfaces of 2.5 (numpy) and 2.6 (JAX): the real launcher plays their agents."""

from __future__ import annotations

from pathlib import Path

FIELDS = (
    "armies generals {castles} mountains neutral_cells owned_cells opponent_cells fog_cells structures_in_fog "
    "owned_land_count owned_army_count opponent_land_count opponent_army_count timestep"
)

OBSERVATION_25 = f"""
import dataclasses
Observation = dataclasses.make_dataclass(
    "Observation", "{FIELDS.format(castles="cities")}".split() + [("priority", int, 0)]
)
"""

OBSERVATION_26 = f"""
import collections
Observation = collections.namedtuple("Observation", "{FIELDS.format(castles="castles")}")
"""

#: Moves the first own tile with an army to the first neighbour in sight that is no mountain; prints, which is no reply.
WALKER = """
import numpy as np

class WalkerAgent:
    def __init__(self, id="Walker"):
        self.id = id

    def reset(self):
        self.moves = 0

    def act(self, observation{key}):
        print("thinking")
        self.moves += 1
        steps = ((-1, 0), (1, 0), (0, -1), (0, 1))
        height, width = observation.armies.shape
        for row, column in np.argwhere(observation.owned_cells & (observation.armies > 1)):
            for direction, (down, right) in enumerate(steps):
                r, c = row + down, column + right
                if 0 <= r < height and 0 <= c < width and observation.neutral_cells[r, c]:
                    return np.array([0, row, c - right, direction, {split}])
        return np.array([1, 0, 0, 0, 0])
"""

#: As much of JAX as the launcher calls; a key is a number.
JAX = """
import numpy

class random:
    PRNGKey = staticmethod(lambda seed: seed)
    split = staticmethod(lambda key: (key + 1, 100 + key))
"""

#: Shows its key as the row of a skipped move.
KEYED = """
class KeyedAgent:
    def act(self, observation, key):
        return (1, key, int(observation.castles.sum()), int(observation.structures_in_fog.sum()), observation.timestep)
"""


def write_package(folder: Path, observation: str, **agents: str) -> Path:
    """Write ``generals`` with agents, as ``walker_agent.py``, into a folder, and return it."""
    for name in ("", "core", "agents"):
        (folder / "generals" / name).mkdir(parents=True, exist_ok=True)
        (folder / "generals" / name / "__init__.py").touch()
    (folder / "generals" / "core" / "observation.py").write_text(observation)
    for name, code in agents.items():
        (folder / "generals" / "agents" / f"{name}_agent.py").write_text(code)
    return folder


def write_installed(folder: Path, version: str = "2.5.0") -> Path:
    """Write a package as pip installs it; PYTHONPATH is to name the folder."""
    write_package(folder, OBSERVATION_25, walker=WALKER.format(key="", split=0))
    info = folder / f"generals_bots-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: generals-bots\nVersion: {version}\n")
    return folder


def write_checkout(folder: Path, version: str = "2.6.0") -> Path:
    """Write a checkout with a kit of one program."""
    write_package(folder, OBSERVATION_26, walker=WALKER.format(key=", key", split=1), keyed=KEYED)
    (folder / "jax.py").write_text(JAX)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "generals-bots"\nversion = "{version}"\n')
    kit = folder / "competition" / "agents" / "passer_python"
    kit.mkdir(parents=True)
    (kit / "run.sh").write_text("#!/usr/bin/env bash\nexec python -u main.py\n")
    (kit / "main.py").write_text(
        "import sys\n"
        "height = int(sys.stdin.readline().split()[1])\n"
        "while sys.stdin.readline():\n"
        "    for _ in range(3 * height):\n"
        "        sys.stdin.readline()\n"
        "    print('1 0 0 0 0')\n"
    )
    return folder
