"""Tests Stable-Baselines3: its own checks, rollouts equal to those of ``DummyVecEnv``, masked PPO with many actions."""

from __future__ import annotations

import copy
import csv
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.distributions import make_masked_proba_distribution
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor
from support.helpers import Options, same
from support.paths import ROOT

import generals_env
from generals_env.errors import ActionError, ConfigError, StateError
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FogMemory, FrameStack, Opponent, PotentialShaping, RandomSymmetry, SB3VecEnv

SMALL: Options = {"height": 5, "width": 6, "max_turns": 60}

Wrap = Callable[[Any], Any]
WRAPS: dict[str, Wrap] = {
    "bare": lambda env: env,
    "shaped": lambda env: PotentialShaping(env, gamma=0.9, land=1.0, army=0.5),
    "remembering": FogMemory,
    "turned": lambda env: RandomSymmetry(env, seed=1),
    "stacked": lambda env: FrameStack(env, 3),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: beside other tests on busy cores, torch's threads mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batched(count: int, wrap: Wrap = WRAPS["bare"], **options: Any) -> SB3VecEnv:
    return SB3VecEnv(wrap(gymnasium.make_vec(generals_env.ENV_ID, num_envs=count, **options)))


def one_by_one(count: int, wrap: Wrap = WRAPS["bare"], **options: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: wrap(GeneralsSingle(**options))] * count)


def any_legal(env: VecEnv, rng: np.random.Generator, share_illegal: float = 0.0) -> np.ndarray:
    masks = get_action_masks(env)
    chances = rng.random(masks.shape) * (masks | (rng.random(len(masks))[:, None] < share_illegal))
    return chances.argmax(axis=1)


def by_expander(env: VecEnv, opponents: list[Opponent], observations: Any) -> np.ndarray:
    """Return actions of a player that wins against a random one."""
    games = ({name: array[i] for name, array in observations.items()} for i in range(env.num_envs))
    return np.array([opponent(game) for opponent, game in zip(opponents, games, strict=True)])


def kinds(infos: list[dict[str, Any]]) -> list[dict[str, type]]:
    return [{name: type(value) for name, value in info.items()} for info in infos]


LARGE: Options = {"height": 22, "width": 23, "observation": "full", "players": 3}


@pytest.mark.parametrize("options", [{"height": 10, "width": 12}, LARGE], ids=["standard", "full"])
# SB3 takes every (C, H, W) for a picture, and wants bytes from 0 to 255 and 36x36 of them then.
@pytest.mark.filterwarnings("ignore:It seems that your observation .*is an image:UserWarning")
@pytest.mark.filterwarnings("ignore:The minimal resolution for an image:UserWarning")
def test_sb3_checker_accepts_environment(options: Options) -> None:
    check_env(GeneralsSingle(**options))


@pytest.mark.parametrize("opponent", ["random", "expander"])
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_every_step_equals_dummy_vec_env(wrap: Wrap, opponent: str) -> None:
    options = {**SMALL, "opponent": opponent}
    one, other = one_by_one(4, wrap, **options), batched(4, wrap, **options)
    rng = np.random.default_rng(3)
    outcomes = []
    for seed in (7, None):  # without a seed, the random streams continue
        for env in (one, other):
            if seed is not None:
                assert list(env.seed(seed)) == [7, 8, 9, 10]
        assert same(dict(one.reset()), other.reset())
        assert same(one.reset_infos, other.reset_infos)
        for _ in range(150):
            masks = get_action_masks(one)
            assert same(masks, get_action_masks(other))
            actions = any_legal(one, rng, share_illegal=0.1)
            expected, got = one.step(actions), other.step(actions)
            assert same((dict(expected[0]), *expected[1:]), got)
            assert same(one.reset_infos, other.reset_infos)
            assert kinds(expected[3]) == kinds(got[3])
            outcomes += [info["TimeLimit.truncated"] for info, done in zip(got[3], got[2], strict=True) if done]
    assert True in outcomes
    if opponent == "expander":
        assert False in outcomes


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_other_dtypes_equal_dummy_vec_env_and_train(dtype: str) -> None:
    options: Options = {**SMALL, "dtype": dtype}
    one, other = one_by_one(3, **options), batched(3, **options)
    rng = np.random.default_rng(5)
    for env in (one, other):
        env.seed(2)
    assert one.observation_space == other.observation_space
    assert same(dict(one.reset()), other.reset())
    for _ in range(70):
        actions = any_legal(one, rng)
        expected, got = one.step(actions), other.step(actions)
        assert same((dict(expected[0]), *expected[1:]), got)
        assert got[0]["observation"].dtype == dtype
    model = MaskablePPO("MultiInputPolicy", batched(2, **options), n_steps=16, batch_size=16, n_epochs=1, device="cpu")
    model.learn(32)


