"""Tests ExperienceBatch: derived tensors, selection, concatenation, n-step returns and symmetries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.helpers import KINDS, RAID, TEAM_RAID, Listener, check_batches, play_on, same
from support.odd_boards import odd_boards, remembering, viewed
from support.recorded import CASTLES

import generals_env
from generals_env import ConfigError
from generals_env.engine.boards import CITY, MOUNTAIN, OWNER_MOUNTAIN, Boards, copy_boards, empty_boards
from generals_env.engine.observations.fog_memory import FULL_MEMORY, MEMORY, remember
from generals_env.engine.observations.reference import CHANNELS, FULL_CHANNELS
from generals_env.engine.packed.packing import pack, unpack
from generals_env.engine.rules import turn as rules
from generals_env.engine.symmetry import INVERSE, transform_actions, transform_boards, transform_masks, transform_observations
from generals_env.recorders import ExperienceBatch
from generals_env.recorders.experience import EXPERIENCE
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe, Shaping
from generals_env.recorders.experience.tensors import Tensors

Options = dict[str, Any]
SEVERAL: Options = {"players": 3, "height": (5, 6), "width": (5, 7), "modifiers": ("torus",), "observation": "full"}
BUILDS: Options = {"rules": "competition", "map": CASTLES, "touch_turn": 20}
TURNS: list[Options] = [*KINDS, SEVERAL, BUILDS, {"players": 2, "height": 5, "width": 6, "fog": False}]
SHAPING = (Shaping(0.9, land=0.5, army=2.0, cities=-0.25), Shaping(1.0, army=-1.0))


class Game(NamedTuple):
    """A game, and the results of the environment for each experience: see ``helpers.play_on``."""

    batch: ExperienceBatch
    told: list[tuple[Any, ...]]

    def views(self, after: bool, key: str) -> np.ndarray:
        """Return the observations before or after each turn."""
        return np.stack([row[8 if after else 7][key] for row in self.told])


def played(seed: int = 1, turns: int = 60, recipe: Recipe | None = None, **options: Any) -> Game:
    """Play a game and write it down, without the package's own recorders."""
    env, listener = generals_env.parallel_env(max_turns=turns, **options), Listener()
    env.add_collector(listener)
    env.reset(seed=seed)
    told = play_on(env, np.random.default_rng(seed))
    boards = [listener.turns[0].boards, *(copy_boards(turn.boards, slice(1, 2)) for turn in listener.turns[1:])]
    packed = pack(Boards._make(np.concatenate(arrays) for arrays in zip(*boards, strict=True)))
    packed.entries["previous"] = np.arange(len(packed.tiles)) - 1
    recipe = replace(recipe or Recipe(env.config.observation), builds=env.config.rules == "competition")
    rows = np.zeros(len(told), EXPERIENCE)
    for name, column in zip(("player_id", "state_index", "action", "illegal", "reward"), zip(*told, strict=True), strict=False):
        rows[name] = column
    rows["terminated"], rows["truncated"] = [row[5] for row in told], [row[6] for row in told]
    rows["next_state_index"], rows["steps"] = rows["state_index"] + 1, 1
    rows["sequence"] = rows["collected_at"] = np.arange(len(told))
    packed = remembering(packed, env.config.shape[0]) if recipe.memory else packed
    return Game(ExperienceBatch((f"game-{seed}",), rows, packed, env.config.shape, recipe), told)


def dense_of(batch: ExperienceBatch, dtype: str = "float32") -> ExperienceBatch:
    """Return the batch with observations of another wrapper."""
    observations = np.random.default_rng(1).integers(0, 99, (len(batch.boards.tiles), 2, 3)).astype(dtype)
    return replace(batch, dense=Dense(observations, batch.state_index.copy(), batch.next_state_index.copy()))


def derived(batch: ExperienceBatch) -> list[Any]:
    """Return all that a learner gets, and all columns that do not number something."""
    return [*batch.tensors(), batch.game_id.astype("U9"), batch.player_id, batch.turn, batch.sequence, batch.illegal]


def rows_of(arrays: list[Any], index: Any) -> list[Any]:
    return [array[index] for array in arrays]


