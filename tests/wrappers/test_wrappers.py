"""The wrappers on every face, in every autoreset mode, against slow second implementations.

A wrapped environment and a plain one of the same seed play the same games side by side; what the wrapper shows is compared
with what the history of each game, as the plain one told it, makes it.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from hypothesis import given, settings
from hypothesis import strategies as st
from support.helpers import RAID, any_legal, same
from support.symmetries import turned, turned_mask

import generals_env
from generals_env import ActionError, ConfigError, StateError
from generals_env.engine.boards import CITY, Boards
from generals_env.engine.symmetry import KEEP_SHAPE, transform_actions
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.wrappers.fog_memory import FULL_MEMORY, MEMORY, FogMemory
from generals_env.wrappers.frame_stack import FrameStack
from generals_env.wrappers.shaping import PotentialShaping
from generals_env.wrappers.symmetry import RandomSymmetry

Options = dict[str, Any]
History = list[dict[str, np.ndarray]]

#: Ends by captures and eliminations within few turns of random play; two thirds of the games are truncated.
SHORT: Options = {"map": RAID, "max_turns": 12}
RANDOM: Options = {"height": 5, "width": 6, "max_turns": 7, "mountain_density": 0.1, "observation": "full"}
SQUARE: Options = {"height": (4, 5), "width": 5, "max_turns": 7, "mountain_density": 0.1}
CITIES: Options = {"map": "A -300 B -300\n$1 . x C\n3 . . .\n. . . .", "max_turns": 20}
TEAMS: Options = {"map": "A -300 C -300\nB $1 . D\n. . . .\n. . . .", "teams": (0, 0, 1, 1), "max_turns": 25}
AMBUSH = "A -300 B .\n. . . .\n. . . .\n. . . ."
WEIGHTS = {"land": 0.5, "army": 2.0, "cities": -0.25}


class AsVector:
    """One game with the interface of many."""

    num_envs = 1
    metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012

    def __init__(self, env: Any) -> None:
        self.env = env
        self.unwrapped = env.unwrapped.games

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        seen, info = self.env.reset(seed=seed)
        return self.raised(seen), self.raised(info)

    def step(self, actions: np.ndarray) -> Any:
        seen, reward, terminated, truncated, info = self.env.step(actions[0])
        assert isinstance(reward, float)
        results = (np.array([reward], np.float32), np.array([terminated]), np.array([truncated]))
        return self.raised(seen), *results, self.raised(info)

    def raised(self, arrays: dict[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.asarray(array)[None] for name, array in arrays.items()}

    def action_masks(self) -> np.ndarray:
        return self.env.action_masks()[None]


@dataclasses.dataclass
class Face:
    """A kind of environment."""

    kind: str
    mode: str = "DISABLED"
    copy: bool = True

    def make(self, wrapper: Callable[[Any], Any], copy: bool | None = None, **options: Any) -> Any:
        if self.kind == "one game":
            return AsVector(wrapper(GeneralsSingle("random", **options)))
        rest = {"copy": self.copy if copy is None else copy, "autoreset_mode": AutoresetMode[self.mode], "threads": 1}
        if self.kind == "one player":
            return wrapper(GeneralsSingleVector(4, "random", **rest, **options))
        return wrapper(generals_env.make_vec(4, **rest, **options))

    def __str__(self) -> str:
        return f"{self.kind}, {self.mode}, {'copies' if self.copy else 'views'}"


MODES = [mode.name for mode in AutoresetMode]
FACES = [Face(kind, mode, copy) for kind in ("all players", "one player") for mode in MODES for copy in (True, False)]
faces = pytest.mark.parametrize("face", [*FACES, Face("one game")], ids=str)


@dataclasses.dataclass
class Turn:
    """What the plain environment and the wrapped one told of one call. ``step`` is None for a reset."""

    begun: np.ndarray  # (B,) whose game is new
    plain: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]
    step: tuple[Any, ...] | None = None
    shown_step: tuple[Any, ...] | None = None
    over: np.ndarray | None = None  # (B,) whose game ended
    boards: Boards | None = None


def side_by_side(
    plain: Any, other: Any, turns: int, turn_actions: Callable[[np.ndarray], np.ndarray] | None = None
) -> Iterator[Turn]:
    """Play the same games in two environments; all but observations and rewards must be the same."""
    rng = np.random.default_rng(3)
    mode = plain.metadata["autoreset_mode"]
    games = plain.unwrapped

    def reset(seed: int | None, mask: np.ndarray | None) -> Turn:
        begun = np.ones(plain.num_envs, np.bool_) if mask is None else mask
        options = None if mask is None else {"reset_mask": mask}
        (seen, infos), (shown, shown_infos) = plain.reset(seed=seed, options=options), other.reset(seed=seed, options=options)
        assert same(infos, shown_infos)
        return Turn(begun, seen, shown, boards=games.boards())

    turn = reset(5, None)
    yield turn
    done = np.zeros(plain.num_envs, np.bool_)
    alive = np.ones(turn.plain["action_mask"].shape[:-1], np.bool_)
    for _ in range(turns):
        chance = rng.random(plain.num_envs) < 0.5
        if plain.num_envs > 1 and chance.any() and rng.random() < 0.1:
            mask = chance | done if mode is AutoresetMode.DISABLED else chance
            alive[mask], done[mask] = True, False
            turn = reset(None, mask)
            yield turn
        elif mode is AutoresetMode.DISABLED and done.any():
            mask = done.copy()
            alive[mask], done[mask] = True, False
            turn = reset(None, mask)
            yield turn
        masks = turn.plain["action_mask"]
        actions = np.array([any_legal(mask, rng) for mask in masks.reshape(-1, masks.shape[-1])]).reshape(masks.shape[:-1])
        step = plain.step(actions)
        shown_step = other.step(actions if turn_actions is None else turn_actions(actions))
        for i in (2, 3):
            assert same(step[i], shown_step[i])
        assert set(step[4]) == set(shown_step[4])
        assert all(same(step[4][name], shown_step[4][name]) for name in step[4] if name != "final_obs")
        pending = done if mode is AutoresetMode.NEXT_STEP else np.zeros_like(done)
        alive[pending] = True
        alive &= ~(step[2] | step[3])
        over = ~alive.reshape(len(alive), -1).any(axis=1)
        begun = over if mode is AutoresetMode.SAME_STEP else pending
        turn = Turn(begun, step[0], shown_step[0], step, shown_step, over, games.boards())
        done = over & (mode is not AutoresetMode.SAME_STEP)
        if mode is AutoresetMode.SAME_STEP:
            alive[over] = True
        yield turn


def check_histories(
    face: Face, wrapper: Callable[[Any], Any], expected: Callable[[History], np.ndarray], **options: Any
) -> Counter[str]:
    """Compare what is shown with what ``expected`` makes of the history of each game, the masks with those of the plain one."""
    plain, other = face.make(lambda env: env, copy=True, **options), face.make(wrapper, **options)
    histories: list[History] = [[] for _ in range(plain.num_envs)]
    count: Counter[str] = Counter()
    for turn in side_by_side(plain, other, 80):
        assert same(turn.shown["action_mask"], turn.plain["action_mask"])
        assert np.array_equal(other.action_masks(), turn.plain["action_mask"])
        for b, history in enumerate(histories):
            if turn.step is not None and turn.over is not None and turn.over[b] and "final_obs" in turn.step[4]:
                last, shown = turn.step[4]["final_obs"][b], turn.shown_step[4]["final_obs"][b]  # type: ignore[index]
                assert same(shown, {"observation": expected([*history, last]), "action_mask": last["action_mask"]})
                count["final"] += 1
            if turn.begun[b]:
                count["begun"] += 1
                history.clear()
            if turn.begun[b] or turn.step is not None:
                history.append({name: array[b] for name, array in turn.plain.items()})
            count["turns"] += len(history) > 3
            count["eliminated"] += int(
                (turn.plain["observation"][b].reshape(-1, *turn.plain["observation"].shape[-3:]) == 0).all((1, 2, 3)).any()
            )
            assert same(np.ascontiguousarray(turn.shown["observation"][b]), expected(history))
    assert count["begun"] > 2
    assert count["turns"] > 10
    assert bool(count["final"]) == (face.mode == "SAME_STEP")
    if face.kind != "one game":
        space = other.observation_space
        assert space["observation"].shape == turn.shown["observation"].shape
        assert space.contains({name: array.copy() for name, array in turn.shown.items()})
        assert other.single_observation_space.contains({name: array[0].copy() for name, array in turn.shown.items()})
    return count


# --- FrameStack -------------------------------------------------------------------------------------------------------


def stacked(history: History, frames: int) -> np.ndarray:
    last = [history[max(len(history) - frames + k, 0)]["observation"] for k in range(frames)]
    return np.concatenate(last, axis=-3)


@faces
def test_frames_are_stacked_oldest_first(face: Face) -> None:
    count = check_histories(face, lambda env: FrameStack(env, frames=3), lambda history: stacked(history, 3), **SHORT)
    assert count["eliminated"] or face.kind != "all players"
    check_histories(face, FrameStack, lambda history: stacked(history, 4), **RANDOM)


# --- FogMemory --------------------------------------------------------------------------------------------------------


def remembered(history: History) -> np.ndarray:
    """Return the last observation with the planes of memory, from the beginning of the game."""
    tensors = np.stack([seen["observation"] for seen in history])
    full = tensors.shape[-3] == 21
    memory = np.zeros((*tensors.shape[1:-3], len(FULL_MEMORY if full else MEMORY), *tensors.shape[-2:]), np.float32)
    for tensor in tensors:
        channels = [tensor[..., k, :, :] for k in range(tensor.shape[-3])]
        now = [np.ones_like(channels[7]), *channels[2:5], channels[0] + channels[1], *channels[5:7]]
        if full:
            now[4] = now[4] + channels[9]
            now += [channels[10], channels[12]]
        in_sight = tensor[..., 7:8, :, :] == 1
        memory = np.where(in_sight, np.stack(now, axis=-3), memory)
        gone = (tensor == 0).all(axis=(-3, -2, -1), keepdims=True)
        memory = np.where(gone, np.float32(0), memory)
    return np.concatenate([tensors[-1], memory], axis=-3)


@faces
def test_what_fog_hides_is_remembered(face: Face) -> None:
    count = check_histories(face, FogMemory, remembered, **SHORT)
    assert count["eliminated"] or face.kind != "all players"
    check_histories(face, FogMemory, remembered, **RANDOM)


def test_a_lost_tile_stays_in_memory() -> None:
    venv = FogMemory(generals_env.make_vec(1, map="A....\n....B\n.....\n....."))
    assert venv.single_observation_space["observation"].shape == (2, 16, 4, 5)
    passing, right = 160, 3
    seen, _ = venv.reset(seed=1)
    planes = dict(zip(MEMORY, seen["observation"][0, 0, 9:], strict=True))
    assert planes["seen"].sum() == 4
    assert planes["last_own"].sum() == planes["last_city_or_general"].sum() == 1
    for _ in range(2):
        venv.step(np.full((1, 2), passing))
    seen, *_ = venv.step(np.array([[right, passing]]))  # player 0 sees three more tiles
    planes = dict(zip(MEMORY, seen["observation"][0, 0, 9:], strict=True))
    assert planes["seen"].sum() == 6
    assert planes["last_own"].sum() == 2
    assert planes["last_neutral"].sum() == 4
    assert planes["last_army"][0, 1] == np.float32(0.001)


def test_memory_in_the_full_layout_tells_generals_from_cities() -> None:
    board = "A $1 B .\n. . . .\n. . . .\n. . . ."
    env = FogMemory(GeneralsSingle("random", map=board, fog=False, observation="full"))
    seen, _ = env.reset(seed=1)
    planes = dict(zip(FULL_MEMORY, seen["observation"][21:], strict=True))
    assert planes["last_city_or_general"][0].tolist() == [1, 1, 1, 0]
    assert planes["last_city"][0].tolist() == [0, 1, 0, 0]
    assert planes["last_enemy_general"][0].tolist() == [0, 0, 1, 0]
    assert planes["last_army"][0, 1] == np.float32(0.001)


# --- PotentialShaping -------------------------------------------------------------------------------------------------


def potential(boards: Boards, b: int, player: int, weights: dict[str, float]) -> float:
    """Return a player's potential on a board, tile by tile."""
    team = boards.players[b]["team"]
    total = 0.0
    for name, weight in weights.items():
        own = enemy = 0
        for owner, army, terrain in zip(boards.owner[b], boards.army[b], boards.terrain[b], strict=True):
            amount = {"land": 1, "army": int(army), "cities": int(terrain == CITY)}[name]
            if owner >= 0 and team[owner] == team[player]:
                own += amount
            elif owner >= 0:
                enemy += amount
        total += weight * (own - enemy) / (own + enemy) if own + enemy else 0
    return total


