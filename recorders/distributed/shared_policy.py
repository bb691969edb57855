"""Plays by a policy that one process evaluates for many: the handle of an actor of Ray."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_integer, is_number, shown
from generals_env.errors import ConfigError, GeneralsError, StateError
from generals_env.observations.observation_checks import check_packed, observed_shape
from generals_env.observations.packed import PackedObservations
from generals_env.pickling import pickled_as
from generals_env.recorders.distributed.policy_server import PolicyServer, SharedEvaluator
from generals_env.recorders.distributed.ray_actors.ray_session import RaySession, cause_of, import_ray, running_ray

__all__ = ["KEEP_MEMORY", "SharedPolicy"]

Actions = npt.NDArray[np.int64]

#: Settings of glibc's allocator in the process of the actor. Without them it gives the memory of features back to the system
#: after each layer and asks for new pages for the next one; in a thread other than the first, as here, it never learns better.
#: On a CPU that took half the time of a small network.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20)}


@pickled_as("generals_env.recorders.distributed")
class SharedPolicy:
    """Plays like the policy that it shares, with the same methods ``act`` and ``act_on_boards``; an actor of Ray evaluates it.

    Ray's tasks and actors get copies of it as arguments; all copies ask the same actor. Each call carries the boards, two
    bytes a tile, and a random number for each state, from a stream of the caller: ``reset(seed)`` begins one. So actions
    depend on the seed, the states and the weights, neither on the other callers nor on a death of the actor: Ray starts it
    again, the first caller that has seen newer weights than it brings them, and the calls are repeated.

    Attributes:
        version: Version of the weights that chose the last actions: 0 for those of ``make``.
    """

    def __init__(
        self,
        make: Callable[[], SharedEvaluator],
        *,
        max_batch: int = 8192,
        max_wait: float = 0.0,
        seed: int | None = None,
        patience: float = 120.0,
        **options: Any,
    ) -> None:
        """Start the actor, in the Ray that runs; without one, start a Ray on this machine that ends with ``close``.

        Args:
            make: Returns the policy, in the actor: ``functools.partial(DevicePolicy, network, device="cuda")``.
            max_batch: Number of states from which on a batch is full. One call is never divided.
            max_wait: Seconds that a batch waits for more calls while it is not full. With 0, those that have arrived while
                the batch before was evaluated are the next one.
            seed: Seed of the random numbers of this handle; None for a random one.
            patience: Seconds until the actor must have started.
            **options: Options of Ray's actor, for example ``num_gpus=1``.

        Raises:
            ConfigError: If an argument is invalid.
            ImportError: If Ray is not installed.
            StateError: If the actor did not start in time.
        """
        if not callable(make):
            raise ConfigError(f"make: expected a function that returns a policy, got {make!r:.200}")
        check_integer("max_batch", max_batch, 1, 2**24)
        for name, value in (("max_wait", max_wait), ("patience", patience)):
            if not is_number(value) or not 0 <= value < float("inf"):
                raise ConfigError(f"{name}: expected a number of seconds, 0 or more, got {value!r:.200}")
        self.reset(seed)
        self.version = 0
        self._weights: list[Any] = []
        self._session, self._owns = RaySession(), False
        try:
            self._temperature = self._start(make, (max_batch, max_wait), options, patience)
        except BaseException:
            self.close()
            self._session.close()
            raise

    def _start(
        self, make: Callable[[], SharedEvaluator], batches: tuple[int, float], options: Mapping[str, Any], patience: float
    ) -> float:
        """Start the actor; return the temperature of its policy."""
        ray = import_ray()
        memory = {"env_vars": KEEP_MEMORY}
        options = {"max_restarts": -1, "max_task_retries": -1, "runtime_env": memory, **options}
        try:
            self._actor = ray.remote(PolicyServer).options(**options).remote(make, *batches)
        except (TypeError, ValueError) as error:  # of Ray: it cannot pickle ``make``, or does not know an option
            raise ConfigError(
                f"make, options: expected what Ray can send to an actor, got {make!r:.99} and {options}: {error}"
            ) from error
        self._owns = True
        try:
            temperature: float = ray.get(self._actor.start.remote(), timeout=patience)
        except ray.exceptions.GetTimeoutError:
            raise StateError(
                f"SharedPolicy: expected its actor within {patience:g} s, got none: does the cluster have {options}?"
            ) from None
        except (ray.exceptions.RayTaskError, ray.exceptions.RayActorError) as error:
            raise ConfigError(
                f"make: expected a function that returns a policy, got an error of it in the actor: {error}"
            ) from None
        return temperature

    def reset(self, seed: int | None = None) -> None:
        """Begin a new stream of random numbers; a worker calls it with the seed of each task.

        Raises:
            ConfigError: If the seed is not a non-negative integer or None.
        """
        self._rng = np.random.default_rng(None if seed is None else check_integer("seed", seed, 0, 2**63))

    # --- Playing ------------------------------------------------------------------------------------------------------

    def __call__(self, views: Mapping[str, npt.NDArray[Any]]) -> Actions:
        """Return the actions (n,) for a dict of ``"observation"`` and ``"action_mask"``, as opponents do."""
        return self.act(views["observation"], views["action_mask"])

    def act(self, observations: npt.NDArray[Any], masks: npt.NDArray[Any]) -> Actions:
        """Return the actions for observations (..., C, H, W) and masks (..., A); boards are 25 times smaller to send.

        Raises:
            ConfigError: If they are no arrays of numbers, their shapes do not fit each other, or the policy refuses them.
            StateError: If the actor was closed, or the policy has raised another error.
        """
        return self._ask((observations, masks), observed_shape(observations, masks))

    def act_on_boards(self, views: PackedObservations) -> Actions:
        """Return the actions for packed boards, as ``venv.packed()`` returns them; of the shape of ``views.board``.

        Raises:
            ConfigError: If they are no packed boards, or the policy refuses them.
            StateError: As ``act``.
        """
        return self._ask(check_packed(views), views.board.shape)

    def _ask(self, part: Any, shape: tuple[int, ...]) -> Actions:
        numbers = self._rng.random(math.prod(shape), np.float32) if self._temperature else None
        while True:
            actions, version = self._call("evaluate", part, numbers, self.version)
            if actions is not None:
                break
            self._call("restore", self._weights, self.version)
        if version > self.version:
            version_there, weights = self._call("weights")
            if version_there >= version:  # else it has just died
                self.version, self._weights = version_there, weights
        chosen: Actions = actions
        return chosen

    # --- Weights ------------------------------------------------------------------------------------------------------

    def set_weights(self, weights: Mapping[str, Any]) -> int:
        """Replace the weights of the policy, for all callers; return their version.

        Args:
            weights: State dict of the network, on any device. It is stored once in Ray's object store, by this process.

        Raises:
            ConfigError: If they are no tensors, or those of another network.
            StateError: If the actor was closed, or the policy has raised another error.
        """
        if not isinstance(weights, Mapping) or not all(hasattr(tensor, "detach") for tensor in weights.values()):
            raise ConfigError(f"weights: expected a state dict of tensors, got {shown(weights)}")
        ray = running_ray("policy")
        stored = [ray.put({name: tensor.detach().cpu() for name, tensor in weights.items()})]
        self.version = self._call("set_weights", stored, self.version)
        self._weights = stored
        return self.version

    def batch_sizes(self) -> list[int]:
        """Return how many states the last thousand batches of the actor had, the newest last."""
        sizes: list[int] = self._call("sizes")
        return sizes

    def _call(self, method: str, *arguments: Any) -> Any:
        """Call the actor, and return its answer."""
        ray = running_ray("policy")
        try:
            return ray.get(getattr(self._actor, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            cause = cause_of(error)
            if isinstance(cause, GeneralsError):
                raise cause from None
            raise StateError(f"{method}: expected an answer of the policy, got an error of it: {cause!r:.500}") from cause
        except ray.exceptions.RayActorError as error:
            raise StateError(
                f"{method}: expected the actor of the policy, got none: it was closed, or its process was: {error}"
            ) from None

    # --- Ends and copies ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the actor, for all callers, and the Ray that was started for it; a copy ends nothing."""
        if self._owns:
            self._owns = False
            if (ray := import_ray()).is_initialized():
                ray.kill(self._actor)
            self._session.close()

    def __enter__(self) -> Self:
        """Return the handle."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close it."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Copy everything but the ownership of the actor and of Ray."""
        return {name: value for name, value in self.__dict__.items() if name != "_session"} | {"_owns": False}
