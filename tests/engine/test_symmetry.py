"""Tests the symmetries of the square: they form a group, and the rules of the game have them."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import same
from support.naive import TORUS
from support.random_games import SEEDS, random_actions, random_game, to_boards
from support.symmetries import turned, turned_mask

from generals_env.engine.boards import Boards
from generals_env.engine.observations import reference as sight
from generals_env.engine.rules import turn as rules
from generals_env.engine.symmetry import (
    COMPOSITION,
    INVERSE,
    KEEP_SHAPE,
    SYMMETRIES,
    TURNED_DIRECTIONS,
    draw_symmetries,
    transform_actions,
    transform_boards,
    transform_extents,
    transform_masks,
    transform_observations,
)

EVERY = range(SYMMETRIES)
every = pytest.mark.parametrize("symmetry", EVERY)
STEPS = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])


def within(boards: Boards) -> np.ndarray:
    """Return which tiles of board 0 are no padding, (H*W,) bool."""
    game = boards.games[0]
    inside = np.zeros((game["height"], game["width"]), np.bool_)
    inside[: game["rows"], : game["columns"]] = True
    return inside.ravel()


def views(boards: Boards, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return observations and masks of all players of board 0, (P, C, H, W) and (P, 8*H*W + 1)."""
    players, tiles = boards.players.shape[1], boards.owner.shape[1]
    visible = np.empty(tiles, np.uint32)
    sight.visible_to(boards, 0, visible)
    observations = np.empty((players, channels, tiles), np.float32)
    masks = np.empty((players, 8 * tiles + 1), np.int8)
    for player in range(players):
        sight.observe(boards, 0, player, visible, observations[player])
        sight.action_mask(boards, 0, player, masks[player])
    return observations.reshape(players, channels, *shape_of(boards)), masks


def shape_of(boards: Boards) -> tuple[int, int]:
    return int(boards.games[0]["height"]), int(boards.games[0]["width"])


# --- The group --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (1, 6)])
@every
def test_tiles_move_as_in_numpy(symmetry: int, shape: tuple[int, int]) -> None:
    tiles = np.arange(2 * 3 * shape[0] * shape[1], dtype=np.float32).reshape(2, 3, *shape)
    assert same(transform_observations(tiles, symmetry), turned(tiles, symmetry))


@every
def test_directions_turn_with_tiles(symmetry: int) -> None:
    for direction, (down, right) in enumerate(STEPS):
        tiles = np.zeros((1, 3, 3), np.float32)
        tiles[0, 1 + down, 1 + right] = 1
        ((row, column),) = np.argwhere(transform_observations(tiles, symmetry)[0]) - 1
        assert STEPS[TURNED_DIRECTIONS[symmetry, direction]].tolist() == [row, column]


def test_symmetries_form_a_group() -> None:
    tiles = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    images = [transform_observations(tiles, s) for s in EVERY]
    assert len({(image.shape, image.tobytes()) for image in images}) == 8
    for first in EVERY:
        assert COMPOSITION[first, 0] == COMPOSITION[0, first] == first
        assert COMPOSITION[INVERSE[first], first] == COMPOSITION[first, INVERSE[first]] == 0
        assert same(transform_observations(images[first], INVERSE[first]), tiles)
        for second in EVERY:
            both = COMPOSITION[second, first]
            assert same(transform_observations(images[first], second), images[both])
            assert (TURNED_DIRECTIONS[second][TURNED_DIRECTIONS[first]] == TURNED_DIRECTIONS[both]).all()
            for third in EVERY:
                assert COMPOSITION[third, both] == COMPOSITION[COMPOSITION[third, second], first]
    assert sorted(COMPOSITION[5, 5::-5]) == [3, 5]  # two quarter turns are a half turn
    assert {len(image[0]) for image in images[:KEEP_SHAPE]} == {4}


