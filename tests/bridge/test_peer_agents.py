"""Tests how agents of generals-bots are found and played: the real launcher, with stand-ins for that package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.command_line import runner
from support.helpers import PATIENCE
from support.peer_package import WALKER, write_checkout, write_installed

from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.match_game import GameResult
from generals_env.bridge.match.matches import MatchOptions, play_matches
from generals_env.bridge.match.program import program_arguments
from generals_env.bridge.peers import peer_environments
from generals_env.bridge.peers.generals_bots_launcher import observation_fields
from generals_env.bridge.peers.peer_environments import environment_python, install_environment
from generals_env.bridge.peers.peer_programs import PeerSource
from generals_env.cli.app import app
from generals_env.errors import ConfigError, StorageError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="programs of the line protocol need pipes with time-outs")

PYTHON = Path(sys.executable)

#: Turn 6 on 3x3: own general with 3 in a corner, a castle of the other, a mountain, and two tiles in fog, one an obstacle.
HELLO = b"0 3 3\n"
FRAME = b"6 1 3 2 9\n4 1 0\n3 2 5\n1 1 0\n1 0 0\n2 0 0\n0 0 0\n3 0 0\n7 0 0\n0 0 0\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PeerSource:
    """Return a source in which version 2.5 seems to be installed for this Python."""
    monkeypatch.setenv("PYTHONPATH", str(write_installed(tmp_path / "installed")))
    return PeerSource(None, PYTHON)


@pytest.fixture
def checkout(tmp_path: Path) -> PeerSource:
    """Return a source with a checkout."""
    return PeerSource(write_checkout(tmp_path / "checkout"), PYTHON)


def answers(command: str, source: PeerSource, text: bytes = HELLO + FRAME) -> bytes:
    """Return what the program of a command replies to frames."""
    done = subprocess.run(program_arguments(command, source), input=text, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_launcher_makes_observations_of_generals_bots_from_frames() -> None:
    planes = np.array(FRAME.split()[5:], np.int32).reshape(3, 3, 3)
    fields = observation_fields([6, 1, 3, 2, 9], *planes)
    tiles = {name: [tuple(tile) for tile in np.argwhere(plane).tolist()] for name, plane in fields.items() if np.ndim(plane)}
    assert tiles == {
        "armies": [(0, 0), (1, 0)],
        "generals": [(0, 0)],
        "castles": [(1, 0)],
        "mountains": [(1, 1)],
        "neutral_cells": [(0, 1), (2, 0), (2, 1)],
        "owned_cells": [(0, 0)],
        "opponent_cells": [(1, 0)],
        "fog_cells": [(0, 2), (2, 2)],
        "structures_in_fog": [(1, 2)],
    }
    numbers = [fields[f"{whose}_{what}_count"] for whose in ("owned", "opponent") for what in ("land", "army")]
    assert (numbers, fields["timestep"]) == ([1, 3, 2, 9], 6)


def test_agent_of_the_installed_version_replies_alone(installed: PeerSource) -> None:
    assert answers("peer:walker", installed, HELLO + FRAME + FRAME) == b"0 0 0 3 0\n" * 2  # its prints are no replies


def test_agent_of_a_checkout_gets_a_new_key_each_turn(checkout: PeerSource) -> None:
    assert answers("peer:walker", checkout) == b"0 0 0 3 1\n"
    assert answers("peer:keyed", checkout, HELLO + FRAME + FRAME) == b"1 100 1 1 6\n1 101 1 1 6\n"


def test_checkout_of_a_command_comes_before_that_of_the_option(checkout: PeerSource, tmp_path: Path) -> None:
    source = PeerSource(tmp_path / "nowhere", checkout.python)
    assert answers(f"peer:walker@{checkout.checkout}", source) == b"0 0 0 3 1\n"


def test_agent_of_the_user_is_found_in_the_current_folder(
    installed: PeerSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(WALKER.format(key="", split=1))
    monkeypatch.chdir(tmp_path)
    assert answers("peer:mine:WalkerAgent", installed) == b"0 0 0 3 1\n"


def test_program_of_the_kit_runs_in_its_folder(checkout: PeerSource) -> None:
    assert answers("peer:passer_python", checkout, HELLO + FRAME + FRAME) == b"1 0 0 0 0\n" * 2


def test_program_of_the_kit_is_built_before(checkout: PeerSource) -> None:
    assert checkout.checkout is not None
    kit = checkout.checkout / "competition" / "agents" / "passer_python"
    (kit / "build.sh").write_text("echo '# built' >> main.py\n")
    program_arguments("peer:passer_python", checkout)
    assert (kit / "main.py").read_text().endswith("# built\n")
    (kit / "build.sh").write_text("echo 'no compiler' >&2; exit 3\n")
    with pytest.raises(ConfigError, match=r"passer_python/build.sh to succeed, got: no compiler"):
        program_arguments("peer:passer_python", checkout)


def test_agents_of_both_versions_play_a_match(installed: PeerSource, checkout: PeerSource) -> None:
    commands = [program_arguments("peer:walker", source) for source in (installed, checkout)]
    limits = Limits(first_move=PATIENCE, move=PATIENCE, ending=PATIENCE)
    results: list[GameResult] = play_matches(commands, MatchOptions(1, 5, 2, 6, 6, 20, limits))
    assert [result.end for result in results] == ["turns", "turns"]
    assert all(len(side.times) == 20 and not side.faults and not side.illegal for result in results for side in result.sides)


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("peer:", "expected peer:NAME or peer:NAME@CHECKOUT, got 'peer:'"),
        ("peer:walker@", "expected peer:NAME or peer:NAME@CHECKOUT, got 'peer:walker@'"),
        ("peer:dreamer", "'dreamer' is no agent of this version, which has walker, and no module:Class"),
        ("peer:nowhere:Agent", "agent 'nowhere:Agent' cannot be imported"),
        ("peer:json:JSONDecodeError", "agent 'json:JSONDecodeError' cannot be made without arguments"),
    ],
)
def test_names_of_no_agent_are_refused_before_a_game(command: str, text: str, installed: PeerSource) -> None:
    with pytest.raises(ConfigError) as refused:
        program_arguments(command, installed)
    assert text in str(refused.value)


def rename(folder: Path) -> None:
    """Let a checkout be that of another package."""
    (folder / "pyproject.toml").write_text('[project]\nname = "colonels-bots"\nversion = "2.6.0"\n')


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda folder: (folder / "pyproject.toml").unlink(), "expected a checkout of generals-bots 2.6, got "),
        (rename, "its pyproject.toml names another package"),
        (lambda folder: (folder / "jax.py").write_text("raise ImportError('no jax here')"), "no jax here"),
        (lambda folder: (folder / "generals/core/observation.py").unlink(), "generals-bots cannot be imported with"),
    ],
    ids=["no checkout", "another package", "no JAX", "damaged"],
)
def test_checkouts_that_cannot_play_are_refused(change: Callable[[Path], object], text: str, checkout: PeerSource) -> None:
    assert checkout.checkout is not None
    change(checkout.checkout)
    with pytest.raises(ConfigError) as refused:
        program_arguments("peer:walker", checkout)
    assert text in str(refused.value)


def test_other_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = PeerSource(write_checkout(tmp_path / "newer", "3.0.1"), PYTHON)
    with pytest.raises(ConfigError, match=r"expected generals-bots 2\.5 or 2\.6, got 3\.0\.1"):
        program_arguments("peer:walker", newer)
    monkeypatch.setenv("PYTHONPATH", str(write_installed(tmp_path / "older", "1.0.0")))
    with pytest.raises(ConfigError, match=r"got 1\.0\.0"):
        program_arguments("peer:walker", PeerSource(None, PYTHON))


def test_missing_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a Python that can be started, got '/nowhere/python'"):
        program_arguments("peer:walker", PeerSource(None, Path("/nowhere/python")))
    with pytest.raises(ConfigError, match="generals-bots is not installed for"):
        program_arguments("peer:walker", PeerSource(None, PYTHON))


def test_environment_is_made_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_environments, "user_cache_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"make it with 'generals-env peer install 2\.5'"):
        environment_python("2.5")
    lines: list[str] = []
    python = install_environment("2.5", lines.append, ["--no-index", "pip"])  # which is there: nothing is downloaded
    assert any("pip" in line for line in lines)
    assert environment_python("2.5") == python
    with pytest.raises(ConfigError, match="generals-bots is not installed for"):
        program_arguments("peer:expander")


def test_environment_that_cannot_be_made_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "generals_env").touch()
    monkeypatch.setattr(peer_environments, "user_cache_folder", lambda: tmp_path)
    with pytest.raises(StorageError, match=r"(?s)expected .* to succeed, got the status \d+:\n.*Error"):
        install_environment("2.5")
    assert [file.name for file in tmp_path.iterdir()] == ["generals_env"]
    result = runner.invoke(app, ["peer", "install", "2.4"])
    assert "version: expected one of 2.5, 2.6, got '2.4'" in str(result.exception)


def test_generals_bots_itself_plays_where_it_is_installed() -> None:
    try:
        environment_python("2.5")
    except ConfigError as missing:
        pytest.skip(str(missing))
    replies = answers("peer:expander", PeerSource(), HELLO + FRAME)
    assert replies == b"0 0 0 3 0\n"  # the one tile that it can take
    assert answers("peer:random", PeerSource(), HELLO + FRAME).count(b" ") == 4
