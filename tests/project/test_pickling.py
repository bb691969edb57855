"""Tests that every public object can be copied and pickled, or raises an error that says why not and what to do instead."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.helpers import same

import generals_env
from generals_env import ENV_ID, CopyError, GeneralsError, recorders, replay, wrappers
from generals_env.recorders import (
    AdaptiveLevel,
    BackgroundReader,
    BoardDataset,
    BoardReplayBuffer,
    BufferedSink,
    Dataset,
    DatasetWriter,
    DeduplicatingSink,
    DevicePolicy,
    DistributedTrainer,
    ExperienceBatch,
    ExperienceConsumer,
    ExperienceLog,
    ExperienceRecorder,
    ExperienceServer,
    InsertCounts,
    InsertLimiter,
    InsertLimits,
    LimitedSink,
    Limits,
    MixedSampler,
    MixSchedule,
    MultiSink,
    Position,
    PrioritizedReplayBuffer,
    QNetwork,
    Recipe,
    ReplayBuffer,
    Retry,
    RetryingSink,
    Shaping,
    SpillBuffer,
    StreamDataset,
    StreamDefaults,
    SubmittingSink,
    TrainerConfig,
    ValidatingSink,
    Validator,
    open_dataset,
    record_replays,
)
from generals_env.recorders.stream.client.sharded import ShardedConsumer

pytest.importorskip("torch")
pytest.importorskip("stable_baselines3")
pytest.importorskip("grpc")

SMALL: dict[str, Any] = {"height": 6, "width": 6, "max_turns": 20}

#: Names of ``__all__`` that are functions, constants, exceptions and protocols.
NO_OBJECTS = {
    *("ENV_ID", "__version__", "castle_prices", "make", "make_vec", "parallel_env", "start_boards", "OPPONENTS", "Sink"),
    *("load_policy", "open_dataset", "record_replays", "repair_dataset", "to_hugging_face", "to_minari", "verify_dataset"),
    *(name for name in generals_env.__all__ if name.endswith("Error")),
}

#: Classes whose objects hold resources that cannot be copied.
NOT_COPIED = {
    *("ExperienceRecorder", "DatasetWriter", "MultiSink", "RetryingSink", "ValidatingSink", "DeduplicatingSink"),
    *("SpillBuffer", "ExperienceServer", "ExperienceConsumer", "ShardedConsumer", "BackgroundReader", "SubmittingSink"),
    *("DistributedTrainer", "ExperienceLog", "BufferedSink", "AdaptiveLevel", "InsertLimiter", "LimitedSink"),
}


class Closing(list[Any]):
    """Objects that are closed at the end."""

    def __call__(self, made: Any) -> Any:
        """Remember an object, and return it."""
        self.append(made)
        return made


def mixed(batch: ExperienceBatch) -> MixedSampler:
    """Return a sampler of one buffer."""
    return MixedSampler({"one": filled(ReplayBuffer(100, seed=1), batch)}, seed=1)


@pytest.fixture
def closing() -> Iterator[Closing]:
    """Return the exit stack that closes objects after the test."""
    held = Closing()
    yield held
    for made in reversed(held):
        made.close()


@pytest.fixture(scope="module")
def batch() -> ExperienceBatch:
    """Return some experience."""
    buffer = ReplayBuffer(1000)
    with ExperienceRecorder(generals_env.make_vec(2, threads=1, **SMALL), buffer, run_id="a") as env:
        env.reset(seed=1)
        env.play(20, ("random", "expander"))
        env.flush()
        return buffer.drain()


@pytest.fixture(scope="module")
def folder(batch: ExperienceBatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dataset."""
    path = tmp_path_factory.mktemp("pickling") / "dataset"
    with DatasetWriter(path) as writer:
        writer.write(batch)
    return path


def learners(**options: Any) -> Any:
    """Return two games for one learner each."""
    return gymnasium.make_vec(ENV_ID, num_envs=2, **SMALL, **options)


def filled(buffer: Any, batch: ExperienceBatch) -> Any:
    """Return a buffer with experience in it."""
    buffer.write(batch)
    return buffer


def sb3_buffer(store: str) -> Any:
    """Return a buffer of SB3 with some transitions."""
    env = wrappers.SB3VecEnv(learners())
    buffer = BoardReplayBuffer(10, env.observation_space, env.action_space, n_envs=2, env=env, store=store)
    last: Any = env.reset()
    for _ in range(4):
        seen, rewards, dones, infos = env.step(np.full(2, 288))
        buffer.add(last, seen, np.full(2, 288), rewards, dones, infos)
        last = seen
    return buffer


