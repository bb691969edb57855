"""Tests ``record_replays`` against turn-by-turn recording of one game at a time: batches, memory, errors and stops."""

from __future__ import annotations

import gzip
import json
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ground_truth import CONFORMANCE, load
from support.helpers import KINDS, Memory, check_batches, idle
from support.paths import DATA
from support.recorded import Facts, facts

import generals_env
from generals_env import ReplayError, RewardConfig, StorageError, replay
from generals_env.concurrency.thread_pool import available_cores
from generals_env.recorders import DatasetWriter, ExperienceBatch, ExperienceRecorder, open_dataset, record_replays
from generals_env.recorders.people import human_replays
from generals_env.recorders.recording.single_game_collector import GameCollector
from generals_env.recorders.recording.turn_batcher import TurnBatcher

#: Weights that make every kind of reward distinguishable.
WEIGHTS = RewardConfig(0.3, -0.2, 0.01, -0.02, 2, -3, 10, -11, 0.7, -0.6, 0.05)

#: Positions of the sequence number and the time among the facts of an experience.
GAME, SEQUENCE, STAMP = 0, 2, 3

NUMBERS = st.integers(0, 24)


def told(batches: Iterable[ExperienceBatch]) -> Facts:
    """Return the facts of all experiences without times, with games by their number in the order of their beginning."""
    numbers: dict[str, int] = {}
    rows = []
    for batch in batches:
        for fact in facts(batch):
            number = numbers.setdefault(fact[GAME], len(numbers))
            rows.append((number, *fact[1:STAMP], *fact[STAMP + 1 :]))
    return rows


def turn_by_turn(games: Iterable[replay.Replay], reward: RewardConfig | None = None) -> Facts:
    """Return the batches of turn-by-turn recording."""
    batches = Memory()
    batcher = TurnBatcher(batches)
    collector = GameCollector(batcher)
    for game in games:
        game.collect(collector, reward)
    batcher.close()
    return told(batches)


def written(folder: Path, games: Iterable[dict[str, Any]]) -> list[Path]:
    """Return files of games."""
    paths = []
    for number, game in enumerate(games):
        paths.append(folder / f"{number:03d}.json")
        paths[-1].write_text(json.dumps(game))
    return paths


def fields_of(name: str) -> dict[str, Any]:
    """Return the named fields of a game of this repository."""
    with gzip.open(DATA / f"{name}.json.gz") as file:
        return dict(json.load(file))


def variants() -> Iterator[dict[str, Any]]:
    """Yield games of the repository by other rules: the moves are those of another game then, and many are not legal."""
    for version in (1, 3, 4, 5, 12, 15, 18):
        yield fields_of("three") | {"version": version}
    for modifiers in ([0], [5], [7], [10], [0, 1, 5, 7, 10]):
        yield fields_of("eight") | {"modifiers": modifiers, "version": 18}
    teams = fields_of("teams")
    yield teams | {"afks": [[1, 30], [0, 60], [1, 80], [0, 110]]}
    yield teams | {"generals": [None, *teams["generals"][1:]]}
    yield teams | {"teams": [3, 3, 3, 3]}
    duel = fields_of("duel")
    yield duel | {"afks": [[0, 41], [0, 41]]}
    yield duel | {"afks": [[0, 41], [1, 41]]}  # no player is left
    yield duel | {"moves": duel["moves"][:7]}
    yield duel | {"moves": [], "afks": [[0, 500]]}
    yield duel | {"moves": [move[:4] + [max(move[4] - 40, 0)] for move in duel["moves"]]}  # queues
    yield duel | {"generals": duel["generals"][:1], "moves": []}  # over before it begins
    tiles = duel["mapWidth"] * duel["mapHeight"]
    free = sorted(set(range(tiles)) - {*duel["mountains"], *duel["cities"], *duel["generals"]})
    yield duel | {"swamps": free[:20], "deserts": free[20:40], "neutrals": free[40:60], "neutralArmies": [-7, 9] * 10}
    yield duel | {"neutrals": free[:2], "neutralArmies": [-9000, 90_000]}  # armies that take 32 bits


