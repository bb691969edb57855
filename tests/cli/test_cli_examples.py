"""Tests ``generals-env examples``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import run
from support.helpers import PATIENCE
from support.paths import ROOT

from generals_env.cli.learning import examples
from generals_env.cli.learning.examples import copy_example, examples_folder
from generals_env.errors import ConfigError, StorageError


def test_examples_are_listed_with_what_they_do() -> None:
    assert examples_folder() == ROOT / "examples"
    output = run("examples", "list")
    for path in (ROOT / "examples").glob("*.py"):
        assert (f" {path.stem} " in output) == ('if __name__ == "__main__"' in path.read_text()), path


def test_copied_example_runs_with_the_modules_that_it_imports(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    output = run("examples", "copy", "quickstart", "--to", folder)
    assert str(folder / "quickstart.py").replace("\n", "") in output.replace("\n", "")
    assert (folder / "quickstart.py").read_bytes() == (ROOT / "examples" / "quickstart.py").read_bytes()
    done = subprocess.run(
        [sys.executable, "quickstart.py", "--help"], cwd=folder, capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr


def test_modules_beside_an_example_are_copied_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    text = '"""Does one thing."""\nfrom two import three\n\nif __name__ == "__main__":\n    three()\n'
    (source / "one.py").write_text(text)
    (source / "two.py").write_text("def three(): pass\n")
    monkeypatch.setattr(examples, "examples_folder", lambda: source)
    assert [path.name for path in copy_example("one.py", tmp_path / "to")] == ["one.py", "two.py"]
    assert "Does one thing" in run("examples", "list")
    with pytest.raises(StorageError, match=r"to: expected a folder without one\.py"):
        copy_example("one", tmp_path / "to")
    with pytest.raises(ConfigError, match="name: expected one of one, got 'two'"):
        copy_example("two", tmp_path / "other")
    with pytest.raises(StorageError, match="to: expected a folder that can be written"):
        copy_example("one", source / "one.py")
