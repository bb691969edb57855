"""Tests single-player environments and their batches with Gymnasium's own checks, wrappers and vector environments."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import RecordEpisodeStatistics
from gymnasium.wrappers import vector as vector_wrappers
from support.comparisons import differences
from support.helpers import DUEL, MARCH, RAID, TO_THE_LAST, Options, any_legal, move, same, started
from support.refusals import refused

import generals_env
from generals_env import ENV_ID, ActionError, ConfigError, MapError, OptionError, StateError
from generals_env.opponents import POLICY_NAMES, as_policy
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import Opponent

SMALL: Options = {"height": 6, "width": 6}
FOUR: Options = {"players": 4, "height": 6, "width": 7}
DRAWN: Options = {"players": 3, "height": (5, 6), "width": (5, 7)}
TEAMS: Options = {"players": 4, "height": 6, "width": 6, "teams": (0, 1, 0, 1)}


# --- Gymnasium's own checks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["standard", "full"])
@pytest.mark.parametrize("options", [SMALL, FOUR], ids=["2 players", "4 players"])
def test_gymnasium_check_accepts_environment(options: Options, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    check_env(gymnasium.make(ENV_ID, observation=layout, **options).unwrapped)
    assert capsys.readouterr().out.startswith("turn 0\n")  # the human render mode


def test_gymnasium_makes_single_game_and_our_batches() -> None:
    one = gymnasium.make(ENV_ID, opponent="random", **FOUR)
    assert type(one.unwrapped) is GeneralsSingle
    many = gymnasium.make_vec(ENV_ID, num_envs=3, opponent="random", **FOUR)
    assert type(many) is GeneralsSingleVector
    assert isinstance(many, gymnasium.vector.VectorEnv)
    assert many.num_envs == 3
    assert many.spec is not None
    assert many.spec.id == ENV_ID
    assert many.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert many.single_observation_space == one.observation_space
    assert many.single_action_space == one.action_space
    sync = gymnasium.make_vec(ENV_ID, num_envs=3, vectorization_mode="sync", **FOUR)
    assert (many.observation_space, many.action_space) == (sync.observation_space, sync.action_space)
    for mode in AutoresetMode:
        assert gymnasium.make_vec(ENV_ID, num_envs=2, autoreset_mode=mode, **SMALL).metadata["autoreset_mode"] is mode


# --- Many games as Gymnasium would run them -------------------------------------------------------------------------------

KINDS: dict[str, Options] = {
    "2 players": {"height": 4, "width": 5},
    "against the random policy": {"height": 4, "width": 5, "opponent": "random"},
    "3 players on drawn sizes": {**DRAWN, "opponent": "expander", "player": 2},
    "3 players, full": {**DRAWN, "opponent": "random", "observation": "full"},
    "4 players in teams": {**TEAMS, "player": 1},
}


def pair_of_batches(count: int, mode: AutoresetMode, **options: Any) -> tuple[Any, Any]:
    """Return our batch and Gymnasium's of our single environments."""
    ours = gymnasium.make_vec(ENV_ID, num_envs=count, autoreset_mode=mode, **options)
    kwargs = {"autoreset_mode": mode}
    return ours, gymnasium.make_vec(ENV_ID, num_envs=count, vectorization_mode="sync", vector_kwargs=kwargs, **options)


