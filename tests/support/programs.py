"""Programs that play the line protocol well or badly, as arguments of a process."""

from __future__ import annotations

import sys
from textwrap import dedent

#: Reads a frame a time: ``frames()`` yields the first line of each.
READING = """
import os, sys, time

def frames():
    height = int(sys.stdin.readline().split()[1])
    while head := sys.stdin.readline():
        for _ in range(3 * height):
            sys.stdin.readline()
        yield head

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()
"""

PASS = "1 0 0 0 0\\n"


def program(code: str) -> list[str]:
    """Return the arguments of a program whose code may use ``frames`` and ``say``."""
    return [sys.executable, "-S", "-c", READING + dedent(code)]


def passing() -> list[str]:
    """Return a program that passes until the end."""
    return program(f"for _ in frames(): say('{PASS}')")