# --- Tensors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", TURNS)
def test_derived_tensors_equal_those_of_environment(options: Options) -> None:
    batch, told = game = played(**options)
    assert check_batches([batch]) == len(told) >= 120  # enough for several threads
    assert same(batch.states(), game.views(False, "observation"))
    assert same(batch.next_states(), game.views(True, "observation"))
    assert same(batch.action_masks(), game.views(False, "action_mask"))
    assert same(batch.next_action_masks(), game.views(True, "action_mask"))
    assert batch.turn.tolist() == [row[1] for row in told]
    assert same(batch.rewards(), np.array([row[4] for row in told], np.float32))
    assert batch.game_id.tolist() == ["game-1"] * len(told)
    for layout, channels in (("standard", len(CHANNELS)), ("full", len(FULL_CHANNELS))):
        boards = batch.unpacked()
        expected = [viewed(boards, b, p, channels)[0] for b, p in zip(batch.next_state_index, batch.player_id, strict=True)]
        assert same(batch.next_states(layout=layout), np.stack(expected).reshape(len(batch), channels, *batch.shape))


def test_every_array_may_be_given() -> None:
    batch, _ = played(**KINDS[1])
    for call in (batch.states, batch.next_states, batch.action_masks, batch.next_action_masks):
        expected = call()
        out = np.full_like(expected, 7)
        assert call(out) is out
        assert same(out, expected)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe("full", memory=True, frames=3)])
def test_float16_values_are_rounded_float32_values(recipe: Recipe) -> None:
    batch, _ = played(recipe=recipe, **KINDS[0])
    for call in (batch.states, batch.next_states):
        exact, out = call(), np.empty((len(batch), *batch.state_shape), np.float16)
        assert call(out) is out
        assert same(out, exact.astype(np.float16))
        assert same(call(dtype=np.float16), out)
        assert (np.abs(out - exact.astype(np.float64)) <= exact * 2**-11).all()
        assert not (out == exact).all()
    assert same(batch.states(layout="full", dtype="float16"), batch.states(layout="full").astype(np.float16))
    tensors = batch.tensors(dtype=np.float16)
    assert tensors.states.dtype == tensors.next_states.dtype == np.float16
    assert same(tensors.next_states, out)


WRONG: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda good: good[1:],
    lambda good: good[..., :-1].copy(),
    lambda good: good.astype(np.float64),
    lambda good: good.astype(np.uint8),
    lambda good: good.astype(good.dtype.newbyteorder(">")) if good.itemsize > 1 else good.view(np.bool_),
    lambda good: np.repeat(good, 2, axis=0)[::2],
    lambda good: np.frombuffer(good.tobytes(), good.dtype).reshape(good.shape),  # read-only
    lambda good: np.broadcast_to(good[:1], good.shape),
    np.asfortranarray,
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_output_arrays_that_do_not_fit_are_refused(number: int) -> None:
    batch, _ = played(turns=5, **KINDS[0])
    for plain in (batch, dense_of(batch)):
        for call in (plain.states, plain.next_states, plain.action_masks, plain.next_action_masks):
            with pytest.raises(ConfigError, match=r"^out: expected a writeable contiguous .* of shape"):
                call(WRONG[number](call()))
        tensors = plain.tensors()
        for name in ("states", "next_states", "action_masks", "next_action_masks"):
            with pytest.raises(ConfigError, match=r"^out: expected"):
                plain.tensors(tensors._replace(**{name: WRONG[number](getattr(tensors, name))}))
        for name in ("actions", "rewards", "terminated", "truncated", "steps"):
            with pytest.raises(ConfigError, match=r"^out: expected columns of shape \(\d+,\), got"):
                plain.tensors(tensors._replace(**{name: getattr(tensors, name)[1:]}))


def test_invalid_layout_or_dtype_is_refused() -> None:
    batch, _ = played(turns=5, **KINDS[0])
    with pytest.raises(ConfigError, match="layout: expected one of standard, full, got 'large'"):
        batch.states(layout="large")
    with pytest.raises(ConfigError, match="dtype: expected float32 or float16, got float64"):
        batch.states(dtype=np.float64)
    with pytest.raises(ConfigError, match="recipe: expected boards with the memory of the players, got none"):
        replace(batch, recipe=Recipe(memory=True)).states()


