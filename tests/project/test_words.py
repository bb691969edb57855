"""The check of words in prose: what it finds, where, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

TOOL = ROOT / "tools" / "check_words.py"

# The words are put together here, so that this file passes the check itself.
VAGUE = "who" + "ever"
PHRASE = ("what", "there", "is")


def check(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *names], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f'"""One.\n\nFor {VAGUE} reads it."""\n', 3),
        (f"x = 1  # {VAGUE.upper()}, in capitals\n", 1),
        (f"def test_{VAGUE}_reads_it(): ...\n", 1),
        (f'\nraise ValueError("{VAGUE}: expected a name")\n', 2),
        (f"# It lists {PHRASE[0]} {PHRASE[1]}\n# {PHRASE[2]}.\n", 1),
        (f"def test_{'_'.join(PHRASE)}(): ...\n", 1),
    ],
    ids=["docstring", "comment", "name", "error", "phrase over two lines", "phrase in a name"],
)
def test_vague_word_fails_with_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "module.py").write_text(text)
    done = check(tmp_path, "module.py")
    assert done.returncode == 1
    assert done.stdout.startswith(f"module.py:{line}: ")
    assert done.stdout.count("\n") == 1


def test_other_words_and_other_files_pass(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(f"{VAGUE}ly = 'a longer word'\n# what is there\n")
    (tmp_path / "data.txt").write_text(VAGUE)
    done = check(tmp_path, "module.py", "data.txt", str(TOOL))
    assert (done.returncode, done.stdout) == (0, "")


def test_files_of_the_checkout_are_found(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("ignored.md\n")
    for name in ("ignored.md", "page.md"):
        (tmp_path / name).write_text(f"For {VAGUE} reads it.\n")
    done = check(tmp_path)
    assert done.stdout.splitlines() == [f"page.md:1: {VAGUE!r} is vague: name the thing"]
