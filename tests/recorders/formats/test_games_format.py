"""Tests the games format: which boards are stored, replay of the others, and errors for forged files."""

from __future__ import annotations

import base64
import tracemalloc
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.duels import whole_of
from support.helpers import same
from support.odd_batches import contents, digests, odd_batch, put, simple
from support.recorded import GAMES, facts, games_of, interleaved, record_game, spread

from generals_env.engine.packed.fog_memory import recall_rows
from generals_env.engine.storage.reproducible_boards import KEPT, PLAYED
from generals_env.errors import StorageError
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.encoding.action_codes import BUILD, JUMPS, PASS, coded_actions, decoded_actions
from generals_env.recorders.encoding.batch_codec import by_game
from generals_env.recorders.encoding.byte_shuffle import compressed, decompressed
from generals_env.recorders.experience import EXPERIENCE
from generals_env.recorders.formats import games as form

#: A game of three players, one of whom surrenders, and hashes of its states, masks and columns: not to be regenerated.
GOLDEN = (
    "KLUv/WTSDC0QABbXUTlgaZsDuBHQCwEAU5FgoAiCIEF7XLERMiS6s/8va+U/gCD4CHI3EqagHEjQcmsiWCWyNkvb1pYkmVJDAEcAQADbxlFyLlRyMlQs"
    "nZbZLi9nJa23XNVQbOLldKjISbFI6+sElbAv51MKEwXqpfUUWn2wGOWqViNezom0nmZV4mK/grmp1dKOXrTbOERoGFszykH8xdFLo53tMpuGYl+BudSn"
    "FLBgHmpGMSyjWa1eL2e1GIWQ1mu4LavZy0mpGBqoScVAw8LF0e1AlQXR69dONyQI+ePPe8Qnxgg6D4IiSWLoPHeIYQNGABFGKDpijDDGexs8d4/g7vxg"
    "B7yAFXACvpwhcHPzZvMU9aoB3RAGY7Fgfs1+750i7u4ugUQkz/nexYTuvtzNzYCZEfSDft0SXje/Zoe7O/5wh3zARCDAJGCKwAg2BBnSE1WgwVxsbEZb"
    "qB9rkIISsqI2HDQ8NMeyWdvhmHQ5JIMuJhyutxLOVYQZNbJY50JAB7DwuBXgPFjvixevcpw/NGEHS0vZVO1VJGI9d3tw4i9FIHkEJVkSYFL5A0S190+U"
    "wM1d6tYNdqEUVhfwqzxMqqrGyFxGWAI3cbkbMYEB5jDCHIyY+TmqR7xRyzCSBg2lNUMtjz2Whc2tZfVnh1PyuzLkuZBQD7CdXRKeBiQb8eEDs1yPcbBS"
    "HA9BINRKrh49"
)
DIGESTS = ["3d2be785a83a44cf", "1edd047d374b4a25", "64dc9d06be45310c"]


def there_and_back(batch: ExperienceBatch) -> ExperienceBatch:
    """Write and read a batch, check that it is the same, and return it."""
    result = form.decode(form.encode(batch))
    assert same(contents(result), contents(batch))
    return result


def kept(batch: ExperienceBatch) -> int:
    """Return how many boards are in a file of a batch."""
    return int(np.count_nonzero(form.origins_of(by_game(batch)) == KEPT))


# --- Boards that play reproduces --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GAMES)
def test_boards_that_play_reproduces_are_not_stored(kind: str) -> None:
    for batch in games_of(kind, 3):
        previous = batch.boards.entries["previous"]
        if "seat" in GAMES[kind]:
            assert kept(batch) > len(previous) // 2  # actions of the others are unknown
        else:
            assert kept(batch) == np.count_nonzero(previous < 0)
        there_and_back(batch)


def test_games_of_several_recorders_and_single_experiences_are_read_back() -> None:
    rng = np.random.default_rng(1)
    for kind in ("two players", "eight players", "frames"):
        batch = ExperienceBatch.concat(list(interleaved(rng, games_of(kind, 3))))
        assert facts(there_and_back(batch)) == facts(batch)
        shuffled = batch.select(rng.permutation(len(batch)))
        assert facts(there_and_back(shuffled)) == facts(shuffled)
        alone = spread(batch.slice(0, 30).compact())
        assert facts(there_and_back(alone)) == facts(alone)


def test_first_board_of_continued_game_is_not_stored_twice() -> None:
    games = games_of("two players", 3)
    batch = ExperienceBatch.concat(list(interleaved(np.random.default_rng(1), games, turns=True)))
    assert np.count_nonzero(batch.boards.entries["previous"] < 0) > 10
    assert kept(batch) == 3
    there_and_back(batch)


def test_experiences_of_several_turns_keep_their_boards() -> None:
    for batch in games_of("two players", 2):
        several = batch.n_step(3, 0.9)
        assert several.steps.max() == 3
        there_and_back(several)


