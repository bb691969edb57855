"""Tests kernels that were compiled elsewhere: used where they fit, refused with one warning elsewhere.

A small kernel is compiled once for a processor level, and once as usual; each test uses a copy of the folder in a new process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from generals_env.cli.warm import compile_for, write_manifest
from generals_env.engine.kernel_cache.shipped_kernels import LEVELS, MANIFEST, VARIABLE

LEVEL = "x86-64-v2" if platform.machine().lower() in ("x86_64", "amd64") else "generic"
OTHER_USER = 65534

root_only = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files to other users")

PROBE = """
import json, os, sys, warnings
import numpy as np

opened, place = [], os.path.realpath(os.environ["GENERALS_ENV_KERNELS"] or "none")
sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    exec(os.environ.get("BEFORE", ""))
    from generals_env.engine.kernel_cache import compile_notice
    from generals_env.engine.observations.fog_memory import remember
    from numba.core.registry import cpu_target

    compile_notice.logger.setLevel("ERROR")
    observations, out = np.ones((1, 9, 16), np.float32), np.zeros((1, 16, 16), np.float32)
    remember(observations, np.zeros(1, np.bool_), out)
print(json.dumps({
    "sum": float(out.sum()),
    "compiled": sum(remember.stats.cache_misses.values()),
    "read": sum(path.startswith(place) and path.endswith(".nbc") for path in opened),
    "folder": remember.stats.cache_path,
    "target": cpu_target.target_context.codegen().magic_tuple(),
    "warnings": [str(entry.message) for entry in caught if entry.category is RuntimeWarning],
}))
"""


def call(cache: Path, **changes: str) -> dict[str, Any]:
    """Call the kernel in a new process."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), VARIABLE: ""} | changes
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the kernel, as ``generals-env warm --out`` writes it."""
    place = tmp_path_factory.mktemp("built")
    answer = call(place / "cache", **compile_for(LEVEL))
    shutil.copytree(answer["folder"], place / "kernels", ignore=shutil.ignore_patterns("CACHEDIR.TAG"))
    write_manifest(place / "kernels", LEVEL, answer["target"], [])
    return place / "kernels"


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of compiled kernels that has the kernel, compiled as usual."""
    cache = tmp_path_factory.mktemp("usual")
    assert call(cache)["compiled"] == 1
    return cache


@pytest.fixture
def kernels(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "kernels")
    return tmp_path / "kernels"


def change(folder: Path, **values: Any) -> None:
    """Change values of the manifest, as if it had been written elsewhere."""
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(kernels: Path, cache: Path, **changes: str) -> str:
    """Check that no shipped kernel is read, and return the warning."""
    answer = call(cache, **{VARIABLE: str(kernels)}, **changes)
    assert (answer["compiled"], answer["read"]) == (0, 0)  # the usual cache has the kernel
    [warning] = answer["warnings"]
    assert VARIABLE in warning
    assert str(kernels) in warning
    return str(warning)


def test_shipped_kernels_are_used_and_nothing_is_written(kernels: Path, tmp_path: Path, usual: Path) -> None:
    before = {path.name: path.read_bytes() for path in kernels.iterdir()}
    answer = call(tmp_path / "cache", **{VARIABLE: str(kernels)})
    assert (answer["compiled"], answer["read"], answer["warnings"]) == (0, 1, [])
    assert not list((tmp_path / "cache").rglob("*.nbc"))
    assert {path.name: path.read_bytes() for path in kernels.iterdir()} == before
    assert call(usual)["sum"] == answer["sum"]


def test_shipped_kernels_of_another_version_are_refused(kernels: Path, usual: Path) -> None:
    stored = json.loads((kernels / MANIFEST).read_text())["origin"]
    change(kernels, origin=dict.fromkeys(stored, "0.0"))
    warning = refused(kernels, usual)
    assert "generals-env warm --out" in warning
    for name in ("generals_env", "sources of the engine", "Python", "numba", "llvmlite", "numpy", "platform"):
        assert f"{name} 0.0, here it is {stored[name]}" in warning
    change(kernels, origin=stored | {"numpy": "2.0.0"})
    assert f"compiled with numpy 2.0.0, here it is {stored['numpy']}: run" in refused(kernels, usual)


def test_shipped_kernels_need_all_features_of_their_level(kernels: Path, usual: Path) -> None:
    before = f"from generals_env.engine.kernel_cache import shipped_kernels as s; s.LEVELS[{LEVEL!r}] = ('sse9',)"
    warning = refused(kernels, usual, BEFORE=before)
    assert f"compiled for {LEVEL}, but this processor lacks sse9" in warning
    assert "--cpu" in warning


@pytest.mark.parametrize("damage", ["no folder", "no manifest", "broken manifest", "unknown level"])
def test_folder_without_usable_manifest_is_refused(kernels: Path, damage: str, usual: Path) -> None:
    if damage == "no folder":
        shutil.rmtree(kernels)
    elif damage == "no manifest":
        (kernels / MANIFEST).unlink()
    elif damage == "broken manifest":
        (kernels / MANIFEST).write_text("{")
    else:
        change(kernels, cpu="pdp-11")
    assert "generals-env warm --out" in refused(kernels, usual)


@pytest.mark.parametrize("damage", ["cut", "writable by others"])
def test_single_unusable_kernel_is_compiled_with_one_warning(kernels: Path, damage: str, tmp_path: Path) -> None:
    [path] = kernels.glob("*.nbc")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.chmod(0o666)
    answer = call(tmp_path / "cache", **{VARIABLE: str(kernels)})
    assert (answer["compiled"], len(answer["warnings"])) == (1, 1)
    assert path.name in answer["warnings"][0]
    assert path.exists()


def test_folder_or_manifest_that_others_can_write_is_refused(kernels: Path, usual: Path) -> None:
    for path in (kernels, kernels / MANIFEST):
        mode = path.stat().st_mode
        path.chmod(0o777)
        assert "others" in refused(kernels, usual)
        path.chmod(mode)


@root_only
def test_shipped_kernels_of_another_user_are_refused(kernels: Path, usual: Path) -> None:
    os.chown(kernels, OTHER_USER, OTHER_USER)
    assert "others" in refused(kernels, usual)


def test_levels_contain_those_below() -> None:
    for low, high in (("x86-64", "x86-64-v2"), ("x86-64-v2", "x86-64-v3"), ("x86-64-v3", "x86-64-v4")):
        assert set(LEVELS[low]) < set(LEVELS[high])