@pytest.mark.parametrize("full", [False, True], ids=["standard", "full"])
@pytest.mark.parametrize(("memory", "frames"), [(False, 1), (False, 4), (True, 1), (True, 3)])
def test_recipes_reproduce_the_wrappers(full: bool, memory: bool, frames: int) -> None:
    recipe = Recipe("full" if full else "standard", memory, frames)
    batch, _ = game = played(2, 30, recipe, **KINDS[1], observation=recipe.layout)
    shown = {False: game.views(False, "observation"), True: game.views(True, "observation")}
    planes = len(FULL_MEMORY if full else MEMORY) if memory else 0
    for player in range(batch.players):
        mine = np.flatnonzero(batch.player_id == player)
        course = np.concatenate([shown[False][mine[:1]], shown[True][mine]])  # (turns + 1, C, H, W)
        known = np.zeros((1, course.shape[1] + planes, course[0, 0].size), np.float32)
        history = []
        for turn, view in enumerate(course):
            if memory:
                remember(view.reshape(1, len(view), -1), np.array([turn == 0]), known)
            history.append(known[0].reshape(-1, *batch.shape).copy() if memory else view)
        stacks = [np.concatenate([history[max(turn - k, 0)] for k in reversed(range(frames))]) for turn in range(len(history))]
        assert same(batch.states()[mine], np.stack(stacks[:-1]))
        assert same(batch.next_states()[mine], np.stack(stacks[1:]))
    assert batch.state_shape == stacks[0].shape
    assert same(batch.states(layout=recipe.layout), shown[False])
    other = played(3, 3, recipe, **KINDS[1], observation=recipe.layout).batch
    whole = ExperienceBatch.concat([other, batch])  # its first board is not the first of all
    assert same(derived(whole.slice(len(other), len(whole))), derived(batch))
    take_rows = batch.select(np.arange(len(batch))[::-17])  # links to earlier boards, too
    assert len(take_rows.boards.tiles) < len(batch.boards.tiles)
    assert same(derived(take_rows), rows_of(derived(batch), slice(None, None, -17)))


def test_all_tensors_are_returned_at_once() -> None:
    batch, _ = played(**KINDS[1])
    batch = replace(batch, recipe=Recipe(shaping=SHAPING))
    out = Tensors.empty(len(batch), batch.state_shape, batch.shape)
    columns = (batch.action.astype(np.int64), batch.rewards(), batch.terminated, batch.truncated, batch.steps)
    masks = batch.action_masks(), batch.next_action_masks()
    expected = (batch.states(), *columns[:2], batch.next_states(), *columns[2:4], *masks, columns[4])
    assert batch.tensors(out) is out
    for tensors in (out, batch.tensors()):
        for name, array, other in zip(Tensors._fields, tensors, expected, strict=True):
            assert same(array, np.ascontiguousarray(other)), name
    dense = dense_of(batch, "uint8")
    assert dense.tensors().states.dtype == np.uint8
    assert same(dense.tensors().next_states, dense.dense.observations[batch.next_state_index])


def test_experience_of_20_by_20_takes_35_kb_dense_and_under_1_kb_packed() -> None:
    batch, _ = played(turns=30)
    assert batch.shape == (20, 20)
    tensors = batch.tensors()
    assert tensors.states[0].nbytes == tensors.next_states[0].nbytes == 14_400
    assert tensors.action_masks[0].nbytes == 3_201
    assert sum(array[0].nbytes for array in tensors) == 2 * 14_400 + 2 * 3_201 + 8 + 4 + 1 + 1 + 2 == 35_218
    assert batch.tensors(dtype=np.float16).states[0].nbytes == 7_200
    ground = sum(array.nbytes for array in batch.boards[2:5])
    assert (len(batch), len(batch.boards.tiles)) == (60, 31)
    assert batch.nbytes == 60 * EXPERIENCE.itemsize + 31 * 820 + ground
    assert batch.nbytes / len(batch) < 600
    dense = dense_of(batch)
    assert dense.nbytes == batch.nbytes + 31 * 6 * 4 + 60 * 8


# --- Parts and sums ---------------------------------------------------------------------------------------------------

several = pytest.mark.parametrize("kind", ["plain", "wide", "memory", "dense"])


def sample(kind: str, seed: int = 3, turns: int = 40, **options: Any) -> ExperienceBatch:
    """Return a batch of each kind."""
    recipe = Recipe(memory=True, frames=2) if kind == "memory" else Recipe(shaping=SHAPING)
    batch, _ = played(seed, turns, recipe, **(options or KINDS[1]))
    if kind == "wide":
        boards = unpack(batch.boards)
        boards.army[::3] += np.where(boards.owner[::3] >= 0, 70_000, 0)
        packed = pack(boards)
        packed.entries["previous"] = batch.boards.entries["previous"]
        batch = replace(batch, boards=packed)
    return dense_of(batch) if kind == "dense" else batch


