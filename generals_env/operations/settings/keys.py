"""Lists the keys of the settings: default, description, expected type, and whether a change needs a restart."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from generals_env.operations.settings.models import Section, Settings

__all__ = ["KEYS", "PREFIX", "Key", "apply_live", "changed_keys", "get_value", "live_keys", "suggestion", "variable_name"]

#: Start of the environment variables that set keys.
PREFIX = "GENERALS_ENV_"

AnySection = TypeVar("AnySection", bound=Section)

LARGE = 1e30  # limits beyond it are those of float32, which no user needs to read


@dataclass(frozen=True)
class Key:
    """A key of the settings.

    Attributes:
        name: Dotted, such as ``collection.buffer_size``.
        default: Value where no layer sets it.
        description: What it sets.
        expected: Its type and limits in words.
        live: Whether a running ``generals-env run`` takes a change over.
        kinds: Types of its values: bool, int, float, str, tuple, NoneType.
    """

    name: str
    default: Any
    description: str
    expected: str
    live: bool
    kinds: frozenset[type]

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the sections, and of the key in the last of them."""
        return tuple(self.name.split("."))


def find_keys(section: type[Section], prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a section and of the sections in it, in the order of the models."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            yield from find_keys(kind, f"{prefix}{name}.")
            continue
        extra = field.json_schema_extra
        live = isinstance(extra, dict) and extra.get("live") is True
        expected, kinds = describe_type(kind, field.metadata)
        yield Key(f"{prefix}{name}", field.default, field.description or "", expected, live, frozenset(kinds))


def describe_type(kind: Any, limits: list[Any]) -> tuple[str, set[type]]:
    """Return a type and its limits in words, and the types of its values."""
    if get_origin(kind) is Annotated:
        kind, *more = get_args(kind)
        return describe_type(kind, [*limits, *more])
    limits = [part for limit in limits for part in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    if get_origin(kind) in (Union, types.UnionType):
        described = [describe_type(part, limits) for part in get_args(kind) if part is not type(None)]
        kinds = set().union(*(found for _, found in described))
        words = [text for text, _ in described]
        if type(None) in get_args(kind):
            words, kinds = [*words, "null"], kinds | {type(None)}
        return " or ".join(words), kinds
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}", {str}
    if get_origin(kind) is tuple:
        return describe_list(get_args(kind), limits), {tuple}
    if kind is bool:
        return "true or false", {bool}
    if kind in (int, float):
        return describe_number(kind, limits), {int} if kind is int else {int, float}
    return ("text that is not empty" if find_limit(limits, "min_length") else "text"), {str}


def describe_list(items: tuple[Any, ...], limits: list[Any]) -> str:
    """Return the type of a tuple in words."""
    text, _ = describe_type(items[0], [])
    if items[-1] is not Ellipsis:
        return f"a list [minimum, maximum], each {text}"
    minimum = find_limit(limits, "min_length")
    return f"a list of {'at least one ' if minimum else ''}{text}"


def describe_number(kind: type, limits: list[Any]) -> str:
    """Return the limits of a number in words."""
    text = "an integer" if kind is int else "a number"
    low, high, above = (find_limit(limits, name) for name in ("ge", "le", "gt"))
    if low is not None and high is not None:
        return f"{text} from {low} to {high}" if high < LARGE else f"a finite {text[2:]}"
    if low is not None:
        return f"{text} of at least {low}"
    return f"{text} above {above}" if above is not None else text


def find_limit(limits: list[Any], name: str) -> Any:
    """Return a limit of pydantic's or annotated-types' metadata, or None."""
    return next((value for limit in limits if (value := getattr(limit, name, None)) is not None), None)


#: All keys, by name, in the order of the models.
KEYS = {key.name: key for key in find_keys(Settings)}


def variable_name(key: str) -> str:
    """Return the environment variable that sets a key."""
    return PREFIX + key.replace(".", "__").upper()


def suggestion(name: str, names: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    """Return ``did you mean ...?`` with the most similar of some names, or a list of them."""
    known = list(names)
    similar = difflib.get_close_matches(name, known, 1)
    return f"did you mean {similar[0]}?" if similar else f"expected one of {', '.join(known)}"


def get_value(settings: BaseModel, key: str) -> Any:
    """Return the value of a key."""
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def live_keys() -> frozenset[str]:
    """Return the keys whose change takes effect without a restart."""
    return frozenset(key.name for key in KEYS.values() if key.live)


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the keys whose values differ, in the order of the models."""
    return tuple(key for key in KEYS if get_value(old, key) != get_value(new, key))


def apply_live(old: Settings, new: Settings) -> Settings:
    """Return ``old`` with the values of ``new`` for the keys that need no restart."""
    return merge_live(old, new, "")


def merge_live(old: AnySection, new: AnySection, prefix: str) -> AnySection:
    """Return a section with the values of ``new`` for its live keys, and those of sections in it."""
    values: dict[str, Any] = {}
    for name in type(old).model_fields:
        value = getattr(new, name)
        if isinstance(value, Section):
            values[name] = merge_live(getattr(old, name), value, f"{prefix}{name}.")
        elif KEYS[prefix + name].live:
            values[name] = value
    return old.model_copy(update=values)
