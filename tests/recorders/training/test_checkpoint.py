"""A trainer's file: a changed bit is noticed, a file that does not fit changes nothing, and files of earlier versions load."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.helpers import same
from support.recorded import games_of

from generals_env.errors import StorageError
from generals_env.recorders import DistributedTrainer, QNetwork, TrainerConfig
from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint

CONFIG = TrainerConfig(min_size=50, batch_size=8, n_step=1, seed=1)


def trainer(path: Path, seed: int = 1) -> DistributedTrainer:
    torch.manual_seed(seed)
    return DistributedTrainer(games_of("two players", 1), QNetwork((9, 6, 7), 4, 0), config=CONFIG, checkpoint=path)


def arrays(content: Any) -> Any:
    """Return a checkpoint's content as what ``same`` compares."""
    if isinstance(content, torch.Tensor):
        return content.numpy()
    if isinstance(content, dict):
        return {key: arrays(value) for key, value in content.items()}
    return [arrays(value) for value in content] if isinstance(content, (list, tuple)) else content


def state_of(trained: DistributedTrainer) -> Any:
    """Return all of a trainer that a checkpoint could change, as it is now."""
    nets = (trained.model.state_dict(), trained.target.state_dict(), trained.optimizer.state_dict())
    return arrays(copy.deepcopy([*nets, torch.get_rng_state(), trained.step, trained._resume]))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return the file of a trainer that has learned."""
    path = tmp_path / "trainer.pt"
    with trainer(path) as trained:
        trained.train(3)
        trained.save()
    return path


def flipped(data: bytes, bits: Iterable[int]) -> Iterable[tuple[int, bytes]]:
    """Yield a copy of the bytes for each of the bits, with that one changed."""
    for bit in bits:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bit, bytes(damaged)


def test_checkpoint_with_any_flipped_bit_is_refused(saved: Path) -> None:
    data, rng = saved.read_bytes(), random.Random(1)
    end = 8 * (len(data) - 100)  # mark, digest and the archive's last record: each of their bits
    for bit, damaged in flipped(data, [*rng.sample(range(end), 200), *range(end, 8 * len(data))]):
        saved.write_bytes(damaged)
        with pytest.raises(StorageError, match=r"path: expected a checkpoint, got .*move it away to begin anew"):
            pytest.fail(f"bit {bit} gave {load_checkpoint(saved)}")


def test_checkpoint_cut_short_or_longer_or_foreign_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    cuts = [data[:length] for length in (0, 1, 21, 22, len(data) // 2, *range(len(data) - 100, len(data)))]
    for content in (*cuts, data + b"\0", data + data, b"PK\x05\x06" + bytes(18), b"<html></html>", bytes(5000)):
        saved.write_bytes(content)
        with pytest.raises(StorageError, match="path: expected a checkpoint, got"):
            load_checkpoint(saved)


def test_refused_checkpoint_leaves_weights_and_random_numbers_alone(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)
    model = QNetwork((9, 6, 7), 4, 0)
    before = arrays(copy.deepcopy([model.state_dict(), torch.get_rng_state()]))
    with pytest.raises(StorageError):
        DistributedTrainer(games_of("two players", 1), model, config=CONFIG, checkpoint=saved)
    assert same(arrays([model.state_dict(), torch.get_rng_state()]), before)


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.pop(name)


def put(name: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda content: content.update({name: value})


def other_shape(content: dict[str, Any]) -> None:
    first = content["optimizer"]["state"][0]
    first["exp_avg"] = first["exp_avg"][..., :1]


MISFITS: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"no {name}": without(name) for name in ("format", "step", "model", "target", "optimizer", "random", "stream_id")},
    "format": put("format", 2),
    "step": put("step", "many"),
    "place": lambda content: content.update({"stream_id": "a", "from_sequence": None}),
    "target": lambda content: content["target"].popitem(),
    "optimizer": lambda content: content["optimizer"]["param_groups"][0]["params"].pop(),
    "shape": other_shape,
    "random": put("random", torch.zeros(3, dtype=torch.uint8)),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_checkpoint_that_does_not_fit_changes_nothing(saved: Path, misfit: str) -> None:
    content = load_checkpoint(saved)
    assert content is not None
    MISFITS[misfit](content)
    with trainer(saved.with_name("other.pt"), seed=2) as other:
        before = state_of(other)
        save_checkpoint(saved, content)
        with pytest.raises(StorageError, match=r"(?s)checkpoint: expected one of this model, got .*another path to begin anew"):
            other._load(saved)
        assert same(state_of(other), before)


def test_checkpoint_of_another_network_changes_nothing(saved: Path) -> None:
    model = QNetwork((9, 6, 7), 5, 0)
    before = arrays(copy.deepcopy(model.state_dict()))
    with pytest.raises(StorageError, match="checkpoint: expected one of this model, got"):
        DistributedTrainer(games_of("two players", 1), model, config=CONFIG, checkpoint=saved)
    assert same(arrays(model.state_dict()), before)


def test_checkpoint_is_a_file_that_torch_loads(saved: Path) -> None:
    assert same(arrays(torch.load(saved, weights_only=True)), arrays(load_checkpoint(saved)))


def test_checkpoint_of_an_earlier_version_loads_and_damage_to_it_is_noticed(saved: Path) -> None:
    """Earlier versions wrote what ``torch.save`` gives; zip archives hold a checksum of each part."""
    content = load_checkpoint(saved)
    torch.save(content, saved)
    data = saved.read_bytes()
    assert len(data) > 10_000
    with trainer(saved, seed=2) as again:
        assert again.step == 3
    noticed = 0
    for bit, damaged in flipped(data, random.Random(1).sample(range(8 * len(data)), 300)):
        saved.write_bytes(damaged)
        try:
            found = load_checkpoint(saved)
        except StorageError:
            noticed += 1
        else:  # padding, or what readers do not look at
            assert same(arrays(found), arrays(content)), bit
    assert noticed > 200
