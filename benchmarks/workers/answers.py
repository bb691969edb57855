"""Answers the questions of a benchmark: the loop of workers that stay alive, so that two of them can be measured in turn."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable


def answer(functions: dict[str, Callable[..., dict[str, float]]]) -> None:
    """Read a list of a function's name and its arguments from each line of the input, and print its result, as JSON."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(functions[name](*arguments)), flush=True)
