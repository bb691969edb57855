"""Tests Validator and ValidatingSink: valid experiences pass, invalid ones are found, classified and counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.helpers import KINDS, PATIENCE, Memory, course_of, idle, play, same, started
from support.paths import DATA

import generals_env
from generals_env import ConfigError, StateError
from generals_env.engine.packed.action_legality import legal_actions
from generals_env.engine.packed.packing import pack
from generals_env.recorders import ExperienceBatch, ExperienceRecorder, record_replays
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.experience.validation import Reason, validate
from generals_env.recorders.sinks.validating import ValidatingSink, Validator

GAMES: list[dict[str, Any]] = [
    *KINDS,
    {"players": 3, "height": (5, 6), "width": (6, 8), "modifiers": ("torus",)},
    {"players": 4, "height": 7, "width": 6, "teams": (0, 1, 0, 1), "fog": False, "modifiers": ("torus",)},
    {"players": 16, "height": 16, "width": 16},
]


def recorded(**options: Any) -> ExperienceBatch:
    batches = Memory()
    env = ExperienceRecorder(generals_env.parallel_env(max_turns=70, **options), batches, run_id="run")
    for seed in range(3):
        course_of(env, seed, turns=70)
    env.close()
    return ExperienceBatch.concat(batches)


@pytest.fixture(scope="module", params=range(len(GAMES)))
def any_batch(request: pytest.FixtureRequest) -> ExperienceBatch:
    return recorded(**GAMES[request.param])


@pytest.fixture(scope="module")
def sound() -> ExperienceBatch:
    return recorded(players=3, height=5, width=6)


def changed(batch: ExperienceBatch, i: Any = 5, **columns: Any) -> ExperienceBatch:
    """Return the batch with other values in row ``i``."""
    rows = batch.rows.copy()
    for name, value in columns.items():
        rows[name][i] = value
    return replace(batch, rows=rows)


# --- Legality -----------------------------------------------------------------------------------------------------


def test_action_is_legal_exactly_where_mask_allows_it(any_batch: ExperienceBatch) -> None:
    batch, masks = any_batch, any_batch.action_masks()
    count, actions = masks.shape
    few = np.linspace(0, count - 1, min(count, 120)).astype(int)
    rows = np.repeat(few, actions)
    out = np.empty(len(rows), np.bool_)
    every = np.tile(np.arange(actions, dtype=np.int32), len(few))
    legal_actions(batch.boards, batch.state_index[rows], batch.player_id[rows], every, batch.shape[0], out)
    assert same(out.reshape(len(few), actions).astype(np.int8), masks[few])
    assert 0 < out.mean() < 0.5


def test_eliminated_players_only_pass_and_team_mates_hand_over_tiles() -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(started("A B . .\n. . . .\n. . . .\n. C . D", teams=(0, 0, 1, 1)), batches)
    env.reset()
    idle(env, 2)
    env.close()
    (batch,) = batches
    boards = batch.unpacked()
    boards.army[:, [0, 1, 13]] = 1, 2, 9
    boards.players["alive"][:, 2] = False
    batch = replace(batch, boards=pack(boards))
    legal = []
    for player in range(4):
        masks = batch.select([player]).action_masks()[0]
        out = np.empty(129, np.bool_)
        index, players = np.zeros(129, np.int32), np.full(129, player, np.int8)
        legal_actions(batch.boards, index, players, np.arange(129, dtype=np.int32), 4, out)
        assert same(out.astype(np.int8), masks)
        legal.append(np.flatnonzero(out[:64]).tolist())
        assert out[128]
    assert legal[0] == [3]  # right, to the team-mate
    assert legal[1] == [4 + 1, 4 + 2, 4 + 3]
    assert legal[2] == []


def test_armies_too_wide_for_a_tile_count() -> None:
    batches = Memory()
    env: Any = ExperienceRecorder(started("A -9000 . .\n. . . .\n. . . .\n. . . B"), batches)
    env.reset()
    idle(env, 2)
    play(env, "A00r")
    env.close()
    (batch,) = batches
    assert len(batch.boards.armies)
    assert validate(batch).good.all()


def test_invalid_index_is_not_legal(sound: ExperienceBatch) -> None:
    wild = np.array([-1, -(2**31), 8 * 30 + 1, 2**31 - 1], np.int32)
    out = np.ones(4, np.bool_)
    legal_actions(sound.boards, sound.state_index[:4].copy(), sound.player_id[:4].copy(), wild, 5, out)
    assert not out.any()


# --- Reasons ------------------------------------------------------------------------------------------------------


def test_recorded_batches_are_valid(any_batch: ExperienceBatch) -> None:
    validation = Validator().check(any_batch)
    assert validation.good.all()
    assert validation.reasons.shape == (len(any_batch),)
    assert validation.counts() == {}
    assert validate(any_batch.select(np.arange(9)[::-1])).good.all()
    assert validate(any_batch.slice(0, 0)).reasons.shape == (0,)
    assert validate(any_batch.n_step(3, 0.9)).good.all()


def test_human_games_are_valid() -> None:
    out = Memory()
    sink = ValidatingSink(out)
    told = record_replays([DATA / "B5--zeFUe.json.gz", DATA / "cqivEp6Ad.json.gz"], sink)
    assert sink.counters == {}
    assert sink.passed == sum(map(len, out)) == told.experiences > 4000
    batch = out[0]
    masks = batch.action_masks()
    rng = np.random.default_rng(0)
    wild = changed(batch, slice(None), action=rng.integers(0, masks.shape[1], len(batch)))
    good = masks[np.arange(len(batch)), wild.action].astype(bool)
    assert same(validate(wild).good, good)
    assert 0 < good.sum() < len(good)


ROW_FAULTS: list[tuple[dict[str, Any], Reason]] = [
    *(({name: bad}, Reason.MISSING_STATE) for name in ("state_index", "next_state_index") for bad in (-1, 10**6, -(2**31))),
    *(({"action": bad}, Reason.ACTION_OUT_OF_RANGE) for bad in (-1, 241, 2**31 - 1)),
    *(({"reward": bad}, Reason.NON_FINITE_REWARD) for bad in (np.nan, np.inf, -np.inf)),
    *(({"player_id": bad}, Reason.UNKNOWN_PLAYER) for bad in (-1, 3, 127)),
    *(({"game": bad}, Reason.UNKNOWN_PLAYER) for bad in (-1, 3)),
    ({"steps": 0}, Reason.WRONG_SHAPE),
    ({"state_index": -1, "action": -1, "reward": np.nan}, Reason.MISSING_STATE),
    ({"action": -1, "reward": np.nan}, Reason.ACTION_OUT_OF_RANGE),
]


@pytest.mark.parametrize(("columns", "reason"), ROW_FAULTS, ids=str)
@pytest.mark.checklist("P6", "P7", "P8")
def test_broken_row_alone_is_found(columns: dict[str, Any], reason: Reason, sound: ExperienceBatch) -> None:
    reasons = validate(changed(sound, 5, **columns)).reasons
    assert reasons[5] == reason
    assert not np.delete(reasons, 5).any()
    reasons = validate(changed(sound, slice(None), **columns)).reasons
    assert (reasons == reason).all()


@pytest.mark.checklist("P7")
def test_illegal_action_is_found(sound: ExperienceBatch) -> None:
    illegal = int(np.flatnonzero(sound.action_masks()[7] == 0)[0])
    reasons = validate(changed(sound, 7, action=illegal, reward=np.nan)).reasons
    assert reasons[7] == Reason.ILLEGAL_ACTION
    assert not np.delete(reasons, 7).any()


def with_boards(change: Callable[[Any], None]) -> Callable[[ExperienceBatch], ExperienceBatch]:
    def broken(batch: ExperienceBatch) -> ExperienceBatch:
        boards = batch.boards._make(array.copy() for array in batch.boards)
        change(boards)
        return replace(batch, boards=boards)

    return broken


def put(array: Any, place: Any, value: Any) -> None:
    array[place] = value


#: Broken boards, and which rows of the board (state or next state) are hit: one board or all.
BOARD_FAULTS: list[tuple[str, Callable[[ExperienceBatch], ExperienceBatch], Reason]] = [
    ("ground", with_boards(lambda boards: put(boards.entries["ground"], 4, 999)), Reason.MISSING_STATE),
    ("wide", with_boards(lambda boards: put(boards.entries["wide"], 4, 0)), Reason.MISSING_STATE),
    ("previous", with_boards(lambda boards: put(boards.entries["previous"], 4, -2)), Reason.MISSING_STATE),
    ("owner", with_boards(lambda boards: put(boards.tiles, (4, 3), 15)), Reason.MISSING_STATE),
]


@pytest.mark.parametrize(("name", "broken", "reason"), BOARD_FAULTS, ids=[fault[0] for fault in BOARD_FAULTS])
@pytest.mark.checklist("P6")
def test_broken_board_is_found(name: str, broken: Any, reason: Reason, sound: ExperienceBatch) -> None:
    hit = (sound.state_index == 4) | (sound.next_state_index == 4)
    assert 0 < hit.sum() < len(sound)
    reasons = validate(broken(sound)).reasons
    assert (reasons[hit] == reason).all()
    assert not reasons[~hit].any()


WHOLE_FAULTS: list[tuple[str, Callable[[ExperienceBatch], ExperienceBatch]]] = [
    ("shape", lambda batch: replace(batch, shape=(6, 5))),
    ("area", lambda batch: replace(batch, shape=(5, 5))),
    ("nothing", lambda batch: replace(batch, shape=(0, 30))),
    ("tiles", lambda batch: replace(batch, boards=batch.boards._replace(tiles=batch.boards.tiles[:-1]))),
    ("terrain", lambda batch: replace(batch, boards=batch.boards._replace(terrain=batch.boards.terrain[:, :-1]))),
    ("armies", lambda batch: replace(batch, boards=batch.boards._replace(armies=np.zeros((1, 7), np.int32)))),
    ("memory", lambda batch: replace(batch, recipe=Recipe(memory=True))),
    ("rows", with_boards(lambda boards: put(boards.games["rows"], slice(None), 6))),
    ("height", with_boards(lambda boards: put(boards.games["height"], slice(None), 6))),
    ("general", with_boards(lambda boards: put(boards.players["general"], slice(None), 30))),
    (
        "dense",
        lambda batch: replace(batch, dense=Dense(np.zeros((2, 3)), np.zeros(3, np.int32), np.zeros(3, np.int32))),
    ),
]


@pytest.mark.parametrize(("name", "broken"), WHOLE_FAULTS, ids=[fault[0] for fault in WHOLE_FAULTS])
@pytest.mark.checklist("P8")
def test_mismatched_arrays_are_found(name: str, broken: Any, sound: ExperienceBatch) -> None:
    assert (validate(broken(sound)).reasons == Reason.WRONG_SHAPE).all()
    sink = ValidatingSink(Memory())
    sink.write(broken(sound))
    assert sink.counters == {"wrong_shape": len(sound)}


def test_boards_of_stacked_frames_are_checked(sound: ExperienceBatch) -> None:
    for frames, hit in ((1, {4}), (2, {4, 5}), (3, {4, 5, 6})):
        batch = replace(BOARD_FAULTS[2][1](sound), recipe=Recipe(frames=frames))
        bad = np.isin(sound.state_index, list(hit)) | np.isin(sound.next_state_index, list(hit))
        assert same(~validate(batch).good, bad)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.checklist("P6", "P8")
def test_non_finite_observations_are_found(dtype: Any, value: float, sound: ExperienceBatch) -> None:
    batch = sound.slice(0, 40)
    after = np.arange(1, 41, dtype=np.int32)
    observations = np.zeros((41, 2, 5, 6), dtype)
    dense = replace(batch, dense=Dense(observations, after - 1, after))
    assert validate(dense).good.all()
    observations[20, 1, 4, 5] = value
    reasons = validate(dense).reasons
    assert np.flatnonzero(reasons).tolist() == [19, 20]
    assert (reasons[19:21] == Reason.NON_FINITE_TENSOR).all()
    after[3] = 41
    assert validate(dense).reasons[3] == Reason.MISSING_STATE
    after[3] = 4
    assert validate(replace(batch, dense=Dense(np.full((41, 3), 255, np.uint8), after - 1, after))).good.all()


@pytest.mark.checklist("P5")
def test_random_damage_is_always_found(sound: ExperienceBatch) -> None:
    """Accepted batches can be expanded, and their actions fit their masks: kernels do not check bounds."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        rows = sound.rows.copy()
        data = rows.view(np.uint8)
        places = rng.integers(0, len(data), 60)
        data[places] = rng.integers(0, 256, 60)
        batch = replace(sound, rows=rows)
        good = Validator(sequences=False).check(batch).good
        assert 0 < (~good).sum() <= 60
        kept = batch.select(good)
        assert kept.action_masks()[np.arange(len(kept)), kept.action].all()
        assert np.isfinite(kept.states()).all()
        assert np.isfinite(kept.reward).all()


