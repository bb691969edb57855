"""Tests diagnostics and replays: figures of each game equal those that are counted from its recorded boards."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from support.small_arenas import middle_of_a_game, small

from generals_env.arena.diagnostics import LOSSES
from generals_env.arena.figure_sums import sum_up
from generals_env.arena.played_game import PlayedGame
from generals_env.arena.players import make_players
from generals_env.arena.playing import play_block
from generals_env.arena.replays import recorded_game
from generals_env.engine.boards import CITY
from generals_env.replay import RecordedGame


def naive_figures(played: PlayedGame, record: RecordedGame) -> dict[str, Any]:
    """Return the figures that the boards of a game give, tile by tile."""
    turns, boards = record.turns, record.boards
    height, width = int(boards.games["height"][0]), int(boards.games["width"][0])
    looks = range(0, turns, 5)
    figures: dict[str, list[float | None]] = {}

    def count(turn: int, seat: int, what: Any) -> int:
        return sum(what(turn, tile) for tile in range(height * width) if boards.owner[turn, tile] == seat)

    def is_city(turn: int, tile: int) -> int:
        return int(boards.terrain[turn, tile] == CITY)

    def land(turn: int, seat: int) -> int:
        return count(turn, seat, lambda _, __: 1)

    def army(turn: int, seat: int) -> int:
        return count(turn, seat, lambda turn, tile: int(boards.army[turn, tile]))

    for turn in (25, 50, 100):
        figures[f"land_{turn}"] = [land(turn, seat) if turn < turns else None for seat in range(2)]
    for turn in (100, 200):
        figures[f"strength_{turn}"] = [land(turn, seat) + army(turn, seat) if turn < turns else None for seat in range(2)]
    figures["cities"] = [max(count(turn, seat, is_city) for turn in looks) for seat in range(2)]
    figures["contact"] = [None, None]
    for seat in range(2):
        for turn in range(turns + 1):
            if meets(boards, turn, seat, height, width):
                figures["contact"][seat] = turn
                break
    figures["loss"] = [None, None]
    if played.winner >= 0:
        last, lost = looks[-1], 1 - played.winner
        homes = boards.players["general"]
        row, column = divmod(int(homes[last, lost]), width)
        guard = count(
            last,
            lost,
            lambda turn, tile: int(boards.army[turn, tile]) * (abs(tile // width - row) + abs(tile % width - column) <= 3),
        )
        loss = "outplayed"
        if turns < 100:
            loss = "rushed"
        elif 3 * land(last, lost) < 2 * land(last, played.winner):
            loss = "outgrown"
        elif 4 * guard < army(last, lost):
            loss = "undefended"
        elif 3 * army(last, lost) < 2 * army(last, played.winner):
            loss = "overpowered"
        figures["loss"][lost] = LOSSES.index(loss)
    return figures


def meets(boards: Any, turn: int, seat: int, height: int, width: int) -> bool:
    """Return whether an enemy's tile lies next to own land."""
    grid = boards.owner[turn].reshape(height, width)
    for row, column in np.argwhere(grid == 1 - seat).tolist():
        if (grid[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] == seat).any():
            return True
    return False


def test_figures_equal_those_counted_from_recorded_boards() -> None:
    config = small(max_turns=240)
    expander, random, other = make_players(["expander", "random", "support.small_arenas:first_legal"])
    games = play_block(config, (expander, random), range(8), 1, threading.Event(), keeps=True)
    mirror = play_block(config, (expander, other), [0], 1, threading.Event(), keeps=True)
    ends = set()
    for game in [*games, *mirror]:
        record = recorded_game(config, game)
        assert record.names == game.played.players
        assert record.turns == game.played.turns
        alive = record.boards.players["alive"][-1]
        assert alive.all() == (game.played.winner < 0)
        if game.played.winner >= 0:
            assert alive.tolist() == [game.played.winner == seat for seat in range(2)]
        expected = naive_figures(game.played, record)
        assert {name: list(values) for name, values in game.played.figures.items()} == expected
        ends.add((game.played.ended, *[value for value in expected["loss"] if value is not None]))
    assert len(ends) > 2


def test_arena_plays_on_from_the_middle_of_a_game() -> None:
    boards = middle_of_a_game(0)
    config = small(start=boards)
    one, two = make_players(["expander", "random"])
    for game in play_block(config, (one, two), range(3), 1, threading.Event(), keeps=True):
        record = recorded_game(config, game)
        assert record.boards.owner[0].tobytes() == boards.owner.tobytes()
        assert record.turns == game.played.turns <= 130
        assert record.boards.players["alive"][-1].all() == (game.played.winner < 0)


def game(winner: int, turns: int, **figures: Any) -> PlayedGame:
    return PlayedGame(("a", "b"), winner, "won" if winner >= 0 else "cut_off", turns, "8x8", 0, turns, figures=figures)


def test_figures_are_summed_up_by_player() -> None:
    sums = sum_up([
        game(0, 90, land_25=(10, 8), strength_100=(None, None), contact=(30, 31), cities=(1, 0), loss=(None, 1)),
        game(1, 300, land_25=(12, 8), strength_100=(30, 20), contact=(50, None), cities=(3, 0), loss=(3, None)),
        game(-1, 400, land_25=(11, 9), strength_100=(21, 20), strength_200=(90, 40), contact=(None, None), cities=(2, 2)),
        game(0, 200, strength_100=(50, 10), loss=(None, 2)),
    ])  # fmt: skip
    one, two = sums["a"], sums["b"]
    assert one.games == 4
    assert one.land[25] == (11, 11, 10.2)
    assert 50 not in one.land
    assert (one.leads[100].games, one.leads[100].won) == (2, 1)
    assert (one.leads[200].games, one.leads[200].won) == (1, 0)
    assert (two.leads[100].games, two.contact, two.met) == (0, 31, 0.25)
    assert (one.contact, one.met, one.cities) == (40, 0.5, 2)
    assert (one.draws, one.cut_offs, one.turns, one.turns_won) == (0.25, 0.25, 250, 145)
    assert two.losses == {"rushed": 1, "outgrown": 1}
    assert one.losses == {"undefended": 1}
    assert one.to_dict()["land"] == {"25": {"mean": 11, "median": 11, "tenth": 10.2}}
