"""The snippets in the README and the docs run, links lead somewhere, and the example does what it says."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import generals_env

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "snippet", "exec"), {"DATA": ROOT / "tests" / "data", "__name__": "__main__"})
    assert len(SNIPPETS) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_commands_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", text)) <= targets
    assert {"demo", "test"} <= targets


def test_doctests_of_the_package() -> None:
    assert doctest.testmod(generals_env).failed == 0


def test_quickstart_plays_records_and_reads(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / "quickstart.py", "--games", "2", "--size", "8", "--max-turns", "100"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "q")], capture_output=True, text=True, timeout=300, check=True, env=dict(os.environ)
    )
    assert "experiences of 2 games" in done.stdout
    assert "every action legal: True" in done.stdout


def test_the_benchmark_names_its_areas() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "areas: env, engine, buffers, storage, stream" in done.stderr
