"""Compiled kernels are kept between processes, and never used for other sources than those that they were compiled from.

Each test runs processes over a copy of the package, to which two small kernels are added that call a function of another file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.helpers import let_others_through
from support.paths import ROOT

DAY = 24 * 60 * 60
NOBODY = 65534

root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to other users")

KERNELS = """
from generals_env.engine.jit import kernel
from generals_env.engine.rooms.growth import grow


@kernel
def total(values):
    result = 0
    for i in range(values.shape[0]):
        result += grow(values[i])
    return result


@kernel
def product(values):
    result = 1
    for i in range(values.shape[0]):
        result *= grow(values[i])
    return result
"""

CALLEE = """
from generals_env.engine.jit import inlined


@inlined
def grow(value):
    return value + 1
"""

PROBE = """
import json
import os
import sys
import warnings

import numba
import numpy as np

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import generals_env
    from generals_env.engine import probe

    assert generals_env.__file__.startswith(os.environ["COPY"]), generals_env.__file__
    {before}
    results = [int(probe.total(np.arange(4))), int(probe.product(np.arange(4)))]
    hits = [sum(kernel.stats.cache_hits.values()) for kernel in (probe.total, probe.product)]
print(json.dumps({{
    "results": results,
    "hits": sum(hits),
    "folder": probe.total.stats.cache_path,
    "warnings": [f"{{entry.category.__name__}}: {{entry.message}}" for entry in caught],
}}))
"""

#: Kernels that share their callees, which are reached through inlined functions and subroutines or called at once.
SHARING = """
from generals_env.engine.jit import inlined, kernel, subroutine


@kernel
def largest(values):
    result = values[0]
    for i in range(values.shape[0]):
        result = max(result, values[i])
    return result


@subroutine
def weigh(values):
    result = 0
    for i in range(values.shape[0]):
        result += values[i] % largest(values)
    return result


@inlined
def weigh_twice(values):
    return 2 * weigh(values)


@kernel
def outer(values):
    return weigh_twice(values)


@kernel
def inner(values):
    return weigh(values)
"""

COMPILE = """
import json
import re

import numpy as np
from generals_env.engine import sharing

for name in {order}:
    getattr(sharing, name)(np.arange(4))
codes = {{}}
for name in ("largest", "weigh", "outer", "inner"):
    (code,) = getattr(sharing, name).inspect_asm().values()
    codes[name] = re.sub(r"B[0-9]+v[0-9]+", "", code)  # numba numbers functions as it compiles them
print(json.dumps(codes))
"""

#: The libraries may lie where others cannot read: what numba loads late is loaded before.
BECOME_NOBODY = f"""
    numba.njit(lambda values: values[0] + 1)(np.arange(4))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})
