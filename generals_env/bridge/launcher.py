"""Starts an agent without the package's environments: ``python launcher.py --policy expander``.

The file lies in ``generals_env/bridge``, in an archive as well as in an installed package. It registers the packages above it
without running their ``__init__``, which imports libraries that the sandbox of the competition lacks. Only numpy is needed.
"""

from __future__ import annotations

import argparse
import os
import sys
import types

__all__ = ["main"]


def register_packages() -> None:
    """Make the modules of the package importable without the ``__init__`` of the packages above them."""
    bridge = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - importing pathlib takes time
    root = os.path.dirname(bridge)  # noqa: PTH120
    sys.path[:] = [place for place in sys.path if place != bridge]  # modules of this folder belong to the package
    for name, folder in (("generals_env", root), ("generals_env.engine", os.path.join(root, "engine"))):  # noqa: PTH118
        package = types.ModuleType(name)
        package.__path__ = [folder]
        sys.modules[name] = package


def main(arguments: list[str] | None = None) -> int:
    """Play one game on standard input and output; return the exit status.

    Args:
        arguments: Of the command line; None: those of the process.
    """
    parser = argparse.ArgumentParser(prog="agent", description="Plays the line protocol of the competition.")
    parser.add_argument(
        "--policy",
        default="expander",
        help="random, expander, hunter, trained, a saved network, or module:callable",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", choices=["stdio"], default="stdio")
    options = parser.parse_args(arguments)
    if "generals_env" not in sys.modules:
        register_packages()
    from generals_env.bridge.stdio_agent import load_frame_policy, play_stdio
    from generals_env.errors import GeneralsError

    replies = sys.stdout.buffer
    sys.stdout = sys.stderr  # what a policy prints is no reply
    try:
        play_stdio(load_frame_policy(options.policy, options.seed), sys.stdin.buffer, replies)
    except GeneralsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