@faces
@pytest.mark.parametrize("options", [CITIES, RANDOM, TEAMS], ids=["captures", "random", "teams"])
def test_the_shaped_return_telescopes(face: Face, options: Options) -> None:
    """Of every game and player: shaped return = return - Phi(first board) (+ discounted Phi(last board) where truncated)."""
    gamma = 0.9
    options = {**options, "reward": generals_env.RewardConfig(territory_gained=0.25, army_advantage=0.5)}
    plain = face.make(lambda env: env, copy=True, **options)
    other = face.make(lambda env: PotentialShaping(env, gamma=gamma, **WEIGHTS), **options)
    seats = range(plain.unwrapped.config.players) if face.kind == "all players" else range(1)
    games: dict[tuple[int, int], list[float]] = {}  # return, shaped return, discount, potential of the first board
    ends: Counter[str] = Counter()
    for turn in side_by_side(plain, other, 80):
        assert same(turn.plain, turn.shown)
        if turn.step is not None:
            rewards, terminated, truncated = (array.reshape(len(array), -1) for array in turn.step[1:4])
            shaped = turn.shown_step[1].reshape(rewards.shape)
            assert shaped.dtype == np.float32
            at_once = list(np.flatnonzero(turn.over)) if face.mode == "SAME_STEP" else []
            for b, player in np.ndindex(rewards.shape):
                if (b, player) not in games:  # has ended for this player
                    assert rewards[b, player] == shaped[b, player] == 0
                    continue
                game = games[b, player]
                game[0] += game[2] * rewards[b, player]
                game[1] += game[2] * shaped[b, player]
                game[2] *= gamma
                rest = 0.0
                if truncated[b, player]:
                    boards, row = (plain.unwrapped.final_boards, at_once.index(b)) if b in at_once else (turn.boards, b)
                    rest = game[2] * potential(boards, row, player, WEIGHTS)
                if terminated[b, player] or truncated[b, player]:
                    assert game[1] == pytest.approx(game[0] - game[3] + rest, abs=2e-5)
                    ends["truncated" if truncated[b, player] else "win" if rewards[b, player] == 1 else "loss"] += 1
                    del games[b, player]
        for b in np.flatnonzero(turn.begun):
            for player in seats:
                games[b, player] = [0.0, 0.0, 1.0, potential(turn.boards, b, player, WEIGHTS)]
    assert ends.total() > 0
    if face.kind == "all players":  # whose actions are the test's own
        assert ends["truncated"] > 0
        assert "map" not in options or min(ends["win"], ends["loss"]) > 0


