"""Tests networks that play with numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from generals_env.bridge.numpy_network import NumpyNetwork, load_weights, save_weights

from generals_env.errors import ConfigError, StorageError

torch = pytest.importorskip("torch")

from generals_env.recorders.training.network_policy import NetworkPolicy  # noqa: E402
from generals_env.recorders.training.q_network import QNetwork  # noqa: E402


def weights_of(network: QNetwork) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize(("channels", "builds"), [(9, True), (21, False)])
def test_network_chooses_as_torch_does(channels: int, builds: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = QNetwork((channels, 7, 6), builds=builds)
    save_weights(tmp_path / "one.npz", weights_of(network))
    save_weights(tmp_path / "two.npz", weights_of(network))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    player = NumpyNetwork(load_weights(tmp_path / "one.npz"))
    rng = np.random.default_rng(1)
    views = rng.random((4, channels, 7, 6), np.float32) * (rng.random((4, channels, 7, 6)) < 0.5)
    values = network(torch.from_numpy(views)).detach().numpy()
    np.testing.assert_allclose([player.values(view) for view in views], values, rtol=1e-4, atol=1e-5)
    masks = (rng.random((4, (9 if builds else 8) * 42 + 1)) < 0.3).astype(np.int8)
    batch = {"observation": views, "action_mask": masks}
    assert player(batch).tolist() == NetworkPolicy(network)(batch).tolist()


def test_network_for_stacked_frames_is_refused() -> None:
    with pytest.raises(ConfigError, match="9 or 21 channels, got 18"):
        NumpyNetwork(weights_of(QNetwork((18, 7, 6))))
    with pytest.raises(ConfigError, match=r"expected the weights of a QNetwork, got none of features\.0\.weight"):
        NumpyNetwork({})


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + b"x" * 50])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(StorageError, match="expected a file of weights"):
        load_weights(tmp_path / "weights.npz")
