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
from hypothesis import strategies as st
from naive import (
    CITY,
    DEFENSELESS,
    DESERT,
    LEAPFROG,
    LOOKOUT,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    PLAIN,
    SLIPPERY,
    STEPS,
    SWAMP,
    TORUS,
    Game,
    Move,
    play_turn,
)

from generals_env.engine.boards import Boards, copy_boards, empty_boards
from generals_env.engine.observations import reference as sight
from generals_env.engine.policies import reference as policies
from generals_env.engine.rules import rewards
from generals_env.engine.rules import turn as rules
from generals_env.engine.simulation import single_game as turn

SEEDS = st.integers(0, 2**64 - 1)
MODIFIERS = (LEAPFROG, DEFENSELESS, TORUS, SLIPPERY)
OWNER_CODES = {MOUNTAIN: -2, LOOKOUT: -5, OBSERVATORY: -6}


def random_game(rng: random.Random, players: int | None = None, largest: int = 9) -> Game:
    """Return a game in full swing; where its padding lies, nobody can be."""
    players = players or rng.choice((2, 2, 3, 4, 5, 6, 7, 8))
    rows, columns = rng.randint(4, largest), rng.randint(4, largest)
    height, width = rows + rng.choice((0, 0, 1, 2)), columns + rng.choice((0, 0, 1, 2))
    tiles = height * width
    game = Game(
        height=height,
        width=width,
        rows=rows,
        columns=columns,
        version=rng.choice((2, 3, 4, 5, rng.randint(6, 14), 15, 16, 18, 18, 18, 18)),
        modifiers={modifier for modifier in MODIFIERS if rng.random() < 0.3},
        fog=rng.random() < 0.8,
        turn=max(rng.choice((50, 100, 350)) - rng.randint(1, 5), 0) if rng.random() < 0.6 else rng.randint(0, 400),
        last_move=0,
        owner=[-2] * tiles,
        army=[0] * tiles,
        ground=[MOUNTAIN] * tiles,
        cities=set(),
        generals=[-1] * players,
        teams=random_teams(rng, players),
        alive=[True] * players,
        surrendered=[-1] * players,
    )
    if rng.random() < 0.02:
        game.turn = 50000 - rng.randint(0, 3)
    game.last_move = game.turn - rng.randint(0, 3)
    if rng.random() < 0.05:
        game.turn, game.last_move = 2040, 2040 - rng.randint(1997, 2000)
    board = [row * width + column for row in range(rows) for column in range(columns)]
    place_generals(rng, game, board)
    place_land(rng, game, board)
    if game.turn - game.last_move > 1000 and rng.random() < 0.5:  # nobody is stronger but by his land
        game.army = [army if game.owner[tile] < 0 else 0 for tile, army in enumerate(game.army)]
    return game


def random_teams(rng: random.Random, players: int) -> list[int]:
    if rng.random() < 0.5:
        return list(range(players))
    return [rng.randrange(rng.choice((2, 2, 3, 4))) for _ in range(players)]


def place_generals(rng: random.Random, game: Game, board: list[int]) -> None:
    """Put the generals side by side, or anywhere; let some players be captured, leave, or have left."""
    centre = divmod(rng.choice(board), game.width)
    spread = rng.choice((0.0, 1.0, 10.0))

    def distance(tile: int) -> float:
        row, column = divmod(tile, game.width)
        return abs(row - centre[0]) + abs(column - centre[1]) + spread * rng.random()

    homes = sorted(board, key=distance)[: len(game.alive)]
    rng.shuffle(homes)
    for player, home in enumerate(homes):
        fate = rng.random()
        if fate < 0.1:  # captured
            game.alive[player] = False
            continue
        if fate < 0.25:  # has surrendered; the land turns over soon
            game.alive[player] = False
            game.surrendered[player] = game.turn - rng.choice((50, 50, 49, 48, 20))
            if game.surrendered[player] < 0:
                game.surrendered[player] = game.turn
        game.generals[player] = home
        game.owner[home] = player
        game.army[home] = rng.choice((0, 1, 1, 2, 2, 3, 5, 9, 40, 999, 1500))
        game.ground[home] = PLAIN