@pytest.mark.parametrize("reward", [None, WEIGHTS], ids=["default", "all weights"])
def test_games_equal_turn_by_turn_recording(reward: RewardConfig | None) -> None:
    paths = sorted(DATA.glob("*.json.gz"))
    assert len(paths) > 7
    batches = Memory()
    result = record_replays(paths, batches, reward)
    assert told(batches) == turn_by_turn(map(replay.read, paths), reward)
    assert result.games == len(paths)
    assert result.experiences == sum(map(len, batches)) == check_batches(batches)


def test_games_of_all_rules_equal_turn_by_turn_recording(tmp_path: Path) -> None:
    games = list(variants())
    batches = Memory()
    assert record_replays(written(tmp_path, games), batches, WEIGHTS).games == len(games)
    assert told(batches) == turn_by_turn(map(replay.from_dict, games), WEIGHTS)


@settings(max_examples=80, deadline=None, database=None)
@given(
    version=st.integers(1, 18),
    modifiers=st.lists(st.sampled_from([0, 5, 7, 10]), unique=True),
    teams=st.none() | st.lists(st.integers(0, 1), min_size=3, max_size=3),
    moves=st.lists(st.tuples(st.integers(0, 2), NUMBERS, st.sampled_from([1, -1, 5, -5]), st.booleans(), st.integers(0, 90))),
    afks=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 90)), max_size=4),
    armies=st.lists(st.integers(-50, 2), min_size=5, max_size=5),
)
def test_random_moves_equal_turn_by_turn_recording(
    tmp_path_factory: pytest.TempPathFactory,
    version: int,
    modifiers: list[int],
    teams: list[int] | None,
    moves: list[tuple[int, int, int, bool, int]],
    afks: list[tuple[int, int]],
    armies: list[int],
) -> None:
    game = {
        "version": version,
        "mapWidth": 5,
        "mapHeight": 5,
        "cities": [6, 7],
        "cityArmies": [-3, 1],
        "generals": [0, 12, 24],
        "mountains": [3],
        "swamps": [8],
        "deserts": [16],
        "neutrals": [1, 5, 11, 17, 23],
        "neutralArmies": armies,
        "modifiers": modifiers,
        "teams": teams,
        "moves": [[player, start, (start + step) % 25, half, turn] for player, start, step, half, turn in moves],
        "afks": afks,
    }
    batches = Memory()
    record_replays(written(tmp_path_factory.mktemp("random"), [game]), batches, WEIGHTS)
    assert told(batches) == turn_by_turn([replay.from_dict(game)], WEIGHTS)


def test_human_games_of_ground_truth_equal_turn_by_turn_recording(shared: Path, tmp_path: Path) -> None:
    games = [case["replay"] for pack in sorted(CONFORMANCE.glob("packs_1v1/*.gz")) for case in load(pack)][::5]
    games += [load(path) for path in sorted(CONFORMANCE.glob("replays/*.gz"))[::8]]
    games += [case["replay"] for path in sorted(CONFORMANCE.glob("synthetic/*.gz")) for case in load(path)][::7]
    wanted = [game for game in map(replay.from_dict, games) if not game.hidden]
    batches = Memory()
    result = record_replays(written(tmp_path, games), batches, on_error="skip")
    assert (result.games, len(result.skipped)) == (len(wanted), len(games) - len(wanted))
    assert told(batches) == turn_by_turn(wanted)


def test_game_is_one_batch_unless_it_exceeds_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(DATA.glob("*.json.gz"))
    whole = Memory()
    record_replays(paths, whole)
    assert [batch.game_ids for batch in whole] == [(replay.read(path).id,) for path in paths]
    monkeypatch.setattr(human_replays, "BATCH_BYTES", 40_000)
    parts = Memory()
    result = record_replays(paths, parts)
    assert len(parts) > 3 * len(whole)
    assert max(batch.nbytes for batch in parts) < 80_000
    assert result.games == len(paths)
    assert told(parts) == told(whole)