@given(
    first=st.integers(0, 7),
    second=st.integers(0, 7),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    builds=st.booleans(),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_actions_and_masks_turn_alike_and_compose(
    first: int, second: int, height: int, width: int, builds: bool, data: Any
) -> None:
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    extents = np.array([[rows, columns]] * 2)
    rest = ((height, width), extents)
    passes, count = 8 * height * width, (9 if builds else 8) * height * width + 1
    actions = np.arange(2 * count).reshape(2, count) % count
    images = transform_actions(actions, first, *rest)
    assert all(np.array_equal(np.sort(row), np.arange(count)) for row in images)
    assert (images[actions == passes] == passes).all()
    masks = np.array([[action % 3 == 0 for action in range(count)], [True] * count], np.int8)
    assert same(np.take_along_axis(transform_masks(masks, first, *rest), images, axis=1), masks)
    assert same(transform_masks(masks, first, *rest)[0], turned_mask(masks[0], first, rest[0], rows, columns))

    shape = (width, height) if first & 4 else (height, width)
    there = transform_extents(extents, first)
    assert np.array_equal(
        transform_actions(images, second, shape, there), transform_actions(actions, COMPOSITION[second, first], *rest)
    )
    assert np.array_equal(transform_actions(images, INVERSE[first], shape, there), actions)


def test_each_row_has_its_own_symmetry() -> None:
    rng = np.random.default_rng(1)
    tiles = rng.random((8, 2, 3, 5, 5), np.float32)
    masks = rng.integers(0, 2, (8, 2, 201)).astype(np.int8)
    actions = rng.integers(0, 201, (8, 2))
    extents = np.array([[5, 5], [4, 5], [5, 3], [2, 4], [5, 4], [1, 5], [3, 3], [5, 5]])
    order = np.arange(8)
    together = (
        transform_observations(tiles, order, extents),
        transform_masks(masks, order, (5, 5), extents),
        transform_actions(actions, order, (5, 5), extents),
    )
    for s in EVERY:
        one = slice(s, s + 1)
        assert same(together[0][one], transform_observations(tiles[one], s, extents[one]))
        assert same(together[1][one], transform_masks(masks[one], s, (5, 5), extents[one]))
        assert same(together[2][one], transform_actions(actions[one], s, (5, 5), extents[one]))
    # Observations of any strides, and nothing at all.
    assert same(transform_observations(tiles[:, 1], order, extents), np.ascontiguousarray(together[0][:, 1]))
    assert same(transform_masks(masks[:, 1], order, (5, 5), extents), np.ascontiguousarray(together[1][:, 1]))
    assert transform_observations(tiles[:0], order[:0]).shape == (0, 2, 3, 5, 5)
    assert transform_masks(masks[:0], order[:0], (5, 5)).shape == (0, 2, 201)
    assert transform_actions(actions[:0], order[:0], (5, 5)).shape == (0, 2)


def test_draws_are_uniform_and_independent_per_row() -> None:
    rng = np.arange(4000, dtype=np.uint64)
    out = np.full(4000, -1, np.int64)
    which = np.arange(4000) % 2 == 0
    draw_symmetries(rng, which, SYMMETRIES, out)
    assert (out[~which] == -1).all()
    assert (rng[~which] == np.arange(4000)[~which]).all()
    assert (abs(np.bincount(out[which], minlength=8) - 250) < 80).all()
    draw_symmetries(rng, which, KEEP_SHAPE, out)
    assert set(out[which]) == set(range(KEEP_SHAPE))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda tiles, masks: transform_observations(tiles, 8), "symmetry: expected integers from 0 to 7, one or 2, got 8"),
        (lambda tiles, masks: transform_observations(tiles, [0, -1]), "symmetry: expected integers from 0 to 7"),
        (lambda tiles, masks: transform_observations(tiles, [0, 1, 2]), "symmetry: expected integers from 0 to 7"),
        (lambda tiles, masks: transform_observations(tiles, 0.5), "symmetry: expected integers from 0 to 7"),
        (lambda tiles, masks: transform_observations(tiles, [0, 4]), "as a board of 3x4 is not square"),
        (lambda tiles, masks: transform_observations(tiles, 0, np.array([[3, 4]])), r"extents: expected \(2, 2\) rows"),
        (lambda tiles, masks: transform_observations(tiles, 0, np.array([[3, 4], [4, 4]])), "extents: expected"),
        (lambda tiles, masks: transform_masks(masks, 0, (4, 4)), r"masks: expected \(n, ..., 129\) for boards of 4x4"),
    ],
)
def test_invalid_symmetry_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.zeros((2, 1, 3, 4), np.float32), np.zeros((2, 97), np.int8))


# --- The game ---------------------------------------------------------------------------------------------------------


def test_boards_of_one_batch_may_have_different_symmetries() -> None:
    rng = random.Random(5)
    games = []
    while len(games) < 8:
        game = random_game(rng, players=3, largest=6)
        if (game.height, game.width) == (6, 6):
            games.append(game)
    singles = [to_boards(game) for game in games]
    boards = Boards._make(np.concatenate(fields) for fields in zip(*singles, strict=True))
    together = transform_boards(boards, np.arange(8))
    for s, single in enumerate(singles):
        assert same(Boards._make(field[s : s + 1] for field in together), transform_boards(single, s))


def test_game_rules_have_all_symmetries() -> None:
    seen: Counter[str] = Counter()

    @given(SEEDS)
    @settings(max_examples=150, deadline=None)
    def check(seed: int) -> None:
        rng = random.Random(seed)
        game = random_game(rng, largest=7)
        boards = to_boards(game)
        shape = shape_of(boards)
        given_actions = np.array(random_actions(rng, game), np.int64)
        channels = rng.choice((9, 21))
        observations, masks = views(boards, channels)
        after = transform_boards(boards, 0)
        executed, illegal = given_actions.copy(), np.zeros(len(given_actions), np.bool_)
        rules.advance(after, 0, executed, illegal)
        extents = np.array([[game.rows, game.columns]] * len(given_actions))
        padded = (game.rows, game.columns) != shape and TORUS not in game.modifiers and game.fog
        seen.update({"padded": padded, "torus": TORUS in game.modifiers, "illegal": illegal.any(), "open": not padded})
        seen["captures"] += int((boards.players["general"] != after.players["general"]).any())
        for s in EVERY:
            other = transform_boards(boards, s)
            assert same(transform_boards(other, INVERSE[s]), boards)
            planes, legal = views(other, channels)
            expected = transform_observations(observations, s, extents)
            if padded:  # the padding is seen from two edges only
                inside = within(other).reshape(planes.shape[-2:])
                planes, expected = planes * inside, expected * inside
            assert same(planes, expected)
            assert same(legal, transform_masks(masks, s, shape, extents))

            moves = transform_actions(given_actions, s, shape, extents)
            refused = np.zeros(len(moves), np.bool_)
            rules.advance(other, 0, moves, refused)
            assert same(other, transform_boards(after, s))
            assert same(refused, illegal)
            assert same(moves, transform_actions(executed, s, shape, extents))

    check()
    assert min(seen[name] for name in ("padded", "torus", "illegal", "open", "captures")) > 0, seen
