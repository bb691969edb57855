"""Recorded games, of people too, through every part that keeps or changes experience."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.duels import digest, digest_of, duels_of, recorded, whole_of
from support.ground_truth import found
from support.helpers import same
from support.paths import DATA

from generals_env import replay
from generals_env.engine.symmetry import transform_actions, transform_masks
from generals_env.recorders import (
    DeduplicatingSink,
    ExperienceBatch,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    SpillBuffer,
    ValidatingSink,
    Validator,
    open_dataset,
    record_replays,
)
from generals_env.recorders.encoding.batch_codec import decode_batch, encode_batch


def test_boards_of_several_sizes_make_one_batch(pack: Path | None) -> None:
    batch = whole_of(pack)
    assert len({part.shape for part in duels_of(pack)}) > 1
    assert len(batch) == sum(map(len, duels_of(pack)))
    legal = batch.action_masks()[np.arange(len(batch)), batch.action]
    assert legal.mean() > 0.999  # a queued move may be made in a turn for which it was not legal
    assert len(set(batch.game_ids)) == len(batch.game_ids)


@pytest.mark.parametrize("store", ["boards", "games", "zstd"])
def test_buffers_give_them_back(pack: Path | None, store: str) -> None:
    buffer = ReplayBuffer(10**6, store=store, seed=1)
    for batch in duels_of(pack):
        buffer.write(batch)
    assert digest(buffer.snapshot()) == digest_of(pack)
    drawn, everything = buffer.sample(200), whole_of(pack)
    places = np.searchsorted(everything.sequence, drawn.sequence)
    assert same(drawn.next_states(), everything.select(places).next_states())
    assert buffer.sample(100, n_step=5, gamma=0.9).steps.max() == 5


def test_priorities_draw_them(pack: Path | None) -> None:
    buffer = PrioritizedReplayBuffer(10**6, seed=1)
    for batch in duels_of(pack):
        buffer.write(batch)
    sample = buffer.sample(100)
    rewards = np.abs(sample.batch.reward) + 0.1
    assert buffer.update_priorities(sample.keys, rewards) == 0
    assert sample.weights.max() <= 1


def test_files_and_bytes_give_them_back(pack: Path | None, tmp_path: Path) -> None:
    buffer = ReplayBuffer(10**6)
    for batch in duels_of(pack):
        buffer.write(batch)
    buffer.save(tmp_path / "saved")
    again = ReplayBuffer(10**6)
    again.load(tmp_path / "saved")
    assert digest(again.snapshot()) == digest_of(pack)
    assert digest(ExperienceBatch.concat([decode_batch(encode_batch(batch)) for batch in duels_of(pack)])) == digest_of(pack)


def test_checks_and_spills_pass_them(pack: Path | None, tmp_path: Path) -> None:
    spill = SpillBuffer(max_bytes=200_000, folder=tmp_path / "spill")
    sink = ValidatingSink(DeduplicatingSink(spill), Validator())
    for batch in duels_of(pack):
        sink.write(batch)
        sink.write(batch)  # a repeat of sequences and of ids
    parts = []
    while (part := spill.read(5000)) is not None:
        parts.append(part)
    sink.close()
    assert digest(ExperienceBatch.concat(parts)) == digest_of(pack)


def test_symmetries_turn_them(pack: Path | None) -> None:
    for batch in duels_of(pack)[:3]:
        part = batch.select(np.arange(0, len(batch), 97))
        symmetry = np.arange(len(part)) % 4
        turned = part.turned(symmetry)
        assert same(turned.action_masks(), transform_masks(part.action_masks(), symmetry, part.shape))
        assert np.array_equal(turned.action, transform_actions(part.action, symmetry, part.shape))


def test_sb3_and_torch_learn_from_them(pack: Path | None, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from generals_env.recorders.datasets.torch_datasets import BoardDataset, StreamDataset

    for batch in duels_of(pack)[:2]:
        part = batch.select(np.arange(280))
        tensors, rows = part.tensors(), BoardDataset([part])
        assert len(rows) == 280
        assert same(rows[7].states.numpy(), tensors.states[7])
        streamed = list(StreamDataset([part], batch_size=128))
        assert [len(piece.actions) for piece in streamed] == [128, 128, 24]
        assert same(streamed[2].next_action_masks.numpy(), tensors.next_action_masks[256:])


OWN = [pytest.param(DATA / f"{name}.json.gz", id=name) for name in ("B5--zeFUe", "eight", "three", "torus", "teams")]


@pytest.mark.parametrize("file", [*OWN, *found("replays/*.json.gz")[::6]])
def test_games_of_many_players_are_kept_in_every_store(file: Path) -> None:
    batches = recorded([replay.read(file)])
    if not batches:
        pytest.skip("its sight needs lookouts, observatories, lights or watchtowers, which are not built")
    batch = ExperienceBatch.concat(batches)
    order = np.argsort(batch.sequence)[:: max(len(batch) // 800, 1)]
    wanted = digest(batch, order)
    for store in ("boards", "games", "zstd"):
        buffer = ReplayBuffer(10**6, store=store)
        for part in batches:
            buffer.write(part)
        assert digest(buffer.snapshot(), order) == wanted, store


def test_recorded_replays_are_datasets(tmp_path: Path) -> None:
    record_replays([DATA / "B5--zeFUe.json.gz"], tmp_path)
    (batch,) = [ExperienceBatch.concat(list(open_dataset(tmp_path)))]
    assert json.loads(json.dumps(dict(batch.metadata))) == dict(batch.metadata)
    buffer = ReplayBuffer(10**6, store="games")
    buffer.write(batch)
    assert digest(buffer.snapshot()) == digest(batch)
