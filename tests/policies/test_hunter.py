"""Tests how the hunter plays: its opening, its games against others, legal moves under all rules, and what it may know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import generals_env
from generals_env.engine.boards import CITY, GENERAL
from generals_env.engine.policies.codes import HUNTER
from generals_env.engine.policies.hunter.kernels import choose_all
from generals_env.engine.policies.hunter.memory import LAST_BUILD, LAST_TURN, new_memory

ODD: dict[str, dict[str, Any]] = {
    "tiny": {"height": 4, "width": 4, "max_turns": 120},
    "sizes": {"height": (6, 11), "width": (7, 12), "max_turns": 120},
    "eight": {"players": 8, "height": 14, "width": 14, "max_turns": 120},
    "teams": {"players": 4, "teams": (0, 1, 0, 1), "height": 12, "width": 12, "max_turns": 120},
    "torus": {"height": 9, "width": 9, "modifiers": ("torus",), "max_turns": 120},
    "leapfrog": {"players": 3, "height": 9, "width": 9, "modifiers": ("leapfrog", "defenseless"), "max_turns": 150},
    "old": {"height": 9, "width": 9, "rules": "v3", "max_turns": 120},
    "competition": {"height": 9, "width": 9, "rules": "competition", "touch_turn": 60, "max_turns": 200},
}


def test_hunter_opens_as_well_as_people() -> None:
    """10% and median of the land at turn 50, over 100 seats."""
    env = generals_env.make_vec(50, threads=1)
    env.reset(seed=3)
    env.play(50, ("hunter", "hunter"))
    owner = env.boards().owner
    land = np.concatenate([(owner == seat).sum(axis=1) for seat in range(2)])
    assert np.quantile(land, 0.1) >= 21  # 22 of thousand maps
    assert np.median(land) >= 24
    assert land.max() <= 25


@pytest.mark.parametrize("names", [("hunter", "expander"), ("random", "hunter")])
def test_hunter_beats_the_policies_without_memory(names: tuple[str, str]) -> None:
    env = generals_env.make_vec(20, threads=1, max_turns=1000)
    env.reset(seed=5)
    counts = env.play(600, names)
    seat = names.index("hunter")
    assert counts.games >= 20
    assert counts.wins[seat] >= 0.95 * counts.games


@pytest.mark.parametrize("options", ODD.values(), ids=list(ODD))
def test_hunter_is_legal_under_odd_rules(options: dict[str, Any]) -> None:
    env = generals_env.make_vec(4, threads=1, **options)
    env.reset(seed=1)
    players = env.config.players
    counts = env.play(300, ["hunter", "hunter:easy"] * (players // 2) + ["hunter"] * (players % 2))
    assert counts.illegal == 0


def test_hunter_knows_nothing_of_hidden_tiles() -> None:
    """Armies, owners and terrain of tiles out of sight are changed before each choice: the actions stay the same."""
    env = generals_env.make_vec(6, threads=1, height=12, width=12, max_turns=150)
    env.reset(seed=2)
    batch = env.batch
    rng = np.random.default_rng(1)
    memories = [new_memory(12, 144) for _ in range(2)]
    policies, begun = np.array([2, 2]), np.zeros(6, np.int64)
    contact = 0
    for _ in range(150):
        for seat in range(2):
            only = np.where(np.arange(2) == seat, policies, -1)
            boards = env.boards()
            hidden = batch.views.tile_codes[:, seat] < 3
            contact += int((batch.views.tile_codes[:, seat] >= 10).any())
            chosen = []
            for changed, memory in enumerate(memories):
                if changed:
                    boards.army[hidden] = rng.integers(0, 99, hidden.sum())
                    boards.owner[hidden] = rng.integers(-2, 2, hidden.sum())
                    boards.terrain[hidden] = rng.choice([0, CITY, GENERAL], hidden.sum())
                actions = np.zeros((6, 2), np.int64)
                choose_all(
                    boards.owner,
                    boards.army,
                    boards.players,
                    boards.games,
                    batch.views.tile_codes,
                    batch.outcome.active,
                    actions,
                    batch.policy_rng,
                    only,
                    begun,
                    *memory,
                    0,
                    6,
                )
                chosen.append(actions[:, seat])
            assert (chosen[0] == chosen[1]).all()
            batch.outcome.actions[:, seat] = chosen[0]
        batch.step()
    assert contact > 20


def test_hunter_remembers_no_castle_before_it_builds_one() -> None:
    """Each word of its memory is one fact: the action of the last decision once took the place of the last castle."""
    env = generals_env.make_vec(4, threads=1, **ODD["competition"])
    env.reset(seed=1)
    env.play(40, ("hunter", "hunter"))
    words = new_memory(8, 81).words
    words[:] = env.batch.thinkers[HUNTER].memory.words  # type: ignore[attr-defined]
    assert (words[:, LAST_TURN] >= 0).all()
    assert (words[:, LAST_BUILD] == 0).all()
