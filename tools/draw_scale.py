"""Draw the picture of docs/scale.md: throughput and latency by number of workers, simulated and measured.

Usage: ``python tools/draw_scale.py``, with the inputs of ``docs/scale.json``. It writes ``docs/images/scale.png``, both of the
current folder. It needs matplotlib.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INPUTS = Path("docs/scale.json")
PICTURE = Path("docs/images/scale.png")

STREAMS = {"grpc": ("gRPC server with a log", "#1f6fb5"), "redis": ("Redis", "#c2410c")}


def points(inputs: dict[str, Any], kind: str, name: str) -> tuple[list[int], list[float], list[int], list[float]]:
    """Return workers and values of all real runs, and workers and medians of the simulations of the same runs."""
    runs = [run for one in inputs["rounds"][kind] for run in one["runs"]]
    counts = sorted({run["workers"] for run in runs})
    found = {count: sorted(run["simulated"][name] for run in runs if run["workers"] == count) for count in counts}
    medians = [values[len(values) // 2] for values in found.values()]
    return [run["workers"] for run in runs], [run[name] for run in runs], counts, medians


def draw(axes: Axes, inputs: dict[str, Any], name: str, of_curve: str, factor: float) -> None:
    """Draw curves and points of all streams."""
    for kind, curve in inputs["curves"].items():
        title, color = STREAMS[kind]
        workers = [point["workers"] for point in curve]
        axes.plot(
            workers, [factor * point[of_curve] for point in curve], color=color, label=f"{title}: simulated, machines apart"
        )
        real_workers, real, counts, simulated = points(inputs, kind, name)
        values = [factor * value for value in simulated]
        axes.plot(counts, values, color=color, linestyle=":", marker="_", markersize=14, label=f"{title}: simulated, two cores")
        axes.scatter(
            real_workers,
            [factor * value for value in real],
            color=color,
            s=18,
            alpha=0.7,
            label=f"{title}: real runs, two cores",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks([point["workers"] for point in curve], [str(point["workers"]) for point in curve])
    axes.set_yscale("log")
    axes.set_xlabel("workers")
    axes.grid(visible=True, which="major", alpha=0.3)


def main() -> None:
    """Draw the picture."""
    inputs = json.loads(INPUTS.read_text(encoding="utf-8"))
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw(left, inputs, "received", "received", 1.0)
    left.set_title("Experiences a second in the learner's buffer", fontsize=11)
    draw(right, inputs, "latency", "p50", 1e3)
    right.set_title("Median latency from playing to the buffer, ms", fontsize=11)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(inputs["curves"]), fontsize=9)
    figure.savefig(PICTURE, dpi=110)
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
