"""Reads YAML without the surprises of YAML 1.1, with the line of each key.

PyYAML reads ``010`` as 8, ``1:30`` as 90, ``no`` as False, and ``1e-05`` and ``1.0e3`` as text; of two equal keys it keeps the
last one. Here a plain scalar is a decimal number, ``true``, ``false``, ``null`` or text; those that YAML 1.1 and 1.2 read
differently, and duplicate keys, are faults. PyYAML parses; values are made here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from generals_env.errors import ConfigError
from generals_env.operations.settings.faults import Fault

try:
    import yaml  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(f'settings: expected pyyaml, got {error}: pip install "generals_env[settings]"') from None

__all__ = ["MAX_BYTES", "Entry", "parse_scalar", "parse_yaml", "plain_value"]

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_NODES = 10_000  # after aliases are replaced by what they name

PLAIN = "plain"  # tag of scalars without quotes and without a tag
TEXT = "tag:yaml.org,2002:str"
MERGE = "<<"

#: Value of a scalar with a fault, and of a list with one in it.
FAULTY: Final = object()

NULLS = ("", "~", "null", "Null", "NULL")
TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
INFINITIES = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}

#: Scalars that YAML 1.1 or 1.2 does not read as text, and that are not written as above.
AMBIGUOUS = re.compile(
    r"""
    y|yes|n|no|on|off                           # booleans of YAML 1.1
    | [-+]?0[0-9_]+(\.[0-9_]*)?(e[-+]?[0-9]+)?  # octal in 1.1 if all digits are below 8, decimal in 1.2
    | [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?  # sexagesimal
    | [-+]?0[xob][0-9a-f_]+
    | [-+]?[0-9]+_[0-9_]*(\.[0-9_]*)?(e[-+]?[0-9]+)?
    | [-+]?[0-9]+(\.[0-9_]*_[0-9_]*)
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Entry:
    """A value of a mapping.

    Attributes:
        value: None, bool, int, float, str, a tuple of values, or a dict of entries by key.
        line: Line of its key, from 1 on.
        written: The scalar as written in the file, for errors; None for lists and mappings.
    """

    value: Any
    line: int
    written: str | None = None


def parse_yaml(data: bytes, name: str, faults: list[Fault], top: str = "") -> Entry:
    """Return the content of a YAML file as a tree of entries; an empty file is an empty mapping.

    Args:
        data: Content of the file.
        name: Name of the file, for errors.
        faults: Gets ambiguous scalars and duplicate keys, which are left out of the result.
        top: Key at the top that errors leave out of the names of keys below it.

    Raises:
        ConfigError: If it is too large, not UTF-8, not YAML, more than one document, or nested too deeply, or if its root is
            not a mapping.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name}: expected at most {MAX_BYTES} bytes, got {len(data)}: pass a file of settings")
    root = compose(decode(data, name), name)
    if root is None or is_null(root):
        return Entry({}, 1)
    builder = Builder(name, top)
    entry = Entry(builder.build(root, "", 0), 1)
    faults += builder.faults
    if not isinstance(entry.value, dict):
        given = describe_node(root)
        raise ConfigError(f"{name}:{root.start_mark.line + 1}: expected a mapping of keys, got {given}: write key: value")
    return entry


def parse_scalar(text: str) -> Any:
    """Return the value of one scalar or flow collection, as in ``--set key=value`` and in environment variables.

    Raises:
        ValueError: If it is not valid; the message is the reason without a name.
    """
    try:
        root = compose(text, "")
        if root is None:
            return None
        builder = Builder("", "")
        value = builder.build(root, "", 0)
    except ConfigError as error:
        raise ValueError(re.sub(r"^(:\d+)?:? ?", "", str(error))) from None
    if builder.faults:
        raise ValueError(builder.faults[0].text)
    return plain_value(value)


def plain_value(value: Any) -> Any:
    """Return a value without entries: mappings become dicts of plain values."""
    if isinstance(value, dict):
        return {key: plain_value(entry.value) for key, entry in value.items()}
    return tuple(map(plain_value, value)) if isinstance(value, tuple) else value


def decode(data: bytes, name: str) -> str:
    """Return UTF-8 bytes, with or without a byte order mark, as text."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}:{line}: expected UTF-8, got byte 0x{data[error.start]:02x}: save the file as UTF-8"
        ) from None


class Loader(yaml.SafeLoader):  # type: ignore[misc]  # has no types
    """Composes nodes of bounded depth, and marks plain scalars instead of guessing their type."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; PyYAML would fail with a ``RecursionError`` at deep ones."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {MAX_DEPTH}", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Return ``PLAIN`` for scalars without quotes; PyYAML calls this only for nodes without a tag."""
        return PLAIN if kind is yaml.ScalarNode and implicit[0] else super().resolve(kind, value, (False, False))