@given(
    seeds=st.lists(st.integers(0, 1000), min_size=2, max_size=4),
    gamma=st.floats(0, 1),
    weights=st.fixed_dictionaries(dict.fromkeys(WEIGHTS, st.floats(-10, 10))),
)
@settings(max_examples=20, deadline=None)
def test_policies_keep_their_rank(seeds: list[int], gamma: float, weights: dict[str, float]) -> None:
    """However a game that ends is played, shaping changes the return by the same amount."""
    plain = GeneralsSingle("random", map=AMBUSH)
    shaped = PotentialShaping(GeneralsSingle("random", map=AMBUSH), gamma=gamma, **weights)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        seen, _ = plain.reset(seed=seed)
        shaped.reset(seed=seed)
        first = potential(plain.games.boards(), 0, 0, weights)
        difference, discount, terminated = 0.0, 1.0, False
        for _ in range(200):
            action = any_legal(seen["action_mask"], rng)
            seen, reward, terminated, *_ = plain.step(action)
            difference += discount * (shaped.step(action)[1] - reward)
            discount *= gamma
            if terminated:
                break
        rest = 0.0 if terminated else discount * potential(plain.games.boards(), 0, 0, weights)
        assert difference == pytest.approx(rest - first, abs=1e-4)


# --- RandomSymmetry ---------------------------------------------------------------------------------------------------