def test_won_games_reset_as_in_dummy_vec_env() -> None:
    options = {"height": 4, "width": 5, "max_turns": 200, "opponent": "random"}
    wins = []
    for env in (one_by_one(3, **options), batched(3, **options)):
        env.seed(1)
        observations = env.reset()
        opponents = [Opponent("expander", seed) for seed in range(3)]
        course = []
        for _ in range(150):
            observations, rewards, dones, infos = env.step(by_expander(env, opponents, observations))
            course.append((dict(observations), rewards, dones, infos))
        wins.append(course)
    assert same(*wins)
    assert any((rewards == 1.0).any() for _, rewards, _, _ in wins[0])


class Nothing(BaseCallback):
    """A callback that continues the rollout."""

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize("opponent", ["random", "expander"])
def test_rollouts_of_masked_ppo_equal_those_of_dummy_vec_env(opponent: str) -> None:
    buffers = []
    for make in (one_by_one, batched):
        env = make(3, **SMALL, opponent=opponent)
        model = MaskablePPO("MultiInputPolicy", env, n_steps=100, batch_size=100, seed=5, device="cpu")
        _, callback = model._setup_learn(300, Nothing())
        rollouts = []
        for _ in range(2):
            assert model.collect_rollouts(env, callback, model.rollout_buffer, 100)
            names = ("actions", "rewards", "values", "log_probs", "advantages", "returns", "episode_starts", "action_masks")
            rollouts.append({name: getattr(model.rollout_buffer, name).copy() for name in names})
            rollouts.append(copy.deepcopy(dict(model.rollout_buffer.observations)))
        buffers.append(rollouts)
    assert same(*buffers)
    assert buffers[0][0]["episode_starts"].sum() > 3  # games ended on the way


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_returned_arrays_do_not_change(wrap: Wrap) -> None:
    env = batched(3, wrap, **{**SMALL, "max_turns": 5})
    rng = np.random.default_rng(1)
    seen = env.reset()
    kept = [(seen, copy.deepcopy(seen))]
    for _ in range(12):
        masks = env.env_method("action_masks")
        actions = any_legal(env, rng)
        result = env.step(actions)
        result[1][:] += 1  # as PPO does where a game was cut off
        kept += [(result, copy.deepcopy(result)), (masks, copy.deepcopy(masks))]
    for handed_out, copied in kept:
        assert same(handed_out, copied)
    masks[0][:] = False
    env.step_async(actions)
    actions[:] = -1
    env.step_wait()
    assert get_action_masks(env).any(axis=1).all()


@pytest.mark.parametrize("actions", [3201, 4233])
def test_masks_of_thousands_of_actions_pass_validation(actions: int) -> None:
    assert torch.distributions.Distribution._validate_args
    torch.manual_seed(0)
    logits = 3 * torch.randn(2048, actions)  # where sums of single-precision probabilities stray furthest from 1
    masks = torch.rand(2048, actions) < 0.02
    masks[:, -1] = True
    distribution = make_masked_proba_distribution(gymnasium.spaces.Discrete(actions)).proba_distribution(logits)
    for _ in range(2):  # the second time there are probabilities to be validated: "Simplex()" was the error
        distribution.apply_masking(masks.numpy())
        assert masks.gather(1, distribution.mode()[:, None]).all()
        assert torch.isfinite(distribution.entropy()).all()


@pytest.mark.parametrize(("size", "actions"), [(20, 3201), (23, 4233)])
def test_masked_ppo_trains_with_thousands_of_actions(size: int, actions: int) -> None:
    assert torch.distributions.Distribution._validate_args
    env = batched(8, height=size, width=size, max_turns=100)
    assert env.action_space.n == actions
    model = MaskablePPO("MultiInputPolicy", env, n_steps=32, n_epochs=2, seed=1, policy_kwargs={"net_arch": [16]}, device="cpu")
    model.learn(512)
    assert all(bool(torch.isfinite(value).all()) for value in model.policy.state_dict().values())


def test_masked_ppo_trains_and_plays(tmp_path: Any) -> None:
    env = VecMonitor(batched(8, **SMALL, opponent="random"))
    assert is_masking_supported(env)
    model = MaskablePPO("MultiInputPolicy", env, n_steps=64, batch_size=128, n_epochs=2, seed=2, device="cpu")
    before = copy.deepcopy(model.policy.state_dict())
    model.learn(2048)
    assert model.num_timesteps == 2048
    assert len(model.ep_info_buffer or ()) > 8
    assert not same(before["action_net.weight"].numpy(), model.policy.state_dict()["action_net.weight"].numpy())
    model.save(tmp_path / "model")
    loaded = MaskablePPO.load(tmp_path / "model", device="cpu")
    games = batched(2, **SMALL, opponent=loaded)
    games.seed(1)
    observations = games.reset()
    for _ in range(5):
        actions, _ = loaded.predict(observations, action_masks=get_action_masks(games))
        observations, _, _, infos = games.step(actions)
        assert not any(info["illegal_action"] for info in infos)


