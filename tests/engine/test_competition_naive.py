"""Tests the rules of the competition against the oracle ``naive_competition`` on small boards with rich armies, every turn."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.naive_competition import Position
from support.random_games import assert_occurred

import generals_env
from generals_env.bridge.competition_boards import board_of
from generals_env.config import RewardConfig
from generals_env.engine.boards import Boards, copy_boards
from generals_env.engine.rules import turn as rules
from generals_env.engine.simulation.batch import Batch
from generals_env.engine.simulation.single_game import AFTER, BEFORE, play_turn, view_board

SEEDS = st.integers(0, 2**64 - 1)
TURNS = 8


def random_position(rng: random.Random) -> Boards:
    """Return a board in the middle of play: generals close together, armies that can pay for castles, perhaps some built."""
    height, width = rng.randint(4, 7), rng.randint(4, 7)
    tiles = height * width
    mountains = rng.choice((0.0, 0.1, 0.25))
    grid = [-2 if rng.random() < mountains else 0 for _ in range(tiles)]
    for tile in rng.sample(range(tiles), 3):
        if rng.random() < 0.3:
            grid[tile] = rng.choice((3, 40))  # a neutral castle
    first = rng.randrange(tiles)
    near = [tile for tile in range(tiles) if 0 < abs(tile // width - first // width) + abs(tile % width - first % width) < 4]
    grid[first], grid[rng.choice(near)] = 1, 2
    start = {
        "time": rng.choice((0, 3, 11, 46, 47, 48, 49)),
        "owner": [-2 if number == -2 else number - 1 if number in (1, 2) else rng.choice((-1, 0, 1)) for number in grid],
        "army": [0 if number == -2 else random_army(rng) for number in grid],
        "castle": [int(number > 2 or (number == 0 and rng.random() < 0.1)) for number in grid],
    }
    return board_of(grid, height, width, rng.choice((0, 12, 48, 800)), start)


def random_army(rng: random.Random) -> int:
    """Return an army of a tile."""
    return rng.choice((0, 1, 1, 2, 2, 3, 5, rng.randint(0, 20), rng.randint(35, 75)))


def random_orders(rng: random.Random, position: Position) -> tuple[int, int]:
    """Return an action of each player: mostly legal ones, often next to a general."""
    tiles = position.height * position.width
    chosen = []
    for player in (0, 1):
        legal = [index for index in range(9 * tiles + 1) if position.legal(player, index)]
        moves = [position.order(index) for index in legal]
        onto = [
            index
            for index, move in zip(legal, moves, strict=True)
            if move.kind == "move" and position.target(move) in position.generals
        ]
        builds = [index for index in legal if index > 8 * tiles]
        pools = [legal, legal, builds, onto, onto, [rng.randrange(9 * tiles + 1)]]
        chosen.append(rng.choice(rng.choice([pool for pool in pools if pool])))
    return chosen[0], chosen[1]


def assert_equal_boards(position: Position, boards: Boards, b: int) -> None:
    """Compare a board of the engine with the oracle."""
    owner, army, castles = position.flat()
    assert boards.owner[b].tolist() == owner
    assert boards.army[b].tolist() == army
    assert (boards.terrain[b] == 2).tolist() == castles
    assert boards.players[b]["alive"].tolist() == position.alive()
    assert int(boards.games[b]["turn"]) == position.time
    width = position.width
    assert [divmod(int(tile), width) for tile in boards.players[b]["general"]] == list(position.generals)


def assert_equal_views(position: Position, player: int, tensor: np.ndarray, mask: np.ndarray) -> None:
    """Compare mask and tensor (21, H*W) of a player with the oracle."""
    tiles = position.height * position.width
    assert mask.tolist() == [int(position.legal(player, index)) for index in range(9 * tiles + 1)]
    places = sorted(position.owner)
    seen = [position.sees(player, place) for place in places]
    assert (tensor[7] == 1).tolist() == seen
    assert (tensor[13] == 1).tolist() == [position.shows_obstacle(player, place) for place in places]
    shown = zip(places, seen, strict=True)
    assert (tensor[10] == 1).tolist() == [in_sight and place in position.castles for place, in_sight in shown]


def test_competition_agrees_with_oracle() -> None:
    happened: Counter[str] = Counter()

    def check(seed: int) -> None:
        rng = random.Random(seed)
        board = random_position(rng)
        board.games["fog"] = rng.random() < 0.8
        position = Position.from_boards(board, 0)
        tiles = position.height * position.width
        reward = rng.choice((RewardConfig(), RewardConfig.original())).weights()
        max_turns = position.time + rng.choice((3, 1000))
        batch = Batch(copy_boards(board), reward, max_turns, np.zeros(6, np.int64), np.zeros(3), template=board, channels=21)
        assert batch.reset(np.ones(1, np.bool_))
        single, advanced = copy_boards(board, np.zeros(2, np.int64)), copy_boards(board)
        active = np.ones(2, np.bool_)
        told = {name: np.zeros(2, np.bool_) for name in ("illegal", "terminated", "truncated")}
        rewards = np.zeros(2, np.float32)
        tensors, masks = np.zeros((2, 21, tiles), np.float32), np.zeros((2, 9 * tiles + 1), np.int8)
        view_board(single, AFTER, tensors, masks)
        for _ in range(TURNS):
            for player in (0, 1):
                assert_equal_views(position, player, tensors[player], masks[player])
                assert np.array_equal(batch.views.masks[0, player], masks[player])
                assert np.array_equal(batch.views.observations[0, player].T, tensors[player])
            if not active.any():
                break
            orders = random_orders(rng, position)
            legal = [position.legal(player, orders[player]) for player in (0, 1)]
            given_actions = np.array(orders, np.int64)
            batch.outcome.actions[0] = given_actions
            batch.step()
            position.play((orders[0] if legal[0] else 8 * tiles, orders[1] if legal[1] else 8 * tiles))
            rules.advance(advanced, 0, given_actions.copy(), np.zeros(2, np.bool_))
            play_turn(*single, BEFORE, AFTER, given_actions, active, reward, max_turns, *told.values(), rewards, tensors, masks)
            for boards, b in ((single, AFTER), (advanced, 0), (batch.boards, 0)):
                assert_equal_boards(position, boards, b)
            assert told["illegal"].tolist() == [not flag for flag in legal]
            assert told["terminated"].tolist() == [position.over] * 2
            assert told["truncated"].tolist() == [not position.over and position.time >= max_turns] * 2
            assert np.array_equal(batch.outcome.actions[0], given_actions)
            assert np.array_equal(batch.outcome.rewards[0], rewards)
            for name, flags in told.items():
                assert np.array_equal(getattr(batch.outcome, name)[0], flags), name
            active &= not (position.over or position.time >= max_turns)
            assert np.array_equal(batch.outcome.active[0], active)
            assert rules.winner(single, AFTER) == position.winner
            if position.over and position.winner >= 0:
                assert (rewards[position.winner], rewards[1 - position.winner]) == (reward[6], reward[7])
        happened.update(position.happened)
        happened["a truncation"] += int(told["truncated"].any())

    for number in range(150):  # fixed ones, so that rare events happen in every run
        check(number)
    settings(max_examples=40, deadline=None)(given(SEEDS)(check))()
    assert_occurred(
        happened,
        "a capture wins",
        "a castle is built",
        "a castle is captured",
        "a draw",
        "a draw with a capture",
        "a move is stopped by the other's",
        "a touch wins",
        "a truncation",
        "player 1 moves first",
    )


def test_competition_batches_equal_single_games() -> None:
    options = {"rules": "competition", "height": (5, 7), "width": (5, 7), "max_turns": 125, "touch_turn": 110}
    count = 3
    venv = generals_env.make_vec(count, copy=False, threads=1, autoreset_mode="NEXT_STEP", **options)
    venv.reset(seed=3)
    games = [generals_env.parallel_env(**options) for _ in range(count)]
    for b, game in enumerate(games):
        game.reset(seed=3 + b)
    rng = np.random.default_rng(3)
    tiles = 49
    happened: Counter[str] = Counter()
    for turn in range(135):
        masks = venv.batch.views.masks
        actions = np.full((count, 2), 8 * tiles)  # the generals save up for a castle
        for b, player in np.ndindex(count, 2):
            builds = np.flatnonzero(masks[b, player, 8 * tiles + 1 :])
            if len(builds):
                actions[b, player] = 8 * tiles + 1 + rng.choice(builds)
                happened["build"] += 1
            elif turn > 100:  # move off the general: a castle next to it costs 47
                actions[b, player] = rng.choice(np.flatnonzero(masks[b, player]))
        observations, rewards, terminated, truncated, _ = venv.step(actions)
        for b, game in enumerate(games):
            if not game.agents:
                game.reset()
                happened["next game"] += 1
            else:
                gained, ended, cut = game.step({f"player_{player}": int(actions[b, player]) for player in range(2)})[1:4]
                assert list(gained.values()) == rewards[b].tolist()
                assert list(ended.values()) == terminated[b].tolist()
                assert list(cut.values()) == truncated[b].tolist()
            assert np.array_equal(game.game.masks, observations["action_mask"][b])
            assert np.array_equal(game.game.observations, observations["observation"][b])
    assert_occurred(happened, "build", "next game")
