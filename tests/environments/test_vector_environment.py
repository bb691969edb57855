"""Tests vector environments: their games equal those of parallel environments, whatever the threads, copies and resets."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from support.comparisons import differences
from support.helpers import DUEL, MARCH, RAID, TEAM_RAID, TO_THE_LAST, Options, move, same, started
from support.refusals import refused

import generals_env
from generals_env import ActionError, ConfigError, MapError, OptionError, RewardConfig, StateError
from generals_env.engine.policies.reference import expander_action, random_action
from generals_env.opponents import POLICY_NAMES
from generals_env.vector import GeneralsVector, PlayCounts

SAME_STEP, NEXT_STEP, DISABLED = AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED

TERRAINS = "A . # . l . .\n. s -1500 d . 3 .\n. . . . # . B\no . $7 +2 . . .\n. s . . d x .\nC . . # . . ."
DRAWN: Options = {"players": 3, "height": (5, 7), "width": (6, 8)}
TEAMS: Options = {"players": 4, "height": 6, "width": 7, "teams": (0, 1, 0, 1)}
EIGHT: Options = {"players": 8, "height": 8, "width": 8}

CASES: dict[str, Options] = {
    "2 players": {"height": 6, "width": 6},
    "3 players on drawn sizes": DRAWN,
    "4 players in teams": TEAMS,
    "8 players": EIGHT,
    "a map of all terrains": {"map": TERRAINS},
    "torus": {**DRAWN, "modifiers": ("torus",)},
    "leapfrog": {"players": 4, "height": 6, "width": 6, "modifiers": ("leapfrog",)},
    "defenseless": {**DRAWN, "modifiers": ("defenseless",)},
    "slippery": {**DRAWN, "modifiers": ("slippery",)},
    "all modifiers in teams": {**TEAMS, "modifiers": ("torus", "leapfrog", "defenseless", "slippery")},
    "no fog": {**DRAWN, "fog": False},
    "no fog on a torus": {**DRAWN, "fog": False, "modifiers": ("torus",)},
    "full": {**DRAWN, "observation": "full"},
    "full in teams on a torus": {**TEAMS, "observation": "full", "modifiers": ("torus",)},
    "full, 8 players, no fog": {**EIGHT, "observation": "full", "fog": False},
    "full on a map of all terrains": {"map": TERRAINS, "observation": "full"},
    "original reward": {**DRAWN, "reward": RewardConfig.original()},
    "original reward in teams": {**TEAMS, "reward": RewardConfig.original()},
    "v3": {**DRAWN, "rules": "v3"},
    "v5": {**DRAWN, "rules": "v5"},
    "v13": {**TEAMS, "rules": "v13"},
}


class Peers:
    """The expected results of a vector environment, from as many parallel environments: slow and obvious."""

    def __init__(self, count: int, mode: AutoresetMode = SAME_STEP, **options: Any) -> None:
        self.games = [generals_env.parallel_env(**options) for _ in range(count)]
        self.mode = mode
        self.players = self.games[0].config.players
        self.over = np.zeros(count, np.bool_)
        self.views: list[dict[str, np.ndarray]] = [{}] * count
        self.illegal = np.zeros((count, self.players), np.bool_)
        self.counts = np.zeros((count, self.players), np.int64)
        self.finals: list[Any] = []
        self.happened: Counter[str] = Counter()

    def reset(self, seeds: list[int | None], mask: np.ndarray | None = None) -> tuple[Any, ...]:
        for i, seed in enumerate(seeds):
            if mask is None or mask[i]:
                self.begin(i, seed)
        return self.observations(), self.infos(mask)

    def begin(self, i: int, seed: int | None = None) -> None:
        observations, _ = self.games[i].reset(seed=seed)
        self.views[i] = self.view(i, observations)
        self.illegal[i], self.counts[i], self.over[i] = False, 0, False
        self.happened["begun"] += 1

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        shape = actions.shape
        rewards, terminated, truncated = np.zeros(shape, np.float32), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        waiting = self.over.copy()
        for i in range(len(self.games)):
            if waiting[i]:
                self.begin(i)
            else:
                self.play(i, actions[i], rewards[i], terminated[i], truncated[i])
        ended = self.over & ~waiting
        infos: dict[str, Any] = {}
        if self.mode is SAME_STEP and ended.any():
            self.finals = [self.games[i].board() for i in np.flatnonzero(ended)]
            infos |= {"final_obs": [view if over else None for view, over in zip(self.views, ended, strict=True)]}
            infos |= {"_final_obs": ended, "_final_info": ended}
            infos |= {"final_info": {name: array[ended] for name, array in self.infos().items()}}
            for i in np.flatnonzero(ended):
                self.begin(int(i))
        return self.observations(), rewards, terminated, truncated, infos | self.infos()

    def play(self, i: int, actions: np.ndarray, rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray) -> None:
        game = self.games[i]
        acting = list(game.agents)
        result = game.step({agent: actions[game.index[agent]] for agent in acting})
        out = np.ones(self.players, np.bool_)
        for agent in acting:
            player = game.index[agent]
            out[player] = False
            rewards[player], terminated[player], truncated[player] = (part[agent] for part in result[1:4])
            self.illegal[i, player] = result[4][agent]["illegal_action"]
            self.counts[i, player] = result[4][agent]["illegal_actions"]
        self.illegal[i, out] = actions[out] != game.action_space("player_0").n - 1  # may only pass
        self.counts[i] += self.illegal[i] & out
        self.views[i] = self.view(i, {agent: result[0][agent] for agent in game.agents or acting})
        self.over[i] = not game.agents
        self.count(i, acting, terminated, truncated)

    def count(self, i: int, acting: list[str], terminated: np.ndarray, truncated: np.ndarray) -> None:
        game = self.games[i]
        self.happened["ended"] += not game.agents
        self.happened["truncated"] += bool(truncated.any())
        self.happened["won"] += bool(not game.agents and terminated.any())
        self.happened["eliminated"] += len(acting) - len(game.agents) if game.agents else 0
        self.happened["captured"] += bool((game.board().players["general"] == -1).any())
        self.happened["land grew"] += game.game.turn % 50 == 0
        self.happened["illegal"] += int(self.illegal[i].sum())

    def view(self, i: int, observations: dict[str, dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return observations of all seats; eliminated players get zeros and may only pass."""
        game = self.games[i]
        space = game.observation_space("player_0")
        view = {name: np.zeros((self.players, *space[name].shape), space[name].dtype) for name in space}
        view["action_mask"][:, -1] = 1
        for agent, seen in observations.items():
            for name, array in seen.items():
                view[name][game.index[agent]] = array
        return view

    def observations(self) -> dict[str, np.ndarray]:
        return {name: np.stack([view[name] for view in self.views]) for name in ("observation", "action_mask")}

    def infos(self, which: np.ndarray | None = None) -> dict[str, np.ndarray]:
        every = np.ones(len(self.games), np.bool_) if which is None else which
        told = {"illegal_action": self.illegal.copy(), "illegal_actions": self.counts.copy()}
        return told | {"_" + name: every for name in told}

    def state(self) -> np.ndarray:
        return np.stack([game.state() for game in self.games])


