"""Implements ``generals-env agent``: plays the line protocol of the competition on standard input and output."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from generals_env.bridge.stdio_agent import load_frame_policy, play_stdio

__all__ = ["agent"]

PROTOCOLS = ("stdio",)


def agent(
    policy: Annotated[
        str, typer.Option(help="random, expander, hunter, trained, a saved network, or module:callable of your own.")
    ] = "expander",
    protocol: Annotated[str, typer.Option(help="stdio: the lines of the competition.")] = "stdio",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the built-in policies.")] = 0,
) -> None:
    """Play a game over standard input and output, until the input ends; nothing but replies is written."""
    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"expected {' or '.join(PROTOCOLS)}, got {protocol!r}", param_hint="--protocol")
    replies = sys.stdout.buffer
    printed, sys.stdout = sys.stdout, sys.stderr  # what a policy prints is no reply
    try:
        play_stdio(load_frame_policy(policy, seed), sys.stdin.buffer, replies)
    finally:
        sys.stdout = printed
