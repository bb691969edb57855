"""Plays a network for all games of an environment at once, on a CPU or a GPU, from observations or from packed boards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_flag, check_integer, is_number
from generals_env.errors import ConfigError
from generals_env.observations.joined import joined
from generals_env.observations.observation_checks import check_packed, observed_shape
from generals_env.observations.packed import PackedObservations
from generals_env.pickling import pickled_as
from generals_env.recorders.training.masked_choice import best_legal, drawn_legal
from generals_env.recorders.training.pinned_room import PinnedRoom

try:
    import torch
    from torch import Tensor, nn
except ModuleNotFoundError as error:
    raise ImportError(f'DevicePolicy: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["DevicePolicy"]

#: States evaluated at a time. On a CPU the features of so few stay in its cache, which is three times as fast as all at once.
CPU_CHUNK, GPU_CHUNK = 32, 2048

Array = npt.NDArray[Any]
Actions = npt.NDArray[np.int64]

#: Returns states (n, C, H, W) and masks (n, A) of some rows, on the device.
Source = Callable[[slice], tuple[Tensor, Tensor]]


@pickled_as("generals_env.recorders")
class DevicePolicy:
    """Plays the legal actions that a network chooses, for all games and seats at once.

    ``act_on_boards(venv.packed())`` takes the boards: on a GPU they are copied there from page-locked memory, two bytes a tile,
    and expanded to observations and masks there. On a CPU the kernels of the engine expand the states of one chunk at a time.
    ``act(observations, masks)`` takes the arrays of an environment, or the tensors of its ``to_torch``, without a copy on a
    CPU. Both choose equal actions. As a callable it is an opponent, and a policy of matches.

    The network evaluates chunks of equal size, the last one filled up, and each state has its own random number. So the action
    of a state does not depend on the other states of a call.

    Attributes:
        network: The network, on the device.
        device: The device.
        temperature: 0 plays the action with the highest score; above 0, actions are drawn, see ``drawn_legal``.
        version: Number of calls of ``set_weights``, or the number that the last one gave.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        device: Any = "cpu",
        temperature: float = 1.0,
        seed: int | None = None,
        bfloat16: bool = False,
        channels_last: bool = True,
        chunk: int | None = None,
    ) -> None:
        """Move the network to the device, and set it to evaluation.

        Args:
            network: Maps states (n, C, H, W) float32 to scores (n, A) of the actions: values or logits.
            device: A device of torch.
            temperature: See the attribute.
            seed: Seed of the random numbers; None for a random one.
            bfloat16: Whether convolutions and matrix products are computed in bfloat16 (autocast); weights stay as they are.
            channels_last: Whether the network gets states with the channels of a tile side by side.
            chunk: States evaluated at a time; None for 32 on a CPU and 2,048 elsewhere.

        Raises:
            ConfigError: If an argument is invalid.
        """
        if not isinstance(network, nn.Module):
            raise ConfigError(f"network: expected a torch module, got {network!r:.200}: pass for example a QNetwork")
        if not is_number(temperature) or not 0 <= temperature < float("inf"):
            raise ConfigError(f"temperature: expected a number of at least 0, got {temperature!r:.200}")
        try:
            self.device = torch.device(device)
            torch.empty(1, device=self.device)
        except (RuntimeError, AssertionError, TypeError) as error:  # no such device, or torch was built without it
            raise ConfigError(f"device: expected one that torch has here, got {device!r:.200}: {error}") from error
        self.temperature = float(temperature)
        self._bfloat16 = check_flag("bfloat16", bfloat16)
        self._channels_last = check_flag("channels_last", channels_last)
        self._on_cpu = self.device.type == "cpu"
        self._chunk = check_integer("chunk", self._default_chunk() if chunk is None else chunk, 1, 2**20)
        self.network = network.to(self.device).eval()
        if channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.version = 0
        self._room = PinnedRoom(pinned=self.device.type == "cuda")
        self.reset(seed)

    def _default_chunk(self) -> int:
        return CPU_CHUNK if self._on_cpu else GPU_CHUNK

    def reset(self, seed: int | None = None) -> None:
        """Begin a new stream of random numbers; a worker calls it with the seed of each task.

        Raises:
            ConfigError: If the seed is not a non-negative integer or None.
        """
        self._rng = np.random.default_rng(None if seed is None else check_integer("seed", seed, 0, 2**63))

    def set_weights(self, weights: Mapping[str, Any], version: int | None = None) -> int:
        """Replace the weights of the network by a state dict of tensors on any device; return the new version.

        Raises:
            ConfigError: If the weights do not fit the network, or the version is no integer; the old ones stay.
        """
        if not isinstance(weights, Mapping) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
            raise ConfigError(f"weights: expected a state dict of tensors, got {weights!r:.200}")
        version = self.version + 1 if version is None else check_integer("version", version, 0, 2**62)
        own = {name: tuple(tensor.shape) for name, tensor in self.network.state_dict().items()}
        given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        if own != given:
            name = min((name for name in own.keys() | given.keys() if own.get(name) != given.get(name)), key=str)
            raise ConfigError(
                f"weights: expected those of the network of the policy, got others: {name} has the shape {given.get(name)}, "
                f"expected {own.get(name)}"
            )
        self.network.load_state_dict(weights)
        self.version = version
        return self.version

    # --- Playing ------------------------------------------------------------------------------------------------------

    def __call__(self, views: Mapping[str, Array]) -> Actions:
        """Return the actions (n,) for a dict of ``"observation"`` and ``"action_mask"``, as opponents do."""
        return self.act(views["observation"], views["action_mask"])

    def act(self, observations: Any, masks: Any) -> Actions:
        """Return the actions for observations of an environment.

        Args:
            observations: (..., C, H, W), array or tensor, for example (B, P, C, H, W).
            masks: (..., A), 0 for illegal actions.

        Returns:
            (...) int64, for example (B, P).

        Raises:
            ConfigError: If they are no arrays of numbers, or the shapes do not fit each other or the network.
        """
        lead = observed_shape(observations, masks)
        return self.evaluate([(observations, masks)], self.numbers(lead))[0]

    def act_on_boards(self, views: PackedObservations) -> Actions:
        """Return the actions for packed boards, as ``venv.packed()`` returns them; of the shape of ``views.board``.

        Raises:
            ConfigError: If they are no packed boards, or do not fit the network.
        """
        check_packed(views)
        return self.evaluate([views], self.numbers(views.board.shape))[0]

    def numbers(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32] | None:
        """Return the next random numbers, one a state, flat; None if none are needed."""
        return self._rng.random(int(np.prod(shape)), np.float32) if self.temperature else None

    def evaluate(self, parts: Sequence[Any], numbers: npt.NDArray[np.float32] | None) -> list[Actions]:
        """Return the actions of each part, evaluated together.

        Args:
            parts: ``PackedObservations``, or pairs of observations and masks as of ``act``; all of one kind.
            numbers: (n,) a random number for each state of all parts together; None with a temperature of 0.

        Raises:
            ConfigError: If the parts do not fit each other, the numbers or the network.
        """
        packed = isinstance(parts[0], PackedObservations)
        shapes = [part.board.shape if packed else tuple(part[1].shape[:-1]) for part in parts]
        counts = [int(np.prod(shape)) for shape in shapes]
        if (self.temperature > 0) != (numbers is not None) or (numbers is not None and len(numbers) != sum(counts)):
            wanted, got = sum(counts) if self.temperature else "none", "none" if numbers is None else len(numbers)
            raise ConfigError(
                f"numbers: expected {wanted}, one for each state that is drawn, got {got}: take those of the method numbers"
            )
        states = self._boards(parts) if packed else self._arrays(parts)
        with torch.inference_mode():
            actions = self._choose(states, sum(counts), numbers)
        ends = np.cumsum(counts)[:-1]
        return [one.reshape(shape) for one, shape in zip(np.split(actions, ends), shapes, strict=True)]

    # --- On the device ------------------------------------------------------------------------------------------------

    def _boards(self, parts: Sequence[PackedObservations]) -> Source:
        """Return where states and masks of packed boards come from."""
        self._room.clear()
        if not self._on_cpu or len(parts) > 1 or not parts[0].boards.tiles.flags.writeable:  # kernels take writable arrays
            views = joined(parts, self._room.take)
        else:
            views = parts[0]
        views = replace(views, board=views.board.ravel(), player=views.player.ravel(), shown=views.shown.ravel())
        if self._on_cpu:
            return lambda rows: tuple(views[rows].to_torch().values())
        states, masks = views.to_torch(self.device).values()
        return lambda rows: (states[rows], masks[rows])

    def _arrays(self, parts: Sequence[tuple[Any, Any]]) -> Source:
        """Return where states and masks of arrays come from: without a copy if there is one part and it is on the device."""
        flat = [[as_tensor(array).flatten(0, -last) for array, last in zip(part, (4, 2), strict=True)] for part in parts]
        states, masks = (torch.cat(tensors) if len(parts) > 1 else tensors[0] for tensors in zip(*flat, strict=True))
        states, masks = states.to(self.device), masks.to(self.device)
        return lambda rows: (states[rows].float(), masks[rows])

    def _choose(self, source: Source, count: int, numbers: npt.NDArray[np.float32] | None) -> Actions:
        """Return the actions of all states, evaluated chunk by chunk."""
        chosen = torch.empty(count, dtype=torch.int64, device=self.device)
        drawn = None if numbers is None else torch.from_numpy(numbers).to(self.device)
        for low in range(0, count, self._chunk):
            rows = slice(low, min(low + self._chunk, count))
            states, masks = source(rows)
            size = len(states)
            if size < self._chunk:
                states = torch.cat([states, states.new_zeros(self._chunk - size, *states.shape[1:])])
            scores = self._scores(states)[:size]
            if scores.shape != masks.shape:
                raise ConfigError(
                    f"network: expected scores of shape {tuple(masks.shape)}, one for each action, got {tuple(scores.shape)}: "
                    "play games of the size and rules that it was made for"
                )
            legal = masks != 0
            if drawn is None:
                chosen[rows] = best_legal(scores, legal)
            else:
                chosen[rows] = drawn_legal(scores, legal, drawn[rows], self.temperature)
        return self._on_host(chosen)

    def _scores(self, states: Tensor) -> Tensor:
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
                scores: Tensor = self.network(states.contiguous(memory_format=self._format))
        except RuntimeError as error:
            if type(error) is not RuntimeError:  # out of memory, or an error of the device
                raise
            raise ConfigError(
                f"network: expected one that takes states of shape {tuple(states.shape)}, got an error: {error}"
            ) from error
        return scores

    @property
    def _format(self) -> torch.memory_format:
        """Layout of the states that the network gets; old protocols of pickle take no attribute of this class."""
        return torch.channels_last if self._channels_last else torch.contiguous_format

    def _on_host(self, chosen: Tensor) -> Actions:
        """Return the actions as an array, copied through page-locked memory from a GPU."""
        if self._on_cpu:
            return chosen.numpy()
        host = torch.empty(chosen.shape, dtype=chosen.dtype, pin_memory=self._room.pinned)
        host.copy_(chosen, non_blocking=self._room.pinned)
        if self._room.pinned:
            torch.cuda.current_stream(self.device).synchronize()  # the boards have been copied, too: their room is free
        return host.numpy()


def as_tensor(array: Any) -> Tensor:
    """Return an array as a tensor that shares its memory; a tensor as it is."""
    if isinstance(array, Tensor):
        return array
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
