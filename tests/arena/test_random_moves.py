"""Tests that random moves are legal, as frequent as asked for, and the same however games are batched."""

from __future__ import annotations

import numpy as np

from generals_env.arena.random_moves import draw, stir

STATES = np.random.default_rng(1).integers(0, 2**63, 4000).astype(np.uint64)


def test_random_moves_are_legal_and_as_frequent_as_asked_for() -> None:
    actions = np.full(len(STATES), 7)
    masks = np.random.default_rng(2).random((len(STATES), 12)) < 0.5
    masks[:, 7] = False
    masks[:, 5] = True
    for share, low, high in ((0.0, 0, 0), (0.02, 50, 115), (0.25, 900, 1100), (1.0, 4000, 4000)):
        stirred = stir(actions, masks, STATES, 3, share)
        changed = np.flatnonzero(stirred != 7)
        assert low <= len(changed) <= high
        assert masks[changed, stirred[changed]].all()
    counts = np.bincount(stir(actions, np.ones((len(STATES), 4)), STATES, 3, 1.0))
    assert counts.min() > 900


def test_random_moves_differ_by_turn_and_depend_on_no_other_game() -> None:
    actions, masks = np.zeros(len(STATES), np.int64), np.ones((len(STATES), 9))
    one, two = (stir(actions, masks, STATES, number, 0.5) for number in (10, 11))
    assert (one != two).mean() > 0.5
    order = np.random.default_rng(3).permutation(len(STATES))
    assert (stir(actions, masks, STATES[order], 10, 0.5) == one[order]).all()
    assert (actions == 0).all()


def test_actions_are_drawn_with_their_probabilities() -> None:
    shares = np.tile([0.5, 0.0, 0.2, 0.3, 0.0], (len(STATES), 1))
    masks = np.ones((len(STATES), 5))
    counts = np.bincount(draw(shares, masks, STATES, 4), minlength=5) / len(STATES)
    assert np.abs(counts - shares[0]).max() < 0.04
    masks[:, 0] = 0
    counts = np.bincount(draw(shares, masks, STATES, 4), minlength=5) / len(STATES)
    assert np.abs(counts - [0, 0, 0.4, 0.6, 0]).max() < 0.04
    shares[:] = np.nan  # a broken network: every legal action is as likely
    counts = np.bincount(draw(shares, masks, STATES, 4), minlength=5) / len(STATES)
    assert np.abs(counts - [0, 0.25, 0.25, 0.25, 0.25]).max() < 0.04
