"""Writes settings as a commented YAML file, and their JSON Schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from generals_env.operations.settings.keys import KEYS, get_value
from generals_env.operations.settings.models import Section, Settings
from generals_env.operations.settings.yaml_reader import parse_scalar

__all__ = ["dump_settings", "dump_value", "json_schema"]

WIDTH = 110  # of comments

HEADER = """\
# Settings of generals-env run and of the other commands. Each key has its default unless you change it.
# Order of the layers: defaults < this file < environment (GENERALS_ENV_SECTION__KEY) < command line (--set section.key=value).
# Keys marked "live" take effect while a run goes on; the others at its next start.
# Secrets do not belong here: see streaming.token_variable, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment.
"""


def dump_settings(settings: Settings, comments: bool = True) -> str:
    """Return settings as the text of ``experience.yaml``, with descriptions as comments."""
    lines = ["experience:", *section_lines(settings, Settings, "", "  ", comments)]
    return (HEADER if comments else "") + "\n".join(lines) + "\n"


def section_lines(settings: Settings, section: type[Section], prefix: str, indent: str, comments: bool) -> Iterator[str]:
    """Yield the lines of a section and of the sections in it."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            if comments:
                yield ""
                yield from comment_lines((kind.__doc__ or "").replace("``", ""), indent)
            yield f"{indent}{name}:"
            yield from section_lines(settings, kind, f"{prefix}{name}.", indent + "  ", comments)
            continue
        key = KEYS[prefix + name]
        if comments:
            live = "; live" if key.live else ""
            yield from comment_lines(f"{key.description} ({key.expected}{live})", indent)
        yield f"{indent}{name}: {dump_value(get_value(settings, key.name))}"


def comment_lines(text: str, indent: str) -> Iterator[str]:
    """Yield the lines of a comment."""
    for line in textwrap.wrap(" ".join(text.split()), WIDTH - len(indent), break_long_words=False):
        yield f"{indent}# {line}"


def dump_value(value: Any) -> str:
    """Return a value as YAML on one line, which the reader reads as this value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(dump_value, value))}]"
    return repr(value) if isinstance(value, int | float) else dump_text(value)


def dump_text(text: str) -> str:
    """Return text without quotes where it is safe, and otherwise in double quotes with escapes."""
    import yaml  # type: ignore[import-untyped]  # the reader, which is imported above, names the command if it is missing

    if text.replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum() and text.isascii():
        try:
            if parse_scalar(text) == text:
                return text
        except ValueError:  # ambiguous without quotes
            pass
    quoted: str = yaml.dump(text, Dumper=yaml.SafeDumper, default_style='"', width=float("inf"), allow_unicode=False)
    return quoted.rstrip("\n")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of ``experience.yaml``, for editors: the settings below the key ``experience``."""
    schema = Settings.model_json_schema()
    definitions = schema.pop("$defs")
    definitions["Settings"] = schema
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "experience.yaml of generals_env",
        "type": "object",
        "properties": {"experience": {"$ref": "#/$defs/Settings"}},
        "additionalProperties": False,
        "$defs": definitions,
    }
