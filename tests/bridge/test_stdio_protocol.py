"""Tests the line protocol of the competition in both directions."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.competition_traces import read_file

from generals_env.bridge.competition_boards import board_of
from generals_env.bridge.stdio_protocol import (
    MAX_REPLY,
    encode_frame,
    encode_handshake,
    encode_reply,
    parse_reply,
    read_frame,
    read_handshake,
)
from generals_env.errors import ActionError, StateError

GRID = [1, 0, 0, 0, -2, 0, 0, 0, 0, 0, 0, 0, 0, -2, 9, 2]


def test_frames_equal_those_of_the_competition() -> None:
    for position in read_file("frames.json.gz"):
        height, width = position["h"], position["w"]
        board = board_of(position["grid"], height, width, 800, position["state"])
        for player in range(2):
            assert encode_handshake(player, height, width).decode() == position["handshake"][player]
            frame = encode_frame(board, 0, player)
            assert frame.decode() == position["frame"][player]
            read = read_frame(io.BytesIO(frame), height, width)
            assert read is not None
            assert read.time == position["state"]["time"]
            own = np.array(position["state"]["owner"]).reshape(height, width) == player
            assert np.array_equal(read.owner == 1, own)
            assert np.array_equal(read.armies[own], np.array(position["state"]["army"]).reshape(height, width)[own])


def test_frame_hides_what_is_out_of_sight() -> None:
    frame = encode_frame(board_of(GRID, 4, 4, 800), 0, 0).decode()
    assert frame == (
        "0 1 1 1 1\n"
        "4 1 0 0\n2 1 0 0\n0 0 0 0\n0 5 5 0\n"  # the castle and one mountain are obstacles in fog, the other general is not
        "1 0 0 0\n0 0 0 0\n0 0 0 0\n0 0 0 0\n"
        "1 0 0 0\n0 0 0 0\n0 0 0 0\n0 0 0 0\n"
    )
    assert encode_frame(board_of(GRID, 4, 4, 800), 0, 1).decode().splitlines()[12] == "0 0 9 1"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (3, "line 4: expected row 1 of the kinds, 4 integers from 0 to 5, got b'2 1 0\\\\n'"),
        (8, "line 9: expected row 2 of the owners"),
        (12, "line 13: expected row 2 of the armies"),
    ],
)
def test_malformed_frame_is_refused_with_its_line(line: int, text: str) -> None:
    lines = (encode_handshake(0, 4, 4) + encode_frame(board_of(GRID, 4, 4, 800), 0, 0)).splitlines(keepends=True)
    lines[line] = {3: b"2 1 0\n", 8: b"0 0 3 0\n", 12: b"0 -1 0 0\n"}[line]
    stream = io.BytesIO(b"".join(lines))
    assert read_handshake(stream) == (0, 4, 4)
    with pytest.raises(StateError, match=text):
        read_frame(stream, 4, 4, first_line=2)


def test_cut_frame_is_refused_and_its_end_is_none() -> None:
    frame = encode_frame(board_of(GRID, 4, 4, 800), 0, 0)
    with pytest.raises(StateError, match="got the end of the input"):
        read_frame(io.BytesIO(frame[:-9]), 4, 4)
    assert read_frame(io.BytesIO(b""), 4, 4) is None
    assert read_handshake(io.BytesIO(b"")) is None


@pytest.mark.parametrize("line", [b"2 18 18\n", b"0 18\n", b"0 65 5\n", b"0 0 5\n", b"x y z\n", b"9" * 10**6])
def test_malformed_handshake_is_refused(line: bytes) -> None:
    with pytest.raises(StateError, match="line 1: expected"):
        read_handshake(io.BytesIO(line))


def test_replies_are_read_as_they_were_written() -> None:
    assert parse_reply(encode_reply((0, 3, 17, 2, 1))) == (0, 3, 17, 2, 1)
    assert parse_reply(b" 0  3 -1 2 7\r") == (0, 3, -1, 2, 7)


@pytest.mark.parametrize(
    "line", [b"", b"0 1 2 3", b"0 1 2 3 4 5", b"0 1 2 3 x", b"0 1 2 3 9999999999", b"1 " * MAX_REPLY, b"\xff" * 5]
)
def test_malformed_reply_is_refused(line: bytes) -> None:
    with pytest.raises(ActionError, match="reply: expected five integers"):
        parse_reply(line)


WORDS = st.one_of(st.integers(-2, 7).map(str), st.integers().map(str), st.text(max_size=3), st.just("\n"))


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=60), st.binary(max_size=20))
def test_any_text_is_a_frame_or_refused(words: list[str], rest: bytes) -> None:
    text = " ".join(words).encode() + rest
    for read in (read_handshake, lambda lines: read_frame(lines, 2, 3)):
        try:
            read(io.BytesIO(text))
        except StateError as error:
            assert len(str(error)) < 500  # a long line is not repeated
    try:
        assert len(parse_reply(text)) == 5
    except ActionError as error:
        assert len(str(error)) < 500