# --- Sequences ----------------------------------------------------------------------------------------------------


@pytest.mark.checklist("P5")
def test_gaps_are_counted_and_repeats_rejected(sound: ExperienceBatch) -> None:
    out = Memory()
    sink = ValidatingSink(out)
    sink.write(sound.slice(0, 20))
    sink.write(sound.slice(27, 40))
    assert sink.counters == {"sequence_gap": 7}
    sink.write(sound.slice(35, 50))
    assert sink.counters == {"sequence_gap": 7, "sequence_repeat": 5}
    sink.write(sound.slice(0, 50))
    assert sink.counters == {"sequence_gap": 7, "sequence_repeat": 55}
    assert [number for batch in out for number in batch.sequence] == [*range(20), *range(27, 50)]
    assert sink.passed == 43


def test_gaps_and_repeats_within_batch_are_found(sound: ExperienceBatch) -> None:
    validator = Validator()
    validation = validator.check(sound.select([0, 1, 1, 4, 2, 5, 9]))
    assert np.flatnonzero(validation.reasons == Reason.SEQUENCE_REPEAT).tolist() == [2, 4]
    assert validation.missing == 2 + 3
    assert validation.counts() == {"sequence_repeat": 2, "sequence_gap": 5}


def test_each_source_is_counted_separately(sound: ExperienceBatch) -> None:
    sink = ValidatingSink(Memory())
    for run in ("a", "b", None, "a", "b", None):
        batch = replace(sound, metadata={"run": run} if run else {})
        sink.write(batch.slice(0, 10) if sink.passed < 30 else batch.slice(10, 20))
    assert (sink.passed, sink.counters) == (60, {})
    sink.write(replace(sound, metadata={"run": "b"}).slice(19, 22))
    assert sink.counters == {"sequence_repeat": 1}


