"""Records a dataset, and reads all of it back."""

from __future__ import annotations

from typing import Any

import numpy as np

import generals_env
from generals_env.recorders import (
    ExperienceBatch,
    ExperienceRecorder,
    open_dataset,
)
from support.helpers import Memory, course_of


def recorded(games: int = 5, run: str = "run", **options: Any) -> list[ExperienceBatch]:
    """Return the experience of some games in many small batches, which share games."""
    batches = Memory()
    with ExperienceRecorder(
        generals_env.parallel_env(**({"height": 6, "width": 7, "max_turns": 40} | options)), batches, run
    ) as env:
        for seed in range(games):
            course_of(env, seed, turns=50)
    whole = ExperienceBatch.concat(batches)
    return [whole.slice(low, low + 37).compact() for low in range(0, len(whole), 37)]


def key(batch: ExperienceBatch) -> list[tuple[Any, ...]]:
    """Return what tells experiences apart and what they are, in the order of their sequence."""
    order = np.argsort(batch.sequence, kind="stable")
    states, masks = batch.states(), batch.next_action_masks()
    return [
        (
            batch.game_ids[batch.game[k]],
            *(getattr(batch, name)[k].item() for name in ("player_id", "turn", "sequence", "action", "reward", "collected_at")),
            batch.terminated[k].item(),
            states[k].tobytes(),
            masks[k].tobytes(),
        )
        for k in order
    ]


def everything(place: Any) -> ExperienceBatch:
    return ExperienceBatch.concat(list(open_dataset(place)))
