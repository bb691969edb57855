"""Loads the settings from their layers: defaults < file < environment < command line.

A fault of any layer is a line of one ``ConfigError``: file and line, variable or option; key; what was expected and given.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from generals_env.arguments import shown
from generals_env.errors import ConfigError
from generals_env.operations.settings.checks import check_settings
from generals_env.operations.settings.faults import Fault, raise_faults
from generals_env.operations.settings.keys import KEYS, PREFIX, Key, suggestion, variable_name
from generals_env.operations.settings.models import Section, Settings
from generals_env.operations.settings.secrets import secret_remedy
from generals_env.operations.settings.yaml_reader import Entry, parse_scalar, parse_yaml, plain_value

__all__ = ["CONFIG_VARIABLE", "Loaded", "load_settings", "load_with_origins", "settings_path"]

#: Variable with the path of the file, for commands without ``--config``.
CONFIG_VARIABLE = PREFIX + "CONFIG"

#: Variables with the prefix that set no key.
OTHER_VARIABLES = (
    CONFIG_VARIABLE,
    *(PREFIX + name for name in ("KERNELS", "COMPILATION_SHOWN", "TOKEN", "PROGRAM", "REDIS_PASSWORD")),
)

#: Key that names a variable of the user's choice, which may have the prefix, too.
TOKEN_VARIABLE = "streaming.token_variable"  # noqa: S105 - the name of a key

#: Variables that Kubernetes and compose set for services whose names begin with ``generals-env``.
SERVICE_VARIABLE = re.compile(
    PREFIX + r"([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)|PORT(_[0-9]+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
)

ROOT = "experience"  # key of the file below which the guide has the sections


@dataclass(frozen=True)
class Value:
    """A value of a layer, with where it comes from and its text there."""

    value: Any
    origin: str
    written: str | None = None


@dataclass(frozen=True)
class Loaded:
    """Settings, and the origin of each key that a layer sets: file and line, variable, or option.

    Attributes:
        settings: The validated settings.
        origins: Origins by key; keys with their default are not in it.
    """

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    sections: Collection[str] | None = None,
) -> Settings:
    """Load and validate the settings.

    Args:
        path: YAML file; None for the file that ``GENERALS_ENV_CONFIG`` names, or without one no file.
        environment: Variables such as ``GENERALS_ENV_COLLECTION__BUFFER_SIZE``; None for those of this process.
        overrides: Values of the command line by dotted key, such as ``{"collection.buffer_size": 100}``.
        options: Option that set an override, by key, for errors; ``--set`` where it has none.
        sections: Sections whose keys are compared with each other and with files of this machine; None for all. A trainer
            needs no checkpoint of a policy: it writes it.

    Raises:
        ConfigError: If a file cannot be read, or a key is unknown or has an invalid value. The message has a line for each
            fault.
    """
    return load_with_origins(path, environment, overrides, options, sections).settings


def load_with_origins(
    path: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
    sections: Collection[str] | None = None,
) -> Loaded:
    """Load and validate the settings as ``load_settings``, and return the origin of each value, too."""
    variables = os.environ if environment is None else environment
    path = settings_path(path, variables)
    faults: list[Fault] = []
    in_file = {} if path is None else read_file(path, faults)
    given = read_overrides(overrides or {}, options or {}, faults)
    named = [
        variables.get(variable_name(TOKEN_VARIABLE)),
        *(layer[TOKEN_VARIABLE].value for layer in (in_file, given) if TOKEN_VARIABLE in layer),
    ]
    values = in_file | read_environment(variables, [*OTHER_VARIABLES, *named], faults) | given
    settings = validate(values, faults)
    if settings is not None:
        default = "default" if path is None else str(path)
        found = [fault for fault in check_settings(settings) if sections is None or fault.key.split(".")[0] in sections]
        faults += [place(fault.key, fault.text, values, default) for fault in found]
    raise_faults(sorted(faults, key=fault_line))
    if settings is None:
        raise AssertionError("settings without faults were not validated")
    return Loaded(settings, {key: value.origin for key, value in values.items()})


def settings_path(path: str | Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the path of the file: the argument, or else the variable ``GENERALS_ENV_CONFIG``, or else None."""
    named = path if path is not None else environment.get(CONFIG_VARIABLE) or None
    return None if named is None else Path(named)


