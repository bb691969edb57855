"""Tests ReplayBuffer: sampling frequencies, output arrays, files and errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.helpers import same
from support.recorded import facts, games_of, interleaved

from generals_env import ConfigError, StateError, StorageError
from generals_env.engine.storage.experience_ring import put_experiences
from generals_env.recorders.buffers import save_load
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.buffers.replay_buffer import STORES, ReplayBuffer
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.experience.bounds_checks import validate_arrays
from generals_env.recorders.experience.tensors import Tensors
from generals_env.recorders.filesystem.file_stores import LocalStore

stores = pytest.mark.parametrize("store", STORES)


def filled(store: str = "boards", kind: str = "two players", capacity: int = 10_000, **options: Any) -> ReplayBuffer:
    """Return a buffer with all games of a kind, as many as it takes."""
    buffer = ReplayBuffer(capacity, store=store, **options)
    for batch in interleaved(np.random.default_rng(0), games_of(kind), turns=True):
        buffer.write(batch)
    return buffer


# --- Drawing --------------------------------------------------------------------------------------------------------


def check_even(counts: np.ndarray, expected: np.ndarray) -> None:
    """Check counts by a chi-square test, with a normal distribution in place of that of the sum: four sigma."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = len(counts) - 1
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom), (statistic, freedom)
    assert counts.min() > 0  # this would not show one that is never drawn


@stores
def test_draws_are_uniform(store: str) -> None:
    buffer = filled(store, capacity=200, seed=5)
    buffer.write(games_of("two players")[0].select(np.arange(30)))
    held = buffer.snapshot().sequence
    drawn = np.concatenate([buffer.sample(200).sequence for _ in range(60)])
    places = np.searchsorted(np.sort(held), drawn)
    check_even(np.bincount(places, minlength=200), np.full(200, len(drawn) / 200))


@stores
def test_seed_repeats_draws(store: str) -> None:
    one, other, third = (filled(store, seed=seed) for seed in (3, 3, 4))
    for options in ({}, {"n_step": 3}, {"augment": True}):
        first, second = one.sample(20, **options), other.sample(20, **options)
        assert facts(first) == facts(second)
        assert facts(third.sample(20, **options)) != facts(first)
    assert facts(one.sample_trajectories(3, 4)) == facts(other.sample_trajectories(3, 4))


@pytest.mark.parametrize(("kind", "most"), [("teams", 8), ("two players", 4)])
def test_augmented_draws_have_every_symmetry_equally_often(kind: str, most: int) -> None:
    plain, turned = filled(kind=kind, seed=6).sample(4000), filled(kind=kind, seed=6).sample(4000, augment=True)
    assert np.array_equal(plain.sequence, turned.sequence)
    images = [facts(plain.turned(np.full(len(plain), symmetry))) for symmetry in range(most)]
    counts = np.zeros(most)
    for number, seen in enumerate(facts(turned)):
        found = [symmetry for symmetry in range(most) if images[symmetry][number] == seen]
        assert found
        if len({image[number] for image in images}) == most:
            counts[found] += 1
    assert counts.sum() > 3900
    check_even(counts, np.full(most, counts.sum() / most))


@pytest.mark.parametrize("kind", ["two players", "frames", "memory", "wide armies"])
def test_output_arrays_of_earlier_call_are_overwritten(kind: str) -> None:
    buffer, other = filled(kind=kind, seed=7), filled(kind=kind, seed=7)
    out = buffer.sample(50)
    assert facts(out) == facts(other.sample(50))
    for _ in range(5):
        again = buffer.sample(50, out)
        assert facts(again) == facts(other.sample(50))
        assert np.shares_memory(again.rows, out.rows)
        assert all(np.shares_memory(one, two) or not one.size for one, two in zip(again.boards, out.boards, strict=True))
        out = again
    assert len(buffer.sample(20, out)) == 20  # another number, other arrays


@stores
@pytest.mark.parametrize("kind", ["frames", "memory", "wide armies"])
def test_arrays_of_one_draw_are_consistent(store: str, kind: str) -> None:
    buffer = filled(store, kind)
    for drawn in (buffer.sample(500), buffer.sample(100, n_step=3), buffer.sample_trajectories(5, 9)):
        validate_arrays(drawn)


def test_output_arrays_that_do_not_fit_are_never_written() -> None:
    buffer = filled(kind="two players")
    for kind in ("padded torus", "frames", "memory", "wide armies"):
        out = filled(kind=kind).sample(10)
        before = facts(out)
        assert set(facts(buffer.sample(10, out))) <= set(facts(buffer.snapshot()))
        assert facts(out) == before
    part = buffer.snapshot().select(np.arange(10))
    assert len(buffer.sample(10, part)) == 10
    assert facts(part) == facts(buffer.snapshot())[:10]