def test_methods_and_attributes_of_games() -> None:
    env = batched(3, **SMALL, render_mode="rgb_array")
    env.seed(4)
    env.reset()
    masks = env.env_method("action_masks")
    assert len(masks) == 3
    assert masks[0].dtype == np.bool_
    assert masks[0].shape == (env.action_space.n,)
    for indices, expected in ((1, [1]), ([2, 0], [2, 0]), (np.int64(2), [2]), (range(2), [0, 1]), (-1, [2]), ([], [])):
        assert same(env.env_method("action_masks", indices=indices), [masks[i] for i in expected])
    assert same(np.stack(env.env_method("state")), env.games.state())
    assert env.has_attr("action_masks")
    assert not env.has_attr("no_such_thing")
    assert env.get_attr("action_space") == [env.action_space] * 3
    assert env.get_attr("render_mode", 0) == ["rgb_array"]
    assert env.get_attr("opponent", [0]) == ["expander"]
    env.set_attr("tag", 5, indices=[1])
    assert env.get_attr("tag", 1) == [5]
    assert not env.has_attr("tag")
    assert env.env_is_wrapped(Monitor) == [False] * 3
    assert env.env_is_wrapped(Monitor, indices=1) == [False]
    picture = env.render()
    assert picture is not None
    assert picture.dtype == np.uint8
    assert same(env.get_images()[1], env.env_method("render", indices=1)[0])
    env.set_options({"ignored": 1})
    env.close()
    env.close()


def test_infos_of_other_wrappers_reach_their_games() -> None:
    games = gymnasium.make_vec(generals_env.ENV_ID, num_envs=2, **{**SMALL, "max_turns": 3})
    env = SB3VecEnv(gymnasium.wrappers.vector.RecordEpisodeStatistics(games))
    env.seed(1)
    env.reset()
    passes = np.full(2, env.action_space.n - 1)
    infos = [env.step(passes)[3] for _ in range(3)]
    assert "episode" not in infos[1][0]
    assert infos[2][0]["episode"]["l"] == 3


def test_errors_name_expectation() -> None:
    single = partial(GeneralsSingleVector, 2, **SMALL)
    with pytest.raises(ConfigError, match="expected a GeneralsSingleVector, wrapped or not, got GeneralsV"):
        SB3VecEnv(generals_env.make_vec(2, **SMALL))
    with pytest.raises(ConfigError, match="expected a GeneralsSingleVector, wrapped or not, got 8"):
        SB3VecEnv(8)  # type: ignore[arg-type]
    tensors = gymnasium.vector.VectorWrapper(single())
    tensors.single_observation_space = gymnasium.spaces.Box(0, 1)
    with pytest.raises(ConfigError, match='expected "action_mask" among the observations, got Box'):
        SB3VecEnv(tensors)
    with pytest.raises(ConfigError, match="autoreset_mode: expected SAME_STEP, as SB3 does, got NEXT_STEP"):
        SB3VecEnv(single(autoreset_mode="NextStep"))
    with pytest.raises(ConfigError, match="copy: expected True"):
        SB3VecEnv(single(copy=False))
    env = SB3VecEnv(single())
    actions = np.zeros(2, np.int64)
    with pytest.raises(StateError, match=r"expected a call of reset\(\) before"):
        env.env_method("action_masks")
    with pytest.raises(StateError, match=r"expected a call of reset\(\) before"):
        env.step(actions)
    env.reset()
    with pytest.raises(StateError, match=r"step_wait: expected a call of step_async\(\) before"):
        env.step_wait()
    for wrong in (actions[:1], actions + 0.5, actions - 1):
        with pytest.raises(ActionError, match="actions: expected integers"):
            env.step(wrong)
    for indices in (2, [0, -3]):
        with pytest.raises(ConfigError, match="indices: expected integers"):
            env.env_method("action_masks", indices=indices)
    for name in ("opponent", "action_space", "action_masks", "_env"):
        with pytest.raises(ConfigError, match="attribute: expected one that is not the environment's own"):
            env.set_attr(name, "random")
    with pytest.raises(AttributeError, match="expected an attribute of GeneralsSingle"):
        env.env_method("no_such_thing")
    with pytest.raises(ConfigError, match="render_mode: expected 'rgb_array', got None"):
        env.get_images()
    env.seed(-5)
    with pytest.raises(ConfigError, match="seed: expected a non-negative integer"):
        env.reset()
    env.close()
    with pytest.raises(StateError, match="open"):
        env.step(actions)


