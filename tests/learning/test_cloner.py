"""Tests the learner of behaviour cloning: its loss, that it fits a game, its file, and PPO from it."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import behaviour_cloning
import numpy as np
import pytest
import torch
from support.paths import DATA
from support.people_games import hand_made, store_of
from support.replay_fields import read_fields

from generals_env.errors import ConfigError, StorageError
from generals_env.learning.cloning import Accuracy, Cloner, CloningConfig, MoveStore
from generals_env.learning.cloning.cloner import cloning_loss
from generals_env.learning.ppo import PPO
from generals_env.learning.ppo_config import PPOConfig
from generals_env.networks.policy_file import load_policy_network, save_policy_network
from generals_env.networks.policy_network import PolicyNetwork


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Compute with one thread: others run beside the tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small(**options: Any) -> CloningConfig:
    """Return options of a small learner that knows all players."""
    sizes = {"batch_size": 64, "parts": 1, "channels": 24, "blocks": 2, "averaging": 0.9, "weight_decay": 0.0, "warm_up": 10}
    return CloningConfig(**{"hold_out": 0.0, "smoothing": 0.0, **sizes, **options})


def test_loss_is_the_cross_entropy_over_legal_actions() -> None:
    logits = torch.tensor([[1.0, 2.0, 100.0, 0.0]])
    legal = torch.tensor([[True, True, False, True]])
    total = math.log(math.exp(1) + math.exp(2) + 1)
    plain = cloning_loss(logits, legal, torch.tensor([1]), 0.0)
    assert plain.item() == pytest.approx(total - 2, rel=1e-5)
    spread = ((total - 1) + (total - 2) + total) / 3
    smoothed = cloning_loss(logits, legal, torch.tensor([1]), 0.3)
    assert smoothed.item() == pytest.approx(0.7 * (total - 2) + 0.3 * spread, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient_stay_finite_whatever_illegal_logits_are(smoothing: float) -> None:
    logits = torch.tensor([[-math.inf, 50.0, -50.0, 0.0], [math.nan, 0.0, 1e38, math.inf]], requires_grad=True)
    legal = torch.tensor([[False, True, True, True], [False, True, False, False]])
    loss = cloning_loss(logits, legal, torch.tensor([2, 1]), smoothing)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert loss[1] == 0
    assert logits.grad is not None
    assert logits.grad[legal].isfinite().all()
    assert (logits.grad[~legal] == 0).all()


def test_a_network_fits_the_moves_of_one_game() -> None:
    fields = read_fields("duel_small")
    moves = [move for move in fields["moves"] if move[4] < 40]
    sizes = {
        "mapWidth": 7,
        "mapHeight": 7,
        **{name: fields[name] for name in ("cities", "cityArmies", "generals", "mountains")},
    }
    store = MoveStore.of([hand_made("begins", moves, version=fields["version"], **sizes)])
    assert len(store) > 60
    cloner = Cloner(store, small(symmetries=False, learning_rate=1e-2, channels=32, blocks=1, value_weight=0.0))
    before = cloner.accuracy(cloner.split.training)
    cloner.train(1000, steps=250)
    after = cloner.accuracy(cloner.split.training)
    assert before.top1 < 0.5
    assert after.top1 > 0.95, after
    assert after.top5 == 1


def test_the_value_learns_who_wins() -> None:
    cloner = Cloner(store_of("duel_small", "duel"), small(learning_rate=5e-3, value_weight=1.0))
    cloner.train(1000, steps=120)
    cloner.averaged.eval()
    for _ in range(3):
        batch = cloner.sampler.draw(64)
        with torch.no_grad():
            _, values = cloner.averaged(batch.observations)
        late = batch.left < 100
        targets = batch.outcomes * 0.995**batch.left
        assert (values - targets)[late].square().mean() < 0.5 * targets[late].square().mean()


def test_passes_weigh_as_much_as_they_are_told_to() -> None:
    store = MoveStore.of([hand_made("waits", [[0, 0, 1, 0, 3], [0, 1, 2, 0, 60]])])
    assert store.groups[0].passes.mean() > 0.95
    shares = []
    for weight in (0.0, 1.0):
        cloner = Cloner(store, small(pass_weight=weight, learning_rate=5e-3))
        cloner.train(1000, steps=40)
        batch = cloner.sampler.draw(256)
        with torch.no_grad():
            logits, _ = cloner.averaged(batch.observations)
        shares.append(logits.masked_fill(~batch.legal, -1e30).softmax(1)[:, -1].mean().item())
    assert shares[0] < 0.5
    assert shares[1] > 0.8


def test_training_is_the_same_from_the_same_seed() -> None:
    store = store_of("duel_small", "duel")
    weights = []
    for seed in (1, 1, 2):
        cloner = Cloner(store, small(seed=seed))
        cloner.train(1000, steps=4)
        weights.append(torch.cat([value.flatten() for value in cloner.agent.state_dict().values()]))
    assert not torch.equal(weights[0], weights[2])
    assert torch.allclose(weights[0], weights[1], atol=1e-3)


def test_limits_end_the_training_and_lower_the_learning_rate() -> None:
    cloner = Cloner(store_of("duel_small"), small())
    found: list[dict[str, float]] = []
    cloner.train(1000, found.append, steps=5)
    assert [figures["steps"] for figures in found] == [1, 2, 3, 4, 5]
    assert set(found[0]) >= {"minutes", "processor_minutes", "policy_loss", "value_loss", "top1", "learning_rate"}
    cloner.train(1000, found.append, processor_minutes=1e-9)
    assert len(found) <= 6
    for limit in ("minutes", "steps", "processor_minutes"):
        with pytest.raises(ConfigError, match=f"{limit}: expected a positive number"):
            cloner.train(**{"minutes": 1, limit: 0})


def test_options_that_are_wrong_are_named() -> None:
    for wrong in ({"smoothing": 1.0}, {"pass_weight": -1}, {"parts": 0}, {"batch_size": 3, "parts": 4}, {"symmetries": 1}):
        name = "batch_size" if len(wrong) == 2 else next(iter(wrong))
        with pytest.raises(ConfigError, match=name):
            CloningConfig(**wrong)
    with pytest.raises(ConfigError, match="entries: expected one or more moves"):
        Cloner(store_of("duel_small"), small(hold_out=1.0))


def test_the_file_holds_the_averaged_network(tmp_path: Path) -> None:
    cloner = Cloner(store_of("duel_small"), small(channels=8, blocks=1))
    cloner.train(1000, steps=3)
    cloner.save(tmp_path / "clone.pt", note="a test")
    file = load_policy_network(tmp_path / "clone.pt")
    assert file.made["note"] == "a test"
    assert file.made["steps"] == 3
    assert file.step == 3 * 64
    network = file.network
    batch = cloner.sampler.draw(5)
    with torch.no_grad():
        assert torch.equal(network.eval()(batch.observations)[0], cloner.averaged.eval()(batch.observations)[0])


def test_ppo_begins_from_a_file(tmp_path: Path) -> None:
    network = PolicyNetwork("full", 8, 1)
    save_policy_network(tmp_path / "clone.pt", network)
    sizes = {"board": 5, "max_turns": 20, "games": 4, "steps": 4, "batch_size": 8}
    learner = PPO(PPOConfig(initial=tmp_path / "clone.pt", **sizes))
    assert learner.network.options() == network.options()
    assert all(torch.equal(one, two) for one, two in zip(learner.network.parameters(), network.parameters(), strict=True))
    learner.iterate()
    assert not all(torch.equal(a, b) for a, b in zip(learner.network.parameters(), network.parameters(), strict=True))
    save_policy_network(tmp_path / "standard.pt", PolicyNetwork("standard", 8, 1))
    with pytest.raises(ConfigError, match="initial: expected a network for the layout 'full'"):
        PPO(PPOConfig(initial=str(tmp_path / "standard.pt"), **sizes))
    with pytest.raises(ConfigError, match="initial: expected the path"):
        PPOConfig(initial=3)
    with pytest.raises(StorageError, match="does not exist"):
        PPO(PPOConfig(initial=str(tmp_path / "none.pt"), **sizes))


def test_example_clones_measures_and_plays(tmp_path: Path) -> None:
    files = [DATA / f"{name}.json.gz" for name in ("duel", "duel_small", "duel_wide", "duel_tall", "duel_square")]
    sizes = {"channels": 8, "blocks": 1, "batch_size": 16, "board": 6, "max_turns": 40, "games": 2, "threads": 1}
    arguments = behaviour_cloning.Arguments(files, minutes=1000, steps=3, out=tmp_path, hold_out=0.5, **sizes)
    behaviour_cloning.main(arguments)
    rows = list(csv.DictReader((tmp_path / "accuracy.csv").read_text().splitlines()))
    assert [row["policy"] for row in rows] == ["clone", "majority", "expander", "hunter"]
    assert all(0 <= float(row["top1"]) <= 1 and int(row["entries"]) > 100 for row in rows)
    assert [bool(row["top5"]) for row in rows] == [True, True, False, False]
    assert np.isfinite(
        [float(row["top1"]) for row in csv.DictReader((tmp_path / "progress.csv").read_text().splitlines())]
    ).all()
    assert (tmp_path / "clone.pt").stat().st_size < 10**6
    assert len(rows[0]) == 1 + len(Accuracy.__dataclass_fields__)