def test_repeated_recording_gives_same_batches_in_same_order(tmp_path: Path) -> None:
    paths = sorted(DATA.glob("*.json.gz")) * 3
    runs = []
    for _ in range(2):
        batches = Memory()
        record_replays(paths, batches)
        runs.append([fact[:STAMP] + fact[STAMP + 1 :] for batch in batches for fact in facts(batch)])
    assert runs[0] == runs[1]
    assert [fact[SEQUENCE] for fact in runs[0]] == list(range(len(runs[0])))


def test_games_with_same_name_get_distinct_ids(tmp_path: Path) -> None:
    game = fields_of("duel") | {"moves": [], "afks": [[0, 3]]}
    ids = ["a", "a", "a-2", "a", "", None]
    batches = Memory()
    record_replays(written(tmp_path, [game | {"id": name} for name in ids]), batches)
    assert [batch.game_ids[0] for batch in batches] == ["a", "a-2", "a-2-2", "a-3", "004.json", "005.json"]


def test_times_are_starts_of_games() -> None:
    batches = Memory()
    record_replays(sorted(DATA.glob("*.json.gz")), batches)
    assert all((batch.collected_at == batch.collected_at[0]).all() for batch in batches)
    assert (np.diff([batch.collected_at[0] for batch in batches]) >= 0).all()


# --- Memory of batches --------------------------------------------------------------------------------------------


def kept_alive(batches: Iterable[ExperienceBatch]) -> int:
    """Return the bytes of all arrays that batches keep alive: those that they have, or have views of."""
    owners = {}
    for batch in batches:
        for array in (batch.rows, *batch.boards):
            while isinstance(array.base, np.ndarray):
                array = array.base  # noqa: PLW2901 - the same memory
            owners[id(array)] = array.nbytes
    return sum(owners.values())


def said(batches: Iterable[ExperienceBatch]) -> int:
    """Return the bytes that batches say that they take."""
    return sum(batch.nbytes for batch in batches)


def test_batches_of_replays_hold_no_more_memory_than_reported() -> None:
    batches = Memory()
    record_replays([*DATA.glob("*.json.gz")] * 2, batches)
    assert kept_alive(batches) <= 1.5 * said(batches)


@pytest.mark.parametrize("kind", ["parallel", "aec", "vector", "played", "single", "memory"])
def test_batches_of_recorders_hold_no_more_memory_than_reported(kind: str) -> None:
    batches = Memory()
    options: dict[str, Any] = {"height": 8, "width": 8, "max_turns": 70}
    if kind in ("parallel", "aec"):
        make = generals_env.parallel_env if kind == "parallel" else generals_env.generals_v0.env
        with ExperienceRecorder(make(**KINDS[-1], max_turns=40), batches) as env:
            for seed in range(3):
                env.reset(seed=seed)
                idle(env, 40)
                env.flush()
    elif kind == "single":
        with ExperienceRecorder(generals_env.make(**options), batches) as env:
            env.reset(seed=1)
            for _ in range(60):
                env.step(8 * 64)
    else:
        env = generals_env.make_vec(24, **options)
        if kind == "memory":
            env = generals_env.wrappers.FogMemory(env)
        with ExperienceRecorder(env, batches) as recorder:
            recorder.reset(seed=1)
            if kind == "vector":
                for _ in range(50):
                    recorder.step(np.full(recorder.action_space.shape, 8 * 64))
            else:
                recorder.play(300, ("expander", "random"))
    assert batches
    assert kept_alive(batches) <= 1.5 * said(batches)


# --- End of the recording -----------------------------------------------------------------------------------------


def workers() -> set[threading.Thread]:
    """Return the threads that play."""
    return {thread for thread in threading.enumerate() if thread is not threading.main_thread()}


