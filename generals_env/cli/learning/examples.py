"""Implements ``generals-env examples``: lists the examples of the package, and copies one to start from."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import generals_env
from generals_env.cli.dataset import console
from generals_env.errors import ConfigError, StorageError

__all__ = ["app", "copy_example", "examples_folder", "first_sentence"]

app = typer.Typer(help="List the examples of the package, and copy one to start from.", no_args_is_help=True)

#: An example that every version has: the folder with it is the one of the examples.
QUICKSTART = "quickstart.py"


@app.command(name="list")
def list_examples() -> None:
    """List the examples."""
    table = Table("example", "what it does")
    for path in example_files(examples_folder()):
        table.add_row(path.stem, first_sentence(path))
    console.print(table)


@app.command(name="copy")
def copy(
    name: Annotated[str, typer.Argument(help="Name of an example, as generals-env examples list shows it.")],
    to: Annotated[Path, typer.Option(help="Folder to copy it to.")] = Path(),
) -> None:
    """Copy an example, which is yours to change from then on."""
    for path in copy_example(name, to):
        console.print(str(path), markup=False, highlight=False, soft_wrap=True)


def examples_folder() -> Path:
    """Return the folder of the examples: in the installed package, or at the root of a checkout.

    Raises:
        StorageError: If there is none.
    """
    package = Path(generals_env.__file__).parent
    for folder in (package / "examples", package.parent / "examples"):
        if (folder / QUICKSTART).is_file():
            return folder
    raise StorageError(f"examples: expected them in {str(package)!r}, got none: install the package again")


def example_files(folder: Path) -> list[Path]:
    """Return the programs among the files of a folder: those that can be run."""
    return [path for path in sorted(folder.glob("*.py")) if "__main__" in path.read_text()]


def first_sentence(path: Path) -> str:
    """Return the first sentence of the docstring of a file."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].removesuffix(".")


def copy_example(name: str, to: Path) -> list[Path]:
    """Copy an example, and the modules beside it that it imports; return the files.

    Args:
        name: Its name, with ``.py`` or without.
        to: The folder to copy it to; it is made if it does not exist.

    Raises:
        ConfigError: If there is no such example.
        StorageError: If there is a file of the same name, or the folder cannot be written.
    """
    folder = examples_folder()
    known = {path.stem: path for path in example_files(folder)}
    if name.removesuffix(".py") not in known:
        raise ConfigError(f"name: expected one of {', '.join(known)}, got {name!r:.80}: see generals-env examples list")
    example = known[name.removesuffix(".py")]
    files = [example, *modules_beside(example)]
    if there := [path.name for path in files if (to / path.name).exists()]:
        raise StorageError(f"to: expected a folder without {there[0]}, got {str(to)!r}: choose another one")
    try:
        to.mkdir(parents=True, exist_ok=True)
        for path in files:
            (to / path.name).write_bytes(path.read_bytes())
    except OSError as error:
        raise StorageError(f"to: expected a folder that can be written, got {str(to)!r} ({error})") from error
    return [to / path.name for path in files]


def modules_beside(example: Path) -> list[Path]:
    """Return the modules in the folder of an example that it imports."""
    names = set()
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return [example.with_name(f"{name}.py") for name in sorted(names) if example.with_name(f"{name}.py").is_file()]
