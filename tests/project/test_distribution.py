"""Tests the sdist and the wheel: the files they hold, and that the installed wheel passes tests of the sdist."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from support.helpers import PATIENCE
from support.paths import ROOT

#: Folders of the checkout, and the folders of the wheel that are made of them.
PACKAGES = {"generals_env": "generals_env", "recorders": "generals_env/recorders", "wrappers": "generals_env/wrappers"}

#: Folders of programs that ``generals-env examples`` copies for users, and the folders of the wheel with them.
EXAMPLES = {"examples": "generals_env/examples"}

#: Files that ``generals-env starter`` copies for users: data of a package, also those that are Python.
STARTERS = Path("generals_env/bridge/starters")

#: Tests for the installed wheel: environments, recorders, files, wrappers and command line, a few seconds in all.
SUBSET = (
    "environments/test_actions.py",
    "environments/test_environment.py",
    "environments/test_single_player.py",
    "recorders/encoding/test_codec.py",
    "recorders/formats/test_folder_use.py",
    "replay/test_replay.py",
    "wrappers/test_wrappers.py",
)


class Distributions(NamedTuple):
    """An sdist, and the wheel that was built from it."""

    sdist: Path
    wheel: Path


def repository_files() -> list[str]:
    """Return the files that are or could be added to git, without symbolic links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Build an sdist from a copy of the checkout, and a wheel from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("distributions")
    for name in repository_files():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    for name in ("recorders", "wrappers"):  # files that git writes in place of links on a system without links
        (folder / "source" / "generals_env" / name).write_text(f"../{name}")
    # Without --sdist and --wheel, build makes the wheel from the sdist.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Distributions(sdist, wheel)


def test_every_folder_of_modules_is_a_package() -> None:
    modules = [Path(name) for name in repository_files() if name.endswith(".py") and name.split("/")[0] in PACKAGES]
    modules = [path for path in modules if path.parent != STARTERS]
    assert {path.parent for path in modules} == {path.parent for path in modules if path.name == "__init__.py"}


def test_wheel_holds_every_file_of_the_packages_and_no_other(built: Distributions) -> None:
    expected = set()
    for name in repository_files():
        top, _, rest = name.partition("/")
        if top in PACKAGES | EXAMPLES:
            expected.add(f"{(PACKAGES | EXAMPLES)[top]}/{rest}")
    with zipfile.ZipFile(built.wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    missing, unexpected = sorted(expected - found), sorted(found - expected)
    assert not missing, f"pyproject.toml, [tool.setuptools]: expected packages or package-data with {missing}"
    assert not unexpected


def test_sdist_holds_every_file_but_those_of_the_host(built: Distributions) -> None:
    expected = {name for name in repository_files() if not name.startswith(".")}
    with tarfile.open(built.sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()}
    missing = sorted(expected - found)
    assert not missing, f"MANIFEST.in: expected a line for {missing}"
    # setuptools adds its own metadata; everything else would be a file that git does not know.
    extra = {name for name in found - expected if ".egg-info/" not in name}
    assert extra <= {"PKG-INFO", "setup.cfg", "generals_env/recorders", "generals_env/wrappers"}


def test_installed_wheel_passes_tests_of_sdist(built: Distributions) -> None:
    command = [sys.executable, ROOT / "tools" / "check_wheel.py", built.sdist, built.wheel, "--share-libraries", "--", "-q"]
    chosen = [f"tests/{name}" for name in SUBSET]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