def test_source_may_start_at_any_sequence_but_negative(sound: ExperienceBatch) -> None:
    assert Validator().check(sound.slice(30, 40)).counts() == {}
    least = np.iinfo(np.int64).min
    assert Validator().check(changed(sound.slice(0, 3), slice(0, 3), sequence=[least, -1, 0])).counts() == {
        "sequence_repeat": 2
    }
    most = np.iinfo(np.int64).max
    validation = Validator().check(changed(sound.slice(0, 3), slice(0, 3), sequence=[0, most, 1]))
    assert validation.counts() == {"sequence_gap": most - 1, "sequence_repeat": 1}


def test_sequences_can_be_left_out(sound: ExperienceBatch) -> None:
    sink = ValidatingSink(Memory(), Validator(sequences=False))
    sink.write(sound)
    sink.write(sound)
    assert (sink.passed, sink.counters) == (2 * len(sound), {})


# --- The sink -----------------------------------------------------------------------------------------------------


def test_valid_batches_pass_unchanged_and_others_lose_invalid_rows(sound: ExperienceBatch) -> None:
    out = Memory()
    sink = ValidatingSink(out)
    sink.write(sound)
    assert out[0] is sound
    broken = changed(changed(sound, slice(0, 4), reward=np.nan), 9, action=-1)
    sink = ValidatingSink(out)
    sink.write(broken)
    good = np.setdiff1d(np.arange(len(sound)), [0, 1, 2, 3, 9])
    assert same(out[1].sequence.copy(), sound.sequence[good])
    assert same(out[1].states(), sound.select(good).states())
    assert sink.counters == {"non_finite_reward": 4, "action_out_of_range": 1}
    assert sink.passed == len(sound) - 5
    sink.write(changed(sound, slice(None), reward=np.inf).slice(0, 7))  # nothing is left of it
    assert len(out) == 2
    assert sink.counters["non_finite_reward"] == 11