def infos_of(env: Any, infos: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the infos of each game."""
    return vector_wrappers.DictInfoToList(env)._convert_info_to_list(infos)


def listed(env: Any, result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the result of ``step`` with the infos of each game and with rewards of 32 bits."""
    observations, rewards, terminated, truncated, infos = result
    assert same(rewards.astype(np.float32).astype(rewards.dtype), rewards)
    return dict(observations), rewards.astype(np.float32), terminated, truncated, infos_of(env, infos)


def any_of(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return legal actions, seldom any other."""
    actions = np.array([any_legal(mask, rng) for mask in masks])
    return np.where(rng.random(len(actions)) < 0.05, rng.integers(masks.shape[1], size=len(actions)), actions)


@pytest.mark.parametrize("mode", AutoresetMode)
@pytest.mark.parametrize("kind", KINDS)
def test_batches_equal_gymnasium_batches_of_single_games(kind: str, mode: AutoresetMode) -> None:
    ours, theirs = pair_of_batches(3, mode, max_turns=140, **KINDS[kind])
    observations, infos = ours.reset(seed=31)
    expected, expected_infos = theirs.reset(seed=31)
    assert differences(observations, dict(expected)) == []
    assert differences(infos_of(ours, infos), infos_of(theirs, expected_infos)) == []
    rng = np.random.default_rng(7)
    conqueror = Opponent("expander", 1)
    ended = {"terminated": 0, "truncated": 0}
    for turn in range(320):
        actions = any_of(observations["action_mask"], rng)
        for i in range(2):
            actions[i] = conqueror({name: array[i] for name, array in observations.items()})
        result, told = listed(ours, ours.step(actions)), listed(theirs, theirs.step(actions))
        assert differences(result, told, f"turn {turn}:") == []
        observations = result[0]
        over = result[2] | result[3]
        ended["terminated"] += int(result[2].sum())
        ended["truncated"] += int(result[3].sum())
        assert any("final_obs" in info for info in result[4]) == (over.any() and mode is AutoresetMode.SAME_STEP)
        if mode is AutoresetMode.DISABLED and over.any():
            seed = turn if turn % 2 else None
            observations, _ = ours.reset(seed=seed, options={"reset_mask": over})
            expected, _ = theirs.reset(seed=seed, options={"reset_mask": over.copy()})
            assert differences(observations, dict(expected), f"reset after turn {turn}:") == []
    assert min(ended.values()) > 0, ended


def test_final_observations_have_gymnasium_form() -> None:
    ours, theirs = pair_of_batches(3, AutoresetMode.SAME_STEP, map=DUEL, max_turns=4)
    for env in (ours, theirs):
        env.reset(seed=1)
        for turn in range(4):
            infos = env.step(np.full(3, 160))[4]
            assert ("final_obs" in infos) == (turn == 3)
        assert (infos["final_obs"].dtype, infos["final_obs"].shape) == (np.dtype(object), (3,))
        assert infos["_final_obs"].tolist() == infos["_final_info"].tolist() == [True] * 3
        assert infos["final_info"]["illegal_actions"].tolist() == [0, 0, 0]
        assert env.single_observation_space.contains(infos["final_obs"][2])


def test_batch_games_equal_single_environments_with_successive_seeds() -> None:
    many = GeneralsSingleVector(3, autoreset_mode="Disabled", **FOUR)
    ones = [GeneralsSingle(**FOUR) for _ in range(3)]
    for seed in (5, None):
        observations, _ = many.reset(seed=seed)
        for i, one in enumerate(ones):
            expected, info = one.reset(seed=None if seed is None else seed + i)
            assert differences({name: array[i] for name, array in observations.items()}, expected) == []
            assert info == {"illegal_action": False, "illegal_actions": 0}
        rng = np.random.default_rng(1)
        for _ in range(30):
            actions = any_of(observations["action_mask"], rng)
            observations, *told, infos = many.step(actions)
            for i, one in enumerate(ones):
                observation, *parts, info = one.step(actions[i])
                assert differences({name: array[i] for name, array in observations.items()}, observation) == []
                assert parts == [part[i] for part in told]
                assert [type(part) for part in parts] == [float, bool, bool]
                assert info == {name: infos[name][i] for name in info}
                assert same(one.state(), many.state()[i])
                assert same(one.action_masks(), many.action_masks()[i])
                assert same(one.action_masks(), observation["action_mask"].astype(np.bool_))


def test_batch_results_do_not_depend_on_threads_or_copies() -> None:
    batches = [GeneralsSingleVector(5, threads=n, copy=n != 3, max_turns=40, **DRAWN) for n in (1, 2, 3)]
    observations = [batch.reset(seed=3)[0] for batch in batches]
    rng = np.random.default_rng(5)
    for _ in range(100):
        actions = any_of(observations[0]["action_mask"], rng)
        results = [listed(batch, batch.step(actions)) for batch in batches]
        assert same(results[1], results[0])
        assert same(results[2], results[0])
        observations = [result[0] for result in results]
    assert np.shares_memory(observations[2]["observation"], batches[2].step(actions)[0]["observation"])
    assert not np.shares_memory(observations[1]["observation"], batches[1].step(actions)[0]["observation"])


# --- Gymnasium's wrappers -------------------------------------------------------------------------------------------------


def test_gymnasium_statistics_count_episodes_of_one_game_and_of_many() -> None:
    options: Options = {"max_turns": 60, "opponent": "random", **SMALL}
    one = RecordEpisodeStatistics(gymnasium.make(ENV_ID, **options))
    many = vector_wrappers.RecordEpisodeStatistics(gymnasium.make_vec(ENV_ID, num_envs=1, **options))
    observation, _ = one.reset(seed=9)
    many.reset(seed=9)
    rng = np.random.default_rng(2)
    lengths, returns = [], []
    while len(lengths) < 3:
        length, rewards, over = 0, 0.0, False
        while not over:
            action = any_legal(observation["action_mask"], rng)
            observation, reward, terminated, truncated, info = one.step(action)
            _, _, _, _, infos = many.step(np.array([action]))
            length, rewards, over = length + 1, rewards + reward, terminated or truncated
            assert ("episode" in info) == ("episode" in infos) == over
        assert (info["episode"]["l"], infos["episode"]["l"].tolist()) == (length, [length])
        assert info["episode"]["r"] == pytest.approx(rewards)
        assert infos["episode"]["r"] == pytest.approx([rewards], abs=1e-6)
        lengths.append(length)
        returns.append(rewards)
        observation, _ = one.reset()
    assert list(many.length_queue) == lengths
    assert list(many.return_queue) == pytest.approx(returns, abs=1e-6)


def test_gymnasium_vector_wrappers_fit() -> None:
    def wrapped(**options: Any) -> Any:
        env = gymnasium.make_vec(ENV_ID, num_envs=2, max_turns=30, map=RAID, opponent="random", **options)
        env = vector_wrappers.NormalizeReward(vector_wrappers.RecordEpisodeStatistics(env))
        return vector_wrappers.DictInfoToList(vector_wrappers.ClipReward(env, -1, 1))

    env, plain = wrapped(), gymnasium.make_vec(ENV_ID, num_envs=2, max_turns=30, map=RAID, opponent="random")
    observations, _ = env.reset(seed=3)
    assert same(observations, plain.reset(seed=3)[0])
    rng = np.random.default_rng(0)
    episodes = 0
    for _ in range(70):
        actions = any_of(observations["action_mask"], rng)
        observations, rewards, *ends, infos = env.step(actions)
        expected = plain.step(actions)
        assert same((observations, *ends), (expected[0], *expected[2:4]))
        assert (np.sign(rewards) == np.sign(expected[1])).all()
        episodes += sum("episode" in info and "final_obs" in info for info in infos)
    assert episodes >= 4


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_gymnasium_vector_observation_wrappers_fit(mode: AutoresetMode) -> None:
    env = gymnasium.make_vec(ENV_ID, num_envs=2, autoreset_mode=mode, **SMALL)
    env = vector_wrappers.FlattenObservation(vector_wrappers.FilterObservation(env, ["observation"]))
    seen, _ = env.reset(seed=3)
    assert seen.shape == (2, 9 * 36)
    assert env.observation_space.contains(env.step(np.full(2, 288))[0])


# --- Opponents ------------------------------------------------------------------------------------------------------------


class Spy:
    """A callable opponent that plays at random and keeps its inputs and choices."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.seen: list[dict[str, np.ndarray]] = []
        self.chosen: list[np.ndarray] = []

    def __call__(self, views: Mapping[str, np.ndarray]) -> np.ndarray:
        self.seen.append({name: array.copy() for name, array in views.items()})
        self.chosen.append(np.array([any_legal(mask, self.rng) for mask in views["action_mask"]]))
        return self.chosen[-1]


@pytest.mark.parametrize("player", [0, 1, 2])
def test_callable_sees_and_plays_other_seats_game_by_game(player: int) -> None:
    spy = Spy()
    many = GeneralsSingleVector(2, opponent=spy, player=player, autoreset_mode="Disabled", observation="full", **DRAWN)
    peers = [generals_env.parallel_env(observation="full", **DRAWN) for _ in range(2)]
    observations, _ = many.reset(seed=3)
    seen = [peer.reset(seed=3 + i)[0] for i, peer in enumerate(peers)]
    own = f"player_{player}"
    others = [f"player_{seat}" for seat in range(3) if seat != player]
    rng = np.random.default_rng(3)
    for _ in range(25):
        actions = any_of(observations["action_mask"], rng)
        observations, rewards, terminated, truncated, infos = many.step(actions)
        given = [view[agent] for view in seen for agent in others]
        expected = {name: np.stack([view[name] for view in given]) for name in ("observation", "action_mask")}
        assert differences(spy.seen[-1], expected) == []
        results = []
        for i, peer in enumerate(peers):
            played = dict(zip(others, spy.chosen[-1].reshape(2, 2)[i], strict=True))
            results.append(peer.step({**played, own: actions[i]}))
            assert differences({name: array[i] for name, array in observations.items()}, results[i][0][own]) == []
            assert {name: infos[name][i] for name in results[i][4][own]} == results[i][4][own]
        assert [rewards.tolist(), terminated.tolist(), truncated.tolist()] == [
            [np.float32(result[k][own]) for result in results] for k in (1, 2, 3)
        ]
        assert same(many.state(), np.stack([peer.state() for peer in peers]))
        seen = [result[0] for result in results]
        assert all(len(peer.agents) == 3 for peer in peers)


def scripted(text: str, script: str, **options: Any) -> tuple[list[np.ndarray], int]:
    """Return the actions of all seats turn by turn, and the pass."""
    env = started(text, **options)
    passing = env.action_space("player_0").n - 1
    turns = []
    for word in script.split():
        turns.append(np.full(env.max_num_agents, passing))
        for one in word.split("+"):
            if one != "-":
                agent, action = move(env, one)
                turns[-1][env.index[agent]] = action
    return turns, passing


@pytest.mark.parametrize(("player", "turns", "reward"), [(0, 8, 1.0), (1, 4, -1.0), (2, 8, -1.0)])
def test_episode_ends_when_it_ends_for_the_learner(player: int, turns: int, reward: float) -> None:
    script, _ = scripted(RAID, f"{MARCH} A01r {TO_THE_LAST}")
    plan = iter(script)
    env = GeneralsSingle(opponent=lambda views: np.delete(next(plan), player), player=player, map=RAID)
    env.reset()
    for turn in range(1, turns + 1):
        observation, *told, info = env.step(script[turn - 1][player])
        assert told == [reward if turn == turns else 0.0, turn == turns, False]
    assert env.observation_space.contains(observation)
    assert info == {"illegal_action": False, "illegal_actions": 0}
    assert (env.state()[0, 3, 3] == 2) == (player == 1)  # the others could go on
    with refused(StateError, "step: expected a running game, got an action after its end: call reset() first"):
        env.step(0)
    env.reset()
    assert env.state()[0, 0, 2] == 1


def test_batch_resets_game_when_learner_is_out() -> None:
    script, passing = scripted(RAID, f"{MARCH} A01r")
    plan = iter(script)
    env = GeneralsSingleVector(2, opponent=lambda views: np.tile(next(plan)[[0, 2]], 2), player=1, map=RAID)
    env.reset()
    for turn in range(1, 9):
        observations, rewards, terminated, truncated, infos = env.step(np.full(2, passing))
        assert terminated.tolist() == [turn in (4, 8)] * 2
        assert not truncated.any()
        assert rewards.tolist() == [-1.0 if turn in (4, 8) else 0.0] * 2
        assert ("final_obs" in infos) == (turn in (4, 8))
        if turn == 4:
            plan = iter(script)
    assert (env.state()[0] == env.state()[1]).all()
    assert env.boards().games["turn"].tolist() == [0, 0]
    assert observations["observation"][:, 2].sum() == 2  # his general again


def test_team_mates_take_opponent_seats_and_win_together() -> None:
    text = "A -300 C .\n. . . .\n. . . .\nB . . D"
    script, passing = scripted(text, f"{MARCH} A01r {TO_THE_LAST}", teams=(0, 0, 1, 1))
    plan = iter(script)
    env = GeneralsSingle(opponent=lambda views: next(plan)[[0, 2, 3]], player=1, map=text, teams=(0, 0, 1, 1))
    env.reset()
    for _ in range(8):
        result = env.step(passing)
    assert result[1:4] == (1.0, True, False)


WRONG: dict[str, Any] = {
    "too few": lambda views: np.zeros(3, np.int64),
    "too many dimensions": lambda views: np.zeros((4, 1), np.int64),
    "float": lambda views: np.zeros(4),
    "bool": lambda views: np.zeros(4, np.bool_),
    "nothing": lambda views: None,
    "negative": lambda views: np.full(4, -1),
    "out of range": lambda views: np.full(4, 129),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_opponent_without_actions_is_reported_and_nothing_is_played(wrong: str) -> None:
    minds = iter([WRONG[wrong], Spy()])

    def opponent(views: Mapping[str, np.ndarray]) -> Any:
        return next(minds)(views)

    env = GeneralsSingleVector(2, opponent=opponent, map=RAID)
    env.reset()
    before = env.state()
    ranged = wrong in ("negative", "out of range")
    with refused(
        ActionError, f"opponent: its actions: expected integers {'from 0 to 128' if ranged else 'of shape (4,)'}, got "
    ):
        env.step(np.full(2, 3))
    assert same(env.state(), before)
    env.step(np.full(2, 3))
    assert env.boards().games["turn"].tolist() == [1, 1]


def test_illegal_actions_of_opponents_count_as_pass() -> None:
    env = GeneralsSingle(opponent=lambda views: np.zeros(1, np.int64), player=1, map=DUEL)
    env.reset()
    for _ in range(4):
        *_, info = env.step(160)
    assert (env.state()[0] >= 0).sum() == 2
    assert info == {"illegal_action": False, "illegal_actions": 0}


class Model:
    """The interface of sb3-contrib's models."""

    def __init__(self) -> None:
        self.calls = 0

    def predict(self, observations: dict[str, np.ndarray], action_masks: np.ndarray) -> tuple[np.ndarray, None]:
        assert type(observations) is dict
        assert same(observations["action_mask"], action_masks)
        self.calls += 1
        return np.argmax(action_masks, axis=1), None


def test_model_is_called_with_masks() -> None:
    model = Model()
    env = GeneralsSingleVector(2, opponent=model, **DRAWN)
    env.reset(seed=0)
    for turn in range(1, 20):
        env.step(np.full(2, env.config.actions - 1))
        assert model.calls == turn


def views_of_games(games: int) -> dict[str, np.ndarray]:
    """Return observations of all seats in the middle of games, one view per row; some seats are eliminated."""
    venv = generals_env.make_vec(games, **DRAWN)
    venv.reset(seed=2)
    venv.play(80, ["expander", "random", "random"])
    return {name: array.reshape(games * 3, *array.shape[2:]) for name, array in venv.observe().items()}


def net(logits: Any) -> Any:
    """Return a torch module with these logits (a function of a mask), which has a parameter or not."""
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def forward(self, tensors: dict[str, Any]) -> Any:
            assert {name: tensor.dtype for name, tensor in tensors.items()} == {
                "observation": torch.float32,
                "action_mask": torch.int8,
            }
            assert not torch.is_grad_enabled()
            return logits(torch, tensors["action_mask"])

    return Net()


NETS: dict[str, Any] = {
    "equal": lambda torch, mask: torch.zeros(mask.shape),
    "of 16 bits": lambda torch, mask: torch.zeros(mask.shape, dtype=torch.float16),
    "of 64 bits": lambda torch, mask: torch.randn(mask.shape, dtype=torch.float64),
    "fond of illegal moves": lambda torch, mask: (1 - mask.float()) * 1e30,
    "infinitely fond of illegal moves": lambda torch, mask: torch.where(mask == 0, torch.inf, -1e30),
    "low": lambda torch, mask: torch.full(mask.shape, torch.finfo(torch.float32).min),
    "masked by itself": lambda torch, mask: torch.zeros(mask.shape).masked_fill(mask == 0, -torch.inf),
    "no numbers": lambda torch, mask: torch.full(mask.shape, torch.nan),
    "against all moves": lambda torch, mask: torch.full(mask.shape, -torch.inf),
}


@pytest.mark.parametrize("kind", NETS)
def test_torch_module_never_chooses_illegal_moves(kind: str) -> None:
    policy = as_policy(net(NETS[kind]))
    views = views_of_games(8)
    rows = np.arange(len(views["action_mask"]))
    assert (views["action_mask"].sum(axis=1) == 1).any()
    pytest.importorskip("torch").manual_seed(0)
    for _ in range(5):
        chosen = policy(views)
        assert chosen.shape == rows.shape
        assert views["action_mask"][rows, chosen].all()


def test_torch_module_moves_are_sampled_by_its_logits() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    masks = np.zeros((2000, 129), np.int8)
    masks[:, [3, 50, 128]] = 1
    views = {"observation": np.zeros((2000, 9, 4, 4), np.float32), "action_mask": masks}
    logits = np.full(129, 9.0)
    logits[[3, 50, 128]] = np.log([1, 5, 2])
    chosen = as_policy(net(lambda torch, mask: torch.as_tensor(logits).expand(mask.shape)))(views)
    counts = np.bincount(chosen, minlength=129)
    assert counts.sum() == counts[[3, 50, 128]].sum() == 2000
    assert counts[[3, 50, 128]] / 2000 == pytest.approx([1 / 8, 5 / 8, 2 / 8], abs=0.03)


def test_torch_module_plays_other_seats() -> None:
    first = net(lambda torch, mask: torch.arange(mask.shape[1], 0, -1).expand(mask.shape) * 1000.0)  # first of the legal
    env = GeneralsSingleVector(2, opponent=first, player=1, **DRAWN)
    same_env = GeneralsSingleVector(2, opponent=Model(), player=1, **DRAWN)
    env.reset(seed=4)
    same_env.reset(seed=4)
    for _ in range(40):
        actions = np.full(2, env.config.actions - 1)
        assert same(listed(env, env.step(actions)), listed(same_env, same_env.step(actions)))
        assert same(env.state(), same_env.state())


@pytest.mark.parametrize("bad", ["greedy", "", None, 5, ["random"], {}], ids=repr)
def test_opponents_are_names_or_callables(bad: Any) -> None:
    for make in (GeneralsSingle, lambda **options: GeneralsSingleVector(2, **options)):
        with refused(
            ConfigError, f"opponent: expected one of {POLICY_NAMES}, trained, a callable, a torch module or a model, got"
        ):
            make(opponent=bad, **SMALL)


# --- The learner ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("player", [0, 1])
def test_learner_sits_at_given_seat(player: int) -> None:
    env, peer = GeneralsSingle(player=player, **SMALL), generals_env.parallel_env(**SMALL)
    observation, _ = env.reset(seed=8)
    assert differences(observation, peer.reset(seed=8)[0][f"player_{player}"]) == []
    for _ in range(10):
        observation, *_ = env.step(any_legal(observation["action_mask"], np.random.default_rng(1)))
    owner, army, _ = env.state()
    assert ((observation["observation"][2] == 1) == (owner == player)).all()
    assert (np.round(observation["observation"][0] * 1000) == np.where(owner == player, army, 0)).all()
    assert (owner == 1 - player).any()


@pytest.mark.parametrize("bad", [2, -1, 0.0, "0", None, True])
def test_learner_seat_is_checked(bad: Any) -> None:
    for make in (GeneralsSingle, lambda **options: GeneralsSingleVector(2, **options)):
        with refused(ConfigError, f"player: expected an integer from 0 to 1, got {bad!r}"):
            make(player=bad, **SMALL)


def test_options_are_checked() -> None:
    for make in (GeneralsSingle, lambda **options: GeneralsSingleVector(2, **options)):
        with refused(ConfigError, "render_mode: expected None or one of human, ansi, rgb_array, got 'pygame'"):
            make(render_mode="pygame")
        with refused(MapError, "map: expected a text, got int"):
            make(map=5)
    with refused(ConfigError, "num_envs: expected a positive integer, got 0"):
        GeneralsSingleVector(0)
    with refused(ConfigError, "autoreset_mode: expected one of "):
        GeneralsSingleVector(2, autoreset_mode="always")


@pytest.mark.parametrize("name", ["num_envs", "copy", "autoreset_mode", "threads"])
def test_batch_options_are_refused_for_single_game(name: str) -> None:
    with refused(OptionError, f"GeneralsSingle() got an unexpected keyword argument {name!r}"):
        GeneralsSingle(**{name: 1}, **SMALL)


BAD_ACTIONS = (None, 1.0, "1", True, [1], [1, 2], np.array([1]), {}, np.float32(1), -1, 161, 2**62, 10**30)


@pytest.mark.parametrize("bad", BAD_ACTIONS, ids=[f"{type(bad).__name__} {bad}" for bad in BAD_ACTIONS])
def test_invalid_action_leaves_game_unchanged(bad: Any) -> None:
    env, control = GeneralsSingle(map=DUEL), GeneralsSingle(map=DUEL)
    for each in (env, control):
        each.reset(seed=1)
        each.step(160)
    with refused(ActionError, "action"):
        env.step(bad)
    assert same(env.state(), control.state())
    for _ in range(5):
        assert same(env.step(160), control.step(160))


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.array])
def test_action_may_be_any_integer(kind: Any) -> None:
    env, control = GeneralsSingle(map=DUEL), GeneralsSingle(map=DUEL)
    for each in (env, control):
        each.reset(seed=1)
    for _ in range(4):
        assert same(env.step(kind(3)), control.step(3))
    assert control.state()[0, 0, :3].tolist() == [0, 0, -1]


@pytest.mark.parametrize("bad", [-1, 1.5, "1", True, np.float64(3), [1], [1, 2]], ids=repr)
def test_invalid_seeds_are_refused_and_change_nothing(bad: Any) -> None:
    env, control = GeneralsSingle(**SMALL), GeneralsSingle(**SMALL)
    for each in (env, control):
        each.reset(seed=1)
    with refused(ConfigError, f"seed: expected a non-negative integer or None, got {bad!r}"):
        env.reset(seed=bad)
    assert same(env.step(288), control.step(288))
    assert same(env.reset(), control.reset())
    assert env.np_random.random() == control.np_random.random()


def test_numpy_integers_are_seeds() -> None:
    env, control = GeneralsSingle(**SMALL), GeneralsSingle(**SMALL)
    assert same(env.reset(seed=np.int64(3)), control.reset(seed=3))


def test_returned_arrays_never_change() -> None:
    env = GeneralsSingle(max_turns=30, **SMALL)
    handed: list[Any] = [env.reset(seed=1), env.state(), env.action_masks()]
    kept = copy.deepcopy(handed)
    for _ in range(3):
        for _ in range(30):
            mask = handed[-1]
            handed += [env.step(any_legal(mask, np.random.default_rng(len(handed)))), env.state(), env.action_masks()]
            kept += copy.deepcopy(handed[-3:])
            if any(handed[-3][2:4]):
                break
        handed += [env.reset(), env.state(), env.action_masks()]
        kept += copy.deepcopy(handed[-3:])
    assert same(handed, kept)


def course_from_here(env: Any) -> list[Any]:
    """Return all that happens from now on, a new game included."""
    rng = np.random.default_rng(3)
    course: list[Any] = []
    for _ in range(60):
        result = env.step(any_legal(env.action_masks(), rng))
        course += [result, env.state()]
        if result[2] or result[3]:
            course.append(env.reset())
    return course


@pytest.mark.parametrize("opponent", ["expander", Model()], ids=["built-in", "model"])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["deepcopy", "pickle"])
def test_copies_continue_like_original_and_independently(copied: Any, opponent: Any) -> None:
    env = GeneralsSingle(opponent=opponent, max_turns=50, **DRAWN)
    env.reset(seed=6)
    for _ in range(20):
        env.step(any_legal(env.action_masks(), np.random.default_rng(0)))
    others = [copied(env), copied(env)]
    course = course_from_here(env)
    assert len({state.tobytes() for state in course[1::2] if isinstance(state, np.ndarray)}) > 20
    assert differences(course_from_here(others[0]), course) == []
    assert differences(course_from_here(copied(others[1])), course) == []


