"""Implements ``generals-env health``: shows whether a run is ready for work, for people, scripts and probes."""

from __future__ import annotations

import http.client
import json
from typing import Annotated, Any

import typer

from generals_env.cli.dataset import console
from generals_env.errors import ConfigError

__all__ = ["health"]


def health(
    address: Annotated[str, typer.Option(help="host:port of metrics and health of the run.")] = "127.0.0.1:9090",
    alive: Annotated[bool, typer.Option("--alive", help="Ask whether it is alive, not whether it is ready.")] = False,
    stream: Annotated[str | None, typer.Option(help="Instead: host:port of a stream, asked by grpc.health.v1.")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the answer.")] = 5.0,
) -> None:
    """Show the checks of a run, or the health of a stream; the exit status is 0 if all is well, else 1."""
    if stream is not None:
        from generals_env.operations.health.grpc_health import grpc_health_check

        problem = grpc_health_check(stream, timeout=timeout)
        console.print(problem or "serving", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(int(problem is not None))
    try:
        status, report = ask(address, "/healthz" if alive else "/readyz", timeout)
    except (OSError, ValueError, http.client.HTTPException) as error:
        found = error or type(error).__name__
        console.print(
            f"{address}: expected a report of health, got {found}: start the run, or pass its --address", markup=False
        )
        raise typer.Exit(1) from None
    console.print(report["status"], markup=False)
    for check in report["checks"]:
        mark = "ok" if check["ok"] else "PROBLEM"
        text = f"{mark:7}  {check['name']}, since {check['since']}"
        console.print(text if check["ok"] else f"{text}: {check['problem']}", markup=False, highlight=False, soft_wrap=True)
    if status != 200:
        raise typer.Exit(1)


def ask(address: str, path: str, timeout: float) -> tuple[int, dict[str, Any]]:
    """Return the status and the report at a path."""
    try:
        connection = http.client.HTTPConnection(address, timeout=timeout)
    except http.client.InvalidURL as error:
        raise ConfigError(f"address: expected host:port, got {address!r}: use one like 127.0.0.1:9090") from error
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        report = json.loads(answer.read())
    finally:
        connection.close()
    if not isinstance(report, dict) or not {"status", "checks"} <= report.keys():
        raise ValueError("another answer")
    return answer.status, report
