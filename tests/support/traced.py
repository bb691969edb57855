"""What a process asks of the disk, seen from outside: which files are not yet safe from a power cut when it says that they are.

``kill -9`` cannot show that: what the operating system has in memory survives it. ``strace`` shows every write and every sync.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from support.helpers import PATIENCE
from support.paths import TESTS

CALLS = (
    "write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate,copy_file_range,sendfile,"
    "fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,open,openat,creat"
)

#: What a script prints when something is to be on disk.
SAFE = "this is safe"

LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)")
OPENED = re.compile(r"^(-?\d+|AT_FDCWD)<(.*?)>")
NAMES = re.compile(r'"((?:[^"\\]|\\.)*)"')


@cache
def why_not() -> str | None:
    """Return why nothing can be traced here, None where it can."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return "there is no strace"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"strace may not trace here: {done.stderr.strip():.200}"


@dataclass
class Disk:
    """What would be lost with a power cut: contents of files, and names in folders."""

    folder: str
    contents: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    syncs: int = 0

    def call(self, name: str, arguments: str) -> None:
        """Take note of a call of the system that went well."""
        opened = OPENED.match(arguments)
        file = "" if opened is None else opened[2].removesuffix(" (deleted)")
        paths = [path for path in NAMES.findall(arguments) if path.startswith(self.folder)]  # those of the tests are absolute
        if name in ("fsync", "fdatasync"):
            self.syncs += 1
            self.contents.discard(file)
            self.names = {path for path in self.names if str(Path(path).parent) != file}
        elif name in ("sync", "syncfs"):
            self.contents.clear()
            self.names.clear()
        elif name.startswith("rename"):
            old, new = paths
            self.names |= {new}
            self.names = {new + path.removeprefix(old) if path.startswith(f"{old}/") else path for path in self.names}
            self.contents = {new + path.removeprefix(old) if path.startswith(old) else path for path in self.contents}
        elif name.startswith("link"):
            new, old = paths[-1], paths[0] if len(paths) == 2 else file  # a file without a name is given one by its descriptor
            self.names.add(new)
            self.contents |= {new} if old in self.contents else set()
        elif name.startswith("unlink"):
            self.contents -= set(paths)
            self.names -= set(paths)
        elif name.startswith("mkdir") or (name in ("open", "openat", "creat") and "O_CREAT" in arguments):
            self.names |= {path for path in paths if path not in self.names and path not in self.known}
        elif file.startswith(f"{self.folder}/"):
            self.contents.add(file)
        self.known |= set(paths)

    def unsafe(self) -> set[str]:
        """Return what would be lost; files that are made anew after a crash, or hold nothing, do not count."""
        found = {path for path in self.contents | self.names if not path.endswith(("-shm", ".lock", ".lock-journal"))}
        return {path.removeprefix(f"{self.folder}/") for path in found}


def calls(trace: str) -> Iterator[re.Match[str]]:
    """Yield the calls that went well, in the order in which they ended: process, name, arguments, result."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        process, _, rest = line.partition(" ")
        whole = line
        if rest.endswith("<unfinished ...>"):  # another thread's call comes between
            begun[process] = line.removesuffix(" <unfinished ...>")
            continue
        if " resumed>" in rest:
            whole = begun.pop(process, "") + rest.partition(" resumed>")[2]
        call = LINE.match(whole)
        if call is not None and not call[4].startswith("-"):
            yield call


def unsafe_when_told(script: str, folder: Path, *arguments: str) -> list[set[str]]:
    """Run a script that prints ``SAFE``, a line each time, and return what was not on disk at each of these times.

    Args:
        script: Python; ``sys.argv[1]`` is the folder, the others follow.
        folder: What is looked at.
        *arguments: For the script.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    trace = folder.with_name("trace.txt")
    command = ["strace", "-f", "-y", "-qq", "-s", "300", "-e", f"trace={CALLS}", "-o", str(trace)]
    command += [sys.executable, "-c", script, str(folder), *arguments]
    done = subprocess.run(
        command,
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    disk, found = Disk(str(folder)), []
    for call in calls(trace.read_text(errors="replace")):
        if call[2] == "write" and f'"{SAFE}\\n"' in call[3]:
            found.append(disk.unsafe())
        else:
            disk.call(call[2], call[3])
    assert found, "expected the script to tell that something is safe"
    assert disk.syncs, "expected a sync"
    return found
