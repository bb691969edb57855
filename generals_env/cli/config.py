"""Implements ``generals-env config``: shows, checks and writes settings; and reads them for other commands."""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from generals_env.cli.dataset import console, errors
from generals_env.errors import ConfigError

if TYPE_CHECKING:
    from generals_env.operations.settings.load import Loaded
    from generals_env.operations.settings.models import Settings

__all__ = ["ConfigFile", "SetValues", "app", "parse_set", "print_faults", "read_settings", "settings_or_exit"]

app = typer.Typer(no_args_is_help=True)

#: Options of the commands that take settings.
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="File of settings; default: the one that GENERALS_ENV_CONFIG names, or none.")
]
SetValues = Annotated[
    list[str] | None, typer.Option("--set", help="A setting as key=value, such as collection.buffer_size=100; may be repeated.")
]


def read_settings(
    config: Path | None,
    values: list[str] | None,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    sections: Collection[str] | None = None,
) -> Loaded:
    """Return the settings of a command and their origins.

    Args:
        config: Value of ``--config``.
        values: Values of ``--set``.
        overrides: Values of other options by dotted key; they take precedence over ``--set``.
        options: Names of these options by key, for errors.
        sections: Sections that the command uses, whose keys are compared with each other; None for all.

    Raises:
        ConfigError: If the settings are invalid; the message has a line for each fault.
        typer.BadParameter: If a library for settings is missing.
    """
    require_libraries()
    from generals_env.operations.settings.load import load_with_origins

    given = {**parse_set(values or []), **(overrides or {})}
    return load_with_origins(config, overrides=given, options=options, sections=sections)


@app.callback()
def require_libraries() -> None:
    """Show, check and write the settings of experience.yaml."""
    try:
        importlib.import_module("generals_env.operations.settings.dump")
    except ImportError as error:
        raise typer.BadParameter(str(error)) from None


def settings_or_exit(
    config: Path | None,
    values: list[str] | None,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    sections: Collection[str] | None = None,
) -> Settings:
    """Return the settings of a command; print invalid ones, a line for each fault, and exit with status 2."""
    return loaded_or_exit(config, values, overrides, options, sections).settings


def loaded_or_exit(
    config: Path | None,
    values: list[str] | None,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    sections: Collection[str] | None = None,
) -> Loaded:
    """Return the settings and origins of a command; print invalid ones, a line for each fault, and exit with status 2."""
    try:
        return read_settings(config, values, overrides, options, sections)
    except ConfigError as error:
        print_faults(error)
        raise typer.Exit(2) from None


def print_faults(error: ConfigError) -> None:
    """Print a line for each fault of the settings."""
    for line in str(error).splitlines():
        errors.print(f"error: {line}", style="red", markup=False, emoji=False, highlight=False, soft_wrap=True)


def parse_set(values: list[str]) -> dict[str, Any]:
    """Return the values of ``--set`` by key.

    Raises:
        ConfigError: If one has not the form ``key=value``, or its value is not YAML.
    """
    from generals_env.operations.settings.keys import KEYS
    from generals_env.operations.settings.load import parse_text

    parsed = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set: expected key=value, got {key!r:.80}: write one like --set collection.buffer_size=100")
        try:
            parsed[key] = parse_text(KEYS[key], value) if key in KEYS else value
        except ValueError as error:
            raise ConfigError(f"--set: {key}: {error}") from None
    return parsed


@app.command()
def show(
    config: ConfigFile = None,
    values: SetValues = None,
    origin: Annotated[bool, typer.Option("--origin", help="Show file and line, variable or option of each value.")] = False,
    changed: Annotated[bool, typer.Option("--changed", help="Show only keys that a layer sets.")] = False,
) -> None:
    """Show each setting, and whether a change takes effect live or needs a restart."""
    loaded = loaded_or_exit(config, values)
    from generals_env.operations.settings.dump import dump_value
    from generals_env.operations.settings.keys import KEYS, get_value

    table = Table()
    for header in ("key", "value", "change", *(("from",) if origin else ())):
        table.add_column(header, overflow="fold")
    for key in KEYS.values():
        source = loaded.origins.get(key.name)
        if source is not None or not changed:
            value = dump_value(get_value(loaded.settings, key.name))
            cells = [key.name, value, "live" if key.live else "restart", *([source or "default"] if origin else [])]
            table.add_row(*map(Text, cells))  # a value such as [random] is no markup
    console.print(table)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="File of settings.")],
    values: SetValues = None,
) -> None:
    """Check a file together with the environment, and print a line for each fault."""
    loaded = loaded_or_exit(file, values)
    console.print(
        f"{file}: {len(loaded.origins)} settings, all valid", markup=False, emoji=False, highlight=False, soft_wrap=True
    )


@app.command()
def init(file: Annotated[Path, typer.Argument(help="File to write.")] = Path("experience.yaml")) -> None:
    """Write a commented file with all settings and their defaults."""
    from generals_env.operations.settings.dump import dump_settings
    from generals_env.operations.settings.models import Settings

    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(dump_settings(Settings()))
    except FileExistsError:
        raise ConfigError(f"{file}: expected a new file, got one that exists: delete it, or pass another path") from None
    except OSError as error:
        raise ConfigError(f"{file}: expected a writable path, got {error.strerror or error}: pass another one") from None
    console.print(f"wrote {file}", markup=False, emoji=False, highlight=False, soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the file, for completion and checks in editors."""
    from generals_env.operations.settings.dump import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