def shown_turned(seen: dict[str, np.ndarray], symmetry: int, game: np.void) -> dict[str, np.ndarray]:
    """Return a game's observations turned, as numpy has it."""
    shape, extent = seen["observation"].shape[-2:], (int(game["rows"]), int(game["columns"]))
    masks = [
        turned_mask(mask, symmetry, shape, *extent) for mask in seen["action_mask"].reshape(-1, seen["action_mask"].shape[-1])
    ]
    return {
        "observation": turned(seen["observation"], symmetry, *extent),
        "action_mask": np.reshape(masks, seen["action_mask"].shape),
    }


@faces
@pytest.mark.parametrize("options", [SHORT, RANDOM, SQUARE], ids=["captures", "rectangle", "padded"])
def test_games_are_shown_turned_and_actions_turned_back(face: Face, options: Options) -> None:
    plain = face.make(lambda env: env, copy=True, **options)
    other = face.make(lambda env: RandomSymmetry(env, seed=1), **options)
    change = getattr(other, "env", other).change if face.kind == "one game" else other.change

    def turn_actions(actions: np.ndarray) -> np.ndarray:
        games = plain_boards.games
        extents = np.stack([games["rows"], games["columns"]], axis=1)
        return transform_actions(actions, change.symmetries, plain.unwrapped.config.shape, extents)

    drawn = []
    symmetries = change.symmetries.copy()
    for turn in side_by_side(plain, other, 60, turn_actions):
        plain_boards = turn.boards
        if turn.step is not None:
            assert same(turn.step[1], turn.shown_step[1])
            if face.mode == "SAME_STEP" and turn.over.any():
                for b, game in zip(np.flatnonzero(turn.over), plain.unwrapped.final_boards.games, strict=True):
                    expected = shown_turned(turn.step[4]["final_obs"][b], symmetries[b], game)
                    assert same(turn.shown_step[4]["final_obs"][b], expected)
        assert (change.symmetries == symmetries)[~turn.begun].all()
        symmetries = change.symmetries.copy()
        drawn += list(symmetries[turn.begun])
        for b, game in enumerate(turn.boards.games):
            expected = shown_turned({name: array[b] for name, array in turn.plain.items()}, symmetries[b], game)
            assert same({name: np.ascontiguousarray(array[b]) for name, array in turn.shown.items()}, expected)
        assert np.array_equal(other.action_masks(), turn.shown["action_mask"])
    assert set(drawn) <= set(range(KEEP_SHAPE if options is RANDOM else 8))
    assert len(set(drawn)) > (2 if options is RANDOM or face.kind == "one game" else 4)


