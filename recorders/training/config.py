"""Defines and validates the hyperparameters of a trainer."""

from __future__ import annotations

from dataclasses import dataclass

from generals_env.arguments import check_flag, check_integer, is_number, make_plain
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["TrainerConfig"]


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class TrainerConfig:
    """Hyperparameters of a ``DistributedTrainer``.

    Attributes:
        capacity: Capacity of the replay buffer, in experiences.
        min_size: Experiences that it must hold before the first step.
        batch_size: Experiences of a step.
        learning_rate: Learning rate of Adam.
        gamma: Discount per turn.
        n_step: Turns of an n-step return.
        alpha: Exponent of priorities; 0 for uniform sampling.
        beta: Initial exponent of importance weights...
        beta_steps: ... and the number of steps in which it rises to 1.
        target_every: Steps between updates of the target network.
        max_gradient: Norm to which gradients are clipped.
        augment: Whether each experience is transformed by a random symmetry of the board.
        replay_ratio: Minimum average number of draws of each experience: reading waits for them. None to read without waiting,
            so that old experiences may be overwritten before they are drawn. For datasets larger than the buffer.
        seed: Seed of sampling; None for a random one.
    """

    capacity: int = 100_000
    min_size: int = 10_000
    batch_size: int = 256
    learning_rate: float = 5e-4
    gamma: float = 0.99
    n_step: int = 3
    alpha: float = 0.6
    beta: float = 0.4
    beta_steps: int = 100_000
    target_every: int = 250
    max_gradient: float = 10.0
    augment: bool = False
    replay_ratio: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        """Validate all values.

        Raises:
            ConfigError: If one is invalid.
        """
        make_plain(self)
        for name in ("capacity", "batch_size", "n_step", "beta_steps", "target_every"):
            check_integer(name, getattr(self, name), 1, 2**40)
        check_integer("min_size", self.min_size, 1, self.capacity)
        for name in ("gamma", "beta"):
            if not is_number(getattr(self, name)) or not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)!r}")
        for name in ("learning_rate", "max_gradient", *(("replay_ratio",) if self.replay_ratio is not None else ())):
            if not is_number(getattr(self, name)) or not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a finite number above 0, got {getattr(self, name)!r}")
        check_flag("augment", self.augment)
        if self.seed is not None:
            check_integer("seed", self.seed, 0, 2**62)
