"""Makes random boards and games, and compares the engine's boards with those of ``naive``."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
from hypothesis import strategies as st

from generals_env.engine.boards import Boards, copy_boards, empty_boards
from support.naive import (
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
    SWAMP,
    TORUS,
    Game,
    Move,
)

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
