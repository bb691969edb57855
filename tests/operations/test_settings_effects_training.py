"""Tests that each key of the section ``training`` changes what the trainer of ``generals-env train`` does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from support.stream_calls import GAMES

from generals_env.cli.train import read_hyperparameters
from generals_env.errors import StateError
from generals_env.recorders import ExperienceBatch

torch = pytest.importorskip("torch", reason="torch is not installed: pip install generals_env[torch]")

from support.settings_effects import shows  # noqa: E402

from generals_env.recorders.training.q_network import QNetwork  # noqa: E402
from generals_env.recorders.training.trainer import DistributedTrainer  # noqa: E402

pytestmark = pytest.mark.checklist("K10")

BATCHES = GAMES[:2]

COUNT = sum(map(len, BATCHES))

#: The buffer is full before the first step, so that the same steps are taken with the same settings.
BASE: dict[str, Any] = {"min_size": COUNT, "capacity": COUNT, "batch_size": 16, "seed": 1}


def trainer_of(values: dict[str, Any], batches: Any = BATCHES) -> DistributedTrainer:
    """Return a trainer of a small network with settings as ``--set`` gives them."""
    given = [f"training.{name}={str(value).lower()}" for name, value in (BASE | values).items()]
    torch.manual_seed(1)
    model = QNetwork(BATCHES[0].states().shape[1:], 4, 0)
    return DistributedTrainer(batches, model, config=read_hyperparameters(None, given, {}))


@cache
def weights_after(name: str | None, value: Any = None, steps: int = 4) -> bytes:
    """Return the weights of the network after some steps with one key changed."""
    with trainer_of({} if name is None else {name: value}) as trainer:
        trainer.train(steps)
        return b"".join(part.detach().numpy().tobytes() for part in trainer.model.parameters())


@shows(
    "training.batch_size",
    "training.learning_rate",
    "training.gamma",
    "training.n_step",
    "training.alpha",
    "training.beta",
    "training.beta_steps",
    "training.target_every",
    "training.max_gradient",
    "training.augment",
    "training.seed",
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 17),
        ("learning_rate", 0.01),
        ("gamma", 0.5),
        ("n_step", 1),
        ("alpha", 0.0),
        ("beta", 1.0),
        ("beta_steps", 3),
        ("target_every", 1),
        ("max_gradient", 0.001),
        ("augment", True),
        ("seed", 2),
    ],
)
def test_key_of_training_changes_the_trained_weights(name: str, value: Any) -> None:
    assert weights_after(name, value) != weights_after(None)


def test_same_training_settings_give_the_same_weights() -> None:
    assert weights_after(None) == weights_after("seed", 1)


@shows("training.capacity")
def test_capacity_limits_the_buffer_of_the_trainer() -> None:
    for capacity in (COUNT // 2, COUNT):
        with trainer_of({"min_size": COUNT // 2, "capacity": capacity}) as trainer:
            trainer.train(1)
            assert trainer._reading is not None
            assert trainer._reading.join()
            assert len(trainer.buffer) == capacity


@shows("training.min_size")
def test_min_size_is_awaited_before_the_first_step() -> None:
    with trainer_of({"min_size": COUNT, "capacity": 1000}) as trainer:
        assert trainer.train(1)["step"] == 1
    with trainer_of({"min_size": COUNT + 1, "capacity": 1000}) as trainer, pytest.raises(StateError, match="min_size"):
        trainer.train(1)


@shows("training.replay_ratio")
def test_replay_ratio_lets_the_source_wait_for_draws() -> None:
    """Without a ratio the source is read to its end before any step; with one, only as far as the first step needs."""
    for ratio in (None, 1000.0):
        taken: list[int] = []

        def source() -> Iterator[ExperienceBatch]:
            for batch in GAMES * 4:
                taken.append(len(batch))  # noqa: B023 - read before the next round
                yield batch

        values = {"min_size": len(GAMES[0])} | ({} if ratio is None else {"replay_ratio": ratio})
        with trainer_of(values, source()) as trainer:
            trainer.train(1)
            if ratio is None:
                assert trainer._reading is not None
                assert trainer._reading.join()
            assert (len(taken) < 16) is (ratio is not None)