class Objects:
    """Makes an object of each public class, named by the class and a suffix for variants."""

    def __init__(self, batch: ExperienceBatch, folder: Path, place: Path, closing: Closing) -> None:
        """Make objects of experience and folders; ``closing`` closes them."""
        self.batch, self.folder, self.place, self.closing = batch, folder, place, closing

    def made(self) -> dict[str, Any]:
        """Return all of them."""
        return {name: make() for name, make in {**self.environments(), **self.records(), **self.holders()}.items()}

    def environments(self) -> dict[str, Callable[[], Any]]:
        """Return functions that make environments and configurations."""
        over = {"one": lambda: gymnasium.make(ENV_ID, **SMALL), "many": learners}
        names = ("FogMemory", "FrameStack", "PotentialShaping", "RandomSymmetry")
        return {
            "GameConfig": lambda: generals_env.GameConfig(players=3),
            "RewardConfig": generals_env.RewardConfig.original,
            "SpawnDistance": lambda: generals_env.SpawnDistance(2, 6),
            "GeneralsAEC": lambda: generals_env.make(**SMALL),
            "GeneralsParallel": lambda: generals_env.parallel_env(**SMALL),
            "GeneralsVector": lambda: generals_env.make_vec(2, **SMALL),
            "GeneralsSingle": over["one"],
            "GeneralsSingleVector": over["many"],
            "Opponent": lambda: wrappers.Opponent("random", 1),
            "SB3VecEnv": lambda: wrappers.SB3VecEnv(learners()),
            **{
                f"{name} over {kind}": lambda name=name, make=make: getattr(wrappers, name)(make())
                for name in names
                for kind, make in over.items()
            },
        }

    def records(self) -> dict[str, Callable[[], Any]]:
        """Return functions that make experience and objects that hold it in memory or read it."""
        batch, folder = self.batch, self.folder
        stores = ("boards", "zstd", "games")
        return {
            "ExperienceBatch": lambda: batch,
            "Tensors": batch.tensors,
            "TorchTensors": batch.to_torch,
            "Recipe": lambda: Recipe("full", True, 2, (Shaping(0.5, 1.0),)),
            "Shaping": lambda: Shaping(0.5, 1.0),
            "BufferStats": lambda: ReplayBuffer(10).stats(),
            "BufferedSinkStats": lambda: self.closing(BufferedSink(ReplayBuffer(10))).stats(),
            "MixedSampler": lambda: mixed(batch),
            "MixedSample": lambda: mixed(batch).sample(4),
            "PrioritizedSample": lambda: filled(PrioritizedReplayBuffer(100, seed=1), batch).sample(4),
            **{f"ReplayBuffer {store}": lambda s=store: filled(ReplayBuffer(100, store=s, seed=1), batch) for store in stores},
            **{
                f"PrioritizedReplayBuffer {store}": lambda s=store: filled(PrioritizedReplayBuffer(100, store=s, seed=1), batch)
                for store in stores
            },
            **{f"BoardReplayBuffer {store}": lambda s=store: sb3_buffer(s) for store in ("boards", "games")},
            "Dataset": lambda: open_dataset(folder).filter(min_turn=2),
            "BoardDataset": lambda: BoardDataset(folder),
            "StreamDataset": lambda: StreamDataset(folder, 4),
            "RecordedReplays": lambda: record_replays([], self.closing(DatasetWriter(self.place / "replays"))),
            "Replay": lambda: replay.from_dict(REPLAY),
            "Retry": lambda: Retry(2),
            "Limits": lambda: Limits(max_connections=2),
            "InsertLimits": lambda: InsertLimits(4.0, 100),
            "InsertCounts": lambda: InsertCounts(3, 2, 1),
            "MixSchedule": lambda: MixSchedule({0.0: {"games": 1}, 1.0: {"own": 1}}),
            "StreamDefaults": lambda: StreamDefaults(batch_size=2),
            "Position": lambda: Position("a", 1),
            "TrainerConfig": lambda: TrainerConfig(capacity=100, min_size=10),
            "QNetwork": lambda: QNetwork((9, 6, 6), channels=8, blocks=1),
            "DevicePolicy": lambda: DevicePolicy(QNetwork((9, 6, 6), channels=8, blocks=1), seed=1),
            "Validator": self.validator,
            "ExperienceLog read": self.log_read,
        }

    def holders(self) -> dict[str, Callable[[], Any]]:
        """Return functions that make objects that hold files, threads and connections."""
        place, closing = self.place, self.closing
        environments = {name: self.environments()[name] for name in RECORDED}
        return {
            **{
                f"ExperienceRecorder of {name}": lambda make=make, name=name: closing(ExperienceRecorder(make(), place / name))
                for name, make in environments.items()
            },
            "DatasetWriter": lambda: closing(DatasetWriter(place / "writer")),
            "MultiSink": lambda: closing(MultiSink([ReplayBuffer(9), ReplayBuffer(9)])),
            "RetryingSink": lambda: closing(RetryingSink(place / "retrying")),
            "AdaptiveLevel": AdaptiveLevel,
            "BufferedSink": lambda: closing(BufferedSink(ReplayBuffer(9))),
            "ValidatingSink": lambda: closing(ValidatingSink(ReplayBuffer(9))),
            "DeduplicatingSink": lambda: closing(DeduplicatingSink(ReplayBuffer(9))),
            "InsertLimiter": lambda: closing(InsertLimiter(place / "limit", {"samples_per_insert": 4})),
            "LimitedSink": lambda: closing(LimitedSink(ReplayBuffer(9), self.holders()["InsertLimiter"]())),
            "SpillBuffer": lambda: closing(SpillBuffer(place / "spill")),
            "ExperienceLog": lambda: closing(ExperienceLog(place / "log")),
            "ExperienceServer": lambda: ExperienceServer(ReplayBuffer(9), "127.0.0.1:0"),
            "ExperienceConsumer": lambda: closing(ExperienceConsumer("127.0.0.1:9")),
            "SubmittingSink": lambda: closing(SubmittingSink("127.0.0.1:9")),
            "ShardedConsumer": lambda: closing(ShardedConsumer("127.0.0.1:9", 2)),
            "BackgroundReader": lambda: BackgroundReader([], ReplayBuffer(9)),
            "DistributedTrainer": lambda: closing(DistributedTrainer([], QNetwork((9, 6, 6), channels=8, blocks=1))),
        }

    def validator(self) -> Validator:
        """Return a validator that remembers a batch."""
        validator = Validator()
        validator.accept(self.batch, validator.check(self.batch))
        return validator

    def log_read(self) -> ExperienceLog:
        """Return a log that only reads."""
        with ExperienceLog(self.place / "read") as log:
            log.write(self.batch)
        return self.closing(ExperienceLog(self.place / "read", mode="r"))


