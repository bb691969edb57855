"""Tests the structure of the package and of its tests: rooms, sizes, imports without cycles, and names of tests.

A room is a folder of modules. ``lint-imports`` checks the layers; here are the rules that its contracts cannot express.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from support.paths import ROOT

MAX_ROOMS = 15  # on one chain of imports
MAX_MODULES = 18  # of a room
MAX_TOP_MODULES = 22  # of ``generals_env`` itself: its modules are the public environments and their parts
MAX_LINES = 500
MAX_FUNCTION_LINES = 90
MAX_METHODS = 25
MAX_TEST_NAME = 69

#: One kernel: each further one would compile all that lies below it once more. Most of its lines are its 56 arguments.
LONG_FUNCTIONS = {"run_boards"}


def sources() -> Iterator[Path]:
    """Yield the modules of the package, without generated ones."""
    for folder in ("generals_env", "recorders", "wrappers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")) and not {"recorders", "wrappers"} & set(
                path.relative_to(ROOT).parts[1:-1]
            ):
                yield path


@cache
def parsed_tests() -> dict[Path, ast.Module]:
    """Return the parsed Python files below ``tests``."""
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted((ROOT / "tests").rglob("*.py"))}


@cache
def imports() -> dict[str, set[str]]:
    """Return the modules of the package that each one imports, also inside functions and for type checkers only."""
    graph = grimp.build_graph("generals_env", exclude_type_checking_imports=False, cache_dir=None)
    return {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def test_modules_import_each_other_without_cycles() -> None:
    try:
        order = list(TopologicalSorter(imports()).static_order())
    except CycleError as error:
        pytest.fail(f"expected no circle of imports, got {' -> '.join(error.args[1])}")
    assert len(order) > 200


def test_chain_of_imports_passes_through_few_rooms() -> None:
    packages = {module.rpartition(".")[0] for module in imports()}
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(imports()).static_order():  # imported modules first
        room = module.rpartition(".")[0]
        longest: list[str] = []
        # The __init__ of a package re-exports names of its own modules and is no room.
        for chain in (chains[other] for other in imports()[module] if other not in packages):
            longest = max(longest, chain if chain[:1] == [room] else [room, *chain], key=len)
        chains[module] = longest or [room]
    longest = max(chains.values(), key=len)
    assert 5 < len(longest) <= MAX_ROOMS, longest


def test_rooms_hold_few_modules() -> None:
    rooms = Counter(path.parent for path in sources() if path.name != "__init__.py")
    limits = {room: MAX_TOP_MODULES if room == ROOT / "generals_env" else MAX_MODULES for room in rooms}
    assert {room: count for room, count in rooms.items() if count > limits[room]} == {}


def test_modules_functions_and_classes_are_short() -> None:
    long = []
    for path in sources():
        text = path.read_text()
        if text.count("\n") > MAX_LINES:
            long.append(f"{path}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES and node.name not in LONG_FUNCTIONS:
                    long.append(f"{path}: {node.name}: {lines} lines")
            elif isinstance(node, ast.ClassDef):
                methods = sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body)
                if methods > MAX_METHODS:
                    long.append(f"{path}: {node.name}: {methods} methods")
    assert long == []


def test_names_of_tests_are_unique_short_and_plain() -> None:
    wrong, count = [], 0
    for path, tree in parsed_tests().items():
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        names = Counter(node.name for node in functions if node.name.startswith("test"))
        count += names.total()
        for name, times in names.items():
            if times > 1 or len(name) > MAX_TEST_NAME or not re.fullmatch("test_[a-z0-9_]+", name):
                wrong.append(f"{path}: {name}")
    assert wrong == []
    assert count > 1000


def test_names_of_files_of_tests_are_unique() -> None:
    """Folders of tests are no packages, so pytest collects one file of a name only."""
    names = Counter(path.name for path in parsed_tests() if path.name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []


def test_files_of_tests_are_not_imported() -> None:
    """Shared code belongs into ``tests/support``; pytest itself imports test files and ``conftest``."""
    own = {path.stem for path in parsed_tests() if path.parts[1] != "support"} | {"tests"}
    wrong, count = [], 0
    for path, tree in parsed_tests().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # scripts that tests run
                lines = re.findall(r"^(?:import|from) .*$", node.value, re.MULTILINE)
                names = [name for line in lines for name in re.findall(r"\btest_\w+", line)]
            else:
                continue
            count += sum(name.startswith("support.") for name in names)
            wrong += [f"{path}:{node.lineno}: {name}" for name in names if own & set(name.split("."))]
    assert wrong == []
    assert count > 100