class Interrupting(Memory):
    """A sink that Ctrl-C, or an error, meets at its fifth batch."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error

    def write(self, batch: ExperienceBatch) -> None:
        if len(self) == 4:
            if self.error is not None:
                raise self.error
            signal.raise_signal(signal.SIGINT)
        self.append(batch)


@pytest.mark.parametrize("error", [None, StorageError("sink: full")], ids=["Ctrl-C", "a full sink"])
def test_stopped_recording_has_whole_games_and_leaves_no_threads(error: BaseException | None, tmp_path: Path) -> None:
    game = fields_of("three")
    before, sink = workers(), Interrupting(error)
    with pytest.raises(KeyboardInterrupt if error is None else StorageError):
        record_replays(written(tmp_path, [game | {"id": str(number)} for number in range(300)]), sink)
    assert workers() <= before
    assert sink.closed == 1
    assert [batch.game_ids for batch in sink] == [("0",), ("1",), ("2",), ("3",)]
    for batch in sink:
        ended = batch.terminated | batch.truncated
        assert sorted(batch.player_id[ended].tolist()) == [0, 1, 2]


def test_games_before_a_bad_one_are_recorded_and_none_after_it(tmp_path: Path) -> None:
    game = fields_of("duel") | {"moves": [], "afks": [[0, 3]]}
    paths = written(tmp_path, [game | {"id": str(number)} for number in range(40)])
    paths[20].write_text(json.dumps(game | {"lookouts": [5]}))
    batches = Memory()
    with pytest.raises(ReplayError, match="expected a game with ordinary sight, got lookouts"):
        record_replays(paths, batches)
    assert [batch.game_ids[0] for batch in batches] == [str(number) for number in range(20)]
    batches = Memory()
    result = record_replays(paths, batches, on_error="skip")
    assert list(result.skipped) == [str(paths[20])]
    assert result.games == len(batches) == 39


@pytest.mark.parametrize(("limit", "value"), [("MAX_AHEAD", 7), ("AHEAD_BYTES", 1)])
def test_games_that_wait_for_sink_are_bounded(limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = fields_of("three")
    paths = written(tmp_path, [game | {"id": str(number)} for number in range(60)])
    begun: list[str | Path] = []
    ahead = []
    play_source = human_replays.play_source

    def counted(path: str | Path, *arguments: Any) -> human_replays.Played:
        begun.append(path)
        return play_source(path, *arguments)

    class Watching(Memory):
        def write(self, batch: ExperienceBatch) -> None:
            ahead.append(len(begun) - len(self))
            self.append(batch)

    monkeypatch.setattr(human_replays, "play_source", counted)
    monkeypatch.setattr(human_replays, limit, value)
    record_replays(paths, Watching())
    assert len(ahead) == 60
    assert max(ahead) <= max(7, 2 * available_cores() + 1)


def test_files_of_many_shapes_are_written_one_after_another(tmp_path: Path) -> None:
    boards = [(height, width) for height in range(5, 10) for width in range(5, 10)]
    games = []
    for number in range(4 * len(boards)):
        height, width = boards[number % len(boards)]
        plain = dict.fromkeys(("cities", "cityArmies", "mountains", "moves"), ())
        size = {"version": 18, "mapWidth": width, "mapHeight": height, "generals": [0, height * width - 1]}
        games.append({**plain, **size, "id": str(number), "afks": [[0, 100]]})
    batches = Memory()
    record_replays(written(tmp_path, games), batches)
    most = 2 * max(batch.nbytes for batch in batches)
    before = 0
    with DatasetWriter(tmp_path / "out", max_file_bytes=most) as writer:
        for batch in batches:
            writer.write(batch)
            files, before = writer.stats().files - before, writer.stats().files
            assert files <= 2  # full batches, and the largest single one
        pending = writer.stats().pending
        assert sum(batch.nbytes for batch in batches[-20:]) > 4 * most
        assert 0 < pending < sum(map(len, batches[-20:]))
    assert sum(map(len, open_dataset(tmp_path / "out"))) == sum(map(len, batches))