def test_a_seed_makes_the_symmetries_of_one_game_and_of_many() -> None:
    many, one = (RandomSymmetry(env) for env in (GeneralsSingleVector(8, **SQUARE), GeneralsSingle(**SQUARE)))
    other = RandomSymmetry(GeneralsSingle(**SQUARE), seed=9)
    seen, _ = many.reset(seed=20)
    symmetries = many.change.symmetries.copy()
    assert len(set(symmetries)) > 2
    for b in range(8):
        for env in (one, other):
            assert same(env.reset(seed=20 + b)[0], {name: array[b] for name, array in seen.items()})
    for seeded in ([20, None, 22, None, None, None, None, 27], 20):
        many.reset(seed=seeded)
        known = [seeded == 20 or b in (0, 2, 7) for b in range(8)]
        assert (many.change.symmetries == symmetries)[known].all()
    first, second = (RandomSymmetry(GeneralsSingleVector(64, **SQUARE), seed=seed) for seed in (4, 4))
    for env in (first, second):
        env.reset()
    assert (first.change.symmetries == second.change.symmetries).all()
    assert len(set(first.change.symmetries)) == 8


# --- All of them ------------------------------------------------------------------------------------------------------

WRAPPERS = [FrameStack, FogMemory, PotentialShaping, RandomSymmetry]
each = pytest.mark.parametrize("wrapper", WRAPPERS, ids=lambda wrapper: wrapper.__name__)