RECORDED = ("GeneralsAEC", "GeneralsParallel", "GeneralsVector", "GeneralsSingle", "GeneralsSingleVector", "SB3VecEnv")

REPLAY: dict[str, Any] = {
    "version": 13,
    "id": "a",
    "mapWidth": 5,
    "mapHeight": 4,
    "usernames": ["a", "b"],
    "stars": [0, 0],
    "cities": [],
    "cityArmies": [],
    "generals": [0, 19],
    "mountains": [],
    "moves": [],
    "afks": [[1, 2], [1, 52]],
}

WAYS: dict[str, Callable[[Any], Any]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle {protocol}": lambda made, p=protocol: pickle.loads(pickle.dumps(made, p)) for protocol in (2, 5)},
}


@pytest.fixture
def objects(batch: ExperienceBatch, folder: Path, tmp_path: Path, closing: Closing) -> dict[str, Any]:
    """Return an object of each public class."""
    return Objects(batch, folder, tmp_path, closing).made()


def test_pickling_tests_cover_every_public_class(objects: dict[str, Any]) -> None:
    public = {*generals_env.__all__, *recorders.__all__, *wrappers.__all__}
    assert public - NO_OBJECTS == {name.split()[0] for name in objects} & public
    for name, made in objects.items():
        kind = getattr(recorders, name.split()[0], None)
        assert not isinstance(kind, type) or isinstance(made, kind), name


@pytest.mark.parametrize("way", WAYS)
def test_pickles_and_copies_work_or_raise_with_advice(way: str, objects: dict[str, Any]) -> None:
    for name, made in objects.items():
        kind = name.split()[0]
        if kind in NOT_COPIED and name != "ExperienceLog read":
            with pytest.raises(CopyError) as caught:
                WAYS[way](made)
            text = str(caught.value)
            assert isinstance(caught.value, (GeneralsError, TypeError))
            assert text.startswith(f"{type(made).__name__}: expected "), name
            assert ", got " in text, name
            assert len(text.rpartition(": ")[2]) > 20, name  # the advice
        else:
            assert type(WAYS[way](made)) is type(made), name