@stores
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_tensors_are_filled(store: str, dtype: Any) -> None:
    buffer, other = filled(store, seed=8), filled(store, seed=8)
    room = Tensors.empty(30, (9, 6, 7), (6, 7), dtype)
    for options in ({}, {"n_step": 2}, {"augment": True}):
        got = buffer.sample(30, room, **options)
        assert got is room
        assert same(list(got), list(other.sample(30, **options).tensors(dtype=dtype)))


@stores
@pytest.mark.parametrize("kind", ["two players", "wide armies", "one seat"])
def test_multi_step_draws_equal_those_of_whole_buffer(store: str, kind: str) -> None:
    for capacity in (10_000, 333):
        buffer = ReplayBuffer(capacity, store=store, seed=1)
        parts = [ExperienceBatch.concat(games_of(kind))] if store == "zstd" else games_of(kind)
        for batch in parts:
            buffer.write(batch)
        held = buffer.snapshot()
        for turns, gamma in ((1, 0.5), (2, 0.9), (5, 1.0), (40, 0.99)):
            known = set(facts(held.n_step(turns, gamma)))
            drawn = buffer.sample(200, n_step=turns, gamma=gamma)
            assert set(facts(drawn)) <= known
            assert drawn.steps.max() == min(turns, 40)


@stores
def test_trajectories_are_turns_of_one_player_and_uniform(store: str) -> None:
    buffer = ReplayBuffer(240, store=store, seed=2)
    for batch in [ExperienceBatch.concat(games_of("two players"))] if store == "zstd" else games_of("two players"):
        buffer.write(batch)
    held = buffer.snapshot()
    length = 30
    drawn = [buffer.sample_trajectories(100, length) for _ in range(60)]
    known = set(facts(held))
    for batch in drawn:
        assert len(batch) == 100 * length
        for column in (batch.game, batch.player_id):
            assert (column.reshape(100, length) == column[::length, None]).all()
        assert (np.diff(batch.turn.reshape(100, length), axis=1) == 1).all()
        over = (batch.terminated | batch.truncated).reshape(100, length)
        assert not over[:, :-1].any()
    assert set(facts(drawn[0])) <= known
    last = {}
    for game, player, turn in zip(held.game.tolist(), held.player_id.tolist(), held.turn.tolist(), strict=True):
        last[game, player] = max(last.get((game, player), 0), turn)
    starts = [
        sequence
        for game, player, turn, sequence in zip(
            held.game.tolist(), held.player_id.tolist(), held.turn.tolist(), held.sequence.tolist(), strict=True
        )
        if turn + length - 1 <= last[game, player]
    ]
    firsts = np.concatenate([batch.sequence[::length] for batch in drawn])
    assert set(firsts.tolist()) == set(starts)
    counts = np.bincount(np.searchsorted(np.sort(starts), firsts))
    check_even(counts, np.full(len(starts), len(firsts) / len(starts)))
    with pytest.raises(StateError, match="sample_trajectories: expected a trajectory of 71 turns, got none"):
        buffer.sample_trajectories(1, 71)


# --- Files ----------------------------------------------------------------------------------------------------------