"""


class Copy:
    """A copy of the package in a folder of its own, and a user's folder beside it."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.engine = folder / "generals_env" / "engine"
        self.install()

    def install(self, grow: str = "value + 1") -> None:
        """Put the package there as an installer does: files of the version before go, those that Python made stay."""
        for path in self.folder.glob("generals_env/**/*.py"):
            path.unlink()
        ignored = shutil.ignore_patterns("__pycache__", "recorders", "wrappers")
        shutil.copytree(ROOT / "generals_env", self.folder / "generals_env", ignore=ignored, dirs_exist_ok=True)
        (self.engine / "rooms").mkdir(exist_ok=True)
        (self.engine / "probe.py").write_text(KERNELS)
        (self.engine / "rooms" / "__init__.py").touch()
        (self.engine / "rooms" / "growth.py").write_text(CALLEE.replace("value + 1", grow))

    def command(self, before: str = "") -> list[str]:
        return [sys.executable, "-c", PROBE.format(before=before)]

    def environment(self, **changes: str) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
        environment.pop("XDG_CACHE_HOME", None)
        # Python's own cached bytecode goes by seconds: tests edit faster than that.
        own = {"HOME": str(self.home), "PYTHONPATH": str(self.folder), "COPY": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        return environment | own | changes

    def run(self, before: str = "", **changes: str) -> dict[str, Any]:
        """Call both kernels in a new process."""
        done = subprocess.run(
            self.command(before),
            cwd=self.home.parent,
            env=self.environment(**changes),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def files_of(folder: str | Path) -> list[Path]:
    return [path for path in sorted(Path(folder).iterdir()) if path.suffix in (".nbc", ".nbi")]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "copy", tmp_path / "home")


@pytest.fixture
def places(copy: Copy, tmp_path: Path) -> dict[str, dict[str, str]]:
    """Return environment variables with which kernels are kept in each of the three places."""
    (tmp_path / "file").write_text("")
    return {
        "user": {},
        "given": {"NUMBA_CACHE_DIR": str(tmp_path / "given")},
        # Root may write anywhere: a file where a folder would have to be made stops it, too.
        "package": {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file" / "cache")},
    }


@pytest.mark.parametrize("place", ["user", "given", "package"])
def test_kernel_cache_follows_reinstall_of_the_same_version(
    copy: Copy, places: dict[str, dict[str, str]], place: str, tmp_path: Path
) -> None:
    inside = {"user": copy.home / ".cache", "given": tmp_path / "given", "package": copy.engine / "__pycache__"}[place]
    first = copy.run(**places[place])
    assert (first["results"], first["hits"], first["warnings"]) == ([10, 24], 0, [])
    assert Path(first["folder"]).is_relative_to(inside)
    assert copy.run(**places[place])["hits"] == 2
    copy.install(grow="value + 7")
    changed = copy.run(**places[place])
    assert (changed["results"], changed["hits"], changed["warnings"]) == ([34, 5040], 0, [])
    copy.install()  # and back: the older one is still there
    assert copy.run(**places[place]) == first | {"hits": 2}


def test_kernel_cache_follows_version(copy: Copy) -> None:
    first = copy.run()
    version = copy.folder / "generals_env" / "version.py"
    written = version.read_text()
    version.write_text('__version__ = "99.1"\n')
    other = copy.run()
    assert other["hits"] == 0
    assert other["folder"] != first["folder"]
    assert Path(other["folder"]).name.startswith("99.1-")
    version.write_text(written)
    assert copy.run() == first | {"hits": 2}


def test_kernel_cache_is_shared_by_copies_with_the_same_sources(copy: Copy, tmp_path: Path) -> None:
    first = copy.run()
    assert Copy(tmp_path / "second", copy.home).run() == first | {"hits": 2}


def test_kernel_cache_follows_compiler_settings(copy: Copy) -> None:
    first = copy.run()
    assert copy.run(NUMBA_BOUNDSCHECK="1") == first
    assert copy.run(NUMBA_BOUNDSCHECK="1") == first | {"hits": 2}
    assert copy.run() == first | {"hits": 2}


@pytest.mark.parametrize("order", [["inner", "largest", "outer"], ["largest", "outer", "inner"]])
def test_kernels_that_are_kept_do_not_depend_on_which_was_compiled_first(copy: Copy, order: list[str], tmp_path: Path) -> None:
    (copy.engine / "sharing.py").write_text(SHARING)

    def compiled(folder: str, names: list[str]) -> dict[str, str]:
        environment = copy.environment(NUMBA_CACHE_DIR=str(tmp_path / folder))
        done = subprocess.run(
            [sys.executable, "-c", COMPILE.format(order=names)],
            cwd=copy.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        codes: dict[str, str] = json.loads(done.stdout)
        return codes

    codes, others = compiled("one", ["outer", "inner", "largest"]), compiled("two", order)
    assert [name for name in codes if codes[name] != others[name]] == []


def test_source_edited_in_a_running_process_does_not_spoil_the_cache(copy: Copy) -> None:
    path = copy.engine / "rooms" / "growth.py"
    edit = f"path = {str(path)!r}; text = open(path).read(); open(path, 'w').write(text.replace('value + 1', 'value + 7'))"
    assert copy.run(edit)["results"] == [10, 24]  # imported before the edit
    assert copy.run()["results"] == [34, 5040]
    assert copy.run()["hits"] == 2


def test_uncompiled_kernels_need_no_cache(copy: Copy) -> None:
    command = [sys.executable, "-c", "from generals_env.engine import probe; import numpy; print(probe.total(numpy.arange(4)))"]
    environment = copy.environment(NUMBA_DISABLE_JIT="1")
    done = subprocess.run(command, cwd=copy.folder, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "10"
    assert not (copy.home / ".cache").exists()


def test_users_own_cached_functions_stay_where_numba_keeps_them(copy: Copy, tmp_path: Path) -> None:
    (copy.folder / "mine.py").write_text(
        "import numba\n\n\n@numba.njit(cache=True)\ndef double(value):\n    return 2 * value\n"
    )
    folder = tmp_path / "mine"
    before = f"import mine; assert mine.double(4) == 8; print(mine.double.stats.cache_path, file=open({str(folder)!r}, 'w'))"
    copy.run(before)
    assert folder.read_text().strip() == str(copy.folder / "__pycache__")
    copy.run(before, NUMBA_CACHE_DIR=str(tmp_path / "given"))
    assert Path(folder.read_text().strip()).parent == tmp_path / "given"


def test_package_in_a_zip_archive_is_cached(copy: Copy, tmp_path: Path) -> None:
    def pack() -> None:
        with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
            for path in copy.folder.glob("generals_env/**/*.py"):
                archive.write(path, path.relative_to(copy.folder))

    packed = {"PYTHONPATH": str(tmp_path / "packed.zip"), "COPY": str(tmp_path / "packed.zip")}
    pack()
    first = copy.run(**packed)
    assert copy.run(**packed) == first | {"hits": 2}
    copy.install(grow="value + 7")
    pack()
    assert copy.run(**packed)["results"] == [34, 5040]


def test_kernels_work_where_nothing_can_be_written(copy: Copy, tmp_path: Path) -> None:
    let_others_through(tmp_path)
    copy.engine.chmod(0o555)
    tmp_path.chmod(0o555)
    try:
        answer = copy.run(BECOME_NOBODY)
    finally:
        tmp_path.chmod(0o755)
        copy.engine.chmod(0o755)
    assert answer == {"results": [10, 24], "hits": 0, "folder": None, "warnings": []}


@root_only
def test_kernels_that_root_prepared_serve_others_who_cannot_write(copy: Copy, tmp_path: Path) -> None:
    let_others_through(tmp_path)
    prepared = copy.run(NUMBA_CACHE_DIR=str(tmp_path / "given"))
    assert copy.run(BECOME_NOBODY, NUMBA_CACHE_DIR=str(tmp_path / "given")) == prepared | {"hits": 2}
    copy.install(grow="value + 7")
    other = copy.run(BECOME_NOBODY, NUMBA_CACHE_DIR=str(tmp_path / "given"))
    assert (other["results"], other["folder"], other["warnings"]) == ([34, 5040], None, [])


@root_only
def test_kernels_of_another_user_are_not_loaded(copy: Copy, tmp_path: Path) -> None:
    """What another user put into a shared folder stays unread: loading a kernel executes it."""
    let_others_through(tmp_path)
    shared = tmp_path / "common"
    shared.mkdir()
    shared.chmod(0o1777)
    planted = copy.run(BECOME_NOBODY, NUMBA_CACHE_DIR=str(shared))
    assert Path(planted["folder"]).is_relative_to(shared)
    own = copy.run(NUMBA_CACHE_DIR=str(shared))
    assert (own["results"], own["hits"], own["warnings"]) == ([10, 24], 0, [])
    assert Path(own["folder"]).is_relative_to(copy.engine)


@root_only
def test_shared_temporary_home_is_not_used(copy: Copy, tmp_path: Path) -> None:
    let_others_through(tmp_path)
    shared = tmp_path / "common"
    shared.mkdir()
    shared.chmod(0o1777)
    assert copy.run(BECOME_NOBODY, HOME=str(shared))["folder"] is None
    assert list(shared.iterdir()) == []


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2  # of a kernel, this is machine code
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def emptied(content: bytes) -> bytes:
    return b""


def garbage(content: bytes) -> bytes:
    return bytes(range(256)) * 20


def unpicklable(content: bytes) -> bytes:
    # The checksum is right, as if another library had written it.
    stored = b"cno_such_module\nno_such_name\n."
    return hashlib.sha256(stored).digest() + stored


def test_damaged_kernels_are_compiled_again_with_one_warning(copy: Copy) -> None:
    first = copy.run()
    damages: list[Callable[[bytes], bytes]] = [truncated, flipped, emptied, garbage, unpicklable]
    tag = Path(first["folder"]) / "CACHEDIR.TAG"
    intact = tag.read_bytes()
    for damage in damages:
        tag.write_bytes(damage(intact))
        for path in files_of(first["folder"]):
            path.write_bytes(damage(path.read_bytes()))
        mended = copy.run()
        assert (mended["results"], mended["hits"], len(mended["warnings"])) == ([10, 24], 0, 1), damage
        assert mended["warnings"][0].startswith("RuntimeWarning: ")
        assert first["folder"] in mended["warnings"][0]
        assert tag.read_bytes() == intact
    assert copy.run() == first | {"hits": 2}


def test_kernel_files_that_others_can_write_are_compiled_again(copy: Copy) -> None:
    first = copy.run()
    for path in files_of(first["folder"]):
        path.chmod(0o666)
    again = copy.run()
    assert (again["results"], again["hits"], len(again["warnings"])) == ([10, 24], 0, 1)
    assert first["folder"] in again["warnings"][0]
    assert copy.run() == first | {"hits": 2}


@pytest.mark.parametrize("mode", [0o777, 0o000])
def test_kernel_folder_with_wrong_permissions_is_emptied_with_one_warning(copy: Copy, mode: int, tmp_path: Path) -> None:
    let_others_through(tmp_path)
    copy.home.mkdir()
    if os.geteuid() == 0:
        os.chown(copy.home, NOBODY, NOBODY)
    become = BECOME_NOBODY
    first = copy.run(become)
    Path(first["folder"]).chmod(mode)
    again = copy.run(become)
    assert (again["results"], again["hits"], len(again["warnings"])) == ([10, 24], 0, 1)
    assert first["folder"] in again["warnings"][0]
    assert copy.run(become) == first | {"hits": 2}


def test_kernels_that_cannot_be_kept_work_with_one_warning(copy: Copy) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))"
    answer = copy.run(full)
    assert (answer["results"], answer["hits"], len(answer["warnings"])) == ([10, 24], 0, 1)
    assert answer["folder"] in answer["warnings"][0]
    assert [path.name for path in Path(answer["folder"]).iterdir()] == ["CACHEDIR.TAG"]


def age(folder: Path, days: float) -> None:
    then = time.time() - days * DAY
    for path in (*folder.iterdir(), folder):
        os.utime(path, (then, then))


def test_kernel_folders_unused_for_thirty_days_are_removed(copy: Copy, tmp_path: Path) -> None:
    old = Path(copy.run()["folder"])
    copy.install(grow="value + 2")
    recent = Path(copy.run()["folder"])
    copy.install(grow="value + 3")
    used = Path(copy.run()["folder"])
    foreign, kept, mine = old.parent / f"1.0-{'0' * 16}", tmp_path / "kept", old.parent / "mine"
    for folder in (foreign, kept, mine):
        folder.mkdir()
        (folder / "total.nbc").write_bytes(b"not ours")
    (old.parent / f"1.1-{'0' * 16}").symlink_to(kept)
    (mine / "CACHEDIR.TAG").write_bytes((old / "CACHEDIR.TAG").read_bytes())
    (kept / "CACHEDIR.TAG").write_bytes((old / "CACHEDIR.TAG").read_bytes())
    (recent / "killed.nbc.x.tmp").write_bytes(b"left by a killed process")
    for folder, days in ((old, 31.0), (foreign, 31.0), (mine, 31.0), (kept, 31.0), (recent, 29.0), (used, 31.0)):
        age(folder, days)
    # The environment whose folder was not used for 31 days begins to use it: the other one's stays or goes by its own time.
    assert copy.run()["hits"] == 2
    assert not old.exists()
    assert len(files_of(recent)) == 2
    assert not list(recent.glob("*.tmp"))
    assert time.time() - (used / "CACHEDIR.TAG").stat().st_mtime < DAY
    for folder in (foreign, kept, mine):
        assert (folder / "total.nbc").read_bytes() == b"not ours"
    # What is in use is kept by the start of another environment.
    copy.install(grow="value + 2")
    assert copy.run()["hits"] == 2
    assert used.exists()


def test_users_files_in_an_unused_kernel_folder_are_kept(copy: Copy) -> None:
    old = Path(copy.run()["folder"])
    (old / "notes.txt").write_text("mine")
    age(old, 31)
    copy.install(grow="value + 2")
    copy.run()
    assert [path.name for path in old.iterdir()] == ["notes.txt"]


def test_processes_that_start_at_once_agree(copy: Copy) -> None:
    for step in ("empty", "with a folder to remove"):
        started = [
            subprocess.Popen(
                copy.command(),
                cwd=copy.folder,
                env=copy.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(3)
        ]
        outputs = [process.communicate(timeout=300) for process in started]
        assert [process.returncode for process in started] == [0, 0, 0], outputs
        answers = [json.loads(output) for output, _ in outputs]
        assert all(answer["warnings"] == [] for answer in answers), step
        assert len({str(answer["results"]) for answer in answers}) == 1
        folder = Path(answers[0]["folder"])
        assert copy.run()["hits"] == 2
        assert sorted(path.suffix for path in folder.iterdir()) == [".TAG", ".nbc", ".nbc"]
        age(folder, 31)
        copy.install(grow="value + 2")
    assert len(list(folder.parent.iterdir())) == 1


def test_kernel_files_and_folders_can_be_written_by_this_user_alone(copy: Copy) -> None:
    folder = Path(copy.run("os.umask(0)")["folder"])
    for path in (folder, *files_of(folder)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022
