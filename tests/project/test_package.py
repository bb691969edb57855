"""Tests the package: public names, submodules, imports and layers, and its use without writable folders."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from support.helpers import PATIENCE
from support.paths import ROOT

import generals_env
from generals_env import recorders, wrappers

#: Modules of the libraries whose distributions have other names.
MODULES = {
    "grpcio": "grpc",
    "grpcio-health-checking": "grpc_health",
    "grpcio-reflection": "grpc_reflection",
    "protobuf": "google.protobuf",
    "pyyaml": "yaml",
}

#: Extras that need no import: groups of extras, the tools of the project, and parts of the package that are not built yet.
NOT_IMPORTED = {"all", "dev", "docs", "ray", "redis"}

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def python(code: str, *, cwd: Path = ROOT, executable: str = sys.executable, **environment: str) -> str:
    done = subprocess.run(
        [executable, "-c", textwrap.dedent(code)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_public_names_are_pinned() -> None:
    assert generals_env.__all__ == [
        "ENV_ID",
        "ActionError",
        "ConfigError",
        "CopyError",
        "GameConfig",
        "GeneralsError",
        "MapError",
        "OptionError",
        "ReplayError",
        "RewardConfig",
        "SpawnDistance",
        "StateError",
        "StorageError",
        "__version__",
        "castle_prices",
        "make",
        "make_vec",
        "parallel_env",
        "start_boards",
    ]
    assert recorders.__all__ == [
        "AdaptiveLevel",
        "BackgroundReader",
        "BoardDataset",
        "BoardReplayBuffer",
        "BufferStats",
        "BufferedSink",
        "BufferedSinkStats",
        "Dataset",
        "DatasetWriter",
        "DeduplicatingSink",
        "DevicePolicy",
        "DistributedTrainer",
        "ExperienceBatch",
        "ExperienceConsumer",
        "ExperienceLog",
        "ExperienceRecorder",
        "ExperienceServer",
        "InsertCounts",
        "InsertLimiter",
        "InsertLimits",
        "LimitedSink",
        "Limits",
        "MixSchedule",
        "MixedSample",
        "MixedSampler",
        "MultiSink",
        "Position",
        "PrioritizedReplayBuffer",
        "PrioritizedSample",
        "QNetwork",
        "Recipe",
        "RecordedReplays",
        "ReplayBuffer",
        "Retry",
        "RetryingSink",
        "Shaping",
        "Sink",
        "SpillBuffer",
        "StreamDataset",
        "StreamDefaults",
        "SubmittingSink",
        "Tensors",
        "TorchTensors",
        "TrainerConfig",
        "ValidatingSink",
        "Validator",
        "load_policy",
        "open_dataset",
        "record_replays",
        "repair_dataset",
        "to_hugging_face",
        "to_minari",
        "verify_dataset",
    ]
    assert wrappers.__all__ == [
        "OPPONENTS",
        "FogMemory",
        "FrameStack",
        "Opponent",
        "PotentialShaping",
        "RandomSymmetry",
        "SB3VecEnv",
    ]
    for module in (generals_env, recorders, wrappers):
        assert all(hasattr(module, name) for name in module.__all__)


def test_every_module_defines_all() -> None:
    for path in [*ROOT.glob("generals_env/**/*.py"), *ROOT.glob("recorders/**/*.py"), *ROOT.glob("wrappers/**/*.py")]:
        is_module = "_pb2" not in path.name and "starters" not in path.parts
        if is_module and path.name not in ("version.py", "__init__.py", "jit.py"):
            assert re.search(r"^__all__(: list\[str\])? = ", path.read_text(), re.MULTILINE), path


def imported_modules() -> set[str]:
    """Return the full names of all modules that code of the package imports, inside functions too."""
    names = set()
    for folder in ("generals_env", "recorders", "wrappers"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - NOT_IMPORTED))
def test_extra_has_a_library_that_the_package_imports(extra: str) -> None:
    libraries = [re.match(r"[\w.-]+", requirement)[0] for requirement in EXTRAS[extra]]  # type: ignore[index]
    modules = [MODULES.get(library.lower(), library.lower().replace("-", "_")) for library in libraries]
    imported = imported_modules()
    assert any(name == module or name.startswith(f"{module}.") for module in modules for name in imported), modules


def test_submodules_are_available_without_import() -> None:
    names = ("actions", "generals_v0", "opponents", "recorders", "render", "replay", "wrappers")
    code = "import generals_env; print(" + ", ".join(f"generals_env.{name}.__name__" for name in names) + ")"
    assert python(code).split() == [f"generals_env.{name}" for name in names]
    with pytest.raises(AttributeError, match="module 'generals_env' has no attribute 'nothing'"):
        _ = generals_env.nothing


def test_import_is_light() -> None:
    loaded = python("import sys, generals_env; print(' '.join(sys.modules))").split()
    for heavy in ("numba", "torch", "PIL", "rich", "typer", "grpc", "pyarrow", "stable_baselines3"):
        assert heavy not in loaded


@pytest.mark.parametrize("name", ["recorders", "wrappers"])
def test_root_folders_are_the_packages(name: str) -> None:
    # Both orders, submodules too: one copy of every class.
    module = {"recorders": "experience", "wrappers": "builtin_policy"}[name]
    short, full = f"import {name}, {name}.{module}", f"import generals_env.{name}.{module}"
    for first, second in ((short, full), (full, short)):
        python(f"""
            {first}
            {second}
            import generals_env.{name}, sys
            assert {name} is generals_env.{name}
            assert {name}.{module} is generals_env.{name}.{module}
            assert {name}.{module}.__spec__.name == {name}.{module}.__name__ == "generals_env.{name}.{module}"
            from {name}.{module} import __all__
        """)


def test_users_own_modules_are_not_shadowed(tmp_path: Path) -> None:
    (tmp_path / "wrappers.py").write_text("mine = True")
    (tmp_path / "recorders.py").write_text("mine = True")
    python("import generals_env.recorders, generals_env.wrappers, wrappers, recorders; assert wrappers.mine", cwd=tmp_path)


def test_package_works_without_writable_folders(tmp_path: Path) -> None:
    # Root may write anywhere: a file where a folder would have to be made stops it, too.
    blocked = tmp_path / "file"
    blocked.write_text("")
    shutil.copytree(ROOT / "generals_env", tmp_path / "generals_env", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "generals_env" / "engine" / "__pycache__").write_text("")
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import generals_env
        from generals_env.engine.simulation.single_game import play_turn
        assert generals_env.__file__.startswith({str(tmp_path)!r})
        env = generals_env.make(height=6, width=6)
        env.reset(seed=1)
        env.step(env.action_space("player_0").n - 1)
        assert play_turn.stats.cache_path is None
        print(env.agent_selection)
    """
    output = python(code, cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1", NUMBA_CACHE_DIR=str(blocked / "cache"))
    assert output.strip() == "player_1"


@pytest.mark.parametrize("names", [("aec_registry", "parallel_registry", "register"), ("register",)])
def test_pettingzoo_without_registries_is_enough(names: tuple[str, ...]) -> None:
    # Versions before 1.27, which some libraries ask for, have none of them.
    output = python(f"""
        import gymnasium, pettingzoo
        for name in {names!r}:
            if hasattr(pettingzoo, name):
                delattr(pettingzoo, name)
        import generals_env
        assert generals_env.ENV_ID in gymnasium.registry
        for env in (generals_env.make(height=6, width=6), generals_env.parallel_env(height=6, width=6)):
            env.reset(seed=1)
            print(env.agents)
    """)
    assert output.split("\n") == ["['player_0', 'player_1']"] * 2 + [""]


def test_layers_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout
