"""What tests of the log share."""

from __future__ import annotations

import numpy as np
import pytest
from support.logs import PART
from support.recorded import record_game

from generals_env.recorders.experience import ExperienceBatch


@pytest.fixture(scope="module")
def parts() -> list[ExperienceBatch]:
    """Return two games in small batches."""
    games = [record_game(seed, name=f"game {seed}", height=6, width=7, max_turns=70) for seed in (1, 2)]
    return [game.select(np.arange(low, low + PART)) for game in games for low in range(0, len(game) - PART, PART)]
