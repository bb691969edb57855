"""Tests the README and the docs: snippets run, links have targets, and the quickstart works."""

from __future__ import annotations

import doctest
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.helpers import PATIENCE
from support.paths import ROOT

import generals_env

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = {
    f"{page.relative_to(ROOT)}-{number}": code
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
}
FILES = {code.split()[1]: code for code in BLOCKS.values() if re.match(r"# \w+\.py\n", code)}  # to be saved under their names
SNIPPETS = [
    pytest.param(code, id=name)
    for name, code in BLOCKS.items()
    # tests/recorders/distributed runs those that need Ray, or a server of Redis.
    if code not in FILES.values() and "import ray\n" not in code and "redis://" not in code
]


#: Libraries that snippets use and the package does not need.
OTHERS = ("datasets", "duckdb", "onnxruntime", "pandas", "polars")

os.environ["HF_HUB_OFFLINE"] = "1"  # read when ``datasets`` is loaded


@pytest.mark.parametrize("code", SNIPPETS)
def test_snippets_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in re.findall(r"^import (\w+)$", code, re.MULTILINE):
        if module in OTHERS:
            pytest.importorskip(module, reason=f"{module} is not installed: pip install generals_env[dev]")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "snippet", "exec"), {"DATA": ROOT / "tests" / "data", "__name__": "__main__"})
    assert len(SNIPPETS) >= 5


@pytest.mark.skipif(sys.platform == "win32", reason="needs a way to send Ctrl-C to one process")
def test_server_and_trainer_run_in_two_terminals(tmp_path: Path) -> None:
    assert set(FILES) == {"serve.py", "learn.py"}
    assert all("127.0.0.1:50051" in code for code in FILES.values())
    (tmp_path / "serve.py").write_text(FILES["serve.py"].replace(":50051", ":0"))  # any port: others run beside this
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # on a busy machine torch's threads wait for each other most of the time
    options: dict[str, Any] = {
        "env": alone,
        "cwd": tmp_path,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background processes are started with it ignored
    with subprocess.Popen([sys.executable, "serve.py"], **options) as server:
        signal.signal(signal.SIGINT, before)
        try:
            assert server.stdout is not None
            told = re.fullmatch(r"serving at 127\.0\.0\.1(:\d+)\n", server.stdout.readline())
            assert told is not None
            # Fewer steps are enough to show that it learns, and that it continues when it is started again.
            fewer = FILES["learn.py"].replace("trainer.train(20)", "trainer.train(3)")
            (tmp_path / "learn.py").write_text(fewer.replace(":50051", told[1]))
            for first in (3, 33):
                learned = subprocess.run([sys.executable, "learn.py"], **options, timeout=PATIENCE, check=False)
                assert learned.returncode == 0, learned.stderr
                assert re.findall(r"^step (\d+): loss [\d.]+, [\d,]+ exp", learned.stdout, re.MULTILINE) == [
                    str(step) for step in range(first, first + 30, 3)
                ]
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=PATIENCE)
        finally:
            server.kill()
    assert (server.returncode, errors) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_existing_targets(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_readme_commands_exist() -> None:
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", text)) <= targets
    assert {"demo", "test"} <= targets


def test_doctests_of_package_pass() -> None:
    assert doctest.testmod(generals_env).failed == 0


def test_quickstart_plays_records_and_reads(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "examples" / "quickstart.py", "--games", "2", "--size", "8", "--max-turns", "100"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "q")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env=dict(os.environ),
    )
    assert "experiences of 2 games" in done.stdout
    assert "every action legal: True" in done.stdout
