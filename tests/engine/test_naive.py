"""The kernels and the second implementation in ``naive.py`` agree on thousands of random boards.

Boards are crowded and odd on purpose: generals side by side, padding, every terrain and modifier, versions 2 to 18, turns
at which something grows, land that is about to turn over. Each comparison counts what was rare and asserts that it occurred.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from support.naive import (
    STEPS,
    Game,
    play_turn,
)
from support.random_games import SEEDS, assert_occurred, assert_same, random_actions, random_game, to_boards

from generals_env.engine.boards import Boards
from generals_env.engine.observations import reference as sight
from generals_env.engine.policies import reference as policies
from generals_env.engine.rules import rewards
from generals_env.engine.rules import turn as rules
from generals_env.engine.simulation import single_game as turn


def observed(boards: Boards, b: int, player: int) -> np.ndarray:
    visible = np.empty(boards.owner.shape[1], np.uint32)
    out = np.empty((9, boards.owner.shape[1]), np.float32)
    sight.visible_to(boards, b, visible)
    sight.observe(boards, b, player, visible, out)
    return out


def masked(boards: Boards, b: int, player: int) -> np.ndarray:
    out = np.empty(8 * boards.owner.shape[1] + 1, np.int8)
    sight.action_mask(boards, b, player, out)
    return out


def test_a_board_survives_the_way_there_and_back() -> None:
    for seed in range(200):
        game = random_game(random.Random(seed))
        assert Game.from_boards(to_boards(game, 2), 1) == game


def test_turns_agree() -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=3000, deadline=None)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = random.Random(seed)
        game = random_game(rng)
        boards = to_boards(game)
        for _ in range(5):
            actions = random_actions(rng, game)
            executed, illegal = game.step(actions)
            played, flags = np.array(actions, np.int64), np.empty(len(actions), np.bool_)
            rules.advance(boards, 0, played, flags)
            assert played.tolist() == executed
            assert flags.tolist() == illegal
            assert_same(game, boards, 0)
            over = len(game.teams_alive()) <= 1
            assert rules.is_over(boards, 0) == over
            assert rules.winner(boards, 0) == (game.alive.index(True) if over and any(game.alive) else -1)
            game.happened["illegal action"] += any(illegal)
        happened.update(game.happened)

    check()
    assert_occurred(
        happened,
        "city captured",
        "cycle of moves",
        "desert lost",
        "general captured",
        "general of a dead player captured",
        "general taken without defence",
        "idle game ended",
        "illegal action",
        "land inherited",
        "land neutralised",
        "leapfrog",
        "move dropped",
        "move failed",
        "neutral city grew",
        "swamp lost",
        "tile of a team-mate taken over",
        "trade",
        "trade without defence",
    )


def test_players_see_the_same() -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=500, deadline=None)
    @given(SEEDS)
    def check(seed: int) -> None:
        game = random_game(random.Random(seed))
        boards = to_boards(game)
        bits = np.empty(game.height * game.width, np.uint32)
        sight.visible_to(boards, 0, bits)
        for player in range(len(game.alive)):
            visible = game.visible(player)
            assert set(np.flatnonzero(bits >> np.uint32(player) & np.uint32(1)).tolist()) == visible
            tensor = np.array(game.tensor(player), np.float32)
            assert np.array_equal(observed(boards, 0, player), tensor)
            happened["fog"] += 0 < len(visible) < len(game.owner)
            happened["army above the scale"] += bool((tensor[:2] == 1).any())
            happened["general or city of an enemy"] += bool((tensor[3] * tensor[5]).any())
            happened["sight over the edge"] += visible != replace(game, modifiers=set()).visible(player)

    check()
    assert_occurred(happened, "fog", "army above the scale", "general or city of an enemy", "sight over the edge")


def test_the_mask_is_what_the_engine_accepts() -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=120, deadline=None)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = random.Random(seed)
        game = random_game(rng, players=rng.choice((2, 3, 4)), largest=6)
        boards = to_boards(game, 2)
        passing = 8 * game.height * game.width
        actions = np.empty(len(game.alive), np.int64)
        illegal = np.empty(len(game.alive), np.bool_)
        for player in range(len(game.alive)):
            mask = masked(boards, 1, player)
            assert mask.tolist() == game.mask(player)
            for action in range(passing + 1):
                for field in boards:
                    field[0] = field[1]
                actions[:] = passing
                actions[player] = action
                rules.advance(boards, 0, actions, illegal)
                assert illegal[player] != mask[action]
                assert actions[player] == (action if mask[action] else passing)
                assert illegal.sum() == illegal[player]
            happened["dead player"] += not game.alive[player]
            happened["over the edge"] += goes_over_the_edge(game, mask)
            happened["one man to a team-mate"] += any(
                mask[4 * tile : 4 * tile + 4].any() and game.army[tile] == 1 for tile in game.tiles_of(player)
            )

    check()
    assert_occurred(happened, "dead player", "over the edge", "one man to a team-mate")


def goes_over_the_edge(game: Game, mask: np.ndarray) -> bool:
    for action in np.flatnonzero(mask[: 4 * game.height * game.width]):
        row, column = divmod(int(action) // 4, game.width)
        down, right = STEPS[action % 4]
        if not (0 <= row + down < game.rows and 0 <= column + right < game.columns):
            return True
    return False


def test_rewards_and_ends_agree() -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=1000, deadline=None)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = random.Random(seed)
        game = random_game(rng)
        players, tiles = len(game.alive), game.height * game.width
        boards = to_boards(game, 2)
        weights = {name: rng.choice((0.0, rng.uniform(-1, 1))) for name in rewards.WEIGHTS}
        max_turns = game.turn + rng.choice((1, 2, 4, 1000))
        active = np.array([rng.random() < 0.95 or alive for alive in game.alive])
        illegal, terminated, truncated = (np.empty(players, np.bool_) for _ in range(3))
        earned = np.empty(players, np.float32)
        observations = np.empty((players, 9, tiles), np.float32)
        masks = np.empty((players, 8 * tiles + 1), np.int8)
        for number in range(4):
            if rng.random() < 0.1:
                leaver = rng.randrange(players)
                if game.alive[leaver]:
                    game.surrender(leaver)
                    rules.kill(boards, turn.AFTER, leaver)
                    boards.players[turn.AFTER, leaver]["surrendered"] = game.turn
            actions = random_actions(rng, game)
            expected = play_turn(game, actions, active.tolist(), weights, max_turns)
            played = np.array(actions, np.int64)
            news = turn.play_turn(
                *boards,
                turn.BEFORE,
                turn.AFTER,
                played,
                active,
                np.array(list(weights.values())),
                max_turns,
                illegal,
                terminated,
                truncated,
                earned,
                observations,
                masks,
            )
            assert [field.tolist() for field in (played, illegal, terminated, truncated)] == list(expected[:4])
            assert earned.tolist() == pytest.approx(expected[4], rel=1e-6, abs=1e-6)
            assert news == any(flags.any() for flags in (illegal, terminated, truncated, earned))
            assert_same(game, boards, turn.AFTER)
            happened["terminated"] += bool(terminated.any())
            happened["truncated"] += bool(truncated.any())
            happened["lost in a game that goes on"] += bool(terminated.any() and not terminated[active].all())
            happened["draw"] += bool(terminated.any() and not any(game.alive))
            active &= ~(terminated | truncated)
            if number == 3:
                for player in range(players):
                    assert np.array_equal(observations[player], observed(boards, turn.AFTER, player))
                    assert np.array_equal(masks[player], masked(boards, turn.AFTER, player))
        happened.update(game.happened)

    check()
    assert_occurred(
        happened,
        "city captured",
        "draw",
        "general captured",
        "land inherited",
        "leapfrog",
        "lost in a game that goes on",
        "terminated",
        "trade",
        "truncated",
    )


def test_land_turns_over_when_a_replay_says_so() -> None:
    happened: Counter[str] = Counter()
    for seed in range(300):
        game = random_game(random.Random(seed))
        boards = to_boards(game)
        for player in range(len(game.alive)):
            if not game.alive[player]:
                game.neutralise(player)
                rules.neutralise(boards, 0, player)
                assert_same(game, boards, 0)
        happened.update(game.happened)
    assert_occurred(happened, "land inherited", "land neutralised")


def test_policies_are_legal() -> None:
    happened: Counter[str] = Counter()

    @settings(max_examples=500, deadline=None)
    @given(SEEDS)
    def check(seed: int) -> None:
        rng = random.Random(seed)
        game = random_game(rng)
        boards = to_boards(game)
        state = np.array([rng.getrandbits(64)], np.uint64)
        for player in range(len(game.alive)):
            mask, observation = masked(boards, 0, player), observed(boards, 0, player)
            passing = len(mask) - 1
            for _ in range(3):
                action = policies.random_action(mask, state, 0)
                assert mask[action] == 1
                assert (action == passing) == (not mask[:passing].any())
                happened["random half move"] += passing // 2 <= action < passing
                action = policies.expander_action(observation, mask, game.height, game.width, state, 0)
                assert mask[action] == 1
                happened["expander moves"] += action != passing
                happened["expander passes"] += action == passing

    check()
    assert_occurred(happened, "random half move", "expander moves", "expander passes")


def test_the_random_policy_is_uniform() -> None:
    game = random_game(random.Random(4), players=2)
    mask = max((masked(to_boards(game), 0, player) for player in range(2)), key=np.count_nonzero)
    legal = np.flatnonzero(mask[:-1])
    state = np.array([2024], np.uint64)
    draws = [policies.random_action(mask, state, 0) for _ in range(500 * len(legal))]
    counts = np.bincount(draws, minlength=len(mask))[legal]
    assert len(legal) > 20
    assert counts.sum() == len(draws)
    freedom = len(legal) - 1
    statistic = ((counts - 500) ** 2 / 500).sum()
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)  # four standard deviations of chi-square
