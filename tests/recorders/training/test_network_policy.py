"""Tests policies of checkpoints: they play the best legal action, in games and against learners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.recorded import games_of

import generals_env
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders import DistributedTrainer, QNetwork, TrainerConfig, load_policy
from generals_env.recorders.training.checkpoints import load_checkpoint, save_checkpoint
from generals_env.single import GeneralsSingleVector

CONFIG = TrainerConfig(min_size=50, batch_size=8, n_step=1, seed=1)


@pytest.fixture(params=[(4, 0), (8, 2)], ids=["small", "large"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[QNetwork, Path]:
    """Return a trained network and its checkpoint."""
    torch.manual_seed(1)
    network, path = QNetwork((9, 6, 7), *request.param), tmp_path / "model.pt"
    with DistributedTrainer(games_of("two players", 1), network, config=CONFIG, checkpoint=path) as trainer:
        trainer.train(3)
        trainer.save()
    return network, path


def views(seed: int = 1, **options: Any) -> dict[str, np.ndarray]:
    """Return the observations of the first player of some games after a few turns."""
    games = generals_env.make_vec(5, **{"height": 8, "width": 9, **options})
    games.reset(seed=seed)
    games.play(20, ("expander", "expander"))
    return {name: array[:, 0] for name, array in games.observe().items()}


@pytest.mark.checklist("A2")
def test_policy_plays_legal_action_of_highest_value(saved: tuple[QNetwork, Path]) -> None:
    network, path = saved
    policy, seen = load_policy(path), views()
    assert policy.step == 3
    assert policy.channels == 9
    assert all(map(torch.equal, policy.network.state_dict().values(), network.state_dict().values()))
    with torch.no_grad():
        policy.network.value[-1].bias -= 10.0  # type: ignore[operator]  # all values are negative
        actions = policy(seen)
        values = policy.network(torch.from_numpy(np.ascontiguousarray(seen["observation"]))).numpy()
    for row, action in enumerate(actions):
        legal = np.flatnonzero(seen["action_mask"][row])
        assert action == legal[values[row, legal].argmax()]


def test_policy_is_an_opponent(saved: tuple[QNetwork, Path]) -> None:
    games = GeneralsSingleVector(4, load_policy(saved[1]), height=6, width=6, max_turns=30)
    observations, _ = games.reset(seed=1)
    for _ in range(40):
        observations, *_ = games.step(observations["action_mask"].argmax(axis=1))


def test_random_moves_are_legal_and_reproducible(saved: tuple[QNetwork, Path]) -> None:
    seen = views()
    policies = [load_policy(saved[1], random_moves=1.0, seed=2) for _ in range(2)]
    chosen = [np.stack([policy(seen) for _ in range(50)]) for policy in policies]
    assert np.array_equal(*chosen)
    assert seen["action_mask"][np.arange(5), chosen[0]].all()
    assert all(len(set(chosen[0][:, row])) > 1 for row in range(5) if seen["action_mask"][row].sum() > 1)
    with pytest.raises(ConfigError, match=r"^random_moves: expected a number from 0 to 1, got 2$"):
        load_policy(saved[1], random_moves=2)


def test_observations_of_another_layout_are_refused(saved: tuple[QNetwork, Path]) -> None:
    with pytest.raises(ConfigError, match=r"^observation: expected 9 channels, as in the training of the network, got 21"):
        load_policy(saved[1])(views(observation="full"))


def test_other_files_are_refused(saved: tuple[QNetwork, Path], tmp_path: Path) -> None:
    path = saved[1]
    with pytest.raises(StorageError, match=r"^checkpoint: expected a file of generals-env train, got .*which does not exist"):
        load_policy(tmp_path / "none.pt")
    content = load_checkpoint(path)
    assert content is not None
    for change in (
        lambda: content.pop("step"),
        content["model"].popitem,
        lambda: content.update(model={"weight": torch.zeros(2)}),
    ):
        change()
        save_checkpoint(path, content)
        with pytest.raises(StorageError, match=r"^checkpoint: expected one of a QNetwork, got "):
            load_policy(path)
