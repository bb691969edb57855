"""Tests how moves are drawn and transformed, and how accuracy is counted, by slow oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.people_games import hand_made, store_of

from generals_env.engine.observations.reference import FULL_CHANNELS
from generals_env.errors import ConfigError
from generals_env.learning.cloning import Accuracy, MoveStore, hold_out
from generals_env.learning.cloning.accuracy import Ranks, action_ranks, chosen_ranks
from generals_env.learning.cloning.baselines import CLASSES, MajorityBaseline, action_classes, expander_ranks, remembering_ranks
from generals_env.learning.cloning.move_batches import MoveSampler, batch_of, moves_in_order

OWN_ARMY = FULL_CHANNELS.index("own_army")
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right


def ends_of(action: int, side: int) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """Return half, source and target of a move."""
    half, rest = divmod(action, 4 * side * side)
    tile, direction = divmod(rest, 4)
    row, column = divmod(tile, side)
    return half, (row, column), (row + STEPS[direction][0], column + STEPS[direction][1])


def test_symmetries_move_boards_actions_and_masks_together() -> None:
    store = store_of("duel_wide")
    (group,) = store.groups
    side = group.side
    moves = np.flatnonzero(~group.passes)[::40]
    turns = [lambda x, k=k, flip=flip: np.rot90(x[..., ::-1] if flip else x, k, (-2, -1)) for k in range(4) for flip in (0, 1)]
    numbers = np.arange(side * side).reshape(side, side)
    plain = batch_of(group, moves, np.zeros(len(moves), np.int64), "full")
    found = set()
    for symmetry in range(8):
        batch = batch_of(group, moves, np.full(len(moves), symmetry), "full")
        for i in range(len(moves)):
            old, new = plain.observations[i].numpy(), batch.observations[i].numpy()
            (which,) = [k for k, turn in enumerate(turns) if np.array_equal(turn(old), new)]
            found.add(which)
            where = {int(tile): divmod(place, side) for place, tile in enumerate(turns[which](numbers).ravel())}

            def moved(action: int, where: dict[int, tuple[int, int]] = where) -> tuple[int, tuple[int, int], tuple[int, int]]:
                half, source, target = ends_of(action, side)
                return half, where[source[0] * side + source[1]], where[target[0] * side + target[1]]

            assert ends_of(int(batch.actions[i]), side) == moved(int(plain.actions[i]))
            legal = {moved(a) for a in np.flatnonzero(plain.legal[i, :-1]).tolist()}
            assert {ends_of(a, side) for a in np.flatnonzero(batch.legal[i, :-1]).tolist()} == legal
            assert batch.legal[i, -1]
    assert len(found) == 8


def test_games_are_drawn_equally_often_or_moves_are() -> None:
    short = hand_made("short", [[0, 0, 1, 0, 3]])
    long = hand_made("long", [[0, 0, 1, 0, 3], [0, 1, 2, 0, 60]])
    wide = hand_made("wide", [[0, 0, 1, 0, 3], [0, 0, 6, 0, 30]], mapHeight=6, mapWidth=6, generals=[0, 35])
    store = MoveStore.of([short, long, wide])
    sizes = np.array([int((group.game == g).sum()) for g in range(3) for group in store.groups if (group.game == g).any()])
    assert sizes.tolist() == [2, 59, 29]
    everything = hold_out(store, 0.0).training
    late = 57 / 59  # of the entries of the long game; only these have more than four turns left on boards of its size
    for by_game, wide, long in ((True, 1 / 3, late / 3), (False, 29 / 90, 57 / 90)):
        sampler = MoveSampler(store, everything, np.random.default_rng(1), by_game)
        counts = np.zeros(2)
        for _ in range(1500):
            batch = sampler.draw(10)
            of_wide = batch.legal.shape[1] == 8 * 36 + 1
            counts += (10, 0) if of_wide else (0, int((batch.left > 4).sum()))
        assert counts / 15000 == pytest.approx([wide, long], abs=0.05)
    with pytest.raises(ConfigError, match="entries: expected one or more moves"):
        MoveSampler(store, hold_out(store, 1.0).training, np.random.default_rng(1))


def slow_rank(scores: list[float], legal: list[bool], action: int) -> int:
    """Return the place of an action among the legal ones, from the highest score on."""
    order = sorted((a for a in range(len(scores)) if legal[a]), key=lambda a: (-scores[a], a))
    return order.index(action)


def test_ranks_and_shares_are_those_of_a_slow_count() -> None:
    rng = np.random.default_rng(3)
    count, actions = 300, 33
    scores = rng.integers(0, 12, (count, actions)).astype(np.float32)  # many are equal
    legal = rng.random((count, actions)) < 0.4
    legal[:, -1] = True
    chosen = np.array([rng.choice(np.flatnonzero(row)) for row in legal])
    ranks = action_ranks(torch.from_numpy(scores), torch.from_numpy(legal), torch.from_numpy(chosen))
    every, moves = [], []
    for i in range(count):
        every.append(slow_rank(scores[i].tolist(), legal[i].tolist(), int(chosen[i])))
        if chosen[i] != actions - 1:
            moves.append(slow_rank(scores[i].tolist(), [*legal[i, :-1].tolist(), False], int(chosen[i])))
    assert ranks.every.tolist() == every
    assert ranks.moves[ranks.moves >= 0].tolist() == moves
    found = Accuracy.of(ranks)
    assert (found.entries, found.moves) == (count, len(moves))
    assert found.top1 == sum(rank == 0 for rank in every) / count
    assert found.top5 == sum(rank < 5 for rank in every) / count
    assert found.moves_top1 == sum(rank == 0 for rank in moves) / len(moves)
    assert found.moves_top5 == sum(rank < 5 for rank in moves) / len(moves)


def test_a_policy_that_names_one_action_has_no_top_five() -> None:
    ranks = chosen_ranks(np.array([3, 8, 2, 8]), np.array([3, 8, 1, 5]), passing=8)
    found = Accuracy.of(ranks)
    assert found == Accuracy(entries=4, moves=3, top1=0.5, top5=None, moves_top1=1 / 3, moves_top5=None)
    with pytest.raises(ConfigError, match="hold out more players"):
        Ranks.joined([])


def test_classes_order_armies_by_size_direction_and_half() -> None:
    store = store_of("duel_small")
    (group,) = store.groups
    batch = batch_of(group, np.arange(0, len(group), 7), np.zeros(len(range(0, len(group), 7)), np.int64), "full")
    classes = action_classes(batch)
    side = group.side
    for i in range(len(batch.actions)):
        army = batch.observations[i, OWN_ARMY].flatten().tolist()
        legal = batch.legal[i].tolist()
        movable = {a % (4 * side * side) // 4 for a in range(8 * side * side) if legal[a]}
        order = sorted(movable, key=lambda tile: (-army[tile], tile))
        for a in np.flatnonzero(legal[:-1]).tolist():
            half, rest = divmod(a, 4 * side * side)
            assert classes[i, a] == min(order.index(rest // 4), 31) * 8 + half * 4 + rest % 4
        assert classes[i, -1] == CLASSES - 1


def test_majority_prefers_what_was_most_common_in_training() -> None:
    store = store_of("duel_small", "duel")
    everything = hold_out(store, 0.0).training
    majority = MajorityBaseline()
    majority.count(store, everything)
    assert majority.counts.sum() == len(store)
    assert majority.counts[-1] == sum(int(group.passes.sum()) for group in store.groups)
    for _, _, batch in moves_in_order(store, everything, 64):
        classes = action_classes(batch)
        scores = majority.counts[classes]
        ranks = majority.ranks(batch)
        for i in range(len(batch.actions)):
            wanted = slow_rank(scores[i].tolist(), batch.legal[i].tolist(), int(batch.actions[i]))
            assert ranks.every[i] == wanted


def test_expander_agrees_with_its_own_games_up_to_ties() -> None:
    store = store_of("duel_small", "duel_square")  # two expanders each
    parts = [expander_ranks(group, batch) for group, _, batch in moves_in_order(store, hold_out(store, 1.0).held_out, 128)]
    found = Accuracy.of(Ranks.joined(parts))
    assert 0.3 < found.moves_top1 < 0.95
    assert found.top5 is None
    (group, *_) = store.groups
    assert Accuracy.of(remembering_ranks("hunter", group, np.arange(len(group)))).top1 < found.top1