@each
@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version:UserWarning")
def test_gymnasiums_checker_accepts_what_is_wrapped(wrapper: Any) -> None:
    env = wrapper(gymnasium.make(generals_env.ENV_ID, **SQUARE))
    check_env(env, skip_render_check=True)
    assert isinstance(env, gymnasium.Wrapper)
    assert isinstance(env.unwrapped, GeneralsSingle)
    assert str(env).startswith(f"<{wrapper.__name__}<")
    many = wrapper(gymnasium.make_vec(generals_env.ENV_ID, 2, **SQUARE))
    assert isinstance(many, gymnasium.vector.VectorWrapper)
    assert isinstance(many.unwrapped, GeneralsSingleVector)
    assert str(many).startswith(f"<{wrapper.__name__}, ")


@each
def test_calls_at_the_wrong_time_or_with_nonsense_fail_as_below(wrapper: Any) -> None:
    for bare, action in ((GeneralsSingle(**SQUARE), 200), (GeneralsSingleVector(2, **SQUARE), [200, 200])):
        env = wrapper(bare)
        with pytest.raises(StateError, match="expected a call of reset"):
            env.step(action)
        with pytest.raises((ConfigError, gymnasium.error.Error), match=r"(?i)seed"):
            env.reset(seed=-1)
        env.reset(seed=1)
        for wrong in (np.add(action, 1), np.add(action, 0.5), [[1]], None):
            with pytest.raises(ActionError, match=r"actions?: expected (an integer|integers)"):
                env.step(wrong)
        env.step(action)
        env.close()
        with pytest.raises(StateError, match="open"):
            env.step(action)


@each
def test_only_environments_of_this_package_are_wrapped(wrapper: Any) -> None:
    foreign = gymnasium.vector.SyncVectorEnv([lambda: GeneralsSingle(**SQUARE)])
    for env in (None, "env", generals_env.parallel_env(**SQUARE), generals_env.make(**SQUARE), foreign):
        with pytest.raises(
            ConfigError, match="env: expected a GeneralsVector, GeneralsSingleVector or GeneralsSingle, wrapped"
        ):
            wrapper(env)
    flat = gymnasium.wrappers.FlattenObservation(GeneralsSingle(**SQUARE))
    with pytest.raises(ConfigError, match="env: expected observations that are dicts of observation and action_mask, got Box"):
        wrapper(flat)


