"""Tests games of programs in the arena: by the rules of the competition, under limits, on the same maps as others."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from support.helpers import PATIENCE
from support.programs import program
from support.small_arenas import checkpoint, played, small

from generals_env.arena.diagnostics import LOSSES
from generals_env.arena.played_game import FORFEIT
from generals_env.arena.players import make_player, make_players
from generals_env.arena.tournament import ArenaOptions, pairs_of, play_arena
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.starter_files import copy_starter
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
            assert (game.figures["faults"][seat], game.figures["faults"][1 - seat]) == (0, None)
            assert game.figures["land_25"][seat] > game.figures["land_25"][1 - seat]


def test_arena_program_that_ends_forfeits_its_games() -> None:
    code = program("next(frames()); sys.stderr.write('help'); sys.exit(7)")
    pairs = pairs_of(make_players([f"stdio:{shlex.join(code)}", "random"]))
    failures: list[str] = []
    games = play_arena(pairs, ArenaOptions(COMPETITION, games=2, limits=PATIENT), on_failure=failures.append)
    assert len(failures) == 2
    for text in failures:
        assert re.fullmatch(r"(?s).* on map 0, turn 0: ended with status 7\nhelp", text)
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


def test_arena_plays_an_agent_of_the_competition_from_its_folder(tmp_path: Path) -> None:
    copy_starter("python", tmp_path / "bot")
    name = f"stdio:sh {shlex.quote(str(tmp_path / 'bot' / 'run.sh'))}"
    games = played([name, "expander"], games=2, config=small(rules="competition", max_turns=30), limits=PATIENT)
    assert [(game.ended, game.turns) for game in games] == [("cut_off", 30)] * 2
    before = make_player(name)
    assert before.name.startswith("sh_bot-")
    with (tmp_path / "bot" / "agent.py").open("a") as file:
        file.write("# another agent")
    assert make_player(name).name != before.name


def test_arena_program_is_known_by_its_command_and_its_files(tmp_path: Path) -> None:

    script = tmp_path / "bot.py"
    script.write_text("one")
    first = make_player(f"stdio:{sys.executable} {script}")
    script.write_text("two")
    second = make_player(f"stdio:{sys.executable} {script}")
    slow = make_player(f"stdio:{sys.executable} {script}", limits=Limits(move=0.5))
    assert first.name != second.name
    assert slow.name == f"{second.name}@500ms"
    assert "bot.py" in first.name
