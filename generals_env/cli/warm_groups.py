"""Runs, once and as small as possible, what users run: so the kernels of each group are compiled and kept.

Each function is a group of ``generals-env warm``. Tests run the documented calls after them and count what is still compiled.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import generals_env
from generals_env.engine.boards import empty_boards
from generals_env.engine.packed.packing import pack, unpack
from generals_env.recorders import (
    DatasetWriter,
    DeduplicatingSink,
    ExperienceBatch,
    ExperienceLog,
    ExperienceRecorder,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    ValidatingSink,
    Validator,
    open_dataset,
    record_replays,
)
from generals_env.recorders.experience import EXPERIENCE
from generals_env.recorders.formats import format_of
from generals_env.wrappers import FogMemory, FrameStack, Opponent, PotentialShaping, RandomSymmetry

__all__ = ["AFTER", "EXTRAS", "GROUPS", "PARTS"]

SIZE: dict[str, Any] = {"height": 6, "width": 6, "max_turns": 8}
POLICIES = ("expander", "random")

#: Groups that need an extra of the package, with a library of it.
EXTRAS = {"stream": ("grpc", "stream")}

#: Groups that use kernels of another one, which would be compiled twice if both began at once.
AFTER = {"recording": "vector", "competition": "single", "hunter": "vector"}

#: The smallest game of people: one move, then a surrender.
REPLAY = """{"version": 18, "id": "warm", "mapWidth": 4, "mapHeight": 4, "usernames": ["a", "b"], "cities": [],
"cityArmies": [], "generals": [0, 15], "mountains": [], "moves": [{"index": 0, "start": 0, "end": 1, "is50": 0, "turn": 4}],
"afks": [{"index": 1, "turn": 6}]}"""


def record_single(env: Any, sink: Any) -> None:
    """Record two turns of a parallel environment."""
    with ExperienceRecorder(env, sink) as recorder:
        recorder.reset(seed=1)
        for _ in range(2):
            recorder.step(dict.fromkeys(recorder.agents, 8 * 36))


def sample_batch() -> ExperienceBatch:
    """Return a few passes on an empty board, made without the kernels that play games."""
    turns = 4
    boards = empty_boards(turns + 1, 6, 6, 2)
    boards.games["turn"] = np.arange(turns + 1)
    rows = np.zeros(turns, EXPERIENCE)
    rows["state_index"], rows["next_state_index"] = np.arange(turns), np.arange(1, turns + 1)
    rows["sequence"], rows["action"], rows["steps"] = np.arange(turns), 8 * 36, 1
    packed = pack(boards)
    packed.entries["previous"] = np.arange(-1, turns)
    return ExperienceBatch(("game",), rows, packed, (6, 6))


def read_all(batch: ExperienceBatch) -> None:
    """Compute all that a batch derives from its boards."""
    for layout in ("standard", "full"):
        batch.states(layout=layout)
    batch.tensors()
    batch.tensors(dtype=np.float16)
    batch.rewards()
    batch.turned(np.zeros(len(batch), np.int64)).select(np.array([0])).padded(7, 7)
    batch.unpacked()


def warm_single() -> None:
    """Play one game through PettingZoo and through Gymnasium, show it, and ask the built-in policies."""
    opponents = [Opponent(name, seed=1) for name in POLICIES]
    for observation in ("standard", "full"):
        env = generals_env.parallel_env(**SIZE, observation=observation, render_mode="rgb_array")
        views, _ = env.reset(seed=1)
        env.step({agent: opponent(views[agent]) for agent, opponent in zip(env.agents, opponents, strict=True)})
        env.clone().render()
        env.surrender("player_1")
        env.step(dict.fromkeys(env.agents, 8 * 36))
    agents = generals_env.make(**SIZE)
    agents.reset(seed=1)
    for _ in range(4):
        agents.step(8 * 36)


def warm_vector() -> None:
    """Play many games, with all players or one learner, with and without the wrappers, and for Stable-Baselines3."""
    venv = generals_env.make_vec(2, **SIZE)
    venv.reset(seed=1)
    venv.step(venv.act(POLICIES))
    venv.play(10, POLICIES)
    learner = gymnasium.make_vec(generals_env.ENV_ID, num_envs=2, opponent="random", **SIZE)
    one = gymnasium.make(generals_env.ENV_ID, opponent="random", **SIZE)
    kinds: list[Any] = [generals_env.make_vec(2, **SIZE), learner, one]
    for games in kinds:
        env: Any = RandomSymmetry(FrameStack(FogMemory(PotentialShaping(games, gamma=0.99, land=0.5)), frames=2))
        env.reset(seed=1)
        for _ in range(10):
            *_, terminated, truncated, _ = env.step(env.action_space.sample())
            if games is one and (terminated or truncated):
                env.reset()


def warm_hunter() -> None:
    """Let the hunter play in many games and in one; its kernels are the same for all rules."""
    venv = generals_env.make_vec(2, **SIZE)
    venv.reset(seed=1)
    venv.play(2, ("hunter", "hunter"))
    env = generals_env.parallel_env(**SIZE, observation="full")
    views, _ = env.reset(seed=1)
    Opponent("hunter", seed=1)(views["player_0"])


def warm_competition() -> None:
    """Play one game and many with the rules of the competition, for all players and for one learner."""
    env = generals_env.parallel_env(**SIZE, rules="competition")
    env.reset(seed=1)
    env.step(dict.fromkeys(env.agents, 8 * 36))
    for observation in ("standard", "full"):
        venv = generals_env.make_vec(2, **SIZE, rules="competition", observation=observation)
        venv.reset(seed=1)
        venv.step(venv.act(POLICIES))
    learner = gymnasium.make(generals_env.ENV_ID, opponent="random", rules="competition", **SIZE)
    learner.reset(seed=1)
    learner.step(8 * 36)


def warm_recording() -> None:
    """Record all kinds of environments into files, with the sinks that check."""
    with tempfile.TemporaryDirectory() as folder:
        record_single(generals_env.parallel_env(**SIZE), str(Path(folder) / "parallel"))
        with ExperienceRecorder(generals_env.make(**SIZE), str(Path(folder) / "agents")) as recorder:
            recorder.reset(seed=1)
            for _ in range(4):
                recorder.step(8 * 36)
        sink = ValidatingSink(DeduplicatingSink(DatasetWriter(str(Path(folder) / "vector"))), Validator())
        with ExperienceRecorder(generals_env.make_vec(2, **SIZE), sink) as env:
            env.reset(seed=1)
            env.step(env.act(POLICIES))
            env.play(20, POLICIES)
        learner = FogMemory(gymnasium.make_vec(generals_env.ENV_ID, num_envs=2, **SIZE))
        with ExperienceRecorder(learner, str(Path(folder) / "learner")) as games:
            games.reset(seed=1)
            games.step(games.action_space.sample())


def warm_buffers() -> None:
    """Write to each kind of replay buffer, and sample in all ways."""
    batch = sample_batch()
    for buffer in [ReplayBuffer(100, store=store, seed=1) for store in ("boards", "games", "zstd")]:
        buffer.write(batch)
        read_all(buffer.sample(4))
        buffer.sample(4, n_step=3, gamma=0.99)
        buffer.sample(4, augment=True)
        buffer.sample_trajectories(2, 2)
        buffer.snapshot()
        buffer.drain()
    buffer = PrioritizedReplayBuffer(100, seed=1)
    buffer.write(batch)
    _, keys, weights = buffer.sample(4)
    buffer.update_priorities(keys, weights)


def warm_storage() -> None:
    """Write files of each format whose library is installed, and a log; read them."""
    batch = sample_batch()
    with tempfile.TemporaryDirectory() as folder:
        for form in ("npz", "games", *(("parquet", "tfrecord") if find_spec("pyarrow") and find_spec("google") else ())):
            with DatasetWriter(str(Path(folder) / form), form) as writer:
                writer.write(batch)
            for stored in open_dataset(str(Path(folder) / form)):
                read_all(stored)
        with ExperienceLog(str(Path(folder) / "log")) as log:
            log.write(batch)
        with ExperienceLog(str(Path(folder) / "log"), mode="r") as reader:
            for stored in reader.read(after=-1):
                read_all(stored)


def warm_written_games() -> None:
    """Encode and unpack a batch as the command ``demo`` does."""
    batch = sample_batch()
    format_of("games").encode(batch)
    unpack(batch.boards, np.array([0]))


def warm_stream() -> None:
    """Encode and decode what a server and its consumers exchange."""
    from generals_env.recorders.stream.server.warm_up import sample_batch, warm_up

    warm_up(sample_batch())


def warm_replay() -> None:
    """Play a game of people again, and record it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warm.json"
        path.write_text(REPLAY)
        list(generals_env.replay.read(path).play())
        record_replays([path], str(Path(folder) / "people"))


#: Parts of groups by name, for commands that compile in two processes.
PARTS: dict[str, Callable[[], None]] = {"written games": warm_written_games}

#: Groups by name, in the order of the help text.
GROUPS: dict[str, Callable[[], None]] = {
    "single": warm_single,
    "vector": warm_vector,
    "hunter": warm_hunter,
    "competition": warm_competition,
    "recording": warm_recording,
    "buffers": warm_buffers,
    "storage": warm_storage,
    "stream": warm_stream,
    "replay": warm_replay,
}
