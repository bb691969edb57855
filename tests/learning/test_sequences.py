"""Sequences of a rollout with burn-in, by hand and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import generals_env
from generals_env.learning.rollouts.sequences import Sequences, sequences
from generals_env.learning.rollouts.vector_rollout import VectorRollout


def flags(*rows: int) -> np.ndarray:
    return np.array(rows, np.bool_)[:, None]


def listed(found: Sequences) -> list[tuple[list[int], str]]:
    """Return the entries of each sequence, and of each a letter: burn-in b, learned L, no action n, padding -."""
    result = []
    for entries, present, learned, begins in zip(*found, strict=True):
        first = next((k for k in range(len(learned)) if learned[k]), 0)
        kinds = ["L" if learned[k] else "-" if not present[k] else "b" if k < first else "n" for k in range(len(learned))]
        shown = [kind.upper() if begin else kind.lower() for kind, begin in zip(kinds, begins, strict=True)]
        result.append((entries[present].tolist(), "".join(shown)))
    return result


def test_sequences_stay_within_an_episode_and_warm_up_in_it() -> None:
    ended = flags(0, 0, 0, 0, 1, 0, 0, 0)
    found = sequences(np.ones((8, 1), np.bool_), ended, np.array([True]), length=2, burn_in=3)
    assert listed(found) == [  # capital letters begin an episode
        ([0, 1], "Ll---"),
        ([0, 1, 2, 3], "Bbll-"),
        ([1, 2, 3, 4], "bbbl-"),
        ([5, 6], "Ll---"),
        ([5, 6, 7], "Bbl--"),
    ]


def test_sequences_across_ends_mark_where_the_next_episode_begins() -> None:
    ended, valid = flags(0, 0, 1, 0, 0, 0, 1, 0), flags(1, 1, 1, 0, 1, 1, 1, 0)
    found = sequences(valid, ended, np.array([False]), length=3, burn_in=1, across_ends=True)
    assert listed(found) == [([0, 1, 2], "lll-"), ([2, 3, 4, 5], "bbLl"), ([5, 6, 7], "bln-")]
    apart = sequences(valid, ended, np.array([False]), length=3, burn_in=1)
    assert listed(apart) == [([0, 1, 2], "lll-"), ([4, 5, 6], "Lll-")]


@pytest.mark.parametrize("across", [False, True])
def test_every_valid_entry_is_learned_once(across: bool) -> None:
    rng = np.random.default_rng(3)
    for number in range(40):
        steps, seats = int(rng.integers(1, 20)), int(rng.integers(1, 4))
        ended, valid = rng.random((steps, seats)) < 0.2, np.ones((steps, seats), np.bool_)
        for turn in range(1, steps):
            valid[turn] = ~((ended[turn - 1] | ~valid[turn - 1]) & (rng.random(seats) < 0.5))
            ended[turn] &= valid[turn]
        length, burn_in = int(rng.integers(1, 6)), int(rng.integers(0, 4))
        found = sequences(valid, ended, rng.random(seats) < 0.5, length, burn_in, across)
        assert sorted(found.entries[found.learned].tolist()) == np.flatnonzero(valid).tolist(), number
        turns, seat = np.divmod(found.entries, seats)
        for row in range(len(turns)):
            count = int(found.present[row].sum())
            assert found.present[row, :count].all()
            assert (np.diff(turns[row, :count]) == 1).all()
            assert len(set(seat[row].tolist())) == 1
            crossed = ended[turns[row, : count - 1], seat[row, 0]]
            if not across:
                assert not crossed.any()
                assert valid[turns[row, :count], seat[row, 0]].all()
            follows = valid[turns[row, 1:count], seat[row, 0]]
            before_is_over = crossed | ~valid[turns[row, : count - 1], seat[row, 0]]
            assert np.array_equal(found.begins[row, 1:count], follows & before_is_over)


def test_sequences_of_a_rollout_index_its_minibatches() -> None:
    venv = generals_env.make_vec(2, height=5, width=5, max_turns=7)
    venv.reset(seed=0)
    rollout = VectorRollout(venv, 10)
    rollout.begin()
    for step in range(10):
        rollout.observe()
        rollout.step([200] * 4, np.zeros(4), np.full(4, step), lambda states: torch.zeros(len(states)))
    found = rollout.buffer.sequences(4, burn_in=2)
    assert found.entries.shape == (4 * 3, 6)  # turns 0 to 3, 4 to 6 and 7 to 9 of each seat
    assert found.begins[:, 0].sum() == 4 * 2  # the sequences of turns 0 and 7; the one of turn 4 warms up in turns 2 and 3
