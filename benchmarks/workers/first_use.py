"""Measures the first use of a build: ``python first_use.py make|make_vec``, in a process that has not imported the package.

The last line of the output is a JSON object: seconds from before the import until all results are there, and the folder of the
package that was imported.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def make() -> None:
    """Play a turn of one game."""
    import generals_env

    env = generals_env.make()
    env.reset(seed=1)
    for agent in env.possible_agents:
        env.step(env.action_space(agent).n - 1)  # the last action passes


def make_vec() -> None:
    """Play a turn of four games in each of the ways that a vector environment has."""
    import generals_env

    venv = generals_env.make_vec(4)
    venv.reset(seed=1)
    venv.step(venv.act(("random", "expander")))
    venv.play(1, ("random", "expander"))


if __name__ == "__main__":
    start = time.perf_counter()
    {"make": make, "make_vec": make_vec}[sys.argv[1]]()
    seconds = time.perf_counter() - start
    package = Path(sys.modules["generals_env"].__file__ or "").resolve().parent
    print(json.dumps({"seconds": seconds, "package": str(package)}))