def compose(text: str, name: str) -> Any:
    """Return the root node of a document, or None without one."""
    try:
        loader = Loader(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise ConfigError(f"{name}{line}: {explain(error)}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML checks neither escapes nor the version of a directive
        position = getattr(error, "position", None)
        line = "" if position is None else f":{text.count(chr(10), 0, position) + 1}"
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise ConfigError(f"{name}{line}: expected YAML, got {reason}: correct this line") from None


def explain(error: Any) -> str:
    """Return a line about an error of PyYAML."""
    problem, context = " ".join(str(error.problem).split()), error.context or ""
    if "\\t" in problem:
        return "expected spaces, got a tab: indent with spaces"
    if "single document" in context:
        return "expected one document, got several: remove the line ---"
    if "nested deeper" in problem:
        return f"expected at most {MAX_DEPTH} levels, got more: remove brackets or levels"
    while_doing = f" ({' '.join(str(context).split())})" if context else ""
    return f"expected YAML, got an error: {problem}{while_doing}: correct this line or the one before"


class Builder:
    """Makes values of nodes.

    Attributes:
        faults: Ambiguous scalars and duplicate keys found so far.
    """

    def __init__(self, name: str, top: str) -> None:
        """Set the name of the file, and the key at the top that the names of others leave out."""
        self.name, self.top = name, top
        self.faults: list[Fault] = []
        self.nodes = 0

    def build(self, node: Any, key: str, depth: int) -> Any:
        """Return the value of a node; ``key`` is the dotted key to it."""
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            line = node.start_mark.line + 1
            raise ConfigError(f"{self.name}:{line}: expected at most {MAX_NODES} values, got more: use fewer aliases")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item, key, depth + 1) for item in node.value)
            return FAULTY if any(item is FAULTY for item in items) else items
        return self.scalar(node, key)

    def mapping(self, node: Any, key: str, depth: int) -> dict[str, Entry]:
        """Return the entries of a mapping; those of merged mappings yield to its own."""
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == PLAIN and key_node.value == MERGE:
                for source in self.merge_sources(value_node, key):
                    for name, entry in self.build(source, key, depth + 1).items():
                        merged.setdefault(name, entry)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.fault(key_node, key, "expected a name as key, got a list or mapping: write key: value")
                continue
            name = key_node.value
            dotted = f"{key}.{name}" if key and key != self.top else name
            value = self.build(value_node, dotted, depth + 1)
            if name in own:
                self.fault(
                    key_node, dotted, f"expected one value, got a duplicate key, first on line {own[name].line}: remove one"
                )
                continue
            written = value_node.value if isinstance(value_node, yaml.ScalarNode) else None
            own[name] = Entry(value, line, written)
        return {name: entry for name, entry in {**merged, **own}.items() if entry.value is not FAULTY}

    def merge_sources(self, node: Any, key: str) -> Iterator[Any]:
        """Yield the mappings that ``<<`` names."""
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if isinstance(source, yaml.MappingNode):
                yield source
            else:
                self.fault(source, f"{key}.{MERGE}" if key else MERGE, f"expected mappings, got {describe_node(source)}")

    def scalar(self, node: Any, key: str) -> Any:
        """Return the value of a scalar."""
        text = node.value
        if node.tag == TEXT:
            return text
        if node.tag != PLAIN:
            self.fault(node, key, f"expected a value without a tag, got {node.tag[:80]}: remove the tag")
            return FAULTY
        if text in NULLS:
            return None
        if text in TRUTHS:
            return TRUTHS[text]
        if text.lower() in INFINITIES:
            return INFINITIES[text.lower()]
        if AMBIGUOUS.fullmatch(text):
            self.fault(node, key, f"expected an unambiguous value, got {text[:80]}: {remedy(text)}")
            return FAULTY
        try:
            return int(text) if INTEGER.fullmatch(text) else float(text) if NUMBER.fullmatch(text) else text
        except ValueError:  # Python refuses to convert integers of more than 4300 digits
            self.fault(node, key, "expected a number of fewer digits")
            return FAULTY

    def fault(self, node: Any, key: str, text: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(f"{self.name}:{node.start_mark.line + 1}", key, text))


def remedy(text: str) -> str:
    """Return what to write instead of an ambiguous scalar."""
    if text[0].isalpha():
        return f'write true or false, or "{text}" for text'
    return f'write a plain decimal number, or "{text[:80]}" for text'


def is_null(node: Any) -> bool:
    """Return whether a node is an empty document, ``null`` or ``~``."""
    return node.tag == PLAIN and node.value in NULLS


def describe_node(node: Any) -> str:
    """Return the kind of a node, for errors."""
    kinds = {yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}
    return kinds.get(type(node), f"{node.value!r:.80}")