def copies(made: Any) -> list[Any]:
    """Return copies of all kinds."""
    return [way(made) for way in WAYS.values()]


@pytest.mark.parametrize("store", ["boards", "zstd", "games"])
@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_copied_buffers_draw_the_same_and_are_independent(kind: Any, store: str, batch: ExperienceBatch) -> None:
    buffer = filled(kind(1000, store=store, seed=1), batch)
    if kind is PrioritizedReplayBuffer:
        drawn = buffer.sample(8)
        buffer.update_priorities(drawn.keys, np.arange(8))
    made = copies(buffer)
    expected = buffer.sample(16)
    for other in made:
        drawn = other.sample(16)
        if kind is PrioritizedReplayBuffer:
            assert same([drawn.keys, drawn.weights], [expected.keys, expected.weights])
            drawn = drawn.batch
        assert same(drawn.rows, getattr(expected, "batch", expected).rows)
        assert len(other) == len(buffer) == len(batch)
        other.write(batch)
        assert len(other) == 2 * len(batch)
    assert len(buffer) == len(batch)
    buffer.close()
    made[0].write(batch)  # one is closed, the others are not


def test_copied_buffers_are_whole_while_other_threads_write(batch: ExperienceBatch) -> None:
    buffer = ReplayBuffer(20 * len(batch), seed=1)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            buffer.write(batch)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for other in (way(buffer) for _ in range(5) for way in WAYS.values()):
            assert len(other) % len(batch) == 0
            if len(other):
                assert np.isfinite(other.sample(32).states()).all()
    finally:
        over.set()
        for writer in writers:
            writer.join()


def test_copied_validators_have_independent_memory(batch: ExperienceBatch) -> None:
    validator = Validator()
    validator.accept(batch, validator.check(batch))
    for other in copies(validator):
        assert not other.check(batch).good.any()
        later = batch.select(np.ones(len(batch), np.bool_))
        later.rows["sequence"] += 10_000
        other.accept(later, other.check(later))
        assert validator.check(later).good.all()


def play_a_turn(env: Any) -> None:
    """Begin a game and let all pass once."""
    env.reset()
    if hasattr(env, "agent_iter"):
        for _ in list(env.agents):
            env.step(288)
    elif hasattr(env, "possible_agents"):
        env.step(dict.fromkeys(env.agents, 288))
    else:
        env.step(np.full((env.num_envs,) if hasattr(env, "step_wait") else env.action_space.shape, 288))


@pytest.mark.parametrize("name", RECORDED)
def test_environments_below_recorder_are_copied_without_it(
    name: str, batch: ExperienceBatch, folder: Path, tmp_path: Path, closing: Closing
) -> None:
    env = Objects(batch, folder, tmp_path, closing).environments()[name]()
    recorder = closing(ExperienceRecorder(env, tmp_path / "runs"))
    recorder.reset()
    for number, way in enumerate(("deepcopy", "pickle 5")):
        other = closing(ExperienceRecorder(WAYS[way](env), tmp_path / str(number)))
        play_a_turn(other)
        assert other.experiences > 0
    assert recorder.experiences == 0
    play_a_turn(recorder)
    assert recorder.experiences == other.experiences


def boards_of(env: Any) -> list[Any]:
    """Return the boards of an environment's games, as lists."""
    env = getattr(env, "unwrapped", env)
    boards = env.game.boards if hasattr(env, "game") else getattr(env, "games", env).batch.boards
    return [array.tolist() for array in boards]


@pytest.mark.parametrize("name", [*RECORDED, "FrameStack over one", "FogMemory over many"])
def test_copied_environment_has_its_own_games(
    name: str, batch: ExperienceBatch, folder: Path, tmp_path: Path, closing: Closing
) -> None:
    env = Objects(batch, folder, tmp_path, closing).environments()[name]()
    env = env.unwrapped if name == "GeneralsSingle" else env  # copies of Gymnasium's own wrappers share the wrapped environment
    env.reset()
    before = boards_of(env)
    for way in ("copy", "deepcopy"):
        other = WAYS[way](env)
        assert boards_of(other) == before
        play_a_turn(other)
        assert boards_of(other) != before
        assert boards_of(env) == before


def test_data_loader_processes_receive_datasets(folder: Path) -> None:
    for way in WAYS.values():
        dataset: Dataset = way(open_dataset(folder))
        assert same([batch.rows for batch in dataset], [batch.rows for batch in open_dataset(folder)])
