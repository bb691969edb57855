"""Tests that the starting points for agents play as they should."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.helpers import PATIENCE

from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.matches import MatchOptions, play_matches
from generals_env.bridge.starter_files import LANGUAGES, copy_starter
from generals_env.errors import ConfigError, StorageError

COMPILERS = {"cpp": ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o"], "rust": ["rustc", "-D", "warnings", "-o"]}


@pytest.mark.parametrize("language", LANGUAGES)
def test_starter_plays_legal_moves_and_beats_random(language: str, tmp_path: Path) -> None:
    copy_starter(language, tmp_path)
    if language in COMPILERS:
        compiler, *options = COMPILERS[language]
        if (
            shutil.which(compiler) is None
            or subprocess.run([compiler, "--version"], capture_output=True, check=False).returncode
        ):
            pytest.skip(f"{compiler} is not installed, or does not start")
        subprocess.run([compiler, *options, "agent", LANGUAGES[language]], cwd=tmp_path, check=True)
    assert os.access(tmp_path / "run.sh", os.X_OK)
    limits = Limits(first_move=PATIENCE, move=PATIENCE, ending=PATIENCE)
    options = MatchOptions(1, 2, 2, 8, 8, 500, limits)
    for result in play_matches([f"sh {tmp_path}/run.sh", "builtin:random"], options):
        assert (result.sides[0].faults, result.sides[0].illegal) == ({}, 0)
        assert (result.winner, result.end) == (0, "captured")


def test_starter_does_not_overwrite_files(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(StorageError, match=r"expected none with README\.md"):
        copy_starter("python", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
    with pytest.raises(ConfigError, match="language: expected one of python, cpp, rust, got 'cobol'"):
        copy_starter("cobol", tmp_path)
