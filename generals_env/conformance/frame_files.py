"""Judges positions of the competition: the texts that programs are sent, and the prices of castles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake
from generals_env.conformance.comparing import tile_difference
from generals_env.conformance.competition_traces import MAX_SIDE, MIN_SIDE, PLAYERS, flags, position_of, setup_of
from generals_env.conformance.engines import EngineFactory, EngineFailed
from generals_env.conformance.expectations import LIMIT, sized
from generals_env.conformance.inputs import FRAMES, load
from generals_env.conformance.report import DIFFERS, EQUAL, UNUSABLE, Difference, Verdict
from generals_env.engine.boards import Boards
from generals_env.errors import ReplayError
from generals_env.prices import castle_prices
from generals_env.replay.fields import whole

__all__ = ["judge_frames"]

#: Of the rules of the competition; texts and prices do not depend on them.
TOUCH_TURN, MAX_TURNS = 800, 1200
MAX_TEXT = 200_000  # characters of a frame; one of 64 x 64 tiles has at most 60,000

#: Planes of a frame, in their order below its first line.
PLANES = ("kind", "owner", "army")


class OwnFrames:
    """Texts and prices of this package, by the protocol of an engine under test."""

    def __init__(self, boards: Boards, height: int, width: int) -> None:
        """Take one board."""
        self.boards = boards
        self.shape = height, width

    def handshake(self, player: int) -> str:
        """Return the first line that a program is sent."""
        return encode_handshake(player, *self.shape).decode()

    def frame(self, player: int) -> str:
        """Return what a program is sent before a turn."""
        return encode_frame(self.boards, 0, player).decode()

    def price(self, player: int) -> Any:
        """Return the price of a castle on each tile."""
        return castle_prices(self.boards, player)[0]


def judge_frames(path: Path, factory: EngineFactory | None) -> Iterator[Verdict]:
    """Yield a verdict on each position of a file of frames."""
    for number, position in enumerate(load(path)):
        name = f"position {number}"
        try:
            verdict = judge_position(position, factory)
        except ReplayError as error:
            yield Verdict(str(path), name, FRAMES, UNUSABLE, reason=str(error))
        except EngineFailed as error:
            yield Verdict(str(path), name, FRAMES, DIFFERS, reason=str(error))
        else:
            difference, missing = verdict
            status = EQUAL if difference is None else DIFFERS
            yield Verdict(str(path), name, FRAMES, status, 1, difference, not_judged=missing)


def judge_position(position: Any, factory: EngineFactory | None) -> tuple[Difference | None, tuple[str, ...]]:
    """Return the first difference of a position, and the parts that were not judged.

    Raises:
        ReplayError: If the position is damaged.
        EngineFailed: If the engine raises an exception, or returns something else.
    """
    if not isinstance(position, Mapping):
        raise ReplayError(f"expected named fields, got {position!r:.80}")
    height, width = (whole(name, position.get(name), MIN_SIDE, MAX_SIDE) for name in ("h", "w"))
    if not isinstance(position.get("state"), Mapping):
        raise ReplayError(f"state: expected time, owner, army and castle, got {position.get('state')!r:.80}")
    boards = position_of(position.get("grid"), height, width, TOUCH_TURN, position["state"])
    texts = {name: pair_of(name, position.get(name), str) for name in ("handshake", "frame")}
    prices = pair_of("price", position.get("price"), list)
    turn = int(boards.games[0]["turn"])
    try:
        engine = (
            factory(setup_of(boards, height, width, TOUCH_TURN, MAX_TURNS)) if factory else OwnFrames(boards, height, width)
        )
        missing = tuple(name for name in ("frame", "handshake", "price") if not hasattr(engine, name))
        for player in range(PLAYERS):
            for name, pair in texts.items():
                if name in missing:
                    continue
                got = getattr(engine, name)(player)
                if got != pair[player]:
                    return text_difference(turn, name, player, pair[player], got, width), missing
            if "price" not in missing:
                expected = sized("price", flags("price", prices[player], 0, LIMIT), height * width)
                price = price_of(engine, player, height * width)
                if len(unequal := np.flatnonzero(price != expected)):
                    tile = int(unequal[0])
                    return tile_difference(turn, width, "price", tile, int(expected[tile]), price[tile], player), missing
    except (EngineFailed, ReplayError):
        raise
    except Exception as error:  # code of others
        raise EngineFailed(f"it raised {error!r:.300}") from error
    return None, missing


def price_of(engine: Any, player: int, count: int) -> npt.NDArray[Any]:
    """Return the prices of an engine, (count,).

    Raises:
        EngineFailed: If they have another size.
    """
    price = np.asarray(engine.price(player)).ravel()
    if price.size != count:
        raise EngineFailed(f"price: expected {count} integers, got {price.size}")
    return price


def pair_of(name: str, value: Any, kind: type) -> list[Any]:
    """Return a list of two values of a type.

    Raises:
        ReplayError: If it is none.
    """
    if not isinstance(value, list) or len(value) != PLAYERS or not all(isinstance(item, kind) for item in value):
        raise ReplayError(f"{name}: expected two values of type {kind.__name__}, one a player, got {value!r:.80}")
    if any(len(item) > MAX_TEXT for item in value):
        raise ReplayError(f"{name}: expected at most {MAX_TEXT} characters or numbers, got more")
    return value


def text_difference(turn: int, name: str, player: int, expected: str, got: Any, width: int) -> Difference:
    """Return the first line and word in which a text differs; in the planes of a frame, the tile."""
    if isinstance(got, bytes):
        got = got.decode("ascii", "replace")
    if not isinstance(got, str):
        return Difference(turn, name, expected[:80], got, player=player)
    lines, others = expected.split("\n"), got.split("\n")
    height = (len(lines) - 2) // len(PLANES)
    for number, (line, other) in enumerate(zip(lines, others, strict=False)):
        words, found = line.split(" "), other.split(" ")
        for place, (word, one) in enumerate(zip(words, found, strict=False)):
            if word != one and name == "frame" and 0 < number <= len(PLANES) * height:
                plane, row = divmod(number - 1, height)
                what = f"frame: {PLANES[plane]} (line {number + 1}, word {place + 1})"
                return tile_difference(turn, width, what, row * width + min(place, width - 1), word, one, player)
            if word != one:
                return Difference(turn, f"{name}: line {number + 1}, word {place + 1}", word, one, player=player)
        if len(words) != len(found):
            return Difference(turn, f"{name}: words of line {number + 1}", len(words), len(found), player=player)
    return Difference(turn, f"{name}: lines", len(lines), len(others), player=player)
