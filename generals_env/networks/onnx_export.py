"""Converts networks to ONNX, and computes them with onnxruntime: boards of any size, any number of them at a time."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

from generals_env.agents.numpy_layers import Floats
from generals_env.agents.weight_files import NetworkWeights
from generals_env.errors import ConfigError
from generals_env.version import __version__

try:
    import torch
    from torch import Tensor, nn

    from generals_env.networks.policy_network import PolicyNetwork
    from generals_env.networks.torch_networks import torch_network
except ModuleNotFoundError as error:
    raise ImportError(f'onnx_export: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["ExportedPolicy", "onnx_bytes", "onnx_outputs", "torch_outputs"]

#: Maps observations (n, C, H, W) float32 to the outputs of a network: logits and values, or the values of the actions alone.
Outputs = Callable[[Floats], tuple[Floats, ...]]

#: Tells of operators of a library that this package does not use, each time.
NOISY = "torch.onnx._internal.exporter._registration"


class ExportedPolicy(nn.Module):
    """A policy network whose second output is the value itself, also where the network gives a distribution of it."""

    def __init__(self, network: PolicyNetwork) -> None:
        """Take the network."""
        super().__init__()
        self.network = network

    def forward(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (n, A) and values (n,)."""
        logits, outputs = self.network(observation)
        return logits, self.network.values(outputs)


def exported(network: NetworkWeights) -> tuple[nn.Module, list[str], int]:
    """Return a network as it is exported, the names of its outputs, and its number of channels."""
    module = torch_network(network)
    channels = network.weights["features.0.weight"].shape[1]
    if isinstance(module, PolicyNetwork):
        return ExportedPolicy(module).eval(), ["logits", "value"], channels
    return module, ["values"], channels


def onnx_bytes(network: NetworkWeights) -> bytes:
    """Return a network as a model of ONNX.

    The input is ``observation`` (batch, C, height, width) float32; the outputs are ``logits`` (batch, A) and ``value`` (batch,)
    of a policy network, ``values`` (batch, A) of a Q-network. The metadata tells what the network is and how it was made.

    Raises:
        ConfigError: If a library is missing.
        StorageError: If the network cannot be made, see ``torch_network``.
    """
    try:
        import onnx  # noqa: F401 - the exporter of torch needs both
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(f'onnx: expected onnx and onnxscript, got {error}: pip install "generals_env[export]"') from error
    module, names, channels = exported(network)
    logger = logging.getLogger(NOISY)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about calls of torch by torch
            warnings.simplefilter("ignore", DeprecationWarning)
            program: Any = torch.onnx.export(
                module,
                (torch.rand(2, channels, 6, 7),),
                dynamo=True,
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
                input_names=["observation"],
                output_names=names,
                external_data=False,
                verbose=False,
            )
            model = program.model_proto
    finally:
        logger.setLevel(level)
    model.producer_name, model.producer_version = "generals_env", __version__
    about = {"kind": network.kind, "options": network.options, "made": network.made, "step": network.step}
    for name, value in about.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = f"generals_env.{name}", json.dumps(value, sort_keys=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def onnx_outputs(model: bytes) -> Outputs:
    """Return a function that computes a model with onnxruntime, on one core.

    Raises:
        ConfigError: If onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ConfigError(f'onnx: expected onnxruntime, got {error}: pip install "generals_env[export]"') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def outputs(observations: Floats) -> tuple[Floats, ...]:
        return tuple(session.run(None, {"observation": observations}))

    return outputs


def torch_outputs(network: NetworkWeights) -> Outputs:
    """Return a function that computes a network with torch."""
    module, names, _ = exported(network)

    def outputs(observations: Floats) -> tuple[Floats, ...]:
        with torch.no_grad():
            found = module(torch.from_numpy(observations))
        parts = found if len(names) > 1 else (found,)
        return tuple(part.float().numpy() for part in parts)

    return outputs
