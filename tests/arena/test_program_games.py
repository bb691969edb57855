"""Tests games of programs in the arena: by the rules of the competition, under limits, on the same maps as others."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from support.helpers import PATIENCE
from support.programs import program
from support.small_arenas import checkpoint, played, small

from generals_env.arena.diagnostics import LOSSES
from generals_env.arena.played_game import FORFEIT
from generals_env.bridge.match.limits import Limits
from generals_env.errors import ConfigError

COMPETITION = small(rules="competition", height=(6, 8), width=8, max_turns=60)
PATIENT = Limits(first_move=PATIENCE, move=PATIENCE, ending=PATIENCE)


def test_arena_plays_a_program_as_the_policy_that_it_runs(tmp_path: Path) -> None:
    names = ["stdio:builtin:expander", "random", str(checkpoint(tmp_path / "model.pt", builds=True))]
    games = played(names, games=2, config=COMPETITION, limits=PATIENT)
    assert len(games) == 6
    assert all(game.ended != FORFEIT for game in games)
    for game in games:
        if game.players[0].startswith("builtin_expander") or game.players[1].startswith("builtin_expander"):
            seat = int(game.players[1].startswith("builtin_expander"))
            assert game.figures["land_25"][seat] > game.figures["land_25"][1 - seat]


def test_arena_program_that_ends_forfeits_its_games() -> None:
    name = f"stdio:{shlex.join(program('next(frames())'))}"
    games = played([name, "random"], games=2, config=COMPETITION, limits=PATIENT)
    for game in games:
        seat = game.players.index("random")
        assert (game.ended, game.winner, game.turns) == (FORFEIT, seat, 0)
        assert game.figures["loss"][1 - seat] == LOSSES.index("forfeit")
        assert game.figures["loss"][seat] is None


def test_arena_programs_play_by_the_rules_of_the_competition_only() -> None:
    with pytest.raises(ConfigError, match="rules: expected competition for a program, got 'live'"):
        played(["stdio:builtin:expander", "random"], games=2)
    with pytest.raises(ConfigError, match="expected a program that can be started"):
        played(["stdio:/no/such/program", "random"], games=2, config=COMPETITION)


def test_arena_program_is_known_by_its_command_and_its_files(tmp_path: Path) -> None:
    from generals_env.arena.players import make_player

    script = tmp_path / "bot.py"
    script.write_text("one")
    first = make_player(f"stdio:{sys.executable} {script}")
    script.write_text("two")
    second = make_player(f"stdio:{sys.executable} {script}")
    assert first.name != second.name
    assert "bot.py" in first.name
