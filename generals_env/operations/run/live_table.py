"""Shows a run on a terminal: games, turns, experiences a second, buffer, consumers and their lag, drops, workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from generals_env.operations.run.supervisor import Supervisor
    from generals_env.operations.run.worker_handle import WorkerHandle

__all__ = ["Rates", "run_line", "run_table", "summary_table"]

WINDOW = 10.0  # seconds over which rates are computed


class Rates:
    """Rates of growing counts over the last seconds; a count that falls, after a restart, begins anew."""

    def __init__(self) -> None:
        """Begin without samples."""
        self._samples: dict[str, deque[tuple[float, float]]] = {}

    def update(self, name: str, count: float) -> float:
        """Add a sample of a count and return its growth a second."""
        samples = self._samples.setdefault(name, deque())
        if samples and count < samples[-1][1]:
            samples.clear()
        now = time.monotonic()
        samples.append((now, count))
        while len(samples) > 2 and now - samples[1][0] > WINDOW:
            samples.popleft()
        (began, first), (ended, last) = samples[0], samples[-1]
        return (last - first) / (ended - began) if ended > began else 0.0


def run_table(supervisor: Supervisor, rates: Rates) -> Table:
    """Return the table of the present state."""
    table = Table(
        title=f"generals_env run, {time.monotonic() - supervisor.began:,.0f} s, {supervisor.state}", show_header=False
    )
    status = supervisor.workers["collector"].status
    for name in ("games", "turns", "experiences"):
        count = status.get(name, 0)
        table.add_row(name, f"{count:,} ({rates.update(name, count):,.0f} a second)")
    add_sinks(table, status)
    if (storage := supervisor.workers.get("storage")) is not None and (found := storage.status):
        table.add_row(
            "files",
            f"{found.get('written', 0):,} experiences in {found.get('files', 0):,} files, {found.get('lag', 0):,} behind",
        )
    for number, stream in enumerate(status.get("streams", [])[:8]):
        text = f"{stream['peer']}: {stream['lag']:,} behind ({stream['lag_seconds']:.1f} s), {stream['missed']:,} missed"
        table.add_row("" if number else "consumers", text)
    for name, worker in supervisor.workers.items():
        state = state_of(worker)
        table.add_row(f"worker {name}", f"{state}, {worker.restarts} restarts" if worker.restarts else state)
        for problem in worker.status.get("problems", {}).values():
            table.add_row("", f"[red]{problem}")
    if supervisor.endpoints.address is not None:
        table.add_row("metrics", f"http://{supervisor.endpoints.address}/metrics")
    return table


def run_line(supervisor: Supervisor, rates: Rates) -> tuple[str, dict[str, Any]]:
    """Return the present state as the text of a log line, and as fields for JSON."""
    status = supervisor.workers["collector"].status
    counts = {name: status.get(name, 0) for name in ("games", "turns", "experiences")}
    speed = rates.update("experiences", counts["experiences"])
    buffer = status.get("buffer", {})
    fields = {"state": supervisor.state, **counts, "experiences_per_second": round(speed), "buffer": buffer}
    fields |= {name: status[name] for name in ("log", "streams") if name in status}
    text = (
        f"{supervisor.state}: {counts['games']:,} ended games, {counts['experiences']:,} experiences ({speed:,.0f} a second), "
        f"buffer {buffer.get('utilization', 0.0):.0%}, {len(status.get('streams', []))} consumers"
    )
    return text, fields


def state_of(worker: WorkerHandle) -> str:
    """Return the state of a worker as text."""
    if worker.has_finished:
        return "has finished"
    if worker.is_ready:
        return "works"
    if worker.is_running:
        return "starts" if worker.was_ready else "starts (the first time, kernels are compiled)"
    return worker.failure or "ended"


def add_sinks(table: Table, status: dict[str, Any]) -> None:
    """Add rows for buffer, log and stream of the collector."""
    if (buffer := status.get("buffer")) is not None:
        dropped = buffer["dropped_oldest"] + buffer["dropped_newest"]
        table.add_row("buffer", f"{buffer['size']:,} of {buffer['capacity']:,} ({buffer['utilization']:.0%})")
        table.add_row("dropped", f"{dropped:,}, sampled out {buffer['sampled_out']:,}, invalid {status.get('invalid', 0):,}")
    if (log := status.get("log")) is not None:
        table.add_row("log", log_text(log))
    if status.get("address"):
        table.add_row("stream", f"{status['address']}, {len(status.get('streams', [])):,} consumers")


def log_text(log: Mapping[str, Any]) -> str:
    """Return what a log holds."""
    if log["first"] == log["next"]:
        return "no experiences"
    return f"sequences {log['first']:,} to {log['next'] - 1:,}, {log['bytes']:,} bytes"


def summary_table(supervisor: Supervisor) -> Table:
    """Return where every experience of the run is."""
    table = Table(title="where the experiences are", show_header=False)
    status = supervisor.workers["collector"].status
    table.add_row("recorded", f"{status.get('experiences', 0):,} in {status.get('games', 0):,} ended games and those cut off")
    if (buffer := status.get("buffer")) is not None:
        dropped = buffer["dropped_oldest"] + buffer["dropped_newest"]
        table.add_row("dropped, sampled out, invalid", f"{dropped:,}, {buffer['sampled_out']:,}, {status.get('invalid', 0):,}")
        table.add_row("written by the buffer", f"{buffer['written']:,}")
    if (log := status.get("log")) is not None:
        table.add_row("log", log_text(log))
    if (storage := supervisor.workers.get("storage")) is not None and (found := storage.status):
        table.add_row(
            "files", f"all up to sequence {found.get('committed', 0) - 1:,}, {found.get('written', 0):,} by this worker"
        )
    restarts = {name: worker.restarts for name, worker in supervisor.workers.items() if worker.restarts}
    if restarts:
        table.add_row("restarts", ", ".join(f"{name} {count}" for name, count in restarts.items()))
    return table
