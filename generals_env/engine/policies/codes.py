"""Numbers of the built-in policies: the policy in the lower eight bits, its level or its budget above them."""

from __future__ import annotations

__all__ = [
    "EXPANDER",
    "GIVEN",
    "HUNTER",
    "MAX_BUDGET",
    "PLANNER",
    "RANDOM",
    "budget_code",
    "budget_of",
    "level_of",
    "policy_of",
    "with_level",
]

# Codes of policies; ``GIVEN`` for a player whose actions the caller gives. Those up to ``EXPANDER`` are compiled into the
# kernel that plays; the others remember what they saw and are asked before each turn, see ``simulation.thinkers``.
GIVEN, RANDOM, EXPANDER, HUNTER, PLANNER = -1, 0, 1, 2, 3

LEVELS = 256

#: Playouts or milliseconds of the largest budget.
MAX_BUDGET = 10**6


def with_level(policy: int, level: int) -> int:
    """Return the code of a policy at a level: 0 for its full strength."""
    return policy + LEVELS * level


def policy_of(code: int) -> int:
    """Return the policy of a code, without its level."""
    return code if code < 0 else code % LEVELS


def level_of(code: int) -> int:
    """Return the level of a code."""
    return code // LEVELS


def budget_code(amount: int, milliseconds: bool) -> int:
    """Return the code of the planner with a budget for each move.

    Args:
        amount: From 1 to ``MAX_BUDGET``.
        milliseconds: Whether ``amount`` is a time; otherwise it is a number of playouts.
    """
    return with_level(PLANNER, 2 * amount + milliseconds)


def budget_of(code: int) -> tuple[int, bool] | None:
    """Return amount and unit of the planner's budget as in ``budget_code``, None for the default."""
    level = level_of(code)
    return None if level == 0 else (level // 2, level % 2 == 1)
