"""Wrappers and opponents.

From the root of a checkout this folder can also be imported by its own name; that gives the very same objects.
"""

from __future__ import annotations

if __name__ == "generals_env.wrappers":
    from generals_env.wrappers.opponents import OPPONENTS, Opponent

    __all__ = ["OPPONENTS", "Opponent"]
else:
    from generals_env.checkout import alias_package

    alias_package(__name__, "generals_env.wrappers")