@pytest.mark.parametrize(
    ("wrapper", "options", "message"),
    [
        (FrameStack, {"frames": 0}, "frames: expected a positive integer, got 0"),
        (FrameStack, {"frames": True}, "frames: expected a positive integer, got True"),
        (FrameStack, {"frames": 2.0}, "frames: expected a positive integer, got 2.0"),
        (PotentialShaping, {"gamma": 1.01}, "gamma: expected a discount from 0 to 1, got 1.01"),
        (PotentialShaping, {"gamma": float("nan")}, "gamma: expected a discount from 0 to 1, got nan"),
        (PotentialShaping, {"gamma": "1"}, "gamma: expected a discount from 0 to 1, got '1'"),
        (PotentialShaping, {"land": float("nan")}, "land: expected a number of at most 1e.06, got nan"),
        (PotentialShaping, {"army": float("-inf")}, "army: expected a number of at most 1e.06, got -inf"),
        (PotentialShaping, {"cities": True}, "cities: expected a number of at most 1e.06, got True"),
        (RandomSymmetry, {"seed": -3}, "seed: expected a non-negative integer or None, got -3"),
    ],
)
def test_options_are_checked(wrapper: Any, options: Options, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrapper(GeneralsSingle(**SQUARE), **options)


def test_memory_goes_below_what_changes_the_channels() -> None:
    with pytest.raises(ConfigError, match="env: expected the 9 channels of the environment, got 36; FogMemory goes below"):
        FogMemory(FrameStack(GeneralsSingle(**SQUARE)))
    with pytest.raises(ConfigError, match="got 16"):
        FogMemory(FogMemory(generals_env.make_vec(2, **SQUARE)))


@pytest.mark.parametrize("face", [FACES[0], FACES[-1], Face("one game")], ids=str)
def test_wrappers_stand_on_each_other_in_any_order(face: Face) -> None:
    def inside(env: Any) -> Any:
        return FrameStack(FogMemory(PotentialShaping(RandomSymmetry(env, seed=1), gamma=0.5, **WEIGHTS)), frames=2)

    def outside(env: Any) -> Any:
        return RandomSymmetry(PotentialShaping(FrameStack(FogMemory(env), frames=2), gamma=0.5, **WEIGHTS), seed=1)

    for turn in side_by_side(face.make(inside, **SQUARE), face.make(outside, **SQUARE), 40):
        assert same(
            {name: np.ascontiguousarray(array) for name, array in turn.plain.items()},
            {name: np.ascontiguousarray(array) for name, array in turn.shown.items()},
        )
        if turn.step is not None:
            assert same(turn.step[1], turn.shown_step[1])
            assert "final_obs" not in turn.step[4] or same(
                list(turn.step[4]["final_obs"]), list(turn.shown_step[4]["final_obs"])
            )


def test_a_wrapper_below_may_take_the_mask_out_of_the_options() -> None:
    env = FrameStack(RecordEpisodeStatistics(GeneralsSingleVector(2, autoreset_mode="Disabled", **RANDOM)), frames=2)
    passing = np.full(2, 240)
    env.reset(seed=1)
    for _ in range(3):
        seen, *_ = env.step(passing)
    old, new = seen["observation"][0], None
    seen, _ = env.reset(options={"reset_mask": np.array([False, True])})
    new = seen["observation"][1]
    assert same(seen["observation"][0], old)
    assert same(new[:21], new[21:])


def test_copies_stay_as_they_were() -> None:
    for wrapper in WRAPPERS:
        env = wrapper(generals_env.make_vec(2, **SHORT))
        seen, _ = env.reset(seed=1)
        kept = {name: array.copy() for name, array in seen.items()}
        for _ in range(3):
            env.step(env.action_space.sample())
        assert same(seen, kept)
