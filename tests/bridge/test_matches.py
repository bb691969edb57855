"""Tests matches of programs that play well, badly, or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.helpers import PATIENCE, wait_until
from support.programs import passing, program

from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.match_game import GameResult
from generals_env.bridge.match.matches import MatchOptions, play_matches
from generals_env.errors import ConfigError

#: No reply of a program that plays on is late, however busy the machine is.
PATIENT = Limits(first_move=PATIENCE, move=PATIENCE, ending=PATIENCE)


def one_game(a: Any, b: Any = None, limits: Limits = PATIENT, turns: int = 4, **options: Any) -> GameResult:
    """Return a game on a small board in which ``a`` is player 0; the other passes by default."""
    settings = MatchOptions(1, 5, 1, 5, 6, turns, limits, both_seats=False)
    return play_matches([a, passing() if b is None else b], settings, **options)[0]


def test_match_of_builtin_policies_repeats_with_its_seed() -> None:
    def played() -> list[Any]:
        options = MatchOptions(2, 3, 2, 6, 6, 60, PATIENT)
        records: list[GameResult] = []
        results = play_matches(["builtin:expander", "builtin:random"], options, records.append, names=("one", "other"))
        assert all(result.record is None for result in results)
        seats = {(result.seed, result.first): result.record for result in records}
        assert sorted(seats) == [(3, 0), (3, 1), (4, 0), (4, 1)]
        assert seats[3, 0].names == ("one", "other")
        assert seats[3, 1].names == ("other", "one")
        for result in records:
            assert result.record.turns == result.turns
            assert len(result.record.boards.games) == result.turns + 1
            assert all(len(side.times) == result.turns and not side.faults for side in result.sides)
        # Both seats of a map begin with the same board.
        assert seats[3, 0].boards.army[0].tobytes() == seats[3, 1].boards.army[0].tobytes()
        assert seats[3, 0].boards.terrain[0].tobytes() != seats[4, 0].boards.terrain[0].tobytes()
        return [(key, record.actions.tobytes(), record.boards.army.tobytes()) for key, record in sorted(seats.items())]

    assert played() == played()


def test_passing_programs_play_to_the_last_turn() -> None:
    result = one_game(passing())
    assert (result.end, result.turns, result.winner) == ("turns", 4, -1)
    assert [len(side.times) for side in result.sides] == [4, 4]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit(3)", "ended with status 3"),
        ("next(frames()); os.kill(os.getpid(), 9)", "ended by SIGKILL"),
        ("for _ in frames(): say('1 0 0 0 0\\n'); os.close(1); time.sleep(600)", "closed its output"),
        ("while True: say('x' * 10000)", "wrote more than 256 bytes without an end of line"),
        ("while True: say('1 0 0 0 0\\n' * 100)", "lines that were not asked for"),
        ("while True: os.write(2, b'x' * 100000)", "bytes to its standard error"),
        ("for _ in frames(): say('one two\\n')", "3 faults"),
        ("a = b'x' * 400_000_000; time.sleep(600)", "GB of memory"),
        (
            "import subprocess; code = \"a = b'x' * 400_000_000; import time; time.sleep(600)\"; "
            "subprocess.Popen([sys.executable, '-c', code], start_new_session=True); time.sleep(600)",
            "GB of memory",
        ),
    ],
    ids=[
        "ends",
        "is killed",
        "closes its output",
        "writes no line",
        "floods its output",
        "floods its errors",
        "writes words",
        "takes memory",
        "has a child that takes memory",
    ],
)
def test_bad_program_forfeits(code: str, reason: str) -> None:
    limits = Limits(first_move=PATIENCE, move=PATIENCE, faults=3, memory=200_000_000, ending=0.1)
    result = one_game(program(code), limits=limits, turns=10)
    assert (result.end, result.winner) == ("forfeit", 1)
    assert reason in result.sides[0].forfeit
    assert not result.sides[1].forfeit


def test_program_without_replies_forfeits_by_late_moves() -> None:
    limits = Limits(first_move=0.2, move=0.05, faults=3, ending=0.1)
    result = one_game(program("time.sleep(600)"), limits=limits, turns=10)
    assert result.end == "forfeit"
    assert (result.sides[0].forfeit, result.sides[0].faults) == ("3 faults", {"late": 3})
    assert (result.turns, result.sides[0].times) == (2, [])


def test_late_reply_is_dropped() -> None:
    code = """
    for frame in frames():
        late = frame.startswith('1 ')
        if late:
            time.sleep(0.6)
        say('what\\n' if late else '1 0 0 0 0\\n')
    """
    result = one_game(program(code), limits=Limits(first_move=PATIENCE, move=0.3, ending=PATIENCE), turns=8)
    assert result.end == "turns"
    assert result.sides[0].faults["late"] >= 1
    assert result.sides[0].faults["malformed"] == 0  # the late reply counts for no other frame


def test_errors_of_a_program_are_kept_in_part() -> None:
    result = one_game(program("sys.stderr.write('x' * 100_000 + 'the end'); sys.exit(1)"))
    assert result.sides[0].errors.endswith("the end")
    assert len(result.sides[0].errors) < 10_000
    assert result.sides[1].errors == ""


def test_illegal_moves_are_passes_and_no_faults() -> None:
    for move in ("0 0 0 0 0", "0 90 90 0 0", "2 0 0 0 0"):
        result = one_game(program(f"for _ in frames(): say('{move}\\n')"), turns=5)
        assert (result.end, result.sides[0].faults, result.sides[0].illegal) == ("turns", {}, 5)


def test_processes_of_a_program_end_with_the_game(tmp_path: Path) -> None:
    code = f"""
    import subprocess
    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
    with open({str(tmp_path / "pid")!r}, 'w') as file: file.write(f'{{os.getpid()}} {{child.pid}}')
    for _ in frames(): say('1 0 0 0 0\\n')
    time.sleep(600)
    """
    result = one_game(program(code), limits=Limits(first_move=PATIENCE, move=PATIENCE, ending=0.1))
    assert result.end == "turns"
    pids = [int(pid) for pid in (tmp_path / "pid").read_text().split()]
    wait_until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not show the environment of processes")
def test_process_that_left_its_parents_ends_with_the_game(tmp_path: Path) -> None:
    code = f"""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in range(3): os.close(number)
            with open({str(tmp_path / "pid")!r}, 'w') as file: file.write(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not os.path.exists({str(tmp_path / "pid")!r}): time.sleep(0.01)
    for _ in frames(): say('1 0 0 0 0\\n')
    """
    assert one_game(program(code)).end == "turns"
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not alive(pid))


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended but was not waited for does not."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_match_ends_its_programs(number: signal.Signals, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = tmp_path / "hang.py"
    script.write_text(f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    hanging = f"{sys.executable} -S {script}"
    command = [sys.executable, "-m", "generals_env.cli", "match", hanging, "builtin:random", "--first-move", "500"]
    match = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: pid_file.exists() and pid_file.read_text())
        os.kill(match.pid, number)
        assert match.wait(PATIENCE) == 128 + number
        wait_until(lambda: not alive(int(pid_file.read_text())))
    finally:
        match.kill()
        match.wait()


@pytest.mark.parametrize(
    "commands", [["builtin:greedy", "builtin:random"], ["", "builtin:random"], ["no_such_program", "sh 'x"]]
)
def test_unknown_program_is_refused(commands: list[str]) -> None:
    with pytest.raises(ConfigError, match="command: expected"):
        play_matches(commands, MatchOptions(1, height=5, width=6))


def test_limits_are_checked() -> None:
    with pytest.raises(ConfigError, match="move: expected a number above 0, got 0"):
        Limits(move=0)
    with pytest.raises(ConfigError, match="commands: expected two programs, got 1"):
        play_matches(["builtin:random"], MatchOptions())
