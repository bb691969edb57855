"""Recording: nothing is missed, nothing is made up, and what stands on disk is whole."""

from __future__ import annotations

import gc
import io
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils import aec_to_parallel, parallel_to_aec
from pettingzoo.utils.wrappers import AssertOutOfBoundsWrapper, BaseParallelWrapper, BaseWrapper, OrderEnforcingWrapper
from support.helpers import (
    DUEL,
    KINDS,
    MARCH,
    PATIENCE,
    RAID,
    TO_THE_LAST,
    Listener,
    Memory,
    check_batches,
    course_of,
    idle,
    play,
    play_on,
    same,
    wait_until,
)
from support.paths import DATA, TESTS

import generals_env
from generals_env import StorageError, replay
from generals_env.engine.boards import copy_boards
from generals_env.engine.packed.packing import unpack
from generals_env.recorders import ExperienceRecorder, open_dataset, record_replays
from generals_env.recorders.formats import FORMATS, npz
from generals_env.recorders.recording import turn_batcher

faces = pytest.mark.parametrize("face", [generals_env.make, generals_env.parallel_env], ids=["aec", "parallel"])


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_batcher, "CHUNK_BOARDS", 13)


def check_columns(batches: Memory, log: list[tuple[Any, ...]]) -> None:
    """Check that batches hold what the log says, bit for bit."""
    columns = list(zip(*log, strict=True))
    for name, told in zip(
        ("player_id", "turn", "action", "illegal", "reward", "terminated", "truncated"), columns, strict=False
    ):
        assert batches.column(name).tolist() == list(told), name
    for names, handed in ((("states", "action_masks"), columns[7]), (("next_states", "next_action_masks"), columns[8])):
        for name, key in zip(names, ("observation", "action_mask"), strict=True):
            assert same(batches.column(name), np.stack([view[key] for view in handed])), name


@pytest.mark.parametrize("players", [2, 3])
def test_the_recorder_passes_the_tests_of_the_environment(players: int, tmp_path: Path) -> None:
    options = {"players": players, "height": 5, "width": 6}
    numbers = iter(range(9))

    def recorded(face: Any, **more: Any) -> Any:
        return ExperienceRecorder(face(**options, **more), tmp_path / str(next(numbers)))

    aec, parallel = recorded(generals_env.make, max_turns=80), recorded(generals_env.parallel_env, max_turns=80)
    assert {ExperienceRecorder, BaseWrapper} <= set(type(aec).__mro__)
    assert {ExperienceRecorder, BaseParallelWrapper} <= set(type(parallel).__mro__)
    assert aec.action_space("player_1") is aec.unwrapped.action_space("player_1")
    api_test(aec, num_cycles=150)
    parallel_api_test(parallel, num_cycles=150)
    seed_test(lambda: recorded(generals_env.make), num_cycles=40)
    parallel_seed_test(lambda: recorded(generals_env.parallel_env), num_cycles=40)
    for env in (aec, parallel):
        env.close()
    for number in range(next(numbers)):
        assert check_batches(open_dataset(tmp_path / str(number))) > 1


COMPOSITIONS: list[Callable[[Any], Any]] = [
    lambda sink: ExperienceRecorder(generals_env.make(**KINDS[1]), sink),
    lambda sink: OrderEnforcingWrapper(ExperienceRecorder(generals_env.make(**KINDS[1]), sink)),
    lambda sink: ExperienceRecorder(OrderEnforcingWrapper(generals_env.make(**KINDS[1])), sink),
    lambda sink: AssertOutOfBoundsWrapper(ExperienceRecorder(OrderEnforcingWrapper(generals_env.make(**KINDS[1])), sink)),
    lambda sink: ExperienceRecorder(AssertOutOfBoundsWrapper(OrderEnforcingWrapper(generals_env.make(**KINDS[1]))), sink),
    lambda sink: aec_to_parallel(ExperienceRecorder(generals_env.make(**KINDS[1]), sink)),
    lambda sink: ExperienceRecorder(aec_to_parallel(generals_env.make(**KINDS[1])), sink),
    lambda sink: ExperienceRecorder(parallel_to_aec(generals_env.parallel_env(**KINDS[1])), sink),
    lambda sink: parallel_to_aec(ExperienceRecorder(generals_env.parallel_env(**KINDS[1]), sink)),
    lambda sink: ExperienceRecorder(generals_env.parallel_env(**KINDS[1]), sink),
]


