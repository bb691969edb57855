"""Measures one move of a policy network on one core: torch, numpy and onnxruntime, alone and in batches.

``python -m benchmarks export`` measures networks with random weights, as the time does not depend on them.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # read when the libraries are loaded

import time  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import Progress  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.pairs import Figures, cell, in_turn, keep  # noqa: E402
from generals_env.agents.numpy_layers import Floats  # noqa: E402
from generals_env.networks.onnx_export import Outputs, onnx_bytes, onnx_outputs, torch_outputs  # noqa: E402
from generals_env.networks.parity import numpy_outputs, random_observations  # noqa: E402
from generals_env.networks.policy_file import PolicyFile, network_weights  # noqa: E402
from generals_env.networks.policy_network import PolicyNetwork  # noqa: E402

#: Features per tile and residual blocks.
NETWORKS = ((32, 1), (64, 4))

BOARDS = (8, 20)
BATCHES = (1, 64)

SECONDS = 0.5  # of each measurement


def main(rounds: int = 5) -> None:
    """Measure, and print a table for each network."""
    torch.set_num_threads(1)
    console = Console()
    libraries = ["torch", "numpy", "onnxruntime"]
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("computing", total=rounds * len(NETWORKS) * len(BOARDS) * len(BATCHES))
        for channels, blocks in NETWORKS:
            weights = network_weights(PolicyFile(PolicyNetwork("full", channels, blocks)))
            count = sum(array.size for array in weights.weights.values())
            functions = (torch_outputs(weights), numpy_outputs(weights), onnx_outputs(onnx_bytes(weights)))
            outputs = dict(zip(libraries, functions, strict=True))
            figures: Figures = {}
            for number in range(rounds):
                for board in BOARDS:
                    for batch in BATCHES:
                        observations = random_observations(np.random.default_rng(1), batch, 21, (board, board))
                        row = f"{board}x{board}, {'one board' if batch == 1 else f'{batch} boards'}"
                        for library in in_turn(libraries, number):
                            keep(figures, row, library, milliseconds(outputs[library], observations))
                        bar.advance(task)
            table = Table(f"ms of CPU a move, {channels} features, {blocks} blocks, {count:,} parameters", *libraries)
            for row, values in figures.items():
                table.add_row(row, *(cell(values[library]) for library in libraries))
            console.print(table)


def milliseconds(outputs: Outputs, observations: Floats) -> float:
    """Return the mean CPU time of a board, in batches of all: other programs on the machine change it little."""
    outputs(observations)
    began, calls = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        outputs(observations)
        calls += 1
    return 1000 * (time.process_time() - began) / calls / len(observations)
