"""All formats of files: experiences come back as they were, bit for bit, and what is damaged is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.duels import digest, digest_of, whole_of
from support.helpers import Memory, any_legal, same
from support.odd_batches import contents, odd_batch, simple
from support.recorded import GAMES, facts, games_of, record_game

import generals_env
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import ExperienceBatch, ExperienceRecorder
from generals_env.recorders.formats import FORMATS, Format, format_of, format_of_file
from generals_env.wrappers import FogMemory, FrameStack, PotentialShaping


@pytest.fixture(params=list(FORMATS))
def form(request: pytest.FixtureRequest) -> Format:
    """Return each of the formats."""
    return format_of(request.param)


def needed(batch: ExperienceBatch) -> dict[str, Any]:
    """Return all that experiences need: boards that none of them needs may be left out, and links to these."""
    return {**contents(batch.compact()), "game_ids": batch.game_ids, "game": batch.game}


def there_and_back(form: Format, batch: ExperienceBatch) -> ExperienceBatch:
    """Return what a file of a batch holds, after a look at whether it is the same."""
    before = [array.copy() for array in (batch.rows, *batch.boards)]
    result = form.decode(form.encode(batch))
    assert same(before, [batch.rows, *batch.boards])
    assert same(needed(result), needed(batch))
    assert result.recipe == batch.recipe
    assert result.shape == batch.shape
    assert same(result.states(), batch.states())
    assert same(result.next_action_masks(), batch.next_action_masks())
    assert same(result.rewards(), batch.rewards())
    return result


# --- What comes back --------------------------------------------------------------------------------------------------


def test_odd_batches_and_slices_of_them_come_back(form: Format) -> None:
    for seed in range(40):
        batch = odd_batch(np.random.default_rng(seed))
        result = there_and_back(form, batch)
        again = form.decode(form.encode(result))
        assert same(contents(again), contents(result))
        there_and_back(form, batch.slice(len(batch) // 3, len(batch) // 2))


@pytest.mark.parametrize("kind", GAMES)
def test_games_of_every_kind_come_back(form: Format, kind: str) -> None:
    batch = ExperienceBatch.concat(games_of(kind, 2))
    assert facts(there_and_back(form, batch)) == facts(batch)
    there_and_back(form, batch.select(np.random.default_rng(1).permutation(len(batch))[:50]))


def test_a_batch_without_experiences_comes_back(form: Format) -> None:
    for batch in (simple().select([]), simple().slice(3, 3), whole_of(None).select([])):
        assert len(there_and_back(form, batch)) == 0
        assert len(there_and_back(form, replace(batch, game_ids=()))) == 0


def test_duels_on_boards_of_several_sizes_come_back(form: Format, pack: Path | None) -> None:
    batch = whole_of(pack)
    result = form.decode(form.encode(batch))
    assert same(needed(result), needed(batch))
    assert digest(result) == digest_of(pack)


def recorded(env: Any, turns: int = 60) -> ExperienceBatch:
    """Play at random and return all experiences."""
    batches, rng = Memory(), np.random.default_rng(1)
    env = ExperienceRecorder(env, batches)
    views, _ = env.reset(seed=1)
    fork = None
    for turn in range(turns):
        if isinstance(env, gymnasium.vector.VectorEnv):
            views, *_ = env.step(np.apply_along_axis(any_legal, -1, views["action_mask"], rng))
            continue
        if turn == 20:
            fork = env.unwrapped.clone()
        if turn == 40:
            env.unwrapped.restore(fork)
        views, *_ = env.step({agent: any_legal(views[agent]["action_mask"], rng) for agent in env.agents})
    env.close()
    return ExperienceBatch.concat(batches)


class Mirrored(gymnasium.vector.VectorWrapper):
    """Changes observations without saying so."""

    def reset(self, **options: Any) -> Any:
        views, infos = self.env.reset(**options)
        return self.changed(views), infos

    def step(self, actions: Any) -> Any:
        views, *rest = self.env.step(actions)
        return self.changed(views), *rest

    def changed(self, views: Any) -> Any:
        return {**views, "observation": views["observation"][..., ::-1].copy()}


def several_seats() -> Any:
    return generals_env.make_vec(2, players=3, height=7, width=8)


def one_seat() -> Any:
    return gymnasium.make_vec(generals_env.ENV_ID, num_envs=3, height=7, width=8)


RECORDINGS: dict[str, Callable[[], Any]] = {
    "restored": lambda: generals_env.parallel_env(players=3, height=7, width=8),
    "several games": several_seats,
    "memory": lambda: PotentialShaping(FrameStack(FogMemory(several_seats()), 3), 0.9, land=1.0),
    "one seat": one_seat,
    "memory of one seat": lambda: FrameStack(FogMemory(one_seat()), 2),
    "dense": lambda: Mirrored(one_seat()),
}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_what_recorders_record_comes_back(form: Format, kind: str) -> None:
    batch = recorded(RECORDINGS[kind]())
    assert (batch.dense is not None) == (kind == "dense")
    assert (len(batch.boards.memory) > 0) == ("memory" in kind)
    there_and_back(form, batch)
    there_and_back(form, batch.slice(50, 90))


def test_results_can_be_written_to(form: Format) -> None:
    result = form.decode(form.encode(simple()))
    assert all(array.flags.writeable for array in (result.rows, *result.boards))
    assert result.dense is not None
    assert all(getattr(result.dense, item.name).flags.writeable for item in fields(result.dense))


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [simple(), record_game(3, 40, **GAMES["memory"])], ids=["odd", "game"])
def test_damaged_files_are_refused_or_of_no_account(form: Format, batch: ExperienceBatch) -> None:
    data, rng = form.encode(batch), np.random.default_rng(2)
    told, refused = contents(form.decode(data)), 0
    for number in range(300):
        damaged = bytearray(data)
        place = int(rng.integers(len(data)))
        if number % 5 == 0:
            damaged = damaged[:place]
        elif number % 5 == 1:
            damaged[place] = (damaged[place] + int(rng.integers(1, 256))) % 256
        else:
            damaged[place] ^= 1 << int(rng.integers(8))
        try:
            result = form.decode(bytes(damaged))
        except StorageError as error:
            refused += 1
            assert str(error).startswith("data: expected ")  # noqa: PT017 - either outcome is right
        else:
            assert same(contents(result), told), (number, place)
    assert refused > 200


def test_other_files_are_refused(form: Format) -> None:
    strangers = [format_of(name).encode(simple()) for name in FORMATS if format_of(name).SUFFIX != form.SUFFIX]
    for data in (b"\0" * 100, b"PAR1" * 9, b"PK\x05\x06" + b"\0" * 18, *strangers):
        with pytest.raises(StorageError, match=r"^data: expected .*, got "):
            pytest.fail(f"{data[:20]!r} gave {form.decode(data)}")


def test_metadata_that_json_does_not_take_are_refused(form: Format) -> None:
    with pytest.raises(ConfigError, match=r"^metadata: expected what JSON takes, got \{'seed': \{1\}\}"):
        form.encode(replace(simple(), metadata={"seed": {1}}))


# --- Names ------------------------------------------------------------------------------------------------------------


def test_formats_are_found_by_name_and_by_file() -> None:
    for name, suffix in FORMATS.items():
        assert suffix == format_of(name).SUFFIX
        assert format_of_file(f"runs/a.b{suffix}") == name
    assert format_of_file("notes.txt") is None
    with pytest.raises(ConfigError, match=r"^format: expected one of npz, .*, games, got 'csv'$"):
        format_of("csv")