def test_raise_policy_passes_nothing_on_and_names_the_reason(sound: ExperienceBatch) -> None:
    out = Memory()
    sink = ValidatingSink(out, on_invalid="raise")
    broken = changed(changed(sound, slice(0, 4), reward=np.nan), 9, action=-1)
    with pytest.raises(ConfigError) as caught:
        sink.write(broken)
    assert str(caught.value) == (
        f"batch: expected {len(sound)} sound experiences, got 1 action_out_of_range, 4 non_finite_reward"
    )
    assert out == []
    assert sink.counters == {"action_out_of_range": 1, "non_finite_reward": 4}
    sink.write(sound)
    assert sink.passed == len(sound)


def test_experiences_refused_by_next_sink_may_be_written_again(sound: ExperienceBatch) -> None:
    class Full(Memory):
        full = True

        def write(self, batch: ExperienceBatch) -> None:
            if self.full:
                raise OSError("full")
            self.append(batch)

    out = Full()
    sink = ValidatingSink(out)
    for _ in range(2):
        with pytest.raises(OSError, match="full"):
            sink.write(changed(sound, 3, reward=np.nan))
    assert (sink.passed, sink.counters) == (0, {})
    out.full = False
    sink.write(changed(sound, 3, reward=np.nan))
    assert (sink.passed, sink.counters) == (len(sound) - 1, {"non_finite_reward": 1})