# --- Pictures and invalid calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("render_player", [None, 1])
def test_pictures_equal_those_of_parallel_environment(render_player: int | None, capsys: pytest.CaptureFixture[str]) -> None:
    for mode in ("rgb_array", "ansi", "human"):
        options: Options = {"map": RAID, "render_mode": mode, "render_player": render_player}
        env, peer = GeneralsSingle(opponent=lambda views: np.full(2, 128), **options), generals_env.parallel_env(**options)
        env.reset(seed=1)
        peer.reset(seed=1)
        for _ in range(3):
            env.step(128)
            peer.step(dict.fromkeys(peer.agents, 128))
        capsys.readouterr()
        picture, printed = env.render(), capsys.readouterr().out
        assert same([picture, printed], [peer.render(), capsys.readouterr().out])
        assert (env.render_mode, type(picture), printed[:6]) == {
            "rgb_array": (mode, np.ndarray, ""),
            "ansi": (mode, str, ""),
            "human": (mode, type(None), "turn 3"),
        }[mode]


def test_render_without_mode_returns_no_picture() -> None:
    env = GeneralsSingle(map=DUEL)
    env.reset()
    with refused(StateError, "render: expected a render_mode, got None: make the environment with one of "):
        env.render()


def test_calls_before_reset_and_after_close_are_refused() -> None:
    env = GeneralsSingle(map=DUEL, render_mode="ansi")
    calls = {"step": lambda: env.step(160), "state": env.state, "render": env.render, "action_masks": env.action_masks}
    for name, call in calls.items():
        with refused(StateError, f"{name}: expected a call of reset() before, got none"):
            call()
    env.reset()
    for call in calls.values():
        call()
    env.close()
    env.close()
    for call in [env.reset, *calls.values()]:
        with refused(StateError, "vector environment: expected one that is open, got a call after close()"):
            call()


def test_batch_refuses_bad_actions_and_continues() -> None:
    env, control = (GeneralsSingleVector(2, opponent="random", map=DUEL) for _ in range(2))
    for each in (env, control):
        each.reset(seed=1)
    for bad in (np.zeros((2, 2), np.int64), np.zeros(2), np.zeros(3, np.int64), 5, None, [True, False]):
        with refused(ActionError, "actions: expected integers of shape (2,), got "):
            env.step(bad)
    for number in (-1, 161, 2**40):
        with refused(ActionError, f"actions: expected integers from 0 to 160, got {number}"):
            env.step(np.array([3, number]))
    for _ in range(5):
        assert same(env.state(), control.state())
        assert same(env.step([160, 160]), control.step([160, 160]))
