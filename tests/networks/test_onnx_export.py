"""Tests ``generals-env export`` with onnxruntime itself: any board, the same outputs as torch, whole files or none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import run
from support.networks import policy_network, random_views
from typer.testing import CliRunner

from generals_env.agents.shipped import TRAINED
from generals_env.agents.weight_files import NetworkWeights, load_weights
from generals_env.cli.app import app
from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.networks import parity
from generals_env.networks.parity import compare_outputs, milliseconds
from generals_env.networks.policy_file import save_policy_network
from generals_env.recorders import QNetwork
from generals_env.recorders.training.checkpoints import save_checkpoint

torch = pytest.importorskip("torch")
pytest.importorskip("onnx", reason='pip install "generals_env[export]"')
pytest.importorskip("onnxscript", reason='pip install "generals_env[export]"')
pytest.importorskip("threadpoolctl", reason='pip install "generals_env[export]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='pip install "generals_env[export]"')


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "SECONDS", 0.001)


def test_policy_network_is_exported_for_boards_of_all_sizes(tmp_path: Path) -> None:
    network = policy_network(builds=True, value_bins=5)
    save_policy_network(tmp_path / "policy.pt", network, {"board": 8}, step=4)
    output = run("export", tmp_path / "policy.pt", "--onnx", tmp_path / "p.onnx", "--numpy", tmp_path / "p.npz")
    assert all(f" {size} " in output for size in ("4x4", "5x9", "8x8", "20x20"))
    session = onnxruntime.InferenceSession(tmp_path / "p.onnx", providers=["CPUExecutionProvider"])
    assert [entry.shape for entry in session.get_inputs()] == [["batch", 21, "height", "width"]]
    assert [entry.name for entry in session.get_outputs()] == ["logits", "value"]
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["generals_env.made"]) == {"board": 8}
    assert json.loads(about["generals_env.options"]) == network.options()
    for count, height, width in ((1, 4, 4), (7, 6, 11), (2, 20, 20)):
        views = random_views(count, 21, height, width, 9)["observation"]
        logits, value = session.run(None, {"observation": views})
        with torch.no_grad():
            expected, outputs = network(torch.from_numpy(views))
        np.testing.assert_allclose(logits, expected.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(value, network.values(outputs).numpy(), rtol=1e-4, atol=1e-5)
    assert load_weights(tmp_path / "p.npz").step == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.npz", "p.onnx", "policy.pt"]


def test_q_network_is_exported(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = QNetwork((18, 6, 6), channels=4, blocks=1)  # two stacked frames
    save_checkpoint(tmp_path / "q.pt", {"model": network.state_dict(), "step": 2})
    run("export", tmp_path / "q.pt", "--onnx", tmp_path / "q.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "q.onnx", providers=["CPUExecutionProvider"])
    views = random_views(3, 18, 5, 8, 8)["observation"]
    (values,) = session.run(None, {"observation": views})
    np.testing.assert_allclose(values, network(torch.from_numpy(views)).detach().numpy(), rtol=1e-4, atol=1e-5)


def invoke(*arguments: object) -> None:
    CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False, standalone_mode=False)


def test_differences_beyond_rounding_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parity.numpy_outputs

    def wrong(network: NetworkWeights) -> Any:
        outputs = found(network)
        return lambda views: tuple(part + 1 for part in outputs(views))

    monkeypatch.setattr(parity, "numpy_outputs", wrong)
    with pytest.raises(StateError, match=r"expected outputs that differ by 0\.0\d+ at most, got 1 on \(4, 4\)"):
        invoke("export", TRAINED, "--numpy", tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_outputs_of_other_shapes_and_not_numbers_are_differences() -> None:
    one = lambda views: (views.sum(axis=(1, 2, 3)),)  # noqa: E731
    assert len(compare_outputs(one, one, 9)) == len(parity.BOARDS)
    with pytest.raises(StateError, match=r"expected outputs of the shapes \[\(5,\)\], got \[\(4,\)\]"):
        compare_outputs(one, lambda views: (one(views)[0][1:],), 9)
    with pytest.raises(StateError, match="got nan"):
        compare_outputs(one, lambda views: (one(views)[0] * np.nan,), 9)


def test_least_time_of_a_call_is_returned() -> None:
    calls = []
    assert 0 <= milliseconds(lambda views: calls.append(1) or (views,), np.zeros(1)) < 1000  # type: ignore[func-returns-value]
    assert len(calls) >= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "export: expected --onnx FILE or --numpy FILE, got none"),
        (("--onnx", "a.pt"), r"onnx: expected a file that ends in \.onnx"),
        (("--numpy", "a.onnx"), r"numpy: expected a file that ends in \.npz"),
        (("--numpy", "/dev/null/a.npz"), "export: expected a file that can be written"),
    ],
)
def test_files_that_cannot_be_written_are_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(GeneralsError, match=words):
        invoke("export", TRAINED, *arguments)


def test_unknown_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="agent: expected trained"):
        invoke("export", "trained:none", "--numpy", tmp_path / "a.npz")
    with pytest.raises(GeneralsError, match="which does not exist"):
        invoke("export", tmp_path / "none.pt", "--numpy", tmp_path / "a.npz")