def test_the_recorder_composes_with_wrappers_in_any_order() -> None:
    first = Memory()
    for compose in COMPOSITIONS:
        batches = Memory()
        env = compose(batches)
        env.reset(seed=3)
        log = play_on(env, np.random.default_rng(0), 60)
        env.close()
        check_columns(batches, log)
        first = first or batches
        for name in ("action", "reward", "turn", "states"):
            assert same(batches.column(name), first.column(name))


@faces
@pytest.mark.parametrize("options", KINDS, ids=lambda options: f"{options['players']} players")
@pytest.mark.usefixtures("small_chunks")
def test_records_are_what_the_environment_told_and_the_engine_plays_them_again(face: Any, options: dict[str, Any]) -> None:
    batches = Memory()
    env = ExperienceRecorder(face(max_turns=90, **options), batches, run_id="run")
    rng = np.random.default_rng(4)
    began = time.time_ns()
    log: list[tuple[Any, ...]] = []
    ends: list[list[int]] = []  # whose last experience each game holds

    def go_on(turns: int = 1000) -> None:
        players = [env.unwrapped.index[agent] for agent in env.agents]
        log.extend(play_on(env, rng, turns))
        ends.append([player for player in players if not env.agents])

    env.reset(seed=6)
    log += play_on(env, rng, 20)
    if options["players"] > 2:
        env.surrender("player_1")
    fork = env.clone()
    go_on()
    env.restore(fork)
    go_on()
    ends[0] = list(range(options["players"]))
    env.reset()
    go_on(5)
    env.reset()
    go_on()
    env.close()
    check_columns(batches, log)
    assert check_batches(batches) == len(log) == env.experiences
    assert sum(batch.illegal.sum() for batch in batches) > 5
    assert began <= batches.column("collected_at")[0] <= batches.column("collected_at")[-1] <= time.time_ns()
    games = batches.column("game_id")
    assert list(dict.fromkeys(games)) == [f"run-{number:06d}" for number in range(4)]
    last = batches.column("terminated") | batches.column("truncated")
    assert [sorted(batches.column("player_id")[last & (games == game)]) for game in dict.fromkeys(games)] == ends


def test_a_free_for_all_has_one_terminal_experience_for_each_player() -> None:
    batches = Memory()
    env = ExperienceRecorder(generals_env.make(map=RAID), batches)
    env.reset()
    play(env, f"{MARCH} A01r {TO_THE_LAST}")
    while env.agents:
        env.step(None)
    env.close()
    (batch,) = batches
    ends = np.flatnonzero(batch.terminated)
    assert batch.player_id[ends].tolist() == [1, 0, 2]
    assert batch.reward[ends].tolist() == [-1, 1, -1]
    assert batch.turn[ends].tolist() == [3, 7, 7]
    assert not batch.truncated.any()
    assert len(batch) == 4 * 3 + 4 * 2
    assert len(batch.boards.tiles) == 9


def test_arrays_to_write_to_can_be_given(tmp_path: Path) -> None:
    batch = npz.decode(recorded_file(tmp_path).read_bytes())
    for name in ("states", "next_states", "action_masks", "next_action_masks"):
        plain = getattr(batch, name)()
        out = np.full_like(plain, 7)
        assert getattr(batch, name)(out=out) is out
        assert same(out, plain)


