"""Plays players against each other on the same maps, keeps the results, and rates the players."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generals_env.arena.evaluation import Evaluation, evaluate
    from generals_env.arena.tasks import TASKS, Task

__all__ = ["TASKS", "Evaluation", "Task", "evaluate"]


def __getattr__(name: str) -> Any:
    # Modules of the arena import this package; what plays games is imported when it is first used.
    if name in ("Evaluation", "evaluate"):
        from generals_env.arena import evaluation

        return getattr(evaluation, name)
    if name in ("TASKS", "Task"):
        from generals_env.arena import tasks

        return getattr(tasks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
