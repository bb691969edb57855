"""Tests that frames and prices of the competition agree, and that each changed character or number is found and named."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from support.judged_engines import PlainCompetitionEngine
from support.traces import competition_game, save

from generals_env.conformance import Setup, check


def price_grid(setup: Setup, player: int) -> list[int]:
    """Return the prices by the oracle."""
    position = PlainCompetitionEngine(setup).position
    return [position.price(player, (row, column)) for row in range(setup.height) for column in range(setup.width)]


class FrameEngine(PlainCompetitionEngine):
    """Tells prices by the oracle, and the handshake, but no frame."""

    def price(self, player: int) -> list[int]:
        return price_grid(self.setup, player)

    def handshake(self, player: int) -> str:
        return f"{player} {self.setup.height} {self.setup.width}\n"


@pytest.fixture(scope="module")
def position() -> dict[str, Any]:
    """Return a position after 20 turns, its texts written by hand from the oracle."""
    game = competition_game(0)
    state = game["samples"][0]
    owner, army, castle = state["owner"], state["army"], state["castle"]
    frames, prices = [], []
    for player in (0, 1):
        totals = [(owner.count(p), sum(a for o, a in zip(owner, army, strict=True) if o == p)) for p in (player, 1 - player)]
        near = [
            any(owner[r * 5 + c] == player for r in range(max(t // 5 - 1, 0), min(t // 5 + 2, 4)) for c in around(t % 5))
            for t in range(20)
        ]
        kinds = []
        for tile in range(20):
            obstacle = owner[tile] == -2 or castle[tile]
            seen = 4 if tile in (1, 18) else 3 if castle[tile] else 2 if owner[tile] == -2 else 1
            kinds.append(seen if near[tile] else 5 if obstacle else 0)
        holders = [0 if not near[t] or owner[t] < 0 else 1 if owner[t] == player else 2 for t in range(20)]
        armies = [army[t] if near[t] else 0 for t in range(20)]
        head = f"20 {totals[0][0]} {totals[0][1]} {totals[1][0]} {totals[1][1]}\n"
        rows = [" ".join(map(str, plane[r : r + 5])) + "\n" for plane in (kinds, holders, armies) for r in range(0, 20, 5)]
        frames.append(head + "".join(rows))
        homes = {1, 18} | {t for t in range(20) if castle[t]}
        own = [h for h in homes if owner[h] == player]
        prices.append([35 + sum(max(0, 14 - 2 * (abs(h // 5 - t // 5) + abs(h % 5 - t % 5))) for h in own) for t in range(20)])
    return {
        "game": 0, "turn": 20, "h": 4, "w": 5, "grid": game["grid"], "state": state,
        "handshake": ["0 4 5\n", "1 4 5\n"], "frame": frames, "price": prices,
    }  # fmt: skip


def around(column: int) -> range:
    return range(max(column - 1, 0), min(column + 2, 5))


def test_frames_and_prices_are_equal(tmp_path: Path, position: dict[str, Any]) -> None:
    file = save(tmp_path / "frames.json.gz", [position])
    (verdict,) = check([file])
    assert (verdict.status, str(verdict.difference), verdict.form) == ("equal", "None", "frames")
    (verdict,) = check([file], FrameEngine)
    assert (verdict.status, verdict.not_judged) == ("equal", ("frame",))


def test_changed_character_of_frame_and_changed_price_are_named(tmp_path: Path, position: dict[str, Any]) -> None:
    wrong = [copy.deepcopy(position) for _ in range(5)]
    lines = wrong[0]["frame"][1].split("\n")
    words = lines[1 + 2 * 4 + 3].split(" ")  # armies, last row
    army = words[2]
    words[2] = "99"
    lines[12] = " ".join(words)
    wrong[0]["frame"][1] = "\n".join(lines)
    wrong[1]["price"][0][7] += 1
    wrong[2]["handshake"][1] = "1 5 4\n"
    wrong[3]["frame"][0] = wrong[3]["frame"][0].replace("20 ", "21 ", 1)
    wrong[4]["frame"][0] += " "
    price = position["price"][0][7]
    verdicts = check([save(tmp_path / "frames.json.gz", wrong)])
    assert [str(verdict.difference) for verdict in verdicts] == [
        f"turn 20, tile 17 (row 3, column 2), player 1: frame: army (line 13, word 3): expected '99', got '{army}'",
        f"turn 20, tile 7 (row 1, column 2), player 0: price: expected {price + 1}, got {price}",
        "turn 20, player 1: handshake: line 1, word 2: expected '5', got '4'",
        "turn 20, player 0: frame: line 1, word 1: expected '21', got '20'",
        "turn 20, player 0: frame: words of line 14: expected 2, got 1",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": 1}, "state: expected time, owner, army and castle, got 1"),
        ({"frame": ["x"]}, "frame: expected two values of type str"),
        ({"price": [[1], [1]]}, "price: expected 20 numbers, got 1"),
        ({"h": "4"}, "h: expected a whole number from 2 to 64, got '4'"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_damaged_positions_are_named(tmp_path: Path, position: dict[str, Any], change: dict[str, Any], message: str) -> None:
    (verdict,) = check([save(tmp_path / "frames.json.gz", [position | change])])
    assert verdict.status == "unusable"
    assert message in verdict.reason