@several
def test_any_experiences_can_be_selected(kind: str) -> None:
    batch = sample(kind)
    count, everything = len(batch), derived(batch)
    flags = np.arange(count) % 3 == 1
    indices: list[Any] = [flags, flags.tolist(), [0], [-1, 0, -count, count - 1, 5, 5], np.arange(count)[::-1], [], np.zeros(0)]
    for index in [*indices, np.zeros(count, np.bool_), np.array([3, 2], np.uint8)]:
        take_rows = batch.select(index)
        numbers = np.asarray(index) if len(index) else np.zeros(0, np.int64)
        assert same(derived(take_rows), rows_of(everything, numbers))
        reached = np.unique(take_rows.rows[["state_index", "next_state_index"]].tolist())
        assert batch.recipe.frames > 1 or len(take_rows.boards.tiles) == len(reached)
        assert take_rows.game_ids == batch.game_ids[: len(take_rows)]
        assert not np.shares_memory(take_rows.boards.tiles, batch.boards.tiles)
        assert take_rows.dense is None or len(take_rows.dense.observations) == len(reached)
    two = ExperienceBatch.concat([batch, replace(batch, game_ids=("other",))])
    assert two.select([count]).game_ids == ("other",)
    for wrong in (count, -count - 1, [[0]], [0.5], flags[1:], ["a"], np.zeros((1, count), np.bool_)):
        with pytest.raises(ConfigError, match=r"^index: expected integers"):
            batch.select(wrong if isinstance(wrong, (list, np.ndarray)) and np.ndim(wrong) else [wrong])
    with pytest.raises(ConfigError, match=r"^index: expected integers"):
        batch.select(0)


@several
def test_slices_copy_nothing(kind: str) -> None:
    batch = sample(kind)
    part = batch.slice(7, 90)
    assert same(derived(part), rows_of(derived(batch), slice(7, 90)))
    assert part.boards is batch.boards
    assert np.shares_memory(part.rows, batch.rows)
    assert (
        len(batch.slice(5, 5).states()) == len(batch.slice(5, 5).rewards()) == len(batch.slice(5, 5).next_action_masks()) == 0
    )


@several
def test_game_continued_in_next_batch_stays_one_game(kind: str) -> None:
    batch = sample(kind)
    other = sample(kind, seed=4)
    parts = [batch.select(np.arange(50)), other, batch.select(np.arange(50, len(batch)))]
    if kind == "memory":  # a part begins without the frames of the one before
        parts = [replace(part, recipe=Recipe(memory=True)) for part in parts]
        batch, other = replace(batch, recipe=Recipe(memory=True)), replace(other, recipe=Recipe(memory=True))
    whole = ExperienceBatch.concat(parts)
    assert whole.game_ids == ("game-3", "game-4")
    assert len(whole) == len(batch) + len(other)
    assert same(derived(whole.select(whole.game == 0)), derived(batch))
    assert same(derived(whole.select(whole.game_id == "game-4")), derived(other))
    assert same(derived(whole.n_step(3, 0.5).select(whole.game == 0)), derived(batch.n_step(3, 0.5)))
    assert same(derived(ExperienceBatch.concat([batch])), derived(batch))
    assert same(derived(ExperienceBatch.concat([batch.select([]), batch, batch.slice(0, 0)])), derived(batch))
    links = whole.boards.entries["previous"]
    assert (whole.boards.entries["turn"][links[links >= 0]] + 1 == whole.boards.entries["turn"][links >= 0]).all()


def test_memory_of_only_some_batches_is_left_out_unless_requested() -> None:
    batch, other = replace(sample("memory"), recipe=Recipe()), replace(sample("plain"), recipe=Recipe())
    whole = ExperienceBatch.concat([batch, other])
    assert len(whole.boards.memory) == 0
    assert same(derived(whole.select(np.arange(len(batch), len(whole)))), derived(other))


def test_metadata_common_to_all_stays() -> None:
    batch = replace(sample("plain"), metadata={"rules": "live", "seed": 1})
    assert ExperienceBatch.concat([batch, replace(batch, metadata={"rules": "live", "seed": 2})]).metadata == {"rules": "live"}


