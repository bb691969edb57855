"""Tests networks that play with numpy alone: the outputs are those of torch, and files of weights are read safely."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from generals_env.agents import weight_files
from generals_env.agents.numpy_policy_network import ARMIES, VALUE_RANGE, NumpyPolicyNetwork
from generals_env.agents.numpy_q_network import NumpyQNetwork
from generals_env.agents.weight_files import Q_NETWORK, NetworkWeights, load_weights, weights_bytes
from generals_env.errors import ConfigError, StorageError

torch = pytest.importorskip("torch")

from support.networks import policy_network, random_views  # noqa: E402

from generals_env.networks import value_bins  # noqa: E402
from generals_env.networks.policy_network import ARMIES as TORCH_ARMIES  # noqa: E402
from generals_env.networks.policy_network import PolicyNetwork  # noqa: E402
from generals_env.recorders.training.network_policy import NetworkPolicy  # noqa: E402
from generals_env.recorders.training.q_network import QNetwork  # noqa: E402


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("channels", "builds"), [(9, True), (21, False)])
def test_q_network_chooses_as_torch_does(channels: int, builds: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = QNetwork((channels, 7, 6), builds=builds)
    data = weights_bytes(NetworkWeights(Q_NETWORK, weights_of(network), step=3))
    assert data == weights_bytes(NetworkWeights(Q_NETWORK, weights_of(network), step=3))
    (tmp_path / "one.npz").write_bytes(data)
    loaded = load_weights(tmp_path / "one.npz")
    assert (loaded.kind, loaded.step) == (Q_NETWORK, 3)
    player = NumpyQNetwork(loaded.weights)
    rng = np.random.default_rng(1)
    views = rng.random((4, channels, 7, 6), np.float32) * (rng.random((4, channels, 7, 6)) < 0.5)
    values = network(torch.from_numpy(views)).detach().numpy()
    np.testing.assert_allclose(player.values(views), values, rtol=1e-4, atol=1e-5)
    masks = (rng.random((4, (9 if builds else 8) * 42 + 1)) < 0.3).astype(np.int8)
    batch = {"observation": views, "action_mask": masks}
    assert player(batch).tolist() == NetworkPolicy(network)(batch).tolist()


@pytest.mark.parametrize("layout", ["standard", "full"])
@pytest.mark.parametrize(("builds", "bins"), [(False, 0), (True, 7)])
def test_policy_network_equals_torch_on_boards_of_all_sizes(layout: str, builds: bool, bins: int) -> None:
    network = policy_network(builds, bins, layout)
    twin = NumpyPolicyNetwork(weights_of(network))
    assert (twin.builds, twin.blocks) == (builds, 2)
    # 70 boards of 8x8 are more than are computed at a time.
    for count, height, width in ((1, 4, 4), (3, 5, 9), (70, 8, 8), (2, 20, 18)):
        views = random_views(count, twin.channels, height, width, 8)["observation"]
        with torch.no_grad():
            logits, outputs = network(torch.from_numpy(views))
        found = twin.outputs(views)
        assert logits.abs().max() > 0.5
        np.testing.assert_allclose(found[0], logits.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[1], network.values(outputs).numpy(), rtol=1e-4, atol=1e-5)


def test_constants_are_those_of_the_network_in_torch() -> None:
    assert ARMIES == TORCH_ARMIES
    assert VALUE_RANGE == (value_bins.LOWEST, value_bins.HIGHEST)


def test_network_for_other_observations_is_refused() -> None:
    with pytest.raises(ConfigError, match="9 or 21 channels, got 18"):
        NumpyQNetwork(weights_of(QNetwork((18, 7, 6))))
    with pytest.raises(ConfigError, match=r"expected the weights of a QNetwork, got none of features\.0\.weight"):
        NumpyQNetwork({})
    weights = weights_of(PolicyNetwork("full", 4, 1))
    del weights["passing.weight"]
    with pytest.raises(ConfigError, match=r"expected the weights of a policy network, got none of passing\.weight"):
        NumpyPolicyNetwork(weights)
    with pytest.raises(ConfigError, match="8 or 9 planes of moves, got 21 and 5"):
        NumpyPolicyNetwork({**weights_of(PolicyNetwork("full", 4, 1)), "moves.weight": np.zeros((5, 4, 1, 1), np.float32)})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"x" * 50])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(StorageError, match="expected a file of weights"):
        load_weights(tmp_path / "weights.npz")


def test_weights_of_other_kinds_or_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(weights_bytes(NetworkWeights("tree", {})))
    with pytest.raises(StorageError, match="a network of the kind 'tree'"):
        load_weights(path)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=True, about=np.array([{"a": 1}], object))
    with pytest.raises(StorageError, match="expected a file of weights"):  # pickled objects are not loaded
        load_weights(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("large.npy", bytes(5000))
    monkeypatch.setattr(weight_files, "MAX_BYTES", 4000)
    with pytest.raises(StorageError, match=r"layers of at most 4,000 bytes, got more in large\.npy"):
        load_weights(path)
