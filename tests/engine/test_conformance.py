"""Games of people and of the official code, every turn: ground truth that this package did not write."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.ground_truth import CONFORMANCE, found, load
from support.paths import DATA

from generals_env import replay


def state_bytes(turn: replay.ReplayTurn) -> bytes:
    return turn.owner.astype(np.int8).tobytes() + turn.army.astype("<i4").tobytes()


def checksums(turns: Iterable[replay.ReplayTurn]) -> list[int]:
    return [zlib.crc32(state_bytes(turn)) for turn in turns]


@pytest.mark.parametrize("file", found("replays/*.json.gz"))
def test_real_games_agree_at_every_turn(file: Path) -> None:
    game = replay.read(file)
    trace = load(CONFORMANCE / "traces" / f"{game.id}.events.json.gz")
    fog_file = CONFORMANCE / "fog" / f"{game.id}.json.gz"
    fog = load(fog_file)["vis_crc32"] if fog_file.exists() else []
    seen = 0
    for turn in game.play():
        assert turn.turn == seen
        assert zlib.crc32(state_bytes(turn)) == trace["crc32"][seen]
        land = [int((turn.owner == player).sum()) for player in range(game.players)]
        army = [int(turn.army[turn.owner == player].sum()) for player in range(game.players)]
        assert (land, army) == (trace["land"][seen], trace["army"][seen])
        assert sum(1 << player for player in range(game.players) if turn.alive[player]) == trace["alive"][seen]
        if seen < len(fog):
            bits = sum(turn.visible(player).astype("<u4") << player for player in range(game.players))
            assert zlib.crc32(bits.astype("<u4").tobytes()) == fog[seen]
        seen += 1
    assert seen == len(trace["crc32"])
    assert np.flatnonzero(turn.alive).tolist() == trace["final"]["alive_at_end"]


@pytest.mark.parametrize("file", found("packs_1v1/*.json.gz"))
def test_packs_of_duels_agree_at_every_turn(file: Path) -> None:
    for case in load(file):
        expected = case["expect"]
        digest = hashlib.sha256()
        for turn in replay.from_dict(case["replay"]).play():
            digest.update(state_bytes(turn))
        assert turn.turn == expected["turns"]
        assert digest.hexdigest() == expected["state_sha256"]
        assert np.flatnonzero(turn.alive).tolist() == expected["winners"]


@pytest.mark.parametrize("file", found("synthetic/*.json.gz"))
def test_rare_rules_agree_at_every_turn(file: Path) -> None:
    for case in load(file):
        expected = case["expect"]["events"]
        assert checksums(replay.from_dict(case["replay"]).play()) == expected["crc32"], case["replay"]["id"]


@pytest.mark.parametrize("file", found("gior/*.gior"))
def test_the_binary_format_says_the_same_as_json(file: Path) -> None:
    binary, plain = replay.read(file), replay.read(CONFORMANCE / "replays" / f"{file.stem}.json.gz")
    np.testing.assert_array_equal(binary.moves, plain.moves)
    np.testing.assert_array_equal(binary.events, plain.events)
    assert checksums(binary.play()) == checksums(plain.play())


@pytest.mark.parametrize("case", json.loads((DATA / "expected.json").read_text()), ids=lambda case: case["file"])
def test_the_games_that_the_repository_carries(case: dict[str, Any]) -> None:
    # Public games: checksums from the official rules core. Games of this package: what it played when they were made.
    digest = hashlib.sha256()
    for turn in replay.read(DATA / case["file"]).play():
        digest.update(state_bytes(turn))
    assert (turn.turn, digest.hexdigest()) == (case["turns"], case["state_sha256"])
    assert np.flatnonzero(turn.alive).tolist() == case["alive"]