def test_counts_are_exact_with_many_threads(sound: ExperienceBatch) -> None:
    out = Memory()
    sink = ValidatingSink(out)

    def write(number: int) -> None:
        batch = replace(changed(sound, slice(0, 3), reward=np.nan), metadata={"run": str(number)})
        for low in range(0, len(batch), 10):
            sink.write(batch.slice(low, low + 10))
            assert sink.counters["non_finite_reward"] <= 24

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sink.counters == {"non_finite_reward": 24}
    assert sink.passed == sum(map(len, out)) == 8 * len(sound) - 24


def test_simultaneous_equal_writes_pass_once(sound: ExperienceBatch) -> None:
    class Slow(Memory):
        def write(self, batch: ExperienceBatch) -> None:
            time.sleep(0.1)
            self.append(batch)

    sink = ValidatingSink(Slow())
    threads = [threading.Thread(target=sink.write, args=(sound,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (sink.passed, sink.counters) == (len(sound), {"sequence_repeat": 2 * len(sound)})


def test_flush_and_close_are_passed_on(sound: ExperienceBatch) -> None:
    out = Memory()
    sink = ValidatingSink(out)
    sink.flush()
    sink.close()
    assert (out.flushed, out.closed) == (1, 1)
    with pytest.raises(StateError, match="write: expected an open sink, got one that is closed"):
        sink.write(sound)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sink": 3}, "sink: expected an object with write, flush and close, got 3"),
        ({"validator": "strict"}, "validator: expected a Validator, got 'strict'"),
        ({"on_invalid": "skip"}, "on_invalid: expected 'drop' or 'raise', got 'skip'"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ValidatingSink(**{"sink": Memory(), **options})
    assert str(caught.value).startswith(text)
    with pytest.raises(ConfigError, match="sequences: expected True or False, got 1"):
        Validator(sequences=1)  # type: ignore[arg-type]
