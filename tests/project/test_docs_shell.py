"""Runs the shell commands of the docs that are marked to be run, alone or beside ``generals-env run``.

A comment in the line above a block marks it: ``<!-- run -->``; ``: needs curl, watch`` names programs without which its test is
skipped; ``beside generals-env run`` runs it while this command runs; ``until TEXT`` ends a command that has no end when it has
shown the text.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from support.helpers import PATIENCE
from support.paths import ROOT

from generals_env.operations.metrics.catalogue import CATALOGUE
from generals_env.operations.settings.models import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs bash and pseudo-terminals")


class Block(NamedTuple):
    """A marked block of commands."""

    beside: bool
    until: str
    programs: tuple[str, ...]
    code: str


MARK = re.compile(
    r"^<!-- run(?P<beside> beside generals-env run)?(?: until (?P<until>\S+?))?(?:: needs (?P<programs>[\w, -]+))? -->\n"
    r"```sh\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


def blocks() -> dict[str, Block]:
    """Return the marked blocks of all pages by page and number."""
    found = {}
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for number, match in enumerate(MARK.finditer(page.read_text())):
            programs = tuple(match["programs"].split(", ")) if match["programs"] else ()
            found[f"{page.name}-{number}"] = Block(bool(match["beside"]), match["until"] or "", programs, match["code"])
    return found


ALONE = [pytest.param(block, id=name) for name, block in blocks().items() if not block.beside]
BESIDE = [pytest.param(block, id=name) for name, block in blocks().items() if block.beside]

#: This Python's programs come first, as in an activated virtual environment.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "TERM": "xterm"}


def require(*programs: str) -> None:
    """Skip the test if a program does not exist."""
    for program in programs:
        if shutil.which(program, path=ENVIRONMENT["PATH"]) is None:
            pytest.skip(f"{program} is not installed")


def run(code: str, folder: Path) -> str:
    """Run commands in a folder until they end; one that fails, also in a pipe, fails the test."""
    command = ["bash", "-euo", "pipefail", "-c", code]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def run_until(code: str, text: str, folder: Path) -> str:
    """Run commands on a terminal of their own until they have shown a text."""
    ours, theirs = pty.openpty()
    command = ["bash", "-euo", "pipefail", "-c", code]
    shown = b""
    deadline = time.monotonic() + PATIENCE
    with subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            while text.encode() not in shown:
                assert time.monotonic() < deadline, shown
                shown += os.read(ours, 65536)  # raises OSError when the commands have ended
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            os.close(ours)
    return shown.decode(errors="replace")


@pytest.mark.checklist("M11")
@pytest.mark.parametrize("block", ALONE)
def test_marked_commands_succeed(block: Block, tmp_path: Path) -> None:
    require(*block.programs)
    if "py-spy" in block.programs and sys.platform == "darwin":
        pytest.skip("py-spy needs root on macOS")
    assert run(block.code, tmp_path).strip() or any(tmp_path.iterdir())


def test_command_without_end_is_run_until_it_shows_a_text(tmp_path: Path) -> None:
    assert "ready" in run_until("while true; do echo ready; sleep 0.1; done", "ready", tmp_path)


def test_failing_command_of_a_pipe_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such text"):
        run("echo no such text >&2; echo other | grep absent | cat", tmp_path)


def test_all_commands_of_troubleshooting_are_marked() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    assert text.count("```sh\n") == len(MARK.findall(text)) > 8


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that are free now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Run ``generals-env run`` with a small board, and return its port for each port in the docs."""
    folder = tmp_path_factory.mktemp("run")
    ports = dict(zip(("9090", "6060", "50051"), free_ports(3), strict=True))
    settings = {
        "games": {"parallel": 4, "height": 8, "width": 8, "max_turns": 100},
        "collection": {"turns_per_second": 400.0},
        "metrics": {"address": f"127.0.0.1:{ports['9090']}"},
        "debug": {"enabled": True, "address": f"127.0.0.1:{ports['6060']}"},
        "streaming": {"address": f"127.0.0.1:{ports['50051']}"},
    }
    (folder / "experience.yaml").write_text(yaml.safe_dump({"experience": settings}))
    command = ["generals-env", "run", "--config", "experience.yaml"]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(process, ports["9090"], folder / "output.txt")
            yield ports
            process.terminate()
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait(PATIENCE)


def wait_until_ready(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, output.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    pytest.fail(f"generals-env run was not ready: {output.read_text()}")


@pytest.mark.checklist("B6", "L16", "L17")
@pytest.mark.parametrize("block", BESIDE)
def test_commands_for_a_running_system_succeed(block: Block, ports: dict[str, int], tmp_path: Path) -> None:
    require(*block.programs)
    code = re.sub(r"localhost:(\d+)", lambda address: f"localhost:{ports[address[1]]}", block.code)
    if block.until:
        run_until(code, block.until, tmp_path)
    else:
        assert run(code, tmp_path).strip() or any(path.stat().st_size for path in tmp_path.iterdir())


def test_metrics_named_in_troubleshooting_exist() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    named = set(re.findall(r"\b(?:experiences?|generals)_[a-z_]+[a-z]\b", text)) - {"generals_env"}
    assert named - set(CATALOGUE) == {"experience_buffer"}  # what the command looks for
    assert len(named) > 20


def test_settings_named_in_pages_exist() -> None:
    text = "".join((ROOT / "docs" / name).read_text() for name in ("operating.md", "training.md", "troubleshooting.md"))
    settings = Settings().model_dump()
    named = set(re.findall(rf"`({'|'.join(settings)})\.(\w+)", text))
    assert {f"{section}.{key}" for section, key in named if key not in settings[section]} == set()
    assert len(named) > 20