def read_file(path: Path, faults: list[Fault]) -> dict[str, Value]:
    """Return the values of a file by key; add unknown keys to ``faults``.

    Raises:
        ConfigError: If the file cannot be read or is not YAML.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: expected a file of settings, got {error.strerror or error}: "
            "pass another path, or write one with generals-env config init"
        ) from None
    root = parse_yaml(data, str(path), faults, ROOT)
    content = root
    if ROOT in root.value:
        content = root.value[ROOT]
        for name, entry in root.value.items():
            if name != ROOT:
                faults.append(
                    Fault(
                        f"{path}:{entry.line}", name, f"expected only {ROOT} at this level: move it below {ROOT}, or delete it"
                    )
                )
    return dict(walk(content, Settings, "", str(path), faults))


def walk(content: Entry, section: type[Section], prefix: str, name: str, faults: list[Fault]) -> Iterator[tuple[str, Value]]:
    """Yield key and value of each entry of a section, and of the sections in it; add unknown keys to ``faults``."""
    if content.value is None:  # all keys are commented out
        return
    if not isinstance(content.value, dict):
        names = ", ".join(section.model_fields)
        given = "a list" if isinstance(content.value, tuple) else repr(content.written)
        text = f"expected a mapping with keys among {names}, got {given:.80}: write key: value below it"
        faults.append(Fault(f"{name}:{content.line}", prefix.rstrip(".") or ROOT, text))
        return
    for part, entry in content.value.items():
        key, origin = prefix + part, f"{name}:{entry.line}"
        field = section.model_fields.get(part)
        if field is None:
            text = secret_remedy(key) or f"unknown key: {suggestion(part, tuple(section.model_fields))}"
            faults.append(Fault(origin, key, text))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from walk(entry, field.annotation, f"{key}.", name, faults)
        else:
            yield key, Value(plain_value(entry.value), origin, entry.written)


def read_environment(environment: Mapping[str, str], others: Collection[Any], faults: list[Fault]) -> dict[str, Value]:
    """Return the values of variables by key; add unknown variables and values that are not YAML to ``faults``.

    ``others`` are the names of variables that set no key.
    """
    keys = {variable_name(key): key for key in KEYS}
    values = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in others:
            continue
        if variable not in keys:
            if SERVICE_VARIABLE.fullmatch(variable):
                continue
            key = variable.removeprefix(PREFIX).lower().replace("__", ".")
            hint = secret_remedy(key) or f"unknown variable: {variable_hint(variable, tuple(keys))}"
            faults.append(Fault(variable, "", hint))
            continue
        key = keys[variable]
        try:
            values[key] = Value(parse_text(KEYS[key], text), variable, text)
        except ValueError as error:
            faults.append(Fault(variable, key, str(error)))
    return values


def variable_hint(variable: str, names: tuple[str, ...]) -> str:
    """Return a hint for an unknown variable; a list of all names would be too long."""
    known = [name.removeprefix(PREFIX) for name in (*names, *OTHER_VARIABLES)]
    similar = difflib.get_close_matches(variable.removeprefix(PREFIX).upper(), known, 1)
    if similar:
        return f"did you mean {PREFIX}{similar[0]}?"
    return f"expected {PREFIX}SECTION__KEY with a key of generals-env config show"


def parse_text(key: Key, text: str) -> Any:
    """Return the value of a key as text of an environment variable or of ``--set``.

    For keys that hold text, text is taken as it is, but for quotes, and ``null`` or no text
    for null: a version such as ``1.10`` needs no quotes.
    For others it is a YAML scalar or list.

    Raises:
        ValueError: If it is not valid YAML.
    """
    if key.kinds <= {str, type(None)} and text[:1] not in ('"', "'"):
        return None if text in ("", "null", "~") and type(None) in key.kinds else text
    return parse_scalar(text)


def read_overrides(overrides: Mapping[str, Any], options: Mapping[str, str], faults: list[Fault]) -> dict[str, Value]:
    """Return the values of the command line by key; add unknown keys to ``faults``."""
    values = {}
    for key, value in overrides.items():
        origin = options.get(key, "--set")
        if key in KEYS:
            values[key] = Value(tuple(value) if isinstance(value, list) else value, origin)
        else:
            faults.append(Fault(origin, key, secret_remedy(key) or f"unknown key: {key_hint(key)}"))
    return values


def key_hint(key: str) -> str:
    """Return a hint for an unknown dotted key."""
    hint = suggestion(key, list(KEYS))
    return hint if hint.startswith("did") else "expected section.key, with a key of generals-env config show"


def fault_line(fault: Fault) -> int:
    """Return the line of a fault, by which faults are sorted; 0 for variables and options."""
    _, colon, line = fault.origin.rpartition(":")
    return int(line) if colon and line.isdigit() else 0


def place(key: str, text: str, values: Mapping[str, Value], default: str) -> Fault:
    """Return a fault between keys with the origin of its key, or else of another key of its section that a layer sets."""
    section = key.rpartition(".")[0] + "."
    others = [value.origin for name, value in values.items() if name.startswith(section)]
    return Fault(values[key].origin if key in values else (others or [default])[-1], key, text)


def validate(values: Mapping[str, Value], faults: list[Fault]) -> Settings | None:
    """Return the settings with these values, or None after adding invalid values to ``faults``."""
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = KEYS[key].parts
        mapping = nested
        for section in sections:
            mapping = mapping.setdefault(section, {})
        mapping[name] = value.value
    try:
        settings = Settings.model_validate(nested)
    except ValidationError as error:
        wrong = dict.fromkeys(error_key(fault["loc"]) for fault in error.errors(include_url=False))
        faults += [Fault(values[key].origin, key, type_text(KEYS[key], values[key])) for key in wrong]
        return None
    return settings


def error_key(location: tuple[int | str, ...]) -> str:
    """Return the key of a location of pydantic, which continues with branches of unions and indices of lists."""
    for length in range(len(location), 0, -1):
        key = ".".join(map(str, location[:length]))
        if key in KEYS:
            return key
    raise AssertionError(f"pydantic named {location}, which is no key")


def type_text(key: Key, value: Value) -> str:
    """Return the text of a fault about a value of the wrong type or beyond its limits."""
    given = value.value
    if isinstance(given, str):
        got = shown(given, 80)
    else:
        got = value.written[:80] if value.written is not None else shown(list(given) if isinstance(given, tuple) else given, 80)
    got = {None: "null", True: "true", False: "false"}.get(given, got) if isinstance(given, bool | None) else got
    return f"expected {key.expected}, got {got}{hint_for(key, given)}"


def hint_for(key: Key, given: Any) -> str:
    """Return what to do about a value of the wrong type; empty for a value beyond limits, whose limits are named."""
    if isinstance(given, str) and key.kinds & {int, float} and looks_numeric(given):
        return ": remove the quotes"
    if isinstance(given, int | float) and str in key.kinds:
        return ": put it in quotes" if not isinstance(given, bool) or "one of" not in key.expected else ""
    if tuple in key.kinds and not key.kinds & {int, float} and isinstance(given, str):
        return f": write a list, [{given[:80]}]"
    if given is None:
        return ": give a value, or remove the key"
    return ""


def looks_numeric(text: str) -> bool:
    """Return whether text in quotes is a number."""
    return text.lstrip("+-").replace(".", "", 1).isdigit()