def test_actions_that_do_not_lead_to_next_board_only_add_stored_boards() -> None:
    (batch,) = games_of("two players", 1)
    rows = batch.rows.copy()
    moves = np.flatnonzero(batch.action < 8 * 42)[5:15]
    rows["action"][moves] = 8 * 42
    other = replace(batch, rows=rows)
    assert kept(batch) < kept(other) <= kept(batch) + len(moves)
    there_and_back(other)


def test_memory_that_does_not_follow_from_game_is_stored() -> None:
    """A part of a game begins with the players' memory of the turns before it."""
    (batch,) = games_of("memory", 1)
    assert kept(batch) == 1
    later = batch.slice(40, 80).compact()
    assert later.boards.memory[0].any()
    assert kept(later) == 2  # the first, which frames need, and the one after it: actions in between are unknown
    there_and_back(later)
    memory = batch.boards.memory.copy()
    memory[[7, 20]] ^= 1
    recall_rows(batch.boards._replace(memory=memory), batch.shape[0], 8, 12)
    strange = replace(batch, boards=batch.boards._replace(memory=memory))
    assert 3 < kept(strange) < 8
    there_and_back(strange)


def test_equal_boards_with_different_memory_are_not_duplicates() -> None:
    (batch,) = games_of("memory", 1)
    first, later = batch.slice(0, 40).compact(), batch.slice(40, 80).compact()
    whole = ExperienceBatch.concat([first, later])
    assert kept(whole) == 1
    there_and_back(whole)
    memory = whole.boards.memory.copy()
    memory[len(first.boards.tiles)] ^= 1
    assert kept(replace(whole, boards=whole.boards._replace(memory=memory))) > 1
    there_and_back(replace(whole, boards=whole.boards._replace(memory=memory)))


def test_odd_boards_are_stored_unless_play_reproduces_them() -> None:
    happened: Counter[bool] = Counter()
    for seed in range(60):
        batch = odd_batch(np.random.default_rng(seed))
        happened[kept(batch) == len(batch.boards.tiles)] += 1
        there_and_back(batch)
    assert happened[True] > 40


def test_duels_take_less_than_two_bytes(pack: Path | None) -> None:
    batch = whole_of(pack)
    rows = batch.rows.copy()
    rows["collected_at"] = 10**18  # how it differs depends on the machine
    assert len(form.encode(replace(batch, rows=rows))) < 1.3 * len(batch)
    assert kept(batch) < 2 * len(batch.game_ids)


def test_files_of_first_schema_stay_readable() -> None:
    assert form.SCHEMA == 1
    batch = form.decode(base64.b64decode(GOLDEN))
    assert digests(batch) == DIGESTS
    assert kept(batch) < len(batch.boards.tiles) // 4
    assert digests(form.decode(form.encode(batch))) == DIGESTS


# --- Actions ----------------------------------------------------------------------------------------------------------


def test_actions_are_encoded_and_decoded() -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        shape = int(rng.integers(1, 7)), int(rng.integers(1, 7))
        rows = np.zeros(int(rng.integers(0, 60)), EXPERIENCE)
        rows["action"] = rng.integers(0, (8, 9)[seed % 2] * shape[0] * shape[1] + 1, len(rows))
        rows["game"] = np.sort(rng.integers(0, 3, len(rows)))
        codes, sources = coded_actions(rows, shape)
        assert codes.dtype == np.uint8
        assert len(sources) == np.count_nonzero(codes & JUMPS)
        assert np.array_equal(decoded_actions(codes, sources, shape), rows["action"])


def test_build_on_target_of_last_move_has_no_tile() -> None:
    rows = np.zeros(5, EXPERIENCE)
    rows["action"] = [4 * 6 + 3, 161 + 7, 4 * 7 + 1, 161 + 3, 4 * 3]  # 5 columns; right, build there, down, build elsewhere, up
    codes, sources = coded_actions(rows, (4, 5))
    assert codes.tolist() == [JUMPS + 3, BUILD, 1, BUILD + JUMPS, 0]
    assert sources.tolist() == [6, 3]


def test_move_from_target_of_last_move_has_no_tile() -> None:
    rows = np.zeros(7, EXPERIENCE)
    rows["action"] = [4 * 6 + 3, 160, 4 * 7 + 1, 80 + 4 * 12, 4 * 7, 4 * 2, 4 * 2]  # 5 columns; right, pass, down, half up
    rows["player_id"][5:] = 1
    codes, sources = coded_actions(rows, (4, 5))
    assert codes.tolist() == [JUMPS + 3, PASS, 1, 4, 0, JUMPS, JUMPS]
    assert sources.tolist() == [6, 2, 2]


