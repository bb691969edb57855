"""Compiles the kernels of one group in a process of its own: ``python -m generals_env.cli.warm_worker GROUP``.

It prints one JSON object a line: the kernel that is being compiled with the number of functions so far, and at the end the
folder and the processor of the kernels.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from numba.core import event
from numba.core.registry import cpu_target

from generals_env.cli.warm_groups import GROUPS, PARTS
from generals_env.cli.warm_stamps import KernelFiles, write_stamp
from generals_env.engine.kernel_cache.numba_hook import cache_files

__all__ = ["main"]


class Reporter(event.Listener):
    """Prints a line for each function that numba begins to compile."""

    def __init__(self, output: Any) -> None:
        """Print to ``output``."""
        self.output = output
        self.depth = self.functions = self.kernels = 0
        self.kernel = ""

    def on_start(self, event: Any) -> None:
        """Count a function."""
        if self.depth == 0:
            self.kernel = event.data["dispatcher"].py_func.__name__
            self.kernels += 1
        self.depth += 1
        self.functions += 1
        self.report(kernel=self.kernel, functions=self.functions)

    def on_end(self, event: Any) -> None:
        """Follow the depth."""
        self.depth -= 1

    def report(self, **values: Any) -> None:
        """Print a line."""
        print(json.dumps(values), file=self.output, flush=True)


def main() -> None:
    """Compile the group that the command line names."""
    # What libraries print must not mix with the lines for the parent.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    reporter, kernels, group = Reporter(output), KernelFiles(), sys.argv[1]
    event.register("numba:compile", reporter)
    (GROUPS | PARTS)[group]()
    write_stamp(group, kernels.names)
    files = cache_files()
    target = cpu_target.target_context.codegen().magic_tuple()
    reporter.report(folder=str(files.folder) if files else None, target=target, compiled=reporter.kernels)


if __name__ == "__main__":
    main()
