"""Tests the games that RLlib is given, without RLlib: agents and seats, opponents, ends of games, seeds, names, wrappers."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from support.helpers import RAID, Options, move, same

import generals_env
from generals_env.errors import ActionError, ConfigError, OptionError, StateError
from generals_env.recorders import ExperienceRecorder, ReplayBuffer
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers import FogMemory, RandomSymmetry
from generals_env.wrappers.rllib_multi import MultiAgentGame
from generals_env.wrappers.rllib_single import RLlibSingle, RLlibSingleVector, make_single

SMALL: Options = {"height": 5, "width": 6, "max_turns": 40}


class Context(dict[str, Any]):
    """The options of an environment as RLlib passes them, with the index of its environment runner."""

    def __init__(self, worker_index: int, **options: Any) -> None:
        super().__init__(options)
        self.worker_index = worker_index


def legal(observations: Any, random: np.random.Generator) -> dict[str, int]:
    """Return a legal action for each agent."""
    return {agent: int(random.choice(np.flatnonzero(seen["action_mask"]))) for agent, seen in observations.items()}


def play_out(game: MultiAgentGame, seed: int) -> list[Any]:
    """Play a game of random legal moves to its end; return what each step returned."""
    random = np.random.default_rng(seed)
    observations = game.reset(seed=seed)[0]
    steps: list[Any] = []
    while not steps or not (steps[-1][2]["__all__"] or steps[-1][3]["__all__"]):
        steps.append(game.step(legal(observations, random)))
        observations = {agent: steps[-1][0][agent] for agent in steps[-1][0] if not steps[-1][2][agent]}
    return steps


def test_rllib_game_equals_the_parallel_environment() -> None:
    game, other = MultiAgentGame(SMALL), generals_env.parallel_env(**SMALL)
    random = np.random.default_rng(1)
    observations, expected = game.reset(seed=3)[0], other.reset(seed=3)[0]
    for _ in range(40):
        for agent in other.agents:
            assert same(observations[agent]["observations"], expected[agent]["observation"])
            assert same(observations[agent]["action_mask"], expected[agent]["action_mask"])
            assert game.observation_spaces[agent].contains(observations[agent])
        actions = legal(observations, random)
        observations, rewards, _, truncations, infos = game.step(actions)
        expected, *others = other.step(actions)
        assert (rewards, infos) == (others[0], others[3])
    assert truncations["__all__"]


def test_rllib_truncation_is_told_for_all_agents_alone() -> None:
    steps = play_out(MultiAgentGame(SMALL), 1)
    assert len(steps) == 40
    assert steps[-1][2] == {"player_0": False, "player_1": False, "__all__": False}
    assert steps[-1][3] == {"player_0": False, "player_1": False, "__all__": True}


def test_rllib_agent_leaves_when_it_is_eliminated() -> None:
    game = MultiAgentGame({"map": RAID, "players": 3})
    game.reset(seed=1)
    board = generals_env.parallel_env(map=RAID, players=3)
    board.reset(seed=1)
    passing = 8 * board.state()[0].size
    for word in ("-", "-", "A00r", "A01r"):
        actions = dict.fromkeys(game.agents, passing)
        if word != "-":
            actions |= dict([move(board, word)])
        _, rewards, terminations, truncations, _ = game.step(actions)
        if terminations["player_1"]:
            break
    assert terminations == {"player_0": False, "player_1": True, "player_2": False, "__all__": False}
    assert not any(truncations.values())
    assert rewards["player_1"] < 0
    assert game.agents == ["player_0", "player_1", "player_2"]  # those that this step returned
    observations = game.step({"player_0": passing, "player_2": passing})[0]
    assert list(observations) == game.agents == ["player_0", "player_2"]
    with pytest.raises(ActionError, match=r"actions: expected one for each of \['player_0', 'player_2'\]"):
        game.step(dict.fromkeys(["player_0", "player_1", "player_2"], passing))


def test_rllib_opponents_are_no_agents_and_play_as_elsewhere() -> None:
    game = MultiAgentGame({**SMALL, "opponents": "hunter"})
    single = GeneralsSingle("hunter", **SMALL)
    assert game.possible_agents == ["player_0"]
    observation, expected = game.reset(seed=5)[0]["player_0"], single.reset(seed=5)[0]
    random = np.random.default_rng(2)
    over = False
    while not over:
        assert same(observation["observations"], expected["observation"])
        action = int(random.choice(np.flatnonzero(observation["action_mask"])))
        step, (expected, reward, terminated, truncated, _) = game.step({"player_0": action}), single.step(action)
        observation, over = step[0]["player_0"], terminated or truncated
        assert step[1] == {"player_0": reward}
        assert (step[2]["__all__"], step[3]["__all__"]) == (terminated, truncated)


def test_rllib_agents_are_in_the_order_of_their_seats() -> None:
    game = MultiAgentGame({"players": 12, "height": 12, "width": 12, "opponents": ["random", None] * 6, "max_turns": 3})
    assert game.possible_agents == [f"player_{seat}" for seat in range(1, 12, 2)]
    observations = game.reset(seed=1)[0]
    assert list(observations) == list(game.action_spaces) == list(game.observation_spaces) == game.possible_agents


def test_rllib_illegal_action_is_a_pass() -> None:
    game = MultiAgentGame(SMALL)
    observations = game.reset(seed=1)[0]
    actions = {agent: int(np.flatnonzero(seen["action_mask"] == 0)[0]) for agent, seen in observations.items()}
    infos = game.step(actions)[4]
    assert infos == {agent: {"illegal_action": True, "illegal_actions": 1} for agent in observations}


def test_rllib_game_ended_needs_a_reset() -> None:
    game = MultiAgentGame({**SMALL, "max_turns": 1})
    with pytest.raises(StateError, match="call reset"):
        game.step({})
    play_out(game, 1)
    with pytest.raises(StateError, match="call reset"):
        game.step(dict.fromkeys(game.agents, 0))
    assert list(game.reset()[0]) == ["player_0", "player_1"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"opponents": "hunters"}, ConfigError, "opponents: expected None, one of random"),
        ({"opponents": ["random"]}, ConfigError, "opponents: "),
        ({"opponents": ["random", "random"]}, ConfigError, "None for at least one agent"),
        ({"opponents": ["hunter:hard", None]}, ConfigError, "policy: expected one of random"),
        ({"opponent": "random"}, OptionError, "did you mean 'opponents'"),
        ({"wrap": "FogMemory"}, ConfigError, "wrap: expected a function"),
        ({"wrap": lambda games: None}, ConfigError, "which returned None"),
        ({"dtype": "float64"}, ConfigError, "dtype: "),
    ],
)
def test_rllib_options_are_checked(options: Options, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        MultiAgentGame({**SMALL, **options})


def test_rllib_wrappers_turn_agents_but_not_opponents() -> None:
    game = MultiAgentGame({**SMALL, "opponents": "random", "wrap": lambda games: RandomSymmetry(FogMemory(games))})
    assert game.observation_spaces["player_0"]["observations"].shape == (16, 5, 6)
    steps = play_out(game, 4)
    assert all(game.observation_spaces["player_0"].contains(step[0]["player_0"]) for step in steps)
    assert game.games.unwrapped.batch.outcome.illegal_count.sum() == 0


def test_rllib_games_are_recorded_with_all_seats() -> None:
    sink = ReplayBuffer(1000, seed=1)
    game = MultiAgentGame({**SMALL, "opponents": "random", "wrap": lambda games: ExperienceRecorder(games, sink)})
    play_out(game, 1)
    game.close()
    game.close()
    assert len(sink) == 80


def test_rllib_game_copied_plays_on_alone() -> None:
    game = MultiAgentGame({**SMALL, "opponents": "expander"})
    observations = game.reset(seed=1)[0]
    other = copy.copy(game)
    actions = legal(observations, np.random.default_rng(1))
    assert same(game.step(actions)[0]["player_0"]["observations"], other.step(actions)[0]["player_0"]["observations"])
    other.step(actions)
    assert game.games.unwrapped.boards().games["turn"][0] == 1


def test_rllib_runners_with_neighbouring_seeds_play_different_games() -> None:
    first = MultiAgentGame(Context(1, **SMALL)).reset(seed=11)[0]
    second = MultiAgentGame(Context(2, **SMALL)).reset(seed=11)[0]
    again = MultiAgentGame(Context(2, **SMALL)).reset(seed=11)[0]
    assert not same(first["player_0"]["observations"], second["player_0"]["observations"])
    assert same(second["player_0"]["observations"], again["player_0"]["observations"])


def test_rllib_single_games_equal_the_vector_environment() -> None:
    games = make_single(Context(0, num_envs=3, opponent="expander", **SMALL))
    other = GeneralsSingleVector(3, "expander", autoreset_mode=AutoresetMode.NEXT_STEP, **SMALL)
    assert isinstance(games, RLlibSingleVector)
    assert games.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, expected = games.reset(seed=7)[0], other.reset(seed=7)[0]
    random = np.random.default_rng(1)
    for _ in range(50):
        assert games.observation_space.contains(observations)
        assert same(observations["observations"], expected["observation"])
        actions = np.array([random.choice(np.flatnonzero(mask)) for mask in observations["action_mask"]])
        observations, *rest = games.step(actions)
        expected, *others = other.step(actions)
        assert all(same(one, two) for one, two in zip(rest[:3], others[:3], strict=True))
    games.close()


def test_rllib_single_game_is_one_of_the_vector() -> None:
    game, games = make_single({"opponent": "random", **SMALL}), make_single({"num_envs": 1, "opponent": "random", **SMALL})
    assert isinstance(game, RLlibSingle)
    observation, observations = game.reset(seed=7)[0], games.reset(seed=7)[0]
    assert game.observation_space.contains(observation)
    assert same(observation["observations"], observations["observations"][0])
    action = int(np.flatnonzero(observation["action_mask"])[0])
    step, steps = game.step(action), games.step(np.array([action]))
    assert same(step[0]["action_mask"], steps[0]["action_mask"][0])
    assert step[1] == steps[1][0]


def test_rllib_single_games_refuse_an_autoreset_mode() -> None:
    with pytest.raises(ConfigError, match="autoreset_mode: expected none, as RLlib sets it"):
        make_single({"autoreset_mode": "SAME_STEP"})


@pytest.mark.skipif(importlib.util.find_spec("tree") is not None, reason="RLlib's libraries are installed here")
def test_rllib_without_its_libraries_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r'pip install "generals_env\[rllib\]"'):
        importlib.import_module("generals_env.wrappers.rllib")
