"""How a trainer learns: all of its numbers, checked, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from generals_env.arguments import check_flag, check_integer, is_number, make_plain
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["TrainerConfig"]


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class TrainerConfig:
    """The numbers of a ``DistributedTrainer``.

    Attributes:
        capacity: Experiences that the replay buffer holds.
        min_size: How many it has to hold before the first step.
        batch_size: Experiences of a step.
        learning_rate: Of Adam.
        gamma: Discount of a turn.
        n_step: Turns that an experience spans.
        alpha: How much priorities count, 0 for not at all.
        beta: How far weights make up for priorities at first...
        beta_steps: ... and after how many steps entirely.
        target_every: Steps after which the target network becomes what the model is.
        max_gradient: The norm to which gradients are cut.
        augment: Whether each experience is shown in a random one of the board's symmetries.
        replay_ratio: How often an experience is drawn on average, at the least: reading waits for that. None lets it never
            wait, and what is not drawn soon is overwritten. For datasets that are larger than the buffer.
        seed: Of what is drawn; random without.
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
        """Check all values.

        Raises:
            ConfigError: If one is not what it should be.
        """
        make_plain(self)
        for name in ("capacity", "batch_size", "n_step", "beta_steps", "target_every"):
            check_integer(name, getattr(self, name), 1, 2**40)
        check_integer("min_size", self.min_size, 1, self.capacity)
        for name, most in (("gamma", 1.0), ("beta", 1.0)):
            if not is_number(getattr(self, name)) or not 0 <= getattr(self, name) <= most:
                raise ConfigError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)!r}")
        for name in ("learning_rate", "max_gradient", *(("replay_ratio",) if self.replay_ratio is not None else ())):
            if not is_number(getattr(self, name)) or not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name}: expected a number above 0, got {getattr(self, name)!r}")
        check_flag("augment", self.augment)
        if self.seed is not None:
            check_integer("seed", self.seed, 0, 2**62)