def test_missing_sb3_gives_one_line_install_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("stable_baselines3", "generals_env.wrappers.sb3"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ImportError, match=r'expected stable_baselines3, got .*: pip install "generals_env\[sb3\]"') as caught:
        importlib.import_module("generals_env.wrappers.sb3")
    assert caught.value.__suppress_context__


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickles look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("opponent", ["mixed", "random"])
def test_training_example_trains_saves_draws_and_evaluates(
    opponent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_sb3 = example("train_sb3")
    sizes = {"board": 6, "max_turns": 30, "games": 10, "num_envs": 8, "n_steps": 20, "batch_size": 80, "channels": 8}
    arguments = train_sb3.Arguments(**sizes, steps=480, minutes=5.0, opponent=opponent, out=tmp_path)
    train_sb3.main(arguments)
    printed = capsys.readouterr().out
    assert "on 6x6" in printed
    assert "10 games" in printed
    assert "expander" in printed
    assert not (tmp_path / "curve.png").exists()  # so few games have no shares worth drawing
    rows = list(csv.DictReader((tmp_path / "progress.csv").read_text().splitlines()))
    assert [int(row["time/total_timesteps"]) for row in rows] == [160, 320, 480]
    assert 0 < float(rows[-1]["train/learning_rate"]) <= arguments.learning_rate
    for name in set(arguments.opponents()):
        assert float(rows[-1][f"games_{name}"]) > 0
        assert 0 <= float(rows[-1][f"wins_{name}"]) + float(rows[-1][f"losses_{name}"]) <= 1
    assert MaskablePPO.load(tmp_path / "model", device="cpu").policy.action_space.n == 8 * 36 + 1


def test_recent_wins_are_counted_by_opponent_and_end_training() -> None:
    from generals_env.config import RewardConfig
    from generals_env.wrappers.sb3_training import RecentWins

    reward = RewardConfig(win_game=3.0, lose_game=-1.0)
    wins = RecentWins(["random", "expander", "random"], reward, recent=3)
    wins.locals = {"dones": np.array([True, True, False]), "rewards": np.array([3.0, -1.0, 3.0], np.float32)}
    assert wins._on_step()
    wins.locals = {"dones": np.array([False, False, True]), "rewards": np.array([3.0, 3.0, 0.5], np.float32)}
    wins._on_step()
    assert (wins.share("random", 3.0), wins.share("random", -1.0)) == (0.5, 0)
    assert (wins.share("expander", 3.0), wins.share("expander", -1.0)) == (0, 1)
    assert str(wins) == "0% against expander, 50% against random"
    wins.locals = {"dones": np.array([True, False, True]), "rewards": np.array([3.0, 3.0, 3.0], np.float32)}
    wins._on_step()
    assert wins.share("random", 3.0) == pytest.approx(2 / 3)  # the first of four games is forgotten
    with pytest.raises(ConfigError, match="limit: expected a number of minutes"):
        RecentWins(["random"], reward, limit=0)
    with pytest.raises(ConfigError, match="reward: expected other rewards"):
        RecentWins(["random"], RewardConfig(win_game=1.0, lose_game=1.0))


def test_logits_of_example_match_positions_of_actions() -> None:
    train_sb3 = example("train_sb3")
    height, width = 3, 5
    planes = train_sb3.ActionPlanes(8)
    with torch.no_grad():
        for parameter in planes.parameters():
            parameter.zero_()
        planes.planes.weight[:, :, 0, 0] = torch.eye(8)
    features = torch.randn(2, 8, height, width)
    logits = planes(features).detach().numpy()
    assert logits.shape == (2, 8 * height * width + 1)
    for half, direction, row, column in np.ndindex(2, 4, height, width):
        action = half * 4 * height * width + 4 * (row * width + column) + direction
        assert (logits[:, action] == features[:, 4 * half + direction, row, column].numpy()).all()


def test_rollout_example_measures(capsys: pytest.CaptureFixture[str]) -> None:
    rollout = example("vectorized_rollout")
    rollout.main(rollout.Arguments(num_envs=3, turns=32, size=6, max_turns=20))
    printed = capsys.readouterr().out
    assert "play, built-in policies" in printed
    rng = np.random.default_rng(1)
    masks = rng.random((5, 2, 9)) < 0.3
    masks[..., -1] = True
    drawn = np.stack([rollout.any_legal(masks.astype(np.int8), rng) for _ in range(400)])
    for game, player in np.ndindex(5, 2):
        assert set(drawn[:, game, player]) == set(np.flatnonzero(masks[game, player]))