def plain(result: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the result of ``step`` without arrays of objects, with final infos of ended games only."""
    infos = dict(result[4])
    if "final_obs" in infos:
        assert infos["final_obs"].dtype == object
        infos["final_obs"] = infos["final_obs"].tolist()
        infos["final_info"] = {name: array[infos["_final_info"]] for name, array in infos["final_info"].items()}
    return *result[:4], infos


def crowd(players: int) -> list[str]:
    """Return the policies by seat: every other one is an expander."""
    return ["random" if seat % 2 else "expander" for seat in range(players)]


def mixed(venv: Any, rng: np.random.Generator) -> np.ndarray:
    """Return actions of policies, some passes, and some arbitrary actions."""
    actions = venv.act(crowd(venv.config.players))
    chance = rng.random(actions.shape)
    actions[chance < 0.1] = venv.config.actions - 1
    return np.where(chance < 0.05, rng.integers(venv.config.actions, size=actions.shape), actions)


@pytest.mark.parametrize("case", CASES)
def test_every_game_equals_parallel_environment_over_several_resets(case: str) -> None:
    options: Options = {"max_turns": 120, **CASES[case]}
    venv, peers = generals_env.make_vec(3, **options), Peers(3, **options)
    assert differences(venv.reset(seed=11), peers.reset([11, 12, 13])) == []
    rng = np.random.default_rng(3)
    for turn in range(300):
        actions = mixed(venv, rng)
        told = peers.step(actions)
        assert differences(plain(venv.step(actions)), told, f"turn {turn}:") == []
        assert differences(venv.state(), peers.state(), f"state after turn {turn}") == []
        if "final_obs" in told[4]:
            finals = [np.concatenate(rows) for rows in zip(*peers.finals, strict=True)]
            assert differences(list(venv.final_boards), finals, f"final boards of turn {turn}") == []
    happened = peers.happened
    assert happened["begun"] >= 9
    assert happened["ended"] == happened["begun"] - 3
    assert happened["illegal"] > 50
    for name in ("won", "captured", "land grew"):
        assert happened[name] > 0, name
    if peers.players > 2 and "teams" not in options:
        assert happened["eliminated"] > 0


EDGE = "." * 61
LARGE: dict[str, Options] = {
    "wide": {"map": f"{EDGE}B.A\n{EDGE}...\n{EDGE}.9.\n{EDGE}..C"},
    "wide torus": {"map": f"A.{EDGE}B\n..{EDGE}.\nC.{EDGE}.\n..{EDGE}D", "modifiers": ("torus",), "observation": "full"},
    "high": {"map": "A.B.\n" + "....\n" * 62 + "C.#.", "modifiers": ("torus",)},
    "64x64": {"height": 64, "width": 64, "players": 16},
    "drawn up to 64x64": {"height": (4, 64), "width": (8, 64), "observation": "full"},
}


@pytest.mark.parametrize("case", LARGE)
def test_largest_boards_play_like_all_others(case: str) -> None:
    venv, peers = generals_env.make_vec(2, **LARGE[case]), Peers(2, **LARGE[case])
    assert differences(venv.reset(seed=1), peers.reset([1, 2])) == []
    rng = np.random.default_rng(2)
    for turn in range(110 if "map" in LARGE[case] else 60):
        actions = mixed(venv, rng)
        told = peers.step(actions)
        assert differences(plain(venv.step(actions)), told, f"turn {turn}:") == []
        assert differences(venv.state(), peers.state(), f"state after turn {turn}") == []
    assert (peers.happened["captured"] > 0) == ("map" in LARGE[case])


def test_games_are_truncated() -> None:
    venv, peers = generals_env.make_vec(2, map=DUEL, max_turns=5), Peers(2, map=DUEL, max_turns=5)
    venv.reset(seed=1)
    peers.reset([1, 2])
    passes = np.full((2, 2), venv.config.actions - 1)
    for turn in range(12):
        told = peers.step(passes)
        assert differences(plain(venv.step(passes)), told, f"turn {turn}:") == []
        assert told[3].all() == (turn % 5 == 4)
    assert peers.happened["truncated"] == 4


def test_strongest_player_wins_when_no_player_moves() -> None:
    options: Options = {"map": DUEL, "max_turns": 5000}
    venv, peers = generals_env.make_vec(1, **options), Peers(1, **options)
    venv.reset(seed=0)
    peers.reset([0])
    actions = np.full((1, 2), venv.config.actions - 1)
    for turn in range(2100):
        actions[0, 1] = 4 * 19 + 2 if turn == 50 else venv.config.actions - 1  # left
        told = peers.step(actions)
        assert differences(plain(venv.step(actions)), told, f"turn {turn}:") == []
        if peers.happened["ended"]:
            break
    assert told[1].tolist() == [[-1, 1]]
    assert turn > 2000


def acting(text: str, script: str, seats: int, **options: Any) -> list[np.ndarray]:
    """Return the actions of a script of ``helpers.play`` as arrays for one game, (1, seats) each."""
    env = started(text, **options)
    turns = []
    for word in script.split():
        turns.append(np.full((1, seats), env.action_space("player_0").n - 1))
        for one in word.split("+"):
            if one != "-":
                agent, action = move(env, one)
                turns[-1][0, env.index[agent]] = action
    return turns


def test_eliminated_player_gets_zero_observation_and_one_termination() -> None:
    venv = generals_env.make_vec(1, map=RAID)
    venv.reset()
    for actions in acting(RAID, f"{MARCH} A01r", 3):
        observations, rewards, terminated, truncated, infos = venv.step(actions)
    assert (rewards.tolist(), terminated.tolist(), truncated.any()) == ([[0, -1, 0]], [[False, True, False]], False)
    assert not {"final_obs", "final_info"} & infos.keys()
    passing = venv.config.actions - 1
    for number, actions in enumerate(acting(RAID, TO_THE_LAST, 3)):
        assert not observations["observation"][0, 1].any()
        assert observations["observation"][0, 0].any()
        assert observations["action_mask"][0, 1].nonzero()[0].tolist() == [passing]
        assert venv.act(["random", "random", "random"])[0, 1] == passing
        actions[0, 1] = number  # may only pass
        observations, rewards, terminated, truncated, infos = venv.step(actions)
        if number < 3:
            assert (rewards.any(), terminated.any(), truncated.any()) == (False, False, False)
            assert infos["illegal_actions"].tolist() == [[0, number + 1, 0]]
            assert infos["illegal_action"].tolist() == [[False, True, False]]
    assert (rewards.tolist(), terminated.tolist()) == ([[1, 0, -1]], [[True, False, True]])
    assert not infos["final_obs"][0]["observation"][1].any()
    assert infos["final_info"]["illegal_actions"].tolist() == [[0, 4, 0]]
    assert infos["illegal_actions"].tolist() == [[0, 0, 0]]
    assert not infos["illegal_action"].any()


def test_team_continues_without_one_of_its_generals() -> None:
    options: Options = {"map": TEAM_RAID, "teams": (0, 0, 1, 1)}
    venv, peers = generals_env.make_vec(1, **options), Peers(1, **options)
    venv.reset(seed=0)
    peers.reset([0])
    for actions in acting(TEAM_RAID, f"{MARCH} A01r {TO_THE_LAST}", 4, teams=(0, 0, 1, 1)):
        told = peers.step(actions)
        assert differences(plain(venv.step(actions)), told) == []
    assert (told[1].tolist(), told[2].all()) == ([[1, 1, -1, -1]], True)


# --- Resets of ended games ------------------------------------------------------------------------------------------------

MODES: dict[str, Options] = {
    "2 players": {"height": 6, "width": 6},
    "3 players on drawn sizes": {**DRAWN, "observation": "full"},
    "4 players in teams": TEAMS,
    "a map": {"map": TERRAINS},
}


@pytest.mark.parametrize("case", MODES)
def test_next_step_mode_resets_in_next_step_and_ignores_its_action(case: str) -> None:
    options: Options = {"max_turns": 50, **MODES[case]}
    venv, peers = generals_env.make_vec(4, autoreset_mode=NEXT_STEP, **options), Peers(4, NEXT_STEP, **options)
    assert differences(venv.reset(seed=5), peers.reset([5, 6, 7, 8])) == []
    rng = np.random.default_rng(4)
    ignored = by_hand = 0
    for turn in range(180):
        actions = mixed(venv, rng)
        waiting = peers.over.copy()
        actions[waiting] = rng.integers(venv.config.actions, size=actions[waiting].shape)
        told = peers.step(actions)
        assert differences(plain(venv.step(actions)), told, f"turn {turn}:") == []
        assert differences(venv.state(), peers.state(), f"state after turn {turn}") == []
        assert not any(told[k][waiting].any() for k in (1, 2, 3))
        ignored += int(waiting.sum())
        if turn == 20:
            mask = np.array([True, False, True, False])
            assert differences(venv.reset(options={"reset_mask": mask}), peers.reset([None] * 4, mask)) == []
        if turn > 90 and by_hand < 1 and peers.over.any():  # a reset by hand leaves no game waiting
            by_hand += 1
            assert differences(venv.reset(), peers.reset([None] * 4)) == []
    assert ignored >= 8
    assert by_hand == 1
    assert peers.happened["truncated"] > 0


@pytest.mark.parametrize("case", MODES)
def test_disabled_mode_resets_games_by_mask(case: str) -> None:
    options: Options = {"max_turns": 50, **MODES[case]}
    venv, peers = generals_env.make_vec(4, autoreset_mode=DISABLED, **options), Peers(4, DISABLED, **options)
    assert differences(venv.reset(seed=5), peers.reset([5, 6, 7, 8])) == []
    rng = np.random.default_rng(5)
    resets = 0
    for turn in range(200):
        actions = mixed(venv, rng)
        told = peers.step(actions)
        assert differences(plain(venv.step(actions)), told, f"turn {turn}:") == []
        assert "final_obs" not in told[4]
        if not peers.over.any():
            continue
        before = venv.state()
        with refused(StateError, "step: expected a reset of ended games"):
            venv.step(actions)
        assert same(venv.state(), before)
        mask = peers.over.copy()
        seeds: list[int | None] = [None, 100 + turn, None, 200 + turn]
        if resets % 2:
            mask[resets % 4] = True  # of a running game, too
            seeds = [None] * 4
        reset = venv.reset(seed=seeds if not resets % 2 else None, options={"reset_mask": mask})
        assert differences(reset, peers.reset(seeds, mask), f"reset after turn {turn}:") == []
        assert differences(venv.state(), peers.state(), f"state after turn {turn}") == []
        resets += 1
    assert resets > 3


def test_game_that_was_not_reset_stays_ended() -> None:
    venv = generals_env.make_vec(3, map=DUEL, max_turns=2, autoreset_mode=DISABLED)
    venv.reset()
    actions = np.zeros((3, 2), np.int64)
    for _ in range(2):
        venv.step(actions)
    venv.reset(options={"reset_mask": np.array([True, False, True])})
    with refused(StateError, "step: expected a reset of ended games"):
        venv.step(actions)
    venv.reset(options={"reset_mask": np.array([False, True, False])})
    venv.step(actions)


def test_mask_and_seed_start_same_games_in_every_mode() -> None:
    for mode in AutoresetMode:
        venv, peers = generals_env.make_vec(3, autoreset_mode=mode.value, **DRAWN), Peers(3, mode, **DRAWN)
        venv.reset(seed=5)
        peers.reset([5, 6, 7])
        options = {"reset_mask": np.array([False, True, True]), "more": 1}
        assert differences(venv.reset(seed=30, options=options), peers.reset([30, 31, 32], options["reset_mask"])) == []
        assert differences(venv.state(), peers.state()) == []
        assert list(options) == ["reset_mask", "more"]
        assert venv.metadata["autoreset_mode"] is mode


# --- Seeds, threads, copies -----------------------------------------------------------------------------------------------


def test_seeds_may_be_one_or_many_and_none_continues() -> None:
    maps = []
    for seeds in (7, [7, 8, 9], (7, 8, 9), np.array([7, 8, 9]), np.int64(7)):
        venv = generals_env.make_vec(3, **DRAWN)
        course = []
        for seed in (seeds, None, [None, 3, None], None):
            venv.reset(seed=seed)
            course.append(venv.state())
        maps.append(course)
    assert all(same(course, maps[0]) for course in maps)
    assert len({one.tobytes() for course in maps[0] for one in course}) == 12
    peers = Peers(3, **DRAWN)
    for seed, state in zip(([7, 8, 9], [None] * 3, [None, 3, None], [None] * 3), maps[0], strict=True):
        peers.reset(list(seed))
        assert same(peers.state(), state)


def test_games_without_seed_differ() -> None:
    states = []
    for _ in range(2):
        venv = generals_env.make_vec(3, height=9, width=9)
        venv.reset()
        states += list(venv.state())
    venv.reset(seed=[4, None, 4])
    states += [venv.state()[1]]
    assert same(venv.state()[0], venv.state()[2])
    assert len({state.tobytes() for state in states}) == 7
    for _ in range(2):
        first = generals_env.make_vec(3, height=9, width=9)
        first.reset(seed=[4, None, 4])
        assert same(first.state()[0], venv.state()[0])
        states.append(first.state()[1])
    assert len({state.tobytes() for state in states}) == 9


def course_of_games(seeds: list[int], turns: int = 150, **options: Any) -> list[list[Any]]:
    """Return all that happens in each game when its actions depend on its seed alone."""
    venv = generals_env.make_vec(len(seeds), **{**DRAWN, "max_turns": 60, **options})
    rngs = [np.random.default_rng(seed) for seed in seeds]
    course: list[list[Any]] = [[] for _ in seeds]
    venv.reset(seed=seeds)
    for _ in range(turns):
        actions = venv.act(crowd(venv.config.players))
        for i, rng in enumerate(rngs):
            if rng.random() < 0.2:
                actions[i, rng.integers(venv.config.players)] = rng.integers(venv.config.actions)
        result = plain(venv.step(actions))
        state = venv.state()
        finals = result[4].get("final_obs", [None] * len(seeds))
        told = [*result[0].values(), *result[1:4], result[4]["illegal_action"], result[4]["illegal_actions"]]
        for i, game in enumerate(course):
            game.extend([actions[i], state[i], finals[i], *(array[i] for array in told)])
    venv.close()
    return course


def test_results_do_not_depend_on_threads_or_other_games() -> None:
    seeds = [3, 14, 15, 92, 65]
    alone = [course_of_games([seed])[0] for seed in seeds]
    assert len({b"".join(state.tobytes() for state in course[1::10]) for course in alone}) == 5
    assert sum(final is not None for course in alone for final in course[2::10]) > 8
    for threads in (1, 2, 4, None, 99):
        assert differences(course_of_games(seeds, threads=threads), alone, f"{threads} threads:") == []
    assert differences(course_of_games(seeds[3:0:-1], threads=2), alone[3:0:-1]) == []
    assert differences(course_of_games([*seeds, 7, 8, 9], threads=3)[:5], alone) == []


def test_copies_never_change_and_do_not_affect_the_game() -> None:
    venv, control = (generals_env.make_vec(3, max_turns=40, **DRAWN) for _ in range(2))
    handed: list[Any] = [venv.reset(seed=2)]
    control.reset(seed=2)
    for turn in range(100):
        actions = venv.act(crowd(3))
        handed += [actions, venv.state(), list(venv.boards()), venv.observe(), plain(venv.step(actions))]
        assert same(control.act(crowd(3)), actions)
        assert same(plain(control.step(actions)), handed[-1])
        if turn == 50:
            kept = copy.deepcopy(handed)
            for array in arrays_in(handed[-5:]):
                array[:] = np.zeros_like(array)
            handed = handed[:-5]
            kept = kept[:-5]
    assert same(handed[: len(kept)], kept)
    finals = [result[4]["final_obs"] for result in handed[5::5] if "final_obs" in result[4]]
    assert len(finals) > 1


def arrays_in(thing: Any) -> list[np.ndarray]:
    """Return all arrays in nested lists, tuples and dicts."""
    if isinstance(thing, np.ndarray):
        return [thing]
    parts = thing.values() if isinstance(thing, dict) else thing if isinstance(thing, (tuple, list)) else ()
    return [array for part in parts for array in arrays_in(part)]


def test_without_copies_next_step_overwrites_all_but_final_observations() -> None:
    venv, control = (generals_env.make_vec(3, max_turns=40, copy=copies, **DRAWN) for copies in (False, True))
    first = venv.reset(seed=2)
    control.reset(seed=2)
    finals: list[Any] = []
    for _ in range(100):
        actions = venv.act(crowd(3))
        result = venv.step(actions)
        assert same(plain(result), plain(control.step(actions)))
        for name, array in first[0].items():
            assert np.shares_memory(array, result[0][name])
            assert same(array, result[0][name])
        for name, array in first[1].items():
            assert same(array, result[4][name])
        if "final_obs" in result[4]:
            finals.append((plain(result)[4]["final_obs"], copy.deepcopy(plain(result)[4]["final_obs"])))
    assert len(finals) > 1
    assert all(same(final, kept) for final, kept in finals)


def test_actions_may_be_any_integers_and_are_not_modified() -> None:
    venvs = [generals_env.make_vec(3, **TEAMS) for _ in range(5)]
    for venv in venvs:
        venv.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(30):
        actions = mixed(venvs[0], rng)
        strided = np.repeat(actions, 2, axis=1)[:, ::2]
        kinds = [actions, actions.astype(np.uint16), actions.tolist(), np.asfortranarray(actions), strided]
        kept = copy.deepcopy(kinds)
        results = [plain(venv.step(kind)) for venv, kind in zip(venvs, kinds, strict=True)]
        assert same(kinds, kept)
        assert all(same(result, results[0]) for result in results)
    assert results[0][4]["illegal_actions"].sum() > 5


# --- Built-in policies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*CASES][:7] + ["all modifiers in teams", "full", "wide", "high"])
def test_policies_choose_same_moves_as_in_single_game(case: str) -> None:
    venv = generals_env.make_vec(3, max_turns=100, **{**CASES, **LARGE}[case])
    observations, _ = venv.reset(seed=21)
    height, width = venv.config.shape
    moves = 0
    for turn in range(150):
        names = crowd(venv.config.players)[:: -1 if turn > 120 else 1]
        rngs = venv.batch.policy_rng.copy()
        expected = np.zeros((3, len(names)), np.int64)
        for game, seat in np.ndindex(expected.shape):
            tensor, mask = (observations[name][game, seat] for name in ("observation", "action_mask"))
            if names[seat] == "random":
                expected[game, seat] = random_action(mask, rngs[game], seat)
            else:
                tensor = tensor.reshape(len(tensor), -1)
                expected[game, seat] = expander_action(tensor, mask, height, width, rngs[game], seat)
            assert mask[expected[game, seat]] == 1
        actions = venv.act(names)
        assert differences(actions, expected, f"turn {turn}:") == []
        assert same(venv.batch.policy_rng, rngs)
        moves += int((actions < venv.config.actions - 1).sum())
        observations = venv.step(actions)[0]
    assert moves > 300


@pytest.mark.parametrize(
    "case", ["2 players", "3 players on drawn sizes", "4 players in teams", "full on a map of all terrains"]
)
def test_play_equals_repeated_act_and_step(case: str) -> None:
    played, stepped = (generals_env.make_vec(3, max_turns=120, threads=2, **CASES[case]) for _ in range(2))
    for venv in (played, stepped):
        venv.reset(seed=8)
    names = crowd(played.config.players)
    total = 0
    for turns in (1, 149, 150):
        games, wins, truncated = 0, np.zeros(len(names), np.int64), 0
        for _ in range(turns):
            result = stepped.step(stepped.act(names))
            games += int(result[4].get("_final_obs", np.zeros(0)).sum())
            truncated += int((result[3].any(axis=1) & ~(result[1] == 1).any(axis=1)).sum())
            wins += (result[1] == 1).sum(axis=0)
        expected = PlayCounts(3 * turns, games, tuple(wins.tolist()), 0, truncated, 0)
        assert played.play(turns, names) == expected
        assert differences(played.observe(), stepped.observe()) == []
        assert same(played.state(), stepped.state())
        assert same(played.act(names), stepped.act(names))
        total += wins.sum()
    assert games > 2
    assert total > 0


@pytest.mark.parametrize("mode", AutoresetMode)
def test_play_resets_ended_games_in_every_mode(mode: AutoresetMode) -> None:
    venv = generals_env.make_vec(2, map=DUEL, max_turns=3, autoreset_mode=mode)
    venv.reset()
    passes = np.full((2, 2), 160)
    for _ in range(3):
        venv.step(passes)
    assert venv.play(2, ["random", "random"]) == PlayCounts(4, 0, (0, 0), 0, 0, 0)
    assert venv.boards().games["turn"].tolist() == [2, 2]
    assert venv.step(passes)[3].all()
    assert venv.play(6, ["random", "random"]) == PlayCounts(12, 4, (0, 0), 0, 4, 0)
    assert venv.boards().games["turn"].tolist() == [0, 0]
    assert venv.observe()["observation"].any()
    venv.step(passes)
    assert venv.boards().games["turn"].tolist() == [1, 1]


# --- Spaces and bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["2 players", "a map of all terrains", "full in teams on a torus"])
def test_spaces_contain_observations(case: str) -> None:
    venv = generals_env.make_vec(3, max_turns=40, **CASES[case])
    assert isinstance(venv, gymnasium.vector.VectorEnv)
    assert venv.observation_space["observation"].shape == (3, *venv.single_observation_space["observation"].shape)
    assert venv.single_action_space.shape == (venv.config.players,)
    observations, _ = venv.reset(seed=4)
    venv.action_space.seed(1)
    for turn in range(60):
        assert venv.observation_space.contains(observations)
        first = {name: array[0] for name, array in observations.items()}
        assert venv.single_observation_space.contains(first)
        actions = venv.action_space.sample() if turn % 2 else venv.act(crowd(venv.config.players))
        assert venv.action_space.contains(actions)
        assert venv.single_action_space.contains(actions[0])
        observations, *_, infos = venv.step(actions)
        if "final_obs" in infos:
            assert all(venv.single_observation_space.contains(final) for final in infos["final_obs"][infos["_final_obs"]])
    assert (venv.action_space.high == venv.config.actions - 1).all()


INTEGERS = (0, -1, 1.0, "2", True, np.float64(2))
BAD_OPTIONS: list[tuple[Options, type[generals_env.GeneralsError], str]] = [
    *(({"num_envs": bad}, ConfigError, f"num_envs: expected a positive integer, got {bad!r}") for bad in (*INTEGERS, None)),
    *(({"threads": bad}, ConfigError, f"threads: expected a positive integer, got {bad!r}") for bad in INTEGERS),
    *(({"autoreset_mode": bad}, ConfigError, "autoreset_mode: expected one of ") for bad in ("always", None, 5, [])),
    (
        {"playrs": 2},
        OptionError,
        "make_vec() got an unexpected keyword argument 'playrs'; did you mean 'players'? expected one of ",
    ),
    ({"players": 17}, ConfigError, "players: expected an integer from 2 to 16, got 17"),
    ({"map": "A"}, MapError, "map: expected 4 to 64 rows of 4 to 64 tiles, got 1 rows of 1"),
]


@pytest.mark.parametrize(("options", "kind", "start"), BAD_OPTIONS, ids=[str(options) for options, _, _ in BAD_OPTIONS])
def test_options_are_checked(options: Options, kind: type[generals_env.GeneralsError], start: str) -> None:
    with refused(kind, start):
        generals_env.make_vec(**{"num_envs": 2, **options})


def twins(**options: Any) -> tuple[GeneralsVector, GeneralsVector]:
    """Return two equal environments of two games that have begun."""
    pair = [generals_env.make_vec(2, map=DUEL, **options) for _ in range(2)]
    for venv in pair:
        venv.reset(seed=6)
        for _ in range(30):
            venv.step(venv.act(["expander", "random"]))
    return pair[0], pair[1]


def check_untouched(venv: GeneralsVector, control: GeneralsVector) -> None:
    """Check that two environments continue equally, into the next games."""
    assert same(venv.state(), control.state())
    assert same(venv.observe(), control.observe())
    for _ in range(3):
        actions = control.act(["expander", "random"])
        assert same(venv.act(["expander", "random"]), actions)
        assert differences(plain(venv.step(actions)), plain(control.step(actions))) == []
    assert same(venv.reset(), control.reset())


NO_ACTIONS: dict[str, Any] = {
    "three games": np.zeros((3, 2), np.int64),
    "flat": np.zeros(4, np.int64),
    "no games": np.zeros((0, 2), np.int64),
    "a number": 5,
    "None": None,
    "a text": "actions",
    "a dict": {"player_0": 1},
    "float": np.zeros((2, 2)),
    "bool": np.zeros((2, 2), np.bool_),
    "objects": np.array([[None, 1], [2, 3]], dtype=object),
    "ragged": [[1, 2], [3]],
    "fractions": [[1, 2], [3, 4.5]],
}
NO_INDICES = (-1, 161, 2**62, -(2**63), 2**64 - 1)


@pytest.mark.parametrize("bad", NO_ACTIONS)
def test_actions_of_wrong_shape_or_type_leave_state_unchanged(bad: str) -> None:
    venv, control = twins()
    with refused(ActionError, "actions: expected integers of shape (2, 2), got "):
        venv.step(NO_ACTIONS[bad])
    check_untouched(venv, control)


@pytest.mark.parametrize("bad", NO_INDICES)
@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_actions_out_of_range_leave_state_unchanged(bad: int, place: tuple[int, int]) -> None:
    venv, control = twins()
    actions = np.zeros((2, 2), np.uint64 if bad >= 2**63 else np.int64)
    actions[place] = bad
    with refused(ActionError, f"actions: expected integers from 0 to 160, got {bad}"):
        venv.step(actions)
    check_untouched(venv, control)


BAD_POLICIES = ("random", ["random"], ["random"] * 3, ["random", "greedy"], [None, "random"], [0, 1], [], None, 5)


@pytest.mark.parametrize("bad", BAD_POLICIES, ids=repr)
def test_policies_are_one_name_per_player(bad: Any) -> None:
    venv, control = twins()
    calls: list[Callable[[Any], Any]] = [venv.act, lambda policies: venv.play(5, policies)]
    for call in calls:
        with refused(ConfigError, f"policies: expected one of {POLICY_NAMES} for each of 2 players, got {bad!r}"):
            call(bad)
    check_untouched(venv, control)


@pytest.mark.parametrize("bad", INTEGERS)
def test_turns_to_play_are_a_positive_integer(bad: Any) -> None:
    venv, control = twins()
    with refused(ConfigError, f"turns: expected a positive integer, got {bad!r}"):
        venv.play(bad, ["random", "random"])
    check_untouched(venv, control)


NO_SEED = "seed: expected a non-negative integer or None, got "
BAD_SEEDS: list[tuple[Any, str]] = [
    *((bad, "seed: expected a non-negative integer or None, got ") for bad in (-1, 1.5, "1", True, {1, 2}, -(10**5000))),
    *(
        (bad, "seed: expected a non-negative integer or None, got ")
        for bad in ([1, -2], [1.0, 2], ["1", 2], [True, 2], [[1], 2])
    ),
    *((bad, f"seed: expected one for each of 2 games, got {len(bad)}") for bad in ([], [1], (1, 2, 3), np.arange(3))),
]


@pytest.mark.parametrize(("bad", "start"), BAD_SEEDS, ids=[f"{type(bad).__name__} {k}" for k, (bad, _) in enumerate(BAD_SEEDS)])
def test_invalid_seeds_are_refused_and_change_nothing(bad: Any, start: str) -> None:
    venv, control = twins()
    with refused(ConfigError, start):
        venv.reset(seed=bad)
    check_untouched(venv, control)


BAD_MASKS = (
    None,
    True,
    [True, False],
    np.ones(3, np.bool_),
    np.ones((2, 1), np.bool_),
    np.ones(2, np.int8),
    np.zeros(2, np.bool_),
)


@pytest.mark.parametrize("bad", BAD_MASKS, ids=repr)
def test_invalid_reset_masks_are_refused_and_change_nothing(bad: Any) -> None:
    venv, control = twins()
    with refused(ConfigError, "reset_mask: expected a bool array of shape (2,) with at least one True, got "):
        venv.reset(seed=5, options={"reset_mask": bad})
    check_untouched(venv, control)


def test_calls_before_first_reset_and_after_close_are_refused() -> None:
    venv = generals_env.make_vec(2, map=DUEL, threads=2)
    policies = ["random", "random"]
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: venv.step(np.zeros((2, 2), np.int64)),
        "act": lambda: venv.act(policies),
        "play": lambda: venv.play(5, policies),
        "observe": venv.observe,
        "state": venv.state,
        "boards": venv.boards,
    }
    for name, call in calls.items():
        with refused(StateError, f"{name}: expected a call of reset() before, got none"):
            call()
    with refused(StateError, "reset: expected a reset of all games first, got a reset_mask"):
        venv.reset(options={"reset_mask": np.array([True, False])})
    venv.reset()
    for call in calls.values():
        call()
    venv.close()
    venv.close()
    assert venv.closed
    for call in [venv.reset, *calls.values()]:
        with refused(StateError, "vector environment: expected one that is open, got a call after close()"):
            call()