def padded_boards(boards: Boards, height: int, width: int) -> Boards:
    """Return boards as an environment of that size would hold them."""
    count, players = boards.players.shape
    larger = empty_boards(count, height, width, players)
    old_height, old_width = int(boards.games[0]["height"]), int(boards.games[0]["width"])
    for name, around in (("owner", OWNER_MOUNTAIN), ("army", 0), ("terrain", MOUNTAIN)):
        planes = np.full((count, height, width), around, getattr(larger, name).dtype)
        planes[:, :old_height, :old_width] = getattr(boards, name).reshape(count, old_height, old_width)
        getattr(larger, name)[:] = planes.reshape(count, -1)
    larger.players[:], larger.games[:] = boards.players, boards.games
    homes = boards.players["general"]
    larger.players["general"] = np.where(homes >= 0, homes // old_width * width + homes % old_width, -1)
    larger.games["height"], larger.games["width"] = height, width
    return larger


@pytest.mark.parametrize("options", [KINDS[0], KINDS[3], SEVERAL])
def test_padded_boards_equal_those_of_larger_environment(options: Options) -> None:
    batch = sample("plain", **options)
    height, width = batch.shape[0] + 2, batch.shape[1] + 3
    padded, boards = batch.padded(height, width), padded_boards(batch.unpacked(), height, width)
    assert same(padded.unpacked(), boards)
    assert padded.shape == (height, width)
    states, masks = padded.states(), padded.action_masks()
    for i, (b, player) in enumerate(zip(batch.state_index, batch.player_id, strict=True)):
        tensor, mask = viewed(boards, b, player, states.shape[1])
        assert same(states[i].reshape(tensor.shape), tensor)
        assert same(masks[i], mask)
    assert check_batches([padded]) == len(batch)  # legal actions that lead to the next boards
    assert (padded.action == 8 * height * width).sum() == (batch.action == 8 * batch.shape[0] * batch.shape[1]).sum()
    assert same(padded.rewards(), batch.rewards())
    assert batch.padded(*batch.shape) is batch
    with pytest.raises(ConfigError, match=rf"shape: expected at least {batch.shape[0]}x{batch.shape[1]}, got 4x{width}"):
        batch.padded(4, width)


def test_boards_of_several_sizes_are_concatenated() -> None:
    parts = [sample("wide", seed, 20, players=3, height=h, width=w) for seed, h, w in ((1, 5, 8), (2, 7, 6), (3, 7, 8))]
    whole = ExperienceBatch.concat(parts)
    assert whole.shape == (7, 8)
    assert same(derived(whole), [np.concatenate(c) for c in zip(*(derived(part.padded(7, 8)) for part in parts), strict=True)])
    for number, part in enumerate(parts):
        assert same(
            whole.unpacked().army[whole.state_index[whole.game == number]].max(1), part.unpacked().army[part.state_index].max(1)
        )


def test_incompatible_batches_are_refused() -> None:
    batch = sample("plain")
    flat = dense_of(batch)
    assert flat.dense is not None
    flat = replace(flat, dense=replace(flat.dense, observations=flat.dense.observations.reshape(-1, 6)))
    for batches, message in (
        ([], "batches: expected one or more, got none"),
        ([batch, sample("plain", **KINDS[0])], "batches: expected games of 3 players, got 2"),
        ([batch, replace(batch, recipe=Recipe("full"))], "batches: expected observations made as"),
        ([batch, dense_of(batch)], "batches: expected observations made as"),
        ([dense_of(batch), dense_of(batch, "float64")], "batches: expected observations of .*float32.*, got .*float64"),
        ([dense_of(batch), flat], "batches: expected observations of .*2, 3.*, got .*6"),
        ([dense_of(batch), dense_of(batch.padded(9, 9))], "shape: expected 6x7, as dense observations cannot be padded"),
    ):
        with pytest.raises(ConfigError, match=message):
            ExperienceBatch.concat(batches)


# --- Returns ----------------------------------------------------------------------------------------------------------


def potential(boards: Boards, b: int, player: int, weights: Shaping) -> float:
    """Return shaped rewards as ``wrappers.PotentialShaping`` documents them."""
    total, team = 0.0, boards.players[b]["team"]
    for weight, worth in ((weights.land, 1), (weights.army, boards.army[b]), (weights.cities, boards.terrain[b] == CITY)):
        held = [int((worth * (boards.owner[b] == other)).sum()) for other in range(len(team))]
        own, everybody = sum(h for h, t in zip(held, team, strict=True) if t == team[player]), sum(held)
        total += weight * (2 * own - everybody) / everybody if everybody else 0.0
    return total


def shaped(batch: ExperienceBatch) -> np.ndarray:
    """Return rewards as the formula has it."""
    boards, rewards = batch.unpacked(), batch.reward.astype(float)
    for i, row in enumerate(batch.rows):
        for terms in batch.recipe.shaping:
            after = 0.0 if row["terminated"] else potential(boards, row["next_state_index"], row["player_id"], terms)
            rewards[i] += terms.gamma * after - potential(boards, row["state_index"], row["player_id"], terms)
    return rewards


@pytest.mark.parametrize("options", [{"map": RAID}, {"map": TEAM_RAID, "teams": (0, 0, 1, 1)}])
def test_rewards_are_shaped_as_by_the_wrapper(options: Options) -> None:
    games = [played(seed, 40, Recipe(shaping=SHAPING), **options).batch for seed in range(12)]
    batch = ExperienceBatch.concat(games)
    assert batch.terminated.any()
    assert batch.truncated.any()
    assert batch.rewards() == pytest.approx(shaped(batch), abs=1e-6)
    assert abs(batch.rewards() - batch.reward).max() > 0.1
    assert same(batch.slice(0, 0).rewards(), np.zeros(0, np.float32))
    plain = replace(batch, recipe=Recipe()).rewards()
    assert same(plain, batch.reward.copy())
    assert not np.shares_memory(plain, batch.rows)


@several
@pytest.mark.parametrize(("n", "gamma"), [(1, 0.9), (3, 0.9), (3, 0.0), (200, 1)])
def test_n_step_merges_several_turns_into_one(kind: str, n: int, gamma: float) -> None:
    batch = sample(kind, turns=120, **(KINDS[3] if kind == "plain" else {}))
    rng = np.random.default_rng(1)
    batch = batch.select(rng.permutation(len(batch))[: -len(batch) // 20])  # in any order, with gaps
    batch.rows["terminated"][::19], batch.rows["truncated"][5::23] = True, True  # and another game of the same name
    key = {(row["player_id"], turn): i for i, (row, turn) in enumerate(zip(batch.rows, batch.turn, strict=True))}
    result, everything = batch.n_step(n, gamma), derived(batch)
    rewards = shaped(batch)
    last, totals, steps = [], [], []
    for i, row in enumerate(batch.rows):
        chain = [i]
        while len(chain) < n and not (batch.terminated[chain[-1]] or batch.truncated[chain[-1]]):
            following = key.get((row["player_id"], batch.turn[i] + len(chain)))
            if following is None:
                break
            chain.append(following)
        last.append(chain[-1])
        totals.append(sum(gamma**k * rewards[j] for k, j in enumerate(chain)))
        steps.append(len(chain))
    assert result.rewards() == pytest.approx(totals, abs=2e-4 if n > 100 else 1e-5)
    assert result.steps.tolist() == steps
    for name, from_last in {"states": 0, "next_states": 1, "terminated": 1, "truncated": 1, "next_action_masks": 1}.items():
        k = Tensors._fields.index(name)
        assert same(result.tensors()[k], np.ascontiguousarray(everything[k][last] if from_last else everything[k])), name
    assert result.recipe.shaping == ()
    assert batch.steps.max() == 1  # the batch itself stays as it is
    assert n == 1 or len(set(steps)) > 1


def test_n_step_refuses_bad_arguments_and_merged_turns() -> None:
    batch = sample("plain")
    assert len(batch.slice(0, 0).n_step(3, 0.9)) == 0
    for arguments in ((0, 0.9), (1.5, 0.9), (True, 0.9)):
        with pytest.raises(ConfigError, match="n: expected a positive integer, got"):
            batch.n_step(*arguments)
    for gamma in (-0.1, 1.1, float("nan"), "1"):
        with pytest.raises(ConfigError, match="gamma: expected a number from 0 to 1, got"):
            batch.n_step(2, gamma)
    with pytest.raises(ConfigError, match="n_step: expected experiences of one turn, got some of 3"):
        batch.n_step(3, 0.9).n_step(3, 0.9)


# --- Symmetries -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "wide"])
@pytest.mark.parametrize(
    "options", [KINDS[3], SEVERAL, KINDS[0], BUILDS, {"players": 3, "height": 7, "width": (5, 7), "fog": False}]
)
def test_turned_experiences_equal_those_of_turned_game(kind: str, options: Options) -> None:
    batch = sample(kind, **options)
    height, width = batch.shape
    count, game = 8 if height == width else 4, batch.unpacked().games[0]
    extent, plain = np.array([[game["rows"], game["columns"]]] * len(batch)), derived(batch)
    for symmetry in range(count):
        turned = batch.turned(np.full(len(batch), symmetry))
        back = turned.turned(np.full(len(batch), INVERSE[symmetry]))
        assert same(derived(back), plain)
        assert same(turned.action, transform_actions(batch.action, symmetry, batch.shape, extent).astype(np.int32))
        assert same(turned.action_masks(), transform_masks(batch.action_masks(), symmetry, batch.shape, extent))
        assert same(turned.next_action_masks(), transform_masks(batch.next_action_masks(), symmetry, batch.shape, extent))
        for mine, old in ((turned.states(), batch.states()), (turned.next_states(), batch.next_states())):
            assert same(mine, transform_observations(old, symmetry, extent))
        boards, old = turned.unpacked(), batch.unpacked()
        assert same(copy_boards(boards, turned.state_index), transform_boards(copy_boards(old, batch.state_index), symmetry))
        if kind == "plain":  # the wide armies are artificial
            check_next_boards(batch, turned)
        assert same(turned.rewards(), batch.rewards())
    mixed = batch.turned(np.arange(len(batch)) % count)
    for symmetry in range(count):
        rows = np.arange(symmetry, len(batch), count)
        assert same(derived(mixed.select(rows)), derived(batch.select(rows).turned(np.full(len(rows), symmetry))))


def check_next_boards(batch: ExperienceBatch, turned: ExperienceBatch) -> None:
    """Check that the turned actions of all players lead from turned boards to the turned next ones."""
    before, after = turned.unpacked(), turned.unpacked()
    for board in np.unique(batch.state_index)[::5]:
        experiences = np.flatnonzero(batch.state_index == board)
        actions = np.full(batch.players, 8 * batch.shape[0] * batch.shape[1], np.int64)
        actions[turned.player_id[experiences]] = turned.action[experiences]
        now = copy_boards(before, turned.state_index[experiences[:1]])
        illegal = np.zeros(len(actions), np.bool_)
        rules.advance(now, 0, actions, illegal)
        assert not illegal.any()
        assert same(now, copy_boards(after, turned.next_state_index[experiences[:1]]))


def test_memory_turns_with_board() -> None:
    batch = replace(sample("memory", **KINDS[3]), recipe=Recipe("full", memory=True))
    turned = batch.turned(np.arange(len(batch)) % 8)
    assert same(turned.states(), transform_observations(batch.states(), np.arange(len(batch)) % 8))


def test_padding_stays_in_place_and_unturnable_batches_are_refused() -> None:
    boards = odd_boards(np.random.default_rng(8), 4, 2, (6, 6))
    boards.games["rows"], boards.games["columns"] = 4, 5
    rows = np.zeros(3, EXPERIENCE)
    rows["state_index"], rows["next_state_index"], rows["action"] = (0, 1, 2), (1, 2, 3), 288
    batch = ExperienceBatch(("a game",), rows, pack(boards), (6, 6))
    turned = batch.turned([0, 1, 5]).unpacked().games
    assert turned["rows"].tolist() == [4, 4, 5, 4, 4, 5]
    assert turned["columns"].tolist() == [5, 5, 4, 5, 5, 4]
    oblong = sample("plain", **KINDS[0])
    for wrong in ([0, 1], [0, 1, 8], [0, 1, -1], 0, [0.0, 1.0, 2.0], None):
        with pytest.raises(ConfigError, match="symmetries: expected 3 integers from 0 to 7, got"):
            batch.turned(wrong)
    with pytest.raises(ConfigError, match=r"symmetries: expected \d+ integers from 0 to 3"):
        oblong.turned(np.full(len(oblong), 4))
    for kind in ("dense", "memory"):
        with pytest.raises(ConfigError, match="turned: expected observations of single boards, got dense or stacked ones"):
            sample(kind).turned([0])
    assert len(batch.slice(0, 0).turned([])) == len(batch.slice(0, 0).turned(np.zeros(0, np.int64))) == 0
