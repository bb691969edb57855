"""The AEC and the parallel environment: PettingZoo's own tests, and the contract of the design, position by position."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pettingzoo
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test
from pettingzoo.test.state_test import state_test
from support.helpers import (
    DUEL,
    KINDS,
    MARCH,
    RAID,
    SIZES,
    TEAM_RAID,
    TO_THE_LAST,
    Options,
    any_legal,
    course_of,
    go_on,
    idle,
    passing,
    play,
    rewards_of,
    same,
    started,
    told,
)

import generals_env
from generals_env import RewardConfig, generals_v0
from generals_env.aec import GeneralsAEC
from generals_env.engine import boards as codes
from generals_env.engine.rules.rewards import score_turn
from generals_env.parallel import GeneralsParallel
from generals_env.wrappers import Opponent

sizes = pytest.mark.parametrize("options", SIZES, ids=lambda options: f"{options['players']} players")
kinds = pytest.mark.parametrize("options", KINDS, ids=lambda options: f"{options['players']} players")
faces = pytest.mark.parametrize("face", [generals_env.make, generals_env.parallel_env], ids=["aec", "parallel"])


@sizes
def test_pettingzoos_tests_accept_both_environments(options: Options, capsys: pytest.CaptureFixture[str]) -> None:
    api_test(generals_env.make(max_turns=150, **options), num_cycles=300)
    seed_test(lambda: generals_env.make(**options), num_cycles=100)
    state_test(generals_env.make(**options), generals_env.parallel_env(**options))
    parallel_api_test(generals_env.parallel_env(max_turns=150, **options), num_cycles=300)
    parallel_seed_test(lambda: generals_env.parallel_env(**options), num_cycles=100)
    render_test(lambda render_mode: generals_v0.env(render_mode=render_mode, **options))
    assert capsys.readouterr().out.count("\n") > 5 * options["players"]


@pytest.mark.skipif(not hasattr(pettingzoo, "register"), reason="PettingZoo before 1.27 has no registries")
def test_the_registries_know_both_environments() -> None:
    one = pettingzoo.make("aec", generals_env.ENV_ID, players=3)
    both = pettingzoo.make("parallel", generals_env.ENV_ID, max_cycles=7, map=DUEL)
    assert (type(one.unwrapped), one.max_num_agents) == (GeneralsAEC, 3)
    assert (type(both.unwrapped), both.unwrapped.config.max_turns) == (GeneralsParallel, 7)


@kinds
def test_spaces_contain_what_is_observed(options: Options) -> None:
    env = generals_env.parallel_env(max_turns=50, **options)
    course = course_of(env, 3)
    assert all(env.state_space.contains(state) for state in course[1::2])
    for given in course[::2]:
        for agent, seen in given[0].items():
            assert env.observation_space(agent).contains(seen)
            assert seen["action_mask"][-1] == 1
    assert all(type(reward) is float for given in course[2::2] for reward in given[1].values())


@kinds
def test_same_seed_and_actions_give_the_same_bytes(options: Options) -> None:
    first = course_of(generals_env.parallel_env(**options), 5)
    env = generals_env.parallel_env(**options)
    assert not same(course_of(env, 6), first)
    assert same(course_of(env, 5), first)


def test_without_a_seed_the_stream_of_maps_goes_on() -> None:
    maps = []
    for _ in range(2):
        env = generals_env.make(height=8, width=8)
        for seed in (4, None, None):
            env.reset(seed=seed)
            maps.append(env.state().tobytes())
    assert maps[:3] == maps[3:]
    assert len(set(maps)) == 3


@kinds
def test_aec_and_parallel_give_identical_games(options: Options) -> None:
    one, both = generals_env.make(max_turns=400, **options), generals_env.parallel_env(max_turns=400, **options)
    fallen = 0
    for seed in range(3):
        minds = {agent: Opponent("expander", player + seed) for player, agent in enumerate(both.possible_agents)}
        rng = np.random.default_rng(seed)
        one.reset(seed=seed)
        observations, _ = both.reset(seed=seed)
        while both.agents:
            acting = list(both.agents)
            actions = {agent: minds[agent](observations[agent]) for agent in acting}
            if rng.random() < 0.1:  # some illegal ones, too
                actions[acting[-1]] = int(rng.integers(passing(both)))
            if rng.random() < 0.005:
                both.surrender(acting[0])
                one.surrender(acting[0])
            for agent in acting:
                assert one.agent_selection == agent
                assert not one.terminations[agent]
                one.step(actions[agent])
            observations, rewards, *ends = both.step(actions)
            fallen += sum(ends[0].values())
            assert one.agents == acting
            assert same([one.rewards, one.terminations, one.truncations, one.infos], [rewards, *ends])
            assert same({agent: one.observe(agent) for agent in acting}, observations)
            assert same(one.state(), both.state())
            while one.agents and (one.terminations[one.agent_selection] or one.truncations[one.agent_selection]):
                agent = one.agent_selection
                assert same(one.last()[:2], (observations[agent], rewards[agent]))
                one.step(None)
            assert one.agents == both.agents
    assert fallen >= 3


def test_nobody_sees_anothers_choice_of_the_same_turn() -> None:
    env = generals_env.make(map="AB..\n....\n....\n....")
    env.reset()
    play(env, "- -")
    before = env.observe("player_1"), env.state()
    env.step(1)  # down
    assert env.agent_selection == "player_1"
    assert same((env.last()[0], env.state()), before)
    env.step(passing(env))
    assert env.state()[0, 1, 0] == 0


@faces
def test_an_illegal_action_counts_as_pass_and_is_reported(face: Any) -> None:
    env = face(map=DUEL)

    def turn(script: str) -> list[tuple[bool, int]]:
        result = play(env, script)
        infos = env.infos if result is None else result[4]
        return [(info["illegal_action"], info["illegal_actions"]) for info in infos.values()]

    for _ in range(2):
        env.reset()
        before = env.state()
        assert turn("A00r+B00d") == [(True, 1), (True, 1)]  # too small an army; not his
        assert same(env.state(), before)
        assert turn("A00u") == [(True, 2), (False, 1)]
        assert turn("A00r") == [(False, 2), (False, 1)]
        assert env.state()[0, 0, 1] == 0


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("A -9 l .\nB -9 o s\n# $3 d C\n. . . .", {}),
        ("A -9 B .\n. -9 . C\n# . . D\n. . . .", {"teams": (0, 0, 1, 1)}),
        ("A -9 B .\n. -9 # .\n. . . .\n-9 . . .", {"modifiers": ("torus",)}),
    ],
)
def test_the_mask_is_what_the_engine_accepts(text: str, options: Options) -> None:
    env = started(text, "- - A00r A01d+B02l A11r+B01d", **options)
    observations, *_ = idle(env, 1)
    for agent in env.agents:
        accepted = []
        for action in range(passing(env) + 1):
            infos = env.clone().step(dict.fromkeys(env.agents, passing(env)) | {agent: action})[4]
            accepted.append(not infos[agent]["illegal_action"])
        assert accepted == observations[agent]["action_mask"].astype(bool).tolist()
        assert 1 < sum(accepted) < 40


@pytest.mark.parametrize(("armies", "held"), [((7, 3), [0, 0, 0, 1, 1]), ((3, 7), [0, 0, 1, 1, 1])])
def test_two_players_may_move_onto_one_tile_in_one_turn(armies: tuple[int, int], held: list[int]) -> None:
    env = started("A -{} . -{} B\n".format(*armies) + ". . . . .\n" * 3, "- - A00r+B04l")
    result = play(env, "A01r+B03l")
    assert env.state()[0, 0].tolist() == held
    assert env.state()[1, 0, 2] == 4
    assert told(result) == ([0, 0], [False] * 2, [False] * 2)
    assert not any(info["illegal_action"] for info in result[4].values())


def test_in_a_free_for_all_the_eliminated_get_minus_one_once_and_the_last_plus_one() -> None:
    env = started(RAID, MARCH)
    result = play(env, "A01r")
    assert told(result) == ([0, -1, 0], [False, True, False], [False] * 3)
    assert result[0]["player_1"]["action_mask"].sum() == 1
    assert (env.agents, env.is_game_over(), env.get_winner()) == (["player_0", "player_2"], False, -1)
    assert told(play(env, TO_THE_LAST)) == ([1, -1], [True] * 2, [False] * 2)
    assert (env.agents, env.is_game_over(), env.get_winner()) == ([], True, 0)


def test_in_aec_the_eliminated_hear_of_it_once_and_leave() -> None:
    env = generals_env.make(map=RAID)
    env.reset()
    script = iter(f"{MARCH} A01r {TO_THE_LAST}".split())
    heard = []
    while env.agents:
        if env.terminations[env.agent_selection]:
            heard.append((env.agent_selection, env.last()[1]))
            env.step(None)
        else:
            assert not any(env.rewards[agent] for agent in env.agents)
            play(env, next(script))
    assert heard == [("player_1", -1.0), ("player_0", 1.0), ("player_2", -1.0)]
    assert next(script, None) is None


def test_a_team_wins_and_loses_together() -> None:
    env = started(TEAM_RAID, MARCH, teams=(0, 0, 1, 1))
    for word in f"A01r {TO_THE_LAST}".split():
        result = play(env, word)
        if env.agents:  # without his general player_2 is an agent still, who can but pass
            assert told(result) == ([0] * 4, [False] * 4, [False] * 4)
            assert result[0]["player_2"]["action_mask"].nonzero()[0].tolist() == [passing(env)]
            assert env.agents == env.possible_agents
    assert told(result) == ([1, 1, -1, -1], [True] * 4, [False] * 4)
    assert env.get_winner() == 0


def test_who_surrenders_loses_at_once_and_the_land_turns_neutral_50_turns_later() -> None:
    env = started("A...\n...B\n....\nC...", "- - B13l - -")
    env.surrender("player_1")
    assert told(idle(env, 1)) == ([0, -1, 0], [False, True, False], [False] * 3)
    assert env.agents == ["player_0", "player_2"]
    idle(env, 49)
    assert env.game.turn == 55
    before = env.state()
    assert (before[0] == 1).sum() == 2
    assert before[1:, 1, 3].tolist() == [1 + 55 // 2 - 1 + 1, codes.GENERAL]  # it went on growing
    idle(env, 1)
    assert not (env.state()[0] == 1).any()
    assert env.state()[1:, 1, 3].tolist() == [before[1, 1, 3], codes.CITY]


def test_land_that_turns_over_is_neutral_for_the_moves_of_that_turn() -> None:
    env = started("A -300 B .\n. . . .\n. . . .\n. . . C", "- - A00r+B02r")
    env.surrender("player_1")
    idle(env, 50)
    assert env.state()[0, 0].tolist() == [0, 0, 1, 1]
    play(env, "A01r")
    assert env.state()[0, 0].tolist() == [0, 0, 0, -1]  # had it been a general still, all his land would have been taken
    assert env.state()[2, 0, 2] == codes.CITY


def test_the_land_of_a_team_mate_who_surrendered_goes_to_the_first_who_lives() -> None:
    env = started("A..B\n....\n....\nC..D", "- - -", teams=(0, 1, 0, 1))
    env.surrender("player_2")
    result = idle(env, 1)
    assert told(result) == ([0] * 4, [False] * 4, [False] * 4)
    assert result[0]["player_2"]["action_mask"].sum() == 1
    idle(env, 49)
    assert env.state()[0, 3, 0] == 2
    idle(env, 1)
    assert env.state()[0, 3, 0] == 0
    env.surrender("player_0")
    assert told(idle(env, 1)) == ([-1, 1, -1, 1], [True] * 4, [False] * 4)


@pytest.mark.parametrize(("losers", "rewards", "winner"), [("01", [0, 0], -1), ("0", [-1, 1], 1), ("1", [1, -1], 0)])
def test_when_all_surrender_it_is_a_draw(losers: str, rewards: list[float], winner: int) -> None:
    env = started(script="- -")
    for loser in losers:
        env.surrender(f"player_{loser}")
    assert told(idle(env, 1)) == (rewards, [True, True], [False, False])
    assert (env.is_game_over(), env.get_winner()) == (True, winner)


def test_who_surrenders_after_choosing_does_not_move() -> None:
    env = generals_env.make(map="A..B\n....\n....\n...C")
    env.reset()
    play(env, "- -")
    env.step(3)  # right
    env.surrender("player_0")
    env.step(passing(env))
    env.step(passing(env))
    assert (env.state()[0] == 0).sum() == 1
    assert env.last()[1:4] == (-1.0, True, False)


def test_max_turns_truncates() -> None:
    env = started(max_turns=3)
    assert told(idle(env, 2)) == ([0, 0], [False] * 2, [False] * 2)
    assert told(idle(env, 1)) == ([0, 0], [False] * 2, [True] * 2)
    env = started("A -300 B .\n. . . .\n. . . .\n. . . .", MARCH, max_turns=4)
    assert told(play(env, "A01r")) == ([1, -1], [True] * 2, [False] * 2)  # a win on the last turn is a win


def test_when_nobody_moves_the_strongest_wins() -> None:
    env = started(script="- - B34u", max_turns=5000)
    idle(env, 1999)
    assert not env.is_game_over()
    assert told(idle(env, 1))[0] == [-1, 1]


@pytest.mark.parametrize(("teams", "lost"), [(None, [-0.1, 0.1, 0]), ((0, 0, 1), [0, 0, 0])])
def test_a_city_is_worth_a_tenth_and_costs_a_tenth_but_not_between_friends(teams: Any, lost: list[float]) -> None:
    env = started("A $0 -9 B\n. . . .\n. . . .\n. . . C", "- -", teams=teams)
    assert rewards_of(play(env, "A00r+B03l")) == [0.1, 0, 0]
    assert rewards_of(play(env, "B02l")) == lost
    assert env.state()[0, 0].tolist() == [0, 1, 1, 1]


def test_a_captured_general_counts_as_a_general_and_never_as_a_city() -> None:
    env = started(TEAM_RAID, MARCH, teams=(0, 0, 1, 1), reward=RewardConfig(enemy_general_captured=0.5, own_general_lost=-0.25))
    assert rewards_of(play(env, "A01r")) == [0.5, 0, -0.25, 0]
    assert env.state()[2, 0, 2] == codes.CITY


def test_the_original_reward_is_the_formula_of_the_wire_and_winning_replaces_it() -> None:
    env = started(RAID, reward=RewardConfig.original())
    assert rewards_of(idle(env, 1)) == [-0.05 / 3] * 3  # one man against two
    assert rewards_of(idle(env, 1)) == [0.001 - 0.05 / 3] * 3
    gained, lost = 0.05 * (302 - 4) / 306, 0.05 * (2 - 304) / 306
    assert rewards_of(play(env, "A00r")) == [0.01 + 0.3 + gained, lost, lost]
    # 300 men against 2 leave 298; then the three generals grow, one of which is a city now.
    advantage = 0.05 * (302 - 3) / 305
    assert rewards_of(play(env, "A01r")) == [0.01 + 0.5 + advantage, -1, 0.001 - advantage]
    assert told(play(env, TO_THE_LAST))[0] == [1, -1]


def test_armies_of_zero_give_no_advantage() -> None:
    rewards, result = np.ones(2, np.float32), np.zeros(2, np.int8)
    score_turn(codes.empty_boards(2, 4, 4, 2), 0, 1, result == 0, result, RewardConfig.original().weights(), rewards)
    assert rewards.tolist() == [0, 0]


def test_enemies_are_out_of_sight_at_first() -> None:
    env = generals_env.parallel_env()
    for seed in range(10):
        for seen in env.reset(seed=seed)[0].values():
            assert not seen["observation"][[1, 3]].any()
            assert seen["observation"][7].sum() <= 9


@pytest.mark.parametrize("options", [*KINDS, {"height": 6, "width": 6, "fog": False}])
def test_an_observation_shows_the_board_after_the_turn_and_nothing_unseen(options: Options) -> None:
    env = generals_env.parallel_env(**options)
    teams = np.array(env.config.teams or range(env.config.players))
    course = course_of(env, 2, 80)
    for given, (owner, _, terrain) in zip(course[::2], course[1::2], strict=True):
        for agent, observation in given[0].items():
            mine = np.isin(owner, np.flatnonzero(teams == teams[env.index[agent]]))
            around = np.lib.stride_tricks.sliding_window_view(np.pad(mine, 1), (3, 3))
            seen = around.any(axis=(2, 3)) | (not env.config.fog)
            channels = observation["observation"]
            assert not channels[:7, ~seen].any()
            shown = [mine, (owner >= 0) & ~mine, owner == -1, np.isin(terrain, (codes.CITY, codes.GENERAL)), owner < -1]
            assert np.array_equal(channels[2:], [*(plane & seen for plane in shown), seen, ~seen])


@faces
def test_what_was_handed_out_does_not_change_and_changes_nothing(face: Any) -> None:
    env = face(map=DUEL)
    result = env.reset()
    handed = {agent: env.observe(agent) for agent in env.agents} if result is None else result[0]
    handed |= {"state": env.state(), **env.board()._asdict()}
    kept = copy.deepcopy(handed)
    play(env, "- - A00r -")
    assert same(handed, kept)
    control = face(map=DUEL)
    control.reset()
    play(control, "- - A00r -")
    for array in [*handed["player_0"].values(), *env.board()[:3], env.state()]:
        array[:] = 0
    assert same(play(env, "-"), play(control, "-"))
    assert same((env.state(), env.game.observation(0)), (control.state(), control.game.observation(0)))


@kinds
def test_copies_continue_like_the_original_and_apart_from_it(options: Options) -> None:
    env, restored = (generals_env.make(max_turns=70, **options) for _ in range(2))
    for number, each in enumerate((env, restored)):
        each.reset(seed=8 - number)
    rng = np.random.default_rng(2)
    for _ in range(30 * env.num_agents + 1):  # in the middle of a turn
        env.step(any_legal(env.last()[0]["action_mask"], rng) if rng.random() < 0.9 else 0)
    restored.restore(env)
    copies = [env.clone(), pickle.loads(pickle.dumps(env)), copy.deepcopy(env), restored, env]
    courses = [go_on(each, 200) for each in copies]
    assert len(courses[0]) > 150
    assert all(same(course, courses[0]) for course in courses)


def test_a_parallel_environment_goes_back_to_where_it_was() -> None:
    env = started(RAID, MARCH)
    fork = env.clone()
    first = play(env, "A01r")
    env.restore(fork)
    assert same(play(env, "A01r"), first)
    assert same(play(pickle.loads(pickle.dumps(fork)), "A01r"), first)


def test_boards_of_drawn_sizes_are_padded_right_and_below_with_mountains() -> None:
    env = generals_env.parallel_env(height=(5, 7), width=(6, 9))
    drawn = set()
    for seed in range(60):
        observations, _ = env.reset(seed=seed)
        rows, columns = (int(env.board().games[0][name]) for name in ("rows", "columns"))
        drawn.add((rows, columns))
        assert observations["player_0"]["observation"].shape == (9, 7, 9)
        for plane, value in zip(env.state(), (-2, 0, codes.MOUNTAIN), strict=True):
            assert (plane[rows:] == value).all()
            assert (plane[:, columns:] == value).all()
    assert drawn == {(rows, columns) for rows in range(5, 8) for columns in range(6, 10)}


def test_state_is_owner_army_and_terrain_and_texts_know_every_symbol() -> None:
    assert started("ABCD\nEFGH\nIJKL\nMNOP").state()[0].ravel().tolist() == list(range(16))
    state = started(".#0x\nsdlo\n....\nA9.B").state()
    assert state[0].tolist() == [[-1, -2, -1, -1], [-1, -1, -5, -6], [-1] * 4, [0, -1, -1, 1]]
    assert state[1].tolist() == [[0, 0, 40, 50], [0] * 4, [0] * 4, [1, 49, 0, 1]]
    names = ["PLAIN MOUNTAIN CITY CITY", "SWAMP DESERT LOOKOUT OBSERVATORY", "PLAIN " * 4, "GENERAL CITY PLAIN GENERAL"]
    assert state[2].tolist() == [[getattr(codes, name) for name in row.split()] for row in names]
    assert same(started(" . # $40 x \n s d l o \n . . . . \n A $49 . B\n").state(), state)
    armies = started("$0 +7 -7 +0\n. . . .\n. . . .\nA . . B").state()[1:, 0]
    assert armies.tolist() == [[0, 7, -7, 0], [codes.CITY, codes.PLAIN, codes.PLAIN, codes.PLAIN]]


CHASE = ("A -200 -150 B\n. . . .\n. . . .\n. . . .", "- - A00r+B03l - A01d+B02l")  # who is attacked moves away


@pytest.mark.parametrize(("rules", "held"), [("live", [0, 1]), ("v15", [0, 1]), ("v14", [1, 149]), ("v5", [1, 149])])
def test_rules_of_a_version_order_the_moves(rules: str, held: list[int]) -> None:
    assert started(*CHASE, rules=rules).state()[:2, 0, 1].tolist() == held


@pytest.mark.parametrize(
    ("name", "text", "script", "where", "off", "on"),
    [
        ("torus", DUEL, "- - A00u", (0, 3, 0), -1, 0),
        ("leapfrog", RAID, f"{MARCH} A01r", (2, 0, 0), codes.GENERAL, codes.CITY),
        ("defenseless", "A.B.\n....\n....\n....", f"{MARCH} - A00r A01r", (0, 0, 2), 1, 0),
        ("slippery", *CHASE, (0, 0, 1), 0, 1),
    ],
)
def test_modifiers_are_in_force(name: str, text: str, script: str, where: Any, off: int, on: int) -> None:
    assert started(text, script).state()[where] == off
    assert started(text, script, modifiers=[name]).state()[where] == on
