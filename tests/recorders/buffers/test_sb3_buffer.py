"""Tests the replay buffer for Stable-Baselines3 bit for bit against SB3's own buffer."""

from __future__ import annotations

import copy
import gc
import importlib
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecMonitor, VecNormalize
from support.helpers import Options
from support.paths import DATA
from support.recorded import record_game

import generals_env
from generals_env.errors import ConfigError, StateError, StorageError
from generals_env.recorders import ExperienceRecorder, open_dataset, record_replays
from generals_env.recorders.buffers.sb3_buffer import BoardReplayBuffer
from generals_env.recorders.buffers.sb3_store import LinkedBoardStore
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping, RandomSymmetry, SB3VecEnv

SMALL: Options = {"height": 5, "width": 6, "max_turns": 12, "opponent": "random"}
NETWORK: Options = {"policy": "MultiInputPolicy", "policy_kwargs": {"net_arch": [16]}, "device": "cpu"}

Wrap = Callable[[Any], Any]
WRAPS: dict[str, Wrap] = {
    "bare": lambda env: env,
    "shaped": lambda env: PotentialShaping(env, gamma=0.9, land=1.0, army=0.5),
    "remembering": FogMemory,
    "stacked": lambda env: FrameStack(env, 3),
    "all": lambda env: PotentialShaping(FrameStack(FogMemory(env), 2), gamma=0.9, land=1.0),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: beside other tests on busy cores, torch's threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(count: int, wrap: Wrap = WRAPS["bare"], **options: Any) -> SB3VecEnv:
    return SB3VecEnv(wrap(gymnasium.make_vec(generals_env.ENV_ID, num_envs=count, **{**SMALL, **options})))


def passing(env: Any) -> int:
    """Return the index of the pass."""
    return int(env.action_space.n) - 1


def buffer_of(venv: VecEnv, size: int, kind: Any = BoardReplayBuffer, **options: Any) -> Any:
    options |= {"env": venv} if kind is BoardReplayBuffer and "env" not in options else {}
    return kind(size, venv.observation_space, venv.action_space, device="cpu", n_envs=venv.num_envs, **options)


def original(env: VecEnv, seen: Any) -> Any:
    return env.get_original_obs() if isinstance(env, VecNormalize) else seen


def drive(env: VecEnv, buffers: list[Any], turns: int, share_illegal: float = 0.0, seed: int = 0) -> None:
    """Play at random and add every turn to all buffers, as SB3 does."""
    rng = np.random.default_rng(seed)
    obs = original(env, env.reset())
    for _ in range(turns):
        masks = np.asarray(obs["action_mask"])
        chances = rng.random(masks.shape) * (masks | (rng.random(len(masks))[:, None] < share_illegal))
        actions = chances.argmax(axis=1)
        shown, rewards, dones, infos = env.step(actions)
        seen = original(env, shown)
        following = copy.deepcopy(seen)
        for i in np.flatnonzero(dones):
            last = infos[i]["terminal_observation"]
            last = env.unnormalize_obs(last) if isinstance(env, VecNormalize) else last
            for name in following:
                following[name][i] = last[name]
        rewards = env.get_original_reward() if isinstance(env, VecNormalize) else rewards
        for buffer in buffers:
            buffer.add(obs, following, actions, rewards, dones, infos)
        obs = seen


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


def drawn(buffer: Any, count: int = 200, env: VecNormalize | None = None) -> Any:
    np.random.seed(5)  # noqa: NPY002 - which SB3 draws with
    return buffer.sample(count, env)._asdict()


def ended_in(reference: DictReplayBuffer, count: int) -> torch.Tensor:
    """Return which of the transitions that ``drawn`` draws ended a game."""
    np.random.seed(5)  # noqa: NPY002 - as there
    turns = np.random.randint(0, reference.buffer_size if reference.full else reference.pos, size=count)  # noqa: NPY002
    games = np.random.randint(0, reference.n_envs, size=count)  # noqa: NPY002
    return torch.from_numpy(reference.dones[turns, games] > 0)


def check_same(buffer: Any, reference: Any, env: VecNormalize | None = None, last: bool = True) -> dict[str, Any]:
    """Check that both give the same transitions, ``last`` observations of games included, and return them."""
    assert (buffer.pos, buffer.full, buffer.size()) == (reference.pos, reference.full, reference.size())
    samples: dict[str, Any] = drawn(buffer, env=env)
    expected = drawn(reference, env=env)
    assert samples.pop("discounts") is expected.pop("discounts") is None
    if not last:
        ended = ended_in(reference, len(samples["dones"]))
        for one in (samples, expected):
            one["next_observations"] = {name: tensor[~ended] for name, tensor in one["next_observations"].items()}
    assert {name for name in samples if not equal(samples[name], expected[name])} == set()
    return samples


@pytest.mark.parametrize("store", ["boards", "games", "zstd"])
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_samples_equal_those_of_sb3_buffer(wrap: Wrap, store: str) -> None:
    env = VecMonitor(made(3, wrap))
    both = [buffer_of(env, 100, store=store), buffer_of(env, 100, DictReplayBuffer)]
    for turns in (1, 5, 20, 30):  # 33 of each game are kept; games last at most 12 turns
        drive(env, both, turns)
        samples = check_same(*both)
    assert samples["rewards"].unique().numel() > 1 or wrap in (WRAPS["bare"], WRAPS["remembering"], WRAPS["stacked"])


@pytest.mark.parametrize("options", [{"players": 3}, {"observation": "full"}, {"player": 1}, {"opponent": "expander"}])
@pytest.mark.parametrize("store", ["boards", "games"])
def test_games_of_all_kinds_keep_their_ends(options: Options, store: str) -> None:
    env = made(4, **{"max_turns": 80, **options})
    env.seed(1)
    both = [buffer_of(env, 1000, store=store), buffer_of(env, 1000, DictReplayBuffer)]
    drive(env, both, 250)
    drive(env, both, 30)
    check_same(both[0], both[1], last=options.get("players") != 3)
    if options.get("opponent") == "expander":
        assert both[0].boards.snapshot().terminated.any()
    ended = both[1].dones.astype(bool)  # next rows in SB3's arrays, with last observations of ended games among them
    held = both[0].boards.snapshot()
    over = (held.terminated | held.truncated).reshape(-1, 4)
    assert (over == np.roll(ended, -both[1].pos, axis=0)[-len(over) :]).all()
    assert ended.any()


def test_illegal_actions_are_kept_as_executed_pass_or_as_chosen() -> None:
    env = made(3)
    asked, reference = buffer_of(env, 99, executed=False), buffer_of(env, 99, DictReplayBuffer)
    games = buffer_of(env, 99, executed=False, store="games")
    executed = buffer_of(env, 99)
    drive(env, [asked, reference, games, executed], 50, share_illegal=0.5)
    check_same(asked, reference)
    check_same(games, reference)
    samples, expected = drawn(executed), drawn(reference)
    legal = expected["observations"]["action_mask"].gather(1, expected["actions"]) == 1
    assert not legal.all()
    assert torch.equal(samples["actions"], torch.where(legal, expected["actions"], passing(env)))


def test_normalised_environment_gives_same_samples_as_sb3() -> None:
    env = VecNormalize(VecMonitor(made(3, WRAPS["shaped"])), norm_obs_keys=["observation"])
    both = [buffer_of(env, 60), buffer_of(env, 60, DictReplayBuffer)]
    drive(env, both, 30)
    plain = check_same(both[0], both[1], last=False)
    normalised = check_same(both[0], both[1], env, last=False)
    assert not torch.equal(plain["rewards"], normalised["rewards"])
    assert not torch.equal(plain["observations"]["observation"], normalised["observations"]["observation"])
    several = buffer_of(env, 60, n_steps=2)
    drive(env, [several], 5)
    with pytest.raises(ConfigError, match="n_steps: expected 1 where VecNormalize has norm_reward, got 2"):
        several.sample(2, env)


@pytest.mark.parametrize("timeouts", [True, False])
def test_truncated_games_are_not_done(timeouts: bool) -> None:
    env = made(2)
    both = [buffer_of(env, 100, kind, handle_timeout_termination=timeouts) for kind in (BoardReplayBuffer, DictReplayBuffer)]
    drive(env, both, 50)
    assert check_same(*both)["dones"].any() != timeouts


def trained(count: int, kind: type[DictReplayBuffer], seed: int = 3, **options: Any) -> DQN:
    env = VecMonitor(made(count))
    kwargs = {"env": env, **options} if kind is BoardReplayBuffer else options
    pace: Options = {"buffer_size": 120, "learning_starts": 40, "target_update_interval": 40, "train_freq": 2}
    model = DQN(
        env=env, **NETWORK, **pace, seed=seed, replay_buffer_class=kind, replay_buffer_kwargs=kwargs, exploration_fraction=0.5
    )
    return model.learn(400)


@pytest.mark.parametrize("count", [1, 4])
def test_dqn_learns_bit_for_bit_as_from_sb3_buffer(count: int) -> None:
    weights = []
    for kind, options in ((DictReplayBuffer, {}), (BoardReplayBuffer, {"executed": False})):
        model = trained(count, kind, **options)
        assert model._n_updates > 40
        weights.append(model.policy.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_hundred_thousand_transitions_take_little_memory() -> None:
    env = made(64, height=20, width=20, max_turns=100)
    boards, games = buffer_of(env, 4096), buffer_of(env, 4096, store="games")
    drive(env, [Drawing(boards), games], 90)
    sizes = [buffer.stats().nbytes / buffer.stats().size for buffer in (boards, games)]
    tensors = 2 * (9 * 400 * 4 + 3201)
    assert boards.stats().size == 4096
    assert sizes[0] < 930  # 100,000 in 93 MB
    assert sizes[1] < 200
    assert tensors / sizes[0] > 35


@pytest.mark.parametrize("wrap", [WRAPS["bare"], WRAPS["all"]], ids=["bare", "all"])
def test_draws_after_every_turn_store_no_board_twice(wrap: Wrap) -> None:
    env = made(3, wrap)
    often, seldom, reference = buffer_of(env, 60), buffer_of(env, 60), buffer_of(env, 60, DictReplayBuffer)
    for seed in range(4):
        env.seed(seed)
        drive(env, [Drawing(often), seldom, reference], 20, seed=seed)
    check_same(often, reference)
    check_same(seldom, reference)
    if wrap is WRAPS["bare"]:
        for buffer in (often, seldom):  # a game has one board more than turns
            assert len(buffer.boards.snapshot().boards.tiles) == buffer.stats().size + buffer.stats().games


class Drawing:
    """A buffer of which is drawn after every turn."""

    def __init__(self, buffer: BoardReplayBuffer) -> None:
        self.buffer = buffer

    def add(self, *arguments: Any) -> None:
        self.buffer.add(*arguments)
        self.buffer.sample(2)


@pytest.mark.parametrize("store", ["boards", "games", "zstd"])
@pytest.mark.parametrize("wrap", [WRAPS["bare"], WRAPS["all"]], ids=["bare", "all"])
def test_loaded_buffer_continues_where_it_was(wrap: Wrap, store: str, tmp_path: Path) -> None:
    env = made(3, wrap)
    model = DQN(
        env=env,
        **NETWORK,
        buffer_size=90,
        replay_buffer_class=BoardReplayBuffer,
        replay_buffer_kwargs={"env": env, "store": store},
    )
    reference = buffer_of(env, 90, DictReplayBuffer)
    drive(env, [model.replay_buffer, reference], 50)
    model.save_replay_buffer(tmp_path / "buffer")
    other = made(3, wrap)
    resumed = DQN(env=other, **NETWORK, replay_buffer_class=BoardReplayBuffer, replay_buffer_kwargs={"env": other})
    resumed.load_replay_buffer(tmp_path / "buffer")
    buffer: Any = resumed.replay_buffer
    check_same(buffer, reference)
    with pytest.raises(StateError, match=r"add: expected a call of set_env\(env\) before, got none"):
        drive(other, [buffer], 1)
    if wrap is WRAPS["all"]:
        with pytest.raises(StateError, match="set_env: expected games that have not begun, as observations go back"):
            buffer.set_env(other)
        other = made(3, wrap)
    buffer.set_env(other)
    drive(other, [buffer, reference], 20)
    check_same(buffer, reference)
    assert pickle.loads(pickle.dumps(buffer_of(made(3), 90))).size() == 0


def test_loaded_model_continues_with_another_environment(tmp_path: Path) -> None:
    model = trained(2, BoardReplayBuffer)
    model.save(tmp_path / "model", exclude=["replay_buffer_kwargs"])
    env = VecMonitor(made(2))
    loaded: Any = DQN.load(tmp_path / "model", env=env, replay_buffer_kwargs={"env": env})
    loaded.learn(100)
    assert loaded.replay_buffer.size() == 50
    model = DQN(env=env, **NETWORK, replay_buffer_class=BoardReplayBuffer)
    model.save(tmp_path / "plain")
    loaded = DQN.load(tmp_path / "plain", env=env)
    with pytest.raises(StateError, match=r"add: expected a call of set_env\(env\) before, got none"):
        loaded.learn(100)
    loaded.replay_buffer.set_env(env)
    loaded.learn(100)
    other = made(2)
    other.reset()
    loaded.replay_buffer.set_env(other)
    with pytest.raises(StateError, match=r"add: expected a turn of env before, got none: set_env\(env\) takes the environment"):
        loaded.learn(100)


class Stop(BaseCallback):
    """Stops at once."""

    def _on_step(self) -> bool:
        return False


def test_turns_that_are_not_added_are_left_out() -> None:
    model = trained(2, BoardReplayBuffer)
    buffer: Any = model.replay_buffer
    env = model.get_env()
    assert env is not None
    before = buffer.stats().added
    model.learn(100, callback=Stop(), reset_num_timesteps=False)
    for _ in range(300):
        env.step(np.zeros(2, np.int64))
    reference = buffer_of(env, 120, DictReplayBuffer)
    buffer.reset()
    drive(env, [buffer, reference], 30)
    check_same(buffer, reference)
    assert buffer.stats().added == before + 60
    listeners = env.unwrapped.games.listeners  # type: ignore[attr-defined]
    assert len(listeners) == 1
    buffer.set_env(env)
    assert len(listeners) == 1
    del model, buffer
    gc.collect()
    assert listeners == []


@pytest.mark.parametrize("store", ["boards", "games"])
def test_multi_step_rewards_are_summed_until_end(store: str) -> None:
    env = made(3, WRAPS["shaped"])
    single, several = buffer_of(env, 90), buffer_of(env, 90, n_steps=3, gamma=0.5, store=store)
    drive(env, [single, several], 40)
    flat, samples = single.boards.snapshot(), drawn(several)
    ages = {(row["game"], turn): i for i, (row, turn) in enumerate(zip(flat.rows, flat.turn, strict=True))}
    places = several.boards.at(np.arange(90), 3, 0.5)
    for i in range(90):
        course = [i]
        while len(course) < 3 and not (flat.terminated | flat.truncated)[course[-1]]:
            following = ages.get((flat.game[i], flat.turn[course[-1]] + 1))
            if following is None:
                break
            course.append(following)
        assert places.steps[i] == len(course)
        assert places.reward[i] == pytest.approx(sum(0.5**k * flat.reward[j] for k, j in enumerate(course)), abs=1e-6)
        assert np.array_equal(places.slice(i, i + 1).next_states(), flat.slice(course[-1], course[-1] + 1).next_states())
    assert set(samples["discounts"].unique().tolist()) == {0.5, 0.25, 0.125}
    assert samples["discounts"].shape == samples["rewards"].shape == (200, 1)


# --- Learning from files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["boards", "games", "zstd"])
def test_buffer_is_filled_from_recorded_games(store: str, tmp_path: Path) -> None:
    games = generals_env.make_vec(4, height=5, width=5, max_turns=30)
    with ExperienceRecorder(games, tmp_path) as env:
        env.reset(seed=1)
        env.play(50, ("random", "expander"))
    recorded = open_dataset(tmp_path)
    total = sum(len(batch) for batch in recorded)
    venv = made(3)
    buffer = buffer_of(venv, 10_000, store=store)
    assert buffer.fill(recorded, player=1) == total // 2 == len(buffer.boards)
    held = buffer.boards.snapshot()
    assert set(held.player_id) == {1}
    whole = np.concatenate([batch.padded(5, 6).states()[batch.player_id == 1] for batch in recorded])
    assert np.array_equal(np.sort(held.states(), axis=0), np.sort(whole, axis=0))
    samples = buffer.sample(50)
    assert samples.observations["observation"].shape == (50, 9, 5, 6)
    assert samples.observations["action_mask"].gather(1, samples.actions).all()
    drive(venv, [buffer], 20)
    buffer.sample(50)
    assert buffer.fill(recorded) == total
    assert len(buffer.boards) == total // 2 + 60 + total


def test_buffer_of_human_games_trains_a_model(tmp_path: Path) -> None:
    replays = [DATA / name for name in ("cqivEp6Ad.json.gz", "B5--zeFUe.json.gz")]
    record_replays(replays, tmp_path)
    height, width = np.max([batch.shape for batch in open_dataset(tmp_path)], axis=0).tolist()
    env = made(2, height=height, width=width, observation="full")
    model = DQN(env=env, **NETWORK, buffer_size=100, replay_buffer_class=BoardReplayBuffer, replay_buffer_kwargs={"env": env})
    buffer: Any = model.replay_buffer
    taken = buffer.fill(open_dataset(tmp_path), player=0)
    assert taken > 100
    assert buffer.full
    assert buffer.size() == 50
    samples = buffer.sample(64)
    assert samples.observations["observation"].shape == (64, 21, height, width)
    assert samples.observations["action_mask"].gather(1, samples.actions).all()
    model._setup_learn(0)
    model.train(5, 16)
    assert all(bool(torch.isfinite(value).all()) for value in model.policy.state_dict().values())


# --- Refused input -----------------------------------------------------------------------------------------------------


def test_errors_name_expectation(tmp_path: Path) -> None:
    env = made(2)
    box = gymnasium.spaces.Box(0, 1)
    with pytest.raises(ConfigError, match="observation_space: expected a dict of observation and action_mask, got Box"):
        BoardReplayBuffer(5, box, env.action_space)
    for wrong, text in (
        ({"optimize_memory_usage": True}, "optimize_memory_usage: expected False"),
        ({"gamma": 2}, "gamma: expected a number from 0 to 1, got 2"),
        ({"n_steps": 0}, "n_steps: expected a positive integer, got 0"),
        ({"store": "tensors"}, "store: expected one of boards, zstd, games"),
        ({"env": 5}, "env: expected an SB3VecEnv, wrapped or not, got 5"),
        ({"env": made(3)}, "env: expected 2 games, got 3"),
        ({"env": made(2, dtype="uint8")}, "dtype: expected games that observe float32, got uint8: leave the option dtype out"),
        ({"env": made(2, height=7)}, r"observation_space: expected observations of shape \(9, 7, 6\), got \(9, 5, 6\)"),
        (
            {"env": made(2, lambda one: RandomSymmetry(one, seed=1))},
            "made of boards, got those of RandomSymmetry: use SB3's DictReplayBuffer",
        ),
        ({"env": VecFrameStack(made(2), 2)}, "made of boards, got those of VecFrameStack"),
    ):
        with pytest.raises(ConfigError, match=text):
            buffer_of(env, 50, **wrong)
    with pytest.raises(ConfigError, match="buffer_size: expected a positive integer, got 0"):
        buffer_of(env, 0)
    buffer = buffer_of(env, 50)
    with pytest.raises(StateError, match="sample: expected experiences in the buffer, got none"):
        buffer.sample(3)
    obs = env.reset()
    passes = np.full(2, passing(env))
    seen, rewards, dones, infos = env.step(passes)
    with pytest.raises(ConfigError, match=r"done: expected \[False, False\], as env says, got \[True, True\]"):
        buffer.add(obs, seen, passes, rewards, ~dones, infos)
    with pytest.raises(ConfigError, match='obs: expected "observation" as made of the boards of env'):
        buffer.add({**obs, "observation": obs["observation"] + 1}, seen, passes, rewards, dones, infos)
    with pytest.raises(StateError, match="add: expected a turn of env before, got none"):
        buffer.add(obs, seen, passes, rewards, dones, infos)
    drive(env, [buffer], 2)
    buffer.sample(2)
    with pytest.raises(ConfigError, match="batches: expected ExperienceBatches, got int"):
        buffer.fill([3])
    for size, text in (
        (5, "expected games of 2 players, got 3"),
        (9, r"expected observations of shape \(9, 5, 6\)"),
    ):
        with ExperienceRecorder(generals_env.make_vec(2, players=3, height=size, width=size), tmp_path / str(size)) as games:
            games.reset(seed=1)
            games.play(3, ("random",) * 3)
        with pytest.raises(ConfigError, match=text):
            buffer.fill(open_dataset(tmp_path / str(size)))
    (tmp_path / "experiences_000000.npz").write_bytes(b"nothing")
    with pytest.raises(StorageError, match="path: expected a file of experiences"):
        buffer.fill(open_dataset(tmp_path))


def test_missing_sb3_gives_one_line_install_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in sys.modules if name.startswith(("stable_baselines3", "generals_env.recorders.buffers.sb3_buffer"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ImportError, match=r'expected stable_baselines3, got .*: pip install "generals_env\[sb3\]"'):
        importlib.import_module("generals_env.recorders.buffers.sb3_buffer")


def test_batch_larger_than_tables_keeps_its_end() -> None:
    batch = record_game(1, 150, height=6, width=6, seat=0)
    store = LinkedBoardStore(batch, capacity=1000, max_bytes=3000)  # 64 boards
    for _ in range(3):
        store.put(batch)
    (held,) = store.between(store.first, store.next)
    assert 0 < len(held) < len(batch)
    assert held.sequence.tolist() == batch.sequence[-len(held) :].tolist()
    assert held.states().tobytes() == batch.select(np.arange(len(batch) - len(held), len(batch))).states().tobytes()