@pytest.mark.parametrize(
    ("codes", "sources", "match"),
    [
        ([18], [], "codes: expected integers from 0 to 17, or 25"),
        ([24], [2], "codes: expected integers from 0 to 17, or 25"),
        ([255], [], "codes: expected integers from 0 to 17, or 25"),
        ([25], [20], "source: expected integers from 0 to 19"),
        ([8, 17], [0], "source: expected integers from 0 to 19"),
        ([8], [20], "source: expected integers from 0 to 19"),
        ([8], [-1], "source: expected integers from 0 to 19"),
        ([0, 0], [], "source: expected integers from 0 to 19"),
        ([8, 0, 0], [6], "source: expected integers from 0 to 19"),
    ],
)
def test_codes_that_lead_off_board_are_refused(codes: list[int], sources: list[int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        decoded_actions(np.array(codes, np.uint8), np.array(sources, np.int32), (4, 5))


# --- Refused input ----------------------------------------------------------------------------------------------------

HUGE = 10**11


def element(name: str, k: int, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda header: header.update({name: [*header[name][:k], value, *header[name][k + 1 :]]})


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    *(element("counts", k, value) for k in range(5) for value in (-1, 0, 39, 2**28, HUGE, 2**70, "a", None, [1])),
    *(put("counts", value) for value in (None, [], [1] * 4, [0] * 6, "40")),
    *(element("room", k, value) for k in range(2) for value in (-1, 0, 14, HUGE, 2**70, "a", None)),
    *(put("room", value) for value in (None, [], [1] * 3, 5)),
    *(put("shape", value) for value in ((5, 4), (-4, -5), (4, -5), (0, 20), (4,), (HUGE, HUGE), "4", None)),
    *(put("players", value) for value in (0, -3, 2, 4, 17, HUGE, "three", None)),
    *(put("schema", value) for value in (0, form.SCHEMA + 1, None)),
    *(put("boards", value) for value in (0, None, "0")),
    *(put("memory", value) for value in (False, None)),
    *(put("recipe", value) for value in (None, {}, {"layout": "large"})),
    *(put("dense", value) for value in (None, [], ["<f4"], ["|O", [9]], ["|V0", [9]], ["<f4", [HUGE] * 3], ["x", [9]])),
    *(put("game_ids", value) for value in (None, [], ["one"], [1, 2, 3], 5)),
    *(put("metadata", value) for value in (None, [1], 7)),
]


def test_forged_headers_are_refused_before_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    written, batch = form.header_bytes, simple()

    def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
        def write(header: dict[str, Any]) -> bytes:
            change(header)
            return written(header)

        monkeypatch.setattr(form, "header_bytes", write)
        return form.encode(batch)

    assert same(contents(form.decode(changed(lambda header: None))), contents(batch))
    tracemalloc.start()
    try:
        for number, change in enumerate(CHANGES):
            data = changed(change)
            tracemalloc.reset_peak()
            with pytest.raises(StorageError, match=r"^data: expected games of schema 1, got "):
                pytest.fail(f"change {number} gave {form.decode(data)}")
            assert tracemalloc.get_traced_memory()[1] < 30 * 2**20, number
    finally:
        tracemalloc.stop()


def test_games_played_by_another_engine_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One move less simulates other rules: the file is valid, but its moves lead to other boards."""
    (batch,) = games_of("two players", 1)
    ways = form.origins_of(batch)
    rows = batch.rows.copy()
    rows["action"][np.flatnonzero(batch.action < 8 * 42)[5]] = 8 * 42
    monkeypatch.setattr(form, "origins_of", lambda _: ways)
    assert same(contents(form.decode(form.encode(batch))), contents(batch))
    with pytest.raises(StorageError, match="got ValueError: boards: expected the boards that were written after playing"):
        form.decode(form.encode(replace(batch, rows=rows)))


def test_many_boards_in_few_bytes_are_refused_before_allocation() -> None:
    """Boards that are played take next to nothing in a file, and two bytes a tile in memory."""
    (batch,) = games_of("two players", 1)
    data = form.decode(form.encode(batch))
    with pytest.raises(ValueError, match=r"expected at most 1073741824 bytes, got \d{10}"):
        form.played_again(
            data.boards._replace(tiles=data.boards.tiles[:1]),
            data.rows,
            np.full(20_000_000, PLAYED, np.uint8),
            np.zeros(20_000_000, np.int32),
            [1, 0],
            batch.shape[0],
        )


@pytest.mark.parametrize("kind", ["two players", "padded torus", "eight players", "wide armies", "memory"])
def test_forged_numbers_do_no_harm(kind: str) -> None:
    """A forged file can have a valid checksum: it is refused, or gives a usable batch."""
    batch = record_game(3, 40, **GAMES[kind])
    text, rng, happened = decompressed(form.encode(batch)), np.random.default_rng(1), Counter[bool]()
    start = 4 + int.from_bytes(text[:4], "little")
    for number in range(200):
        made = bytearray(text)
        for place in rng.integers(start if number % 4 else 0, len(text), rng.integers(1, 4)):
            made[place] = int(rng.integers(256))
        try:
            result = form.decode(compressed([bytes(made)], 1))
        except StorageError:
            happened[False] += 1
        else:
            assert np.isfinite(result.states()).all()
            assert result.action_masks().shape == (len(result), 8 * batch.shape[0] * batch.shape[1] + 1)
            happened[True] += 1
    assert min(happened.values()) > 20
    assert sum(happened.values()) == 200
