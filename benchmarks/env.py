"""Measures the time of import and first steps, and runs PettingZoo's own benchmark of the AEC environment.

Each start is measured in a separate process. PettingZoo's ``performance_benchmark`` (five seconds a run, turns of agents, its
own random choice of legal actions) runs for this package and for an environment that does nothing, in turn.
"""

from __future__ import annotations

import contextlib
import io
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from typing import Any

import gymnasium.spaces
import numpy as np
from pettingzoo import AECEnv
from pettingzoo.test import performance_benchmark
from rich.console import Console
from rich.table import Table

import generals_env
from generals_env.recorders import ExperienceRecorder

RUNS = 5

IMPORT = "import time; start = time.perf_counter(); import generals_env; print(time.perf_counter() - start)"
FIRST = """
import time, generals_env
start = time.perf_counter()
env = generals_env.make()
env.reset(seed=1)
middle = time.perf_counter()
env.step(3200)
env.step(3200)
print(time.perf_counter() - start)
"""


class EmptyEnv(AECEnv[str, Any, int]):
    """Two agents with one constant observation and one legal action, to measure the cost of the benchmark itself."""

    def __init__(self) -> None:
        """Create the constant observation."""
        mask = np.zeros(3201, np.int8)
        mask[-1] = 1
        self.observation = {"observation": np.zeros((9, 20, 20), np.float32), "action_mask": mask}
        self.possible_agents = ["player_0", "player_1"]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start."""
        self.agents = self.possible_agents[:]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = self.agents[0]

    def observe(self, agent: str) -> Any:
        """Return the constant observation."""
        return self.observation

    def step(self, action: int | None) -> None:
        """Select the other agent."""
        self.agent_selection = self.agents[self.agent_selection == self.agents[0]]

    def action_space(self, agent: str) -> gymnasium.spaces.Discrete:
        """Return the space, which PettingZoo requires."""
        return gymnasium.spaces.Discrete(3201)


def seconds(code: str, **environment: str) -> float:
    """Return the number that a new process prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return float(done.stdout)


def turns_per_second(env: Any) -> float:
    """Return the speed that PettingZoo's benchmark prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        performance_benchmark(env)
    found = re.search(r"([\d.]+) turns per second", output.getvalue())
    assert found is not None, output.getvalue()
    return float(found[1])


def row(name: str, values: list[float], unit: str) -> list[str]:
    """Return a row of the table: median and spread of a measurement."""
    form = "{:,.0f}" if min(values) > 100 else "{:.2f}"
    return [name, form.format(statistics.median(values)) + unit, f"{form.format(min(values))} - {form.format(max(values))}"]


def main() -> None:
    """Measure and print."""
    console = Console()
    imports, cold, warm, ours, recorded, empty = [], [], [], [], [], []
    turns_per_second(generals_env.make())  # compile and warm up
    # No progress bar, as its thread would be measured, too.
    with tempfile.TemporaryDirectory() as shared:
        seconds(FIRST, NUMBA_CACHE_DIR=shared)
        for number in range(RUNS):
            console.print(f"round {number + 1} of {RUNS}, about 40 seconds", style="dim")
            imports.append(seconds(IMPORT))
            warm.append(seconds(FIRST, NUMBA_CACHE_DIR=shared))
            with tempfile.TemporaryDirectory() as own:
                cold.append(seconds(FIRST, NUMBA_CACHE_DIR=own))
            ours.append(turns_per_second(generals_env.make()))
            with tempfile.TemporaryDirectory() as folder, ExperienceRecorder(generals_env.make(), folder) as recorder:
                recorded.append(turns_per_second(recorder))
            empty.append(turns_per_second(EmptyEnv()))
    cores = os.cpu_count()
    table = Table("what", "median", f"spread of {RUNS}", title=f"AEC environment, 20x20, {platform.processor()} {cores} cores")
    table.add_row(*row("import generals_env", imports, " s"))
    table.add_row(*row("first reset and turn, nothing compiled", cold, " s"))
    table.add_row(*row("first reset and turn, compiled before", warm, " s"))
    table.add_row(*row("PettingZoo's benchmark, agents' turns a second", ours, ""))
    table.add_row(*row("the same, recorded to NPZ files", recorded, ""))
    table.add_row(*row("the same, of an environment that does nothing", empty, ""))
    console.print(table)
    console.print(f"python {platform.python_version()}, generals_env {generals_env.__version__}, numpy {np.__version__}")


if __name__ == "__main__":
    main()
