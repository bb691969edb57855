"""Tests the YAML reader of the settings, and that dumped settings are read unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generals_env.errors import ConfigError
from generals_env.operations.settings.dump import dump_settings, dump_value
from generals_env.operations.settings.faults import Fault
from generals_env.operations.settings.load import load_settings
from generals_env.operations.settings.models import Settings
from generals_env.operations.settings.yaml_reader import MAX_BYTES, parse_scalar, parse_yaml, plain_value

SCALARS = {
    "1e-05": 1e-05,
    "1.0e3": 1000.0,
    "1E3": 1000.0,
    ".5": 0.5,
    "-0.25": -0.25,
    "1.": 1.0,
    "0": 0,
    "-7": -7,
    "+7": 7,
    "true": True,
    "False": False,
    "null": None,
    "~": None,
    "": None,
    "text": "text",
    "2026-11-28": "2026-11-28",
    "127.0.0.1:50051": "127.0.0.1:50051",
    "1.2.3": "1.2.3",
    "e5": "e5",
    "_": "_",
    "'010'": "010",
    '"yes"': "yes",
    "!!str 10": "10",
    "[1, [a, 2.0]]": (1, ("a", 2.0)),
    "{a: 1}": {"a": 1},
}

AMBIGUOUS = [
    "010",
    "08",
    "00",
    "-01.5",
    "1:30",
    "1:30:00",
    "yes",
    "No",
    "ON",
    "off",
    "y",
    "0x1F",
    "0o17",
    "0b1",
    "1_000",
    "1_0.5",
]


def read(text: str | bytes) -> tuple[Any, list[str]]:
    """Return the content of a file and the lines of its faults."""
    faults: list[Fault] = []
    entry = parse_yaml(text if isinstance(text, bytes) else text.encode(), "f.yaml", faults)
    return plain_value(entry.value), [str(fault) for fault in faults]


@pytest.mark.checklist("K1")
@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_read_with_their_type(text: str) -> None:
    value = parse_scalar(text)
    assert value == SCALARS[text]
    assert type(value) is type(SCALARS[text])
    assert read(f"a: {text}\n") == ({"a": SCALARS[text]}, [])


@pytest.mark.checklist("K1")
@pytest.mark.parametrize("text", AMBIGUOUS)
def test_ambiguous_scalars_are_refused_and_asked_to_be_quoted(text: str) -> None:
    remedy = "write true or false" if text[0].isalpha() else "write a plain decimal number"
    message = f'expected an unambiguous value, got {text}: {remedy}, or "{text}" for text'
    assert read(f"b: 1\na: {text}\nc: [{text}]\n") == ({"b": 1}, [f"f.yaml:2: a: {message}", f"f.yaml:3: c: {message}"])
    with pytest.raises(ValueError, match=r"^expected an unambiguous value"):
        parse_scalar(text)
    assert parse_scalar(f'"{text}"') == text


def test_tags_are_refused() -> None:
    for tag in ("!!int", "!!python/name:os.system", "!custom"):
        value, faults = read(f"a: {tag} 1\n")
        assert value == {}
        assert len(faults) == 1
        assert faults[0].startswith("f.yaml:1: a: expected a value without a tag, got ")


@pytest.mark.checklist("K1")
def test_duplicate_keys_name_both_lines() -> None:
    value, faults = read("a:\n  b: 1\n  c: 2\n  'b': 3\n")
    assert value == {"a": {"b": 1, "c": 2}}
    assert faults == ["f.yaml:4: a.b: expected one value, got a duplicate key, first on line 2: remove one"]


def test_anchors_and_merge_keys_are_read() -> None:
    text = "a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  c: 3\ne: {<<: [{b: 5}, *x]}\nf: *x\n"
    assert read(text) == (
        {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}, "e": {"b": 5, "c": 2}, "f": {"b": 1, "c": 2}},
        [],
    )
    assert read("a: {<<: 1}") == ({"a": {}}, ["f.yaml:1: a.<<: expected mappings, got '1'"])


def bomb() -> str:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines)


REFUSED = {
    "a list at the root": ("- a\n- b\n", "f.yaml:1: expected a mapping of keys, got a list: write key: value"),
    "text at the root": ("\nabc\n", "f.yaml:2: expected a mapping of keys, got 'abc': write key: value"),
    "two documents": ("a: 1\n---\nb: 1\n", "f.yaml:2: expected one document, got several: remove the line ---"),
    "a tab": ("a:\n\tb: 1\n", "f.yaml:2: expected spaces, got a tab: indent with spaces"),
    "latin-1": ("a: 1\nb: gr\xfcn\n".encode("latin-1"), "f.yaml:2: expected UTF-8, got byte 0xfc: save the file as UTF-8"),
    "UTF-16": ("a: 1\n".encode("utf-16"), "f.yaml:1: expected UTF-8, got byte 0xff: save the file as UTF-8"),
    "a large file": (b"#" * (MAX_BYTES + 1), f"f.yaml: expected at most {MAX_BYTES} bytes, got {MAX_BYTES + 1}: "),
    "deep lists": ("a: " + "[" * 5000, "f.yaml:1: expected at most 16 levels, got more: remove brackets or levels"),
    "many aliases": (bomb(), "expected at most 10000 values, got more: use fewer aliases"),
    "an alias of itself": ("a: &a [*a]\n", "f.yaml:1: expected at most "),
    "an unknown alias": ("a: *b\n", "f.yaml:1: expected YAML, got an error: found undefined alias 'b': correct this line"),
    "an open quote": ('a: "b\n', "f.yaml:2: expected YAML, got an error: found unexpected end of stream"),
    "a control character": (
        "a: 1\nb: \x07\n",
        "f.yaml:2: expected YAML, got special characters are not allowed: correct this line",
    ),
    "an escape beyond Unicode": ('a: "\\U00110000"\n', "f.yaml: expected YAML, got chr() arg not in range(0x110000)"),
    "bad indentation": ("a:\n  b: 1\n c: 2\n", "f.yaml:3: expected YAML, got an error: "),
}


@pytest.mark.checklist("K1")
@pytest.mark.parametrize("name", REFUSED)
def test_damaged_files_are_refused_with_their_line(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_keys_that_are_no_names_are_refused() -> None:
    value, faults = read("[a, b]: 1\n1: 2\nno: 3\n")
    assert value == {"1": 2, "no": 3}
    assert faults == ["f.yaml:1: expected a name as key, got a list or mapping: write key: value"]


def test_control_characters_of_keys_are_escaped_in_errors(tmp_path: Path) -> None:
    path = tmp_path / "experience.yaml"
    path.write_text('"a\\nb\\e[1m": 1\n')
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {})
    assert str(caught.value).startswith(f"{path}:1: a\\nb\\x1b[1m: unknown key: ")


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(
        [*AMBIGUOUS, "null", "true", "~", "", " a", "a ", "a: b", "a #b", "- a", "\x85", "\u2028", "\ufeff", "\U0001f600"]
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(VALUES, st.lists(VALUES, max_size=4).map(tuple)))
def test_dumped_values_are_read_unchanged(value: Any) -> None:
    text = dump_value(value)
    back, faults = read(f"a: {text}\n")
    assert faults == []
    assert repr(back["a"]) == repr(value)
    assert repr(parse_scalar(text)) == repr(value)
    assert "\n" not in text


SIZES = st.one_of(st.integers(8, 64), st.tuples(st.integers(8, 20), st.integers(20, 64)))
NUMBERS = st.floats(min_value=1e-300, max_value=1e300)
TEXTS = st.text(min_size=1)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "collection.keep_probability": st.floats(0, 1),
        "collection.max_seconds": st.none() | NUMBERS,
        "games.policy_version": st.none() | st.text(),
        "games.height": SIZES,
        "games.modifiers": st.lists(st.sampled_from(["torus", "slippery"]), max_size=3).map(tuple),
        "games.teams": st.sampled_from([None, (0, 1), (5, 3)]),
        "games.seed": st.none() | st.integers(0, 2**62),
        "log.directory": TEXTS,
        "storage.s3.bucket": TEXTS,
        "storage.s3.prefix": st.text(),
        "rewards.win_game": st.floats(-1e30, 1e30),
        "training.learning_rate": NUMBERS,
        "streaming.enabled": st.booleans(),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(OVERRIDES, st.booleans())
def test_dumped_settings_are_read_unchanged(tmp_path: Path, overrides: dict[str, Any], comments: bool) -> None:
    wanted = load_settings(None, {}, overrides)
    path = tmp_path / "experience.yaml"
    path.write_text(dump_settings(wanted, comments), encoding="utf-8", newline="")
    assert load_settings(path, {}) == wanted


def refusal(call: Callable[[], Any]) -> list[str]:
    """Return the lines of the ``ConfigError`` that a call raises; other errors are raised."""
    try:
        call()
    except ConfigError as error:
        return str(error).splitlines()
    return []


def edits() -> Iterator[st.SearchStrategy[tuple[float, int, bytes]]]:
    """Yield strategies of an edit: where in the file, how many bytes are removed, and which are inserted."""
    pieces = [
        b"\t",
        b": ",
        b"- ",
        b"[",
        b"]",
        b"{",
        b"}",
        b"&a ",
        b"*a",
        b"<<: ",
        b"'",
        b'"',
        b"\n",
        b"  ",
        b"!!int ",
        b"|",
        b">",
        b"%",
    ]
    for inserted in (st.binary(max_size=4), st.text(max_size=4).map(lambda text: text.encode()), st.sampled_from(pieces)):
        yield st.tuples(st.floats(0, 1), st.integers(0, 40), inserted)


@pytest.mark.checklist("K1", "K10")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(*edits()), min_size=1, max_size=6), st.booleans())
def test_edited_files_load_or_raise_config_error(
    tmp_path: Path, changes: list[tuple[float, int, bytes]], comments: bool
) -> None:
    data = dump_settings(Settings(), comments).encode()
    for place, removed, inserted in changes:
        start = int(place * len(data))
        data = data[:start] + inserted + data[start + removed :]
    path = tmp_path / "experience.yaml"
    path.write_bytes(data)
    lines = refusal(lambda: load_settings(path, {}))
    assert all("experience.yaml" in line or line.startswith("and ") for line in lines)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode())))
def test_any_bytes_are_read_or_raise_config_error(data: bytes) -> None:
    assert all(line.startswith("f.yaml") for line in refusal(lambda: read(data)))
