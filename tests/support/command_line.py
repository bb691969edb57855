"""Runs the command line inside the test process."""

from __future__ import annotations

from typer.testing import CliRunner

from generals_env.cli.app import app

runner = CliRunner()


def run(*arguments: object) -> str:
    result = runner.invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())