def place_land(rng: random.Random, game: Game, board: list[int]) -> None:
    """Fill what the generals left free."""
    owners = [player for player, home in enumerate(game.generals) if home != -1]
    owned = rng.choice((0.15, 0.5, 0.9))
    armies = rng.choice(((0, 1, 2, 3), (1, 2, 2, 3, 4, 5, 6), (1, 2, 10, 30, 100, 998, 999, 1000, 1001, 3000)))
    for tile in board:
        if tile in game.generals:
            continue
        kinds = (PLAIN, CITY, SWAMP, DESERT, MOUNTAIN, LOOKOUT, OBSERVATORY)
        kind = rng.choices(kinds, weights=(12, 2, 2, 1, 2, 0.3, 0.3))[0]
        game.ground[tile] = PLAIN if kind == CITY else kind
        game.owner[tile] = OWNER_CODES.get(kind, NEUTRAL)
        if kind == CITY:
            game.cities.add(tile)
        if kind in OWNER_CODES:
            continue
        if owners and rng.random() < owned:
            game.owner[tile] = rng.choice(owners)
            game.army[tile] = rng.choice(armies)
        elif kind == CITY:
            game.army[tile] = rng.choice((0, 3, 39, 40, 45))
        elif rng.random() < 0.2:
            game.army[tile] = rng.choice((-7, -1, 1, 4))


def to_boards(game: Game, count: int = 1) -> Boards:
    """Return boards of which the last one is the game."""
    boards = empty_boards(count, game.height, game.width, len(game.alive))
    game.write(boards, count - 1)
    return boards


def random_actions(rng: random.Random, game: Game) -> list[int]:
    """Return an action for each player: mostly legal, often at a general or where another comes or goes, sometimes anything."""
    plane = 4 * game.height * game.width
    actions = [2 * plane] * len(game.alive)
    if game.turn - game.last_move > 1000 and rng.random() < 0.8:
        return actions
    legal = {player: legal_moves(game, player) for player in range(len(actions))}
    starts: set[int] = set()
    ends: set[int] = set()
    for player in rng.sample(range(len(actions)), len(actions)):
        if rng.random() < 0.1:
            actions[player] = rng.choice((2 * plane, rng.randrange(2 * plane + 1)))
        elif legal[player]:
            weights = [
                (3 if attacks(game, move) else 1)
                * (10 if game.is_general(move.end) else 1)
                * (10 if move.end in starts else 1)
                * (5 if move.start in ends else 1)
                for move in legal[player].values()
            ]
            actions[player] = rng.choices(list(legal[player]), weights)[0]
            starts.add(legal[player][actions[player]].start)
            ends.add(legal[player][actions[player]].end)
    plot = rng.choice((nothing, nothing, nothing, carousel, duel))
    for player, action in plot(rng, game, legal).items():
        actions[player] = action
    return [action + rng.choice((0, 0, plane)) if action < plane else action for action in actions]


def legal_moves(game: Game, player: int) -> dict[int, Move]:
    actions = [4 * start + direction for start in game.tiles_of(player) for direction in range(4)]
    moves = {action: game.decode(player, action) for action in actions}
    return {action: move for action, move in moves.items() if move is not None}


def attacks(game: Game, move: Move) -> bool:
    return game.owner[move.end] >= 0 and not game.friendly(move.player, game.owner[move.end])


def nothing(rng: random.Random, game: Game, legal: dict[int, dict[int, Move]]) -> dict[int, int]:
    return {}


def carousel(rng: random.Random, game: Game, legal: dict[int, dict[int, Move]]) -> dict[int, int]:
    """Return actions that lead four players around a square, each to where the next one leaves; nothing if there is none."""
    squares = list(range(len(game.owner) - game.width - 1))
    for tile in rng.sample(squares, len(squares)):
        corners = (tile, tile + 1, tile + game.width + 1, tile + game.width)
        actions = {game.owner[corner]: 4 * corner + way for corner, way in zip(corners, (3, 1, 2, 0), strict=True)}
        if len(actions) == 4 and all(player >= 0 and action in legal[player] for player, action in actions.items()):
            return actions
    return {}


def duel(rng: random.Random, game: Game, legal: dict[int, dict[int, Move]]) -> dict[int, int]:
    """Return actions of two who attack each other's general, and of a third who takes where one of them comes from."""
    raids = {}
    for player, moves in legal.items():
        for action, move in moves.items():
            if attacks(game, move) and game.is_general(move.end):
                raids[player, game.owner[move.end]] = action
    for (player, rival), action in rng.sample(list(raids.items()), len(raids)):
        if (rival, player) not in raids:
            continue
        actions = {player: action, rival: raids[rival, player]}
        sources = {legal[one][actions[one]].start for one in actions}
        for third in set(legal) - set(actions):
            for thief, move in legal[third].items():
                if move.end in sources:
                    return {**actions, third: thief}
        return actions
    return {}


def assert_same(game: Game, boards: Boards, b: int) -> None:
    expected = copy_boards(boards, slice(b, b + 1))
    game.write(expected, 0)
    for name in Boards._fields:
        mine, theirs = getattr(expected, name)[0], getattr(boards, name)[b]
        assert np.array_equal(mine, theirs), f"{name}: expected {mine}, got {theirs} in {game}"


def assert_occurred(happened: Counter[str], *names: str) -> None:
    missing = [name for name in names if not happened[name]]
    assert not missing, f"never happened: {missing}, of {dict(happened)}"


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