def test_chunks_break_games_and_lose_nothing() -> None:
    batches = Memory()
    with ExperienceRecorder(generals_env.parallel_env(height=4, width=5, max_turns=1500), batches) as env:
        for seed in range(8):
            course_of(env, seed, turns=260)
    assert len(batches) > 1
    assert check_batches(batches) == env.experiences
    for batch, following in pairwise(batches):
        assert len(batch.boards.tiles) in (turn_batcher.CHUNK_BOARDS - 1, turn_batcher.CHUNK_BOARDS)
        assert batch.game_ids[-1] == following.game_ids[0]  # in the middle of a game
        assert same(unpack(batch.boards, [-1 % len(batch.boards.tiles)]), unpack(following.boards, [0]))


def test_closing_early_and_flushing_keep_what_there_was(tmp_path: Path) -> None:
    env: Any = ExperienceRecorder(generals_env.make(map=DUEL), tmp_path)
    env.reset()
    play(env, "- - A00r")
    env.flush()
    assert check_batches(open_dataset(tmp_path)) == 6
    play(env, "- A01r")
    env.close()
    env.close()
    assert check_batches(open_dataset(tmp_path)) == env.experiences == 10
    env.reset()
    play(env, "- -")
    assert env.experiences == 10
    again = ExperienceRecorder(generals_env.make(map=DUEL), tmp_path)  # adds to what is there
    again.reset()
    play(again, "-")
    again.close()
    assert [len(batch) for batch in open_dataset(tmp_path)] == [6, 4, 2]


def test_two_recorders_may_write_to_one_folder_at_a_time(tmp_path: Path) -> None:
    envs = [ExperienceRecorder(generals_env.parallel_env(map=DUEL), tmp_path, run_id=name) for name in ("one", "two")]
    for env in envs:
        env.reset()
        idle(env, 3)
    for env in envs:
        env.close()
    assert sorted(batch.game_ids for batch in open_dataset(tmp_path)) == [("one-000000",), ("two-000000",)]


def test_a_forgotten_recorder_keeps_what_there_was(tmp_path: Path) -> None:
    env = ExperienceRecorder(generals_env.parallel_env(map=DUEL), tmp_path)
    env.reset()
    idle(env, 3)
    del env
    gc.collect()
    assert check_batches(open_dataset(tmp_path)) == 6