@stores
@pytest.mark.parametrize("kind", ["two players", "wide armies", "frames", "memory"])
def test_saved_buffer_is_loaded_whole(store: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_load, "FILE_EXPERIENCES", 50)
    buffer = filled(store, kind, 300)
    buffer.save(tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    for other in STORES:
        loaded = ReplayBuffer(1000, store=other, keep_probability=0.1)
        loaded.write(games_of(kind)[0].select(np.arange(0)))
        loaded.load(tmp_path / "saved")
        assert facts(loaded.snapshot()) == facts(buffer.snapshot())
        assert loaded.stats().skipped == 0
    with pytest.raises(StorageError, match=r"path: expected a folder that is not there yet, got '.*saved'"):
        buffer.save(tmp_path / "saved")


def damage(path: Path, way: str) -> None:
    """Damage a saved buffer."""
    files = sorted(path.glob("experiences_*.npz"))
    if way == "a file is missing":
        files[-1].unlink()
    elif way == "what lies beside is missing":
        (path / save_load.EXTRA).unlink()
    elif way == "a file is short":
        files[0].write_bytes(files[0].read_bytes()[:-100])
    elif way == "a bit is flipped":
        data = bytearray(files[1].read_bytes())
        data[len(data) // 2] ^= 4
        files[1].write_bytes(data)
    else:
        (path / save_load.EXTRA).write_bytes(b"PK nothing")


WAYS = [
    "a file is missing",
    "what lies beside is missing",
    "a file is short",
    "a bit is flipped",
    "what lies beside is damaged",
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [ReplayBuffer, PrioritizedReplayBuffer])
def test_damaged_folder_is_refused_whole(make: Any, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save_load, "FILE_EXPERIENCES", 50)
    buffer = make(1000)
    for game in games_of("two players"):
        buffer.write(game)
    buffer.save(tmp_path / "saved")
    damage(tmp_path / "saved", way)
    before = buffer.stats()
    with pytest.raises(StorageError, match=r"^path: expected .*(got|damaged)"):
        buffer.load(tmp_path / "saved")
    assert buffer.stats() == before


def test_failed_save_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = filled()
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"expected (a folder that can be written|to write to)"):
        buffer.save(tmp_path / "file" / "saved")
    with pytest.raises(StorageError):
        buffer.load(tmp_path / "nowhere")
    monkeypatch.setattr(save_load, "FILE_EXPERIENCES", 50)
    create, calls = LocalStore.create, []

    def failing(self: LocalStore, name: str, content: bytes) -> None:
        calls.append(name)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        create(self, name, content)

    monkeypatch.setattr(LocalStore, "create", failing)
    with pytest.raises(StorageError, match=r"path: expected to write to '.*saved', got .*No space left"):
        buffer.save(tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_saved_buffer_may_have_others_in_subfolders(tmp_path: Path) -> None:
    first, second = games_of("two players", 2)
    for path, batch in ((tmp_path / "saved", first), (tmp_path / "saved" / "later", second)):
        buffer = ReplayBuffer(10_000)
        buffer.write(batch)
        buffer.save(path)
    for path, batch in ((tmp_path / "saved", first), (tmp_path / "saved" / "later", second)):
        loaded = ReplayBuffer(10_000)
        loaded.load(path)
        assert same(facts(loaded.snapshot()), facts(batch))


# --- Errors ---------------------------------------------------------------------------------------------------------

WRONG: list[tuple[Callable[[], Any], str]] = [
    (ReplayBuffer, "capacity: expected it or max_bytes, got neither"),
    (lambda: ReplayBuffer(0), "capacity: expected a positive integer, got 0"),
    (lambda: ReplayBuffer(True), "capacity: expected a positive integer, got True"),
    (lambda: ReplayBuffer(max_bytes=1.5), "max_bytes: expected a positive integer, got 1.5"),  # type: ignore[arg-type]
    (lambda: ReplayBuffer(5, overflow="wait"), "overflow: expected one of drop_oldest, block, raise, drop_newest, got 'wait'"),
    (lambda: ReplayBuffer(5, max_wait=0), "max_wait: expected a positive number of seconds or None, got 0"),
    (lambda: ReplayBuffer(5, store="lz4"), "store: expected one of boards, zstd, games, got 'lz4'"),
    (lambda: ReplayBuffer(5, keep_probability=1.1), "keep_probability: expected a number from 0 to 1, got 1.1"),
    (lambda: ReplayBuffer(5, keep_probability=float("nan")), "keep_probability: expected a number from 0 to 1, got nan"),
    (lambda: ReplayBuffer(5, seed=-1), "seed: expected a non-negative integer or None, got -1"),
    (lambda: ReplayBuffer(5).write("batch"), "batch: expected an ExperienceBatch, got str"),  # type: ignore[arg-type]
    (lambda: filled().sample(0), "n: expected a positive integer, got 0"),
    (lambda: filled().sample(3, out="there"), "out: expected an ExperienceBatch or Tensors, got str"),  # type: ignore[call-overload]
    (lambda: filled().sample(3, n_step=0), "n_step: expected a positive integer, got 0"),
    (lambda: filled().sample(3, n_step=2, gamma=1.5), "gamma: expected a number from 0 to 1, got 1.5"),
    (lambda: filled(kind="frames").sample(3, augment=True), "turned: expected observations of single boards"),
    (lambda: filled().sample(3, Tensors.empty(4, (9, 6, 7), (6, 7))), "out: expected a writeable contiguous"),
    (lambda: filled().sample_trajectories(0, 3), "n: expected a positive integer, got 0"),
    (lambda: filled().sample_trajectories(3, -1), "length: expected a positive integer, got -1"),
    (lambda: filled().write(games_of("teams")[0]), "batch: expected games of 2 players, got 4"),
    (lambda: filled().write(games_of("memory")[0]), "batch: expected observations made as Recipe"),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_bad_arguments_are_named_with_expectation_and_value(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_empty_buffer_raises_on_sample() -> None:
    buffer = ReplayBuffer(5)
    for call in (lambda: buffer.sample(1), lambda: buffer.sample_trajectories(1, 1), buffer.snapshot, buffer.drain):
        with pytest.raises(StateError, match="sample: expected experiences in the buffer, got none"):
            call()
    buffer.clear()
    buffer.flush()
    assert (len(buffer), buffer.room, buffer.stats().capacity) == (0, 5, 5)


def test_put_kernel_calls_no_other_functions_of_engine() -> None:
    """Around a call in its loop the kernel counts references to all arrays of the ring, which took 2.5 times as long."""
    filled()
    assert put_experiences.overloads
    for compiled in put_experiences.overloads.values():
        functions = compiled.library._get_module_for_linking().functions  # also there when it was loaded
        names = [function.name for function in functions if not function.is_declaration]
        assert [name for name in names if "engine" in name and "15experience_ring15put_experiences" not in name] == []
