"""Tests that a policy with a memory plays alike in batches, on observations, on frames and on the play server's boards."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
from support.helpers import PATIENCE, same

import generals_env
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.matches import MatchOptions, play_matches
from generals_env.bridge.stdio_agent import load_frame_policy
from generals_env.bridge.stdio_protocol import encode_frame, read_frame
from generals_env.live import load_live_policy
from generals_env.opponents import policy_code
from generals_env.play.agents import make_agent
from generals_env.play.situation import Situation
from generals_env.wrappers import Opponent

LIVE: dict[str, Any] = {"height": 9, "width": 10, "max_turns": 130, "observation": "full"}
COMPETITION: dict[str, Any] = LIVE | {"rules": "competition"}
SEATS = [(b, seat) for b in range(3) for seat in range(2)]


def begun(**options: Any) -> tuple[Any, Any]:
    """Return three games that have begun, and their observations."""
    env = generals_env.make_vec(3, **options)
    observations, _ = env.reset(seed=7)
    return env, observations


def view(observations: Any, b: int, seat: int) -> dict[str, Any]:
    """Return the observation of one seat."""
    return {name: array[b, seat] for name, array in observations.items()}


@pytest.mark.parametrize("options", [LIVE, COMPETITION], ids=["live", "competition"])
def test_hunters_on_observations_choose_as_those_of_a_batch(options: dict[str, Any]) -> None:
    env, observations = begun(**options)
    players = {place: Opponent("hunter", seed=1) for place in SEATS}
    games = 0
    for _ in range(280):  # new games are noticed
        actions = env.act(("hunter", "hunter"))
        assert [players[place](view(observations, *place)) for place in SEATS] == actions.ravel().tolist()
        observations, _, terminated, truncated, _ = env.step(actions)
        games += int((terminated | truncated).any(axis=1).sum())
    assert games >= 6


def test_hunters_on_frames_and_boards_choose_as_those_of_a_batch() -> None:
    env, observations = begun(**COMPETITION)
    framed = {place: load_frame_policy("hunter") for place in SEATS}
    agents = {place: make_agent("hunter", 100) for place in SEATS}
    for agent in agents.values():
        agent.begin(1)
    for _ in range(120):
        actions, boards = env.act(("hunter", "hunter")), env.boards()
        for b, seat in SEATS:
            frame = read_frame(io.BytesIO(encode_frame(boards, b, seat)), 9, 10, 2)
            assert frame is not None
            assert framed[b, seat](frame) == actions[b, seat]
            seen = view(observations, b, seat)
            one = type(boards)._make(field[b : b + 1] for field in boards)
            assert agents[b, seat].choose(Situation(seen["observation"], seen["action_mask"], one, seat)) == actions[b, seat]
        observations, *_ = env.step(actions)


def test_hunter_is_reset_and_copied_with_its_memory() -> None:
    env, observations = begun(**LIVE)
    player, fresh = Opponent("hunter", 1), Opponent("hunter", 1)
    for _ in range(70):
        other = copy.deepcopy(player)
        chosen = player(view(observations, 0, 0))
        assert other(view(observations, 0, 0)) == chosen
        observations, *_ = env.step(env.act(("hunter", "expander")))
    player.reset()
    observations, _ = env.reset(seed=7)
    for _ in range(20):
        actions = env.act(("hunter", "expander"))
        assert player(view(observations, 0, 0)) == fresh(view(observations, 0, 0)) == actions[0, 0]
        observations, *_ = env.step(actions)


@pytest.mark.parametrize("observation", ["standard", "full"])
@pytest.mark.parametrize("name", ["hunter:easy", "planner:4"])
def test_opponents_with_a_memory_are_legal_on_all_layouts(name: str, observation: str) -> None:
    env = generals_env.parallel_env(height=8, width=8, max_turns=60, observation=observation, players=2)
    for seed in (1, 2):  # one opponent for two games, which it notices
        players = {agent: Opponent(name, seed) for agent in env.possible_agents}
        views, _ = env.reset(seed=seed)
        while env.agents:
            actions = {agent: players[agent](views[agent]) for agent in env.agents}
            assert all(views[agent]["action_mask"][action] for agent, action in actions.items())
            views, *_ = env.step(actions)


@pytest.mark.parametrize("options", [{"players": 4}, {"players": 4, "teams": (0, 1, 0, 1)}], ids=["ffa", "teams"])
def test_hunters_play_among_several_players(options: dict[str, Any]) -> None:
    env = generals_env.make_vec(4, height=9, width=9, max_turns=100, **options)
    env.reset(seed=1)
    assert env.play(110, ("hunter", "expander", "hunter:easy", "random")).illegal == 0


def test_hunter_asked_twice_in_a_turn_or_not_at_all_goes_on() -> None:
    (env, _), (control, _) = begun(**LIVE), begun(**LIVE)
    for turn in range(60):
        actions = env.act(("hunter", "hunter"))
        if turn % 3 == 0:
            assert same(env.act(("hunter", "hunter")), actions)
        assert same(control.act(("hunter", "hunter")), actions)
        env.step(actions)
        control.step(actions)
    memory = env.batch.thinkers[policy_code("hunter")].memory
    known = memory.flags != 0
    for _ in range(3):
        env.step(env.act(("random", "random")))
    env.act(("hunter", "hunter"))
    assert (memory.flags[known] != 0).all()
    assert known.any()


def test_live_client_finds_the_hunter() -> None:
    _, observations = begun(**LIVE)
    choose = load_live_policy("hunter:medium", 1)
    assert 0 <= choose(view(observations, 0, 0)) <= 8 * 90


def test_match_of_the_hunter_repeats() -> None:
    limits = Limits(first_move=PATIENCE, move=PATIENCE, ending=PATIENCE)
    options = MatchOptions(1, 3, 1, 8, 8, 30, limits, both_seats=False)
    result = play_matches(["builtin:hunter", "builtin:expander"], options)[0]
    assert all(len(side.times) == result.turns and not side.faults for side in result.sides)


def test_one_opponent_is_made_for_each_name() -> None:
    _, observations = begun(**LIVE)
    seen = view(observations, 0, 0)
    for name in ("hunter", "hunter:easy", "planner:1"):
        assert seen["action_mask"][Opponent(name, 1)(seen)]
    assert np.array_equal(seen["observation"], observations["observation"][0, 0])
