"""Tests files of policy networks, the players of saved networks, and that each kind is recognised by its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.networks import policy_network, random_views

from generals_env.agents.sampled_player import SampledPlayer
from generals_env.agents.weight_files import weights_bytes
from generals_env.arena.players import RANDOM_MOVES, make_player
from generals_env.bridge.batch_policies import load_batch_policy
from generals_env.bridge.stdio_agent import load_frame_policy
from generals_env.bridge.stdio_protocol import Frame
from generals_env.cli.games.live import layout_of
from generals_env.errors import StorageError
from generals_env.live.agent import load_live_policy
from generals_env.networks.policy_file import load_policy_network, policy_content, save_policy_network
from generals_env.networks.saved_players import load_network_weights, load_player
from generals_env.networks.torch_networks import torch_network
from generals_env.operations.run.players import load_model
from generals_env.recorders import QNetwork, load_policy
from generals_env.recorders.training.checkpoints import save_checkpoint
from generals_env.recorders.training.network_policy import NetworkPolicy

torch = pytest.importorskip("torch")

MADE = {"board": 8, "opponents": {"expander": 3.0}, "seeds": [1, 2], "name": "é"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_policy_network(tmp_path / "policy.pt", policy_network(value_bins=5), MADE, step=7)
    return tmp_path / "policy.pt"


def test_network_is_loaded_as_it_was_saved(saved: Path) -> None:
    file = load_policy_network(saved)
    assert (file.made, file.step, file.network.training) == (MADE, 7, False)
    network = policy_network(value_bins=5)
    assert file.network.options() == network.options()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in file.network.state_dict().items())


def test_checkpoint_of_a_trainer_is_a_file_of_its_network(tmp_path: Path) -> None:
    head = policy_content(policy_network(), MADE, 9)
    save_checkpoint(tmp_path / "trainer.pt", {**head, "trainer": {"optimizer": {"state": [torch.zeros(2)]}, "samples": 9}})
    assert load_policy_network(tmp_path / "trainer.pt").step == 9
    assert load_player(tmp_path / "trainer.pt").step == 9


@pytest.mark.parametrize("builds", [False, True])
def test_torch_and_numpy_play_the_same_file_alike(builds: bool, tmp_path: Path) -> None:
    save_policy_network(tmp_path / "policy.pt", policy_network(builds))
    (tmp_path / "policy.npz").write_bytes(weights_bytes(load_network_weights(tmp_path / "policy.pt")))
    one, two = (load_player(tmp_path / f"policy.{suffix}", seed=3) for suffix in ("pt", "npz"))
    assert type(one) is type(two) is SampledPlayer
    assert type(one.network) is not type(two.network)
    views = random_views(50, 21, 6, 5, 9 if builds else 8)
    np.testing.assert_allclose(one.probabilities(views), two.probabilities(views), rtol=1e-3, atol=1e-6)
    actions = one(views)
    assert actions.tolist() == two(views).tolist()
    assert views["action_mask"][np.arange(50), actions].all()
    assert one(views).tolist() != actions.tolist()  # drawn, not the most probable ones
    greedy = load_player(tmp_path / "policy.pt", temperature=0)
    assert greedy(views).tolist() == one.probabilities(views).argmax(axis=1).tolist()


def test_weights_become_a_network_of_torch_again(saved: Path, tmp_path: Path) -> None:
    weights = load_network_weights(saved)
    network = torch_network(weights)
    assert all(
        torch.equal(tensor, network.state_dict()[name]) for name, tensor in policy_network(value_bins=5).state_dict().items()
    )
    q_network = QNetwork((9, 5, 5), channels=4, blocks=1, builds=True)
    save_checkpoint(tmp_path / "q.pt", {"model": q_network.state_dict(), "step": 2})
    twin = torch_network(load_network_weights(tmp_path / "q.pt"))
    assert all(torch.equal(tensor, twin.state_dict()[name]) for name, tensor in q_network.state_dict().items())


def test_every_place_recognises_both_kinds_of_checkpoints(saved: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "q.pt", {"model": QNetwork((9, 5, 5), channels=4, blocks=1).state_dict(), "step": 2})
    both: list[tuple[Path, Any]] = [(saved, SampledPlayer), (tmp_path / "q.pt", NetworkPolicy)]
    for path, kind in both:
        player = make_player(str(path))
        for found in (load_batch_policy("opponent", str(path)), load_model(str(path)), player.policy):
            assert type(found) is kind
        live = load_live_policy(str(path), seed=1)
        assert layout_of(str(path), live) == ("full" if kind is SampledPlayer else "standard")
        assert player.channels == (21 if kind is SampledPlayer else 9)
        assert player.random_moves == (0 if kind is SampledPlayer else RANDOM_MOVES)
        kinds, owners, armies = (np.zeros((4, 4), np.int64) for _ in range(3))
        assert 0 <= load_frame_policy(str(path))(Frame(0, (1, 1), (1, 1), kinds, owners, armies)) <= 9 * 16


def test_files_of_other_content_are_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"expected a file of a policy network, got .* which does not exist"):
        load_policy_network(tmp_path / "none.pt")
    with pytest.raises(StorageError, match=r"expected a saved network, got .* which does not exist"):
        load_player(tmp_path / "none.pt")
    head = policy_content(policy_network())
    for change in ({"kind": "other"}, {"network": {"channels": 3}}, {"weights": {}}, {"made": 3}):
        save_checkpoint(tmp_path / "other.pt", {**head, **change})
        with pytest.raises(StorageError, match=r"^path: expected a file of a policy network, got "):
            load_policy_network(tmp_path / "other.pt")
    save_checkpoint(tmp_path / "other.pt", {**head, "fingerprint": head["fingerprint"] + 1})
    with pytest.raises(StorageError, match="whose network answers differently in fixed states"):
        load_player(tmp_path / "other.pt")
    with pytest.raises(StorageError, match=r"load other networks with generals_env\.networks\.saved_players\.load_player"):
        load_policy(saved)
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 1
    saved.write_bytes(data)
    with pytest.raises(StorageError, match="expected the SHA-256 in the file, got another"):
        load_player(saved)