def run_script(script: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start Python beside the helpers."""
    return subprocess.Popen([sys.executable, "-c", script, str(folder)], cwd=TESTS)


@pytest.mark.parametrize(("end", "status"), [("", 0), ("raise SystemExit(3)", 3)])
def test_a_process_that_ends_keeps_what_there_was(end: str, status: int, tmp_path: Path) -> None:
    script = f"""
import sys, generals_env
from support import helpers
from generals_env.recorders import ExperienceRecorder
env = ExperienceRecorder(generals_env.parallel_env(map=helpers.DUEL), sys.argv[1])
env.reset()
helpers.idle(env, 5)
{end}
"""
    assert run_script(script, tmp_path).wait(PATIENCE) == status
    assert check_batches(open_dataset(tmp_path)) == 10


@pytest.mark.parametrize("form", FORMATS)
def test_a_process_that_ends_keeps_what_several_threads_encode(form: str, tmp_path: Path) -> None:
    """At the end of a program pools take no more work; so many boards are divided among threads."""
    script = f"""
import os, sys, generals_env
os.sched_getaffinity = lambda process: range(4)
from generals_env.recorders import DatasetWriter, ExperienceRecorder
env = ExperienceRecorder(generals_env.make_vec(16, height=5, width=5), DatasetWriter(sys.argv[1], {form!r}))
env.reset(seed=1)
env.play(40, ("random", "random"))
"""
    assert run_script(script, tmp_path).wait(PATIENCE) == 0
    assert sum(map(len, open_dataset(tmp_path))) == 16 * 40 * 2


def test_a_killed_writer_leaves_only_whole_files(tmp_path: Path) -> None:
    script = """
import sys, generals_env
from support import helpers
from generals_env.recorders import DatasetWriter, ExperienceRecorder
from generals_env.recorders.recording import turn_batcher
turn_batcher.CHUNK_BOARDS = 24
env = ExperienceRecorder(generals_env.parallel_env(height=8, width=8), DatasetWriter(sys.argv[1], max_file_bytes=1))
for seed in range(10**6):
    helpers.course_of(env, seed)
"""
    rng = np.random.default_rng()
    for attempt in range(3):
        before = len(list(tmp_path.rglob("*.npz")))
        writer = run_script(script, tmp_path)
        wait_until(lambda before=before: len(list(tmp_path.rglob("*.npz"))) >= before + 2)
        time.sleep(rng.random() * 0.3)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait(PATIENCE) == -signal.SIGKILL
        files = open_dataset(tmp_path).files
        assert len(files) >= before + 2
        assert check_batches(batch for file in files[before:] if (batch := file.read())) > 0, attempt


def recorded_file(folder: Path) -> Path:
    """Return a file with a short game."""
    with ExperienceRecorder(generals_env.parallel_env(height=4, width=4, max_turns=30), folder) as env:
        course_of(env, 1)
    return moved(folder)


def moved(folder: Path) -> Path:
    """Return the only file in a folder under a name that no index knows."""
    (path,) = folder.rglob("*.npz")
    return path.rename(folder / "experiences_000000.npz")


def test_files_open_without_pickle(tmp_path: Path) -> None:
    path = recorded_file(tmp_path)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["action"].shape == archive["sequence"].shape
        assert archive["owner"].shape == (len(archive["board_turn"]), 16)
        assert '"schema": 2' in str(archive["header"])
        assert archive["game_ids"].dtype.kind == "U"


def test_the_same_game_gives_the_same_bytes_whatever_was_in_memory(tmp_path: Path) -> None:
    contents = []
    for fill in (1, 2):
        junk = [np.full(size, fill, np.uint8) for size in range(1000, 200_000, 1000)]
        del junk
        with ExperienceRecorder(generals_env.parallel_env(**KINDS[0]), tmp_path / str(fill), run_id="run") as env:
            course_of(env, 1)
        with zipfile.ZipFile(moved(tmp_path / str(fill))) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist() if name != "collected_at.npy"})
    assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = recorded_file(tmp_path / "whole")
    data, whole = path.read_bytes(), npz.decode(path.read_bytes())
    damaged = tmp_path / "experiences_000000.npz"
    rng = np.random.default_rng(0)
    for number in range(400):
        spoilt = bytearray(data)
        if number % 4 == 0:
            spoilt = spoilt[: rng.integers(len(data))]
        for _ in range(int(rng.integers(1, 4)) if number % 4 else 0):
            spoilt[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(spoilt)
        try:
            (batch,) = open_dataset(damaged)
        except StorageError as error:
            assert "path: expected a file of experiences" in str(error)  # noqa: PT017 - either outcome is right
        else:  # the bits were of no account
            assert same([batch.boards, batch.action, batch.game_ids], [whole.boards, whole.action, whole.game_ids])


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


FOREIGN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "one array only": lambda arrays: saved(np.zeros(3)),
    "text": lambda arrays: b"experiences",
    "nothing": lambda arrays: b"",
    "other names": lambda arrays: {"a": np.zeros(3)},
    "another schema": lambda arrays: arrays | {"header": np.array('{"schema": 2}')},
    "no header": lambda arrays: arrays | {"header": np.array("[]")},
    "pickled objects": lambda arrays: arrays | {"game_ids": np.array([{}], object)},
    "a number for a column": lambda arrays: arrays | {"action": np.int32(5)},
    "a column too short": lambda arrays: arrays | {"action": arrays["action"][1:]},
    "another dtype": lambda arrays: arrays | {"reward": arrays["reward"].astype(float)},
    "flat players": lambda arrays: arrays | {"players": arrays["players"][:, 0]},
    "one board": lambda arrays: arrays | {"owner": arrays["owner"][0]},
    "a game that is not there": lambda arrays: arrays | {"game": arrays["game"] + 1},
    "a player that is not there": lambda arrays: arrays | {"player_id": arrays["player_id"] + np.int8(1)},
    "a board that is not there": lambda arrays: arrays | {"next_state_index": arrays["next_state_index"] + np.int32(1)},
    "an owner that is not there": lambda arrays: arrays | {"owner": np.full_like(arrays["owner"], 9)},
    "boards of another size": lambda arrays: arrays | {"games": np.zeros_like(arrays["games"])},
    "an array beyond memory": lambda arrays: (
        arrays | {"action": saved(np.zeros(9, np.int32)).replace(b"(9,), }", b"(%d,), }" % 10**15)}
    ),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_files_are_refused(what: str, tmp_path: Path) -> None:
    path = recorded_file(tmp_path)
    with np.load(path) as archive:
        content = FOREIGN[what](dict(archive))
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in content.items():
                archive.writestr(f"{name}.npy", array if isinstance(array, bytes) else saved(array))
    with pytest.raises(StorageError, match="path: expected a file of experiences"):
        list(open_dataset(path))


@faces
def test_a_collector_hears_of_every_turn_once_and_of_every_game_end_once(face: Any) -> None:
    env, listener = face(map=RAID, max_turns=30), Listener()
    env.add_collector(listener)
    env.reset()
    env.reset()
    play(env, "A01r+B00l - A00r A01r A02r A00u")  # illegal ones, too, and a player who is out
    assert [turn.boards.games["turn"].tolist() for turn in listener.turns] == [[turn, turn + 1] for turn in range(6)]
    assert [turn.continues for turn in listener.turns] == [False] + [True] * 5
    assert [turn.illegal.tolist()[:2] for turn in listener.turns[:2]] == [[True, True], [False, False]]
    assert [turn.active.tolist() for turn in listener.turns[3:5]] == [[True] * 3, [True, False, True]]
    assert listener.ends == []
    env.reset()
    assert listener.ends == [6]
    idle(env, 3)
    env.surrender("player_2")
    fork = env.clone()
    idle(env, 27)
    assert listener.ends == [6, 36]
    env.restore(fork)
    idle(env, 2)
    env.remove_collector(listener)
    idle(env, 2)
    assert len(listener.turns) == 38
    for turn, following in pairwise(listener.turns):
        joined = same(copy_boards(turn.boards, slice(1, 2)), copy_boards(following.boards, slice(0, 1)))
        assert following.continues <= joined
    assert [number for number, turn in enumerate(listener.turns) if not turn.continues] == [0, 6, 9, 36]


@pytest.mark.usefixtures("small_chunks")
def test_recorded_replays_play_again_in_the_engine(tmp_path: Path) -> None:
    paths = sorted(DATA.glob("*.json.gz"))
    assert {"B5--zeFUe.json.gz", "cqivEp6Ad.json.gz"} <= {path.name for path in paths}
    batches = Memory()
    result = record_replays(paths, batches)
    assert (result.games, result.skipped) == (len(paths), {})
    assert check_batches(batches) == result.experiences
    games = batches.column("game_id")
    assert list(dict.fromkeys(games)) == [replay.read(path).id for path in paths]
    last = batches.column("terminated") | batches.column("truncated")
    for path in paths:
        game = replay.read(path)
        mine = games == game.id
        assert sorted(batches.column("player_id")[mine & last]) == list(range(game.players))
        turns = list(game.play())
        assert batches.column("turn")[mine].max() + 1 == turns[-1].turn
        moved = batches.column("action")[mine] != 8 * game.height * game.width
        assert 0 < moved.sum() <= len(game.moves)


def test_replays_that_cannot_be_recorded_stop_it_or_are_skipped(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.json", DATA / "B5--zeFUe.json.gz"
    bad.write_text("{}")
    with pytest.raises(generals_env.ReplayError, match=r"bad\.json: version: expected a whole number"):
        record_replays([good, bad], tmp_path / "a")
    assert check_batches(open_dataset(tmp_path / "a")) > 0
    result = record_replays([bad, good], tmp_path / "b", on_error="skip")
    assert list(result.skipped) == [str(bad)]
    assert result.games == 1
    assert check_batches(open_dataset(tmp_path / "b")) == result.experiences
