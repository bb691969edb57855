"""Options of behaviour cloning: ``CloningConfig``."""

from __future__ import annotations

from dataclasses import dataclass

from generals_env.arguments import check_flag, check_integer, check_number

__all__ = ["CloningConfig"]

#: Minimum and maximum of each number.
RANGES = {
    "hold_out": (0, 1),
    "learning_rate": (0, 1),
    "final_rate": (0, 1),
    "weight_decay": (0, 10),
    "smoothing": (0, 0.99),
    "pass_weight": (0, 100),
    "value_weight": (0, 100),
    "gamma": (0, 1),
    "averaging": (0, 1),
    "max_gradient": (0, 1e9),
}


@dataclass(frozen=True)
class CloningConfig:
    """Options of the learner.

    Attributes:
        hold_out: Share of the players that are held out, see ``generals_env.learning.cloning.hold_out``.
        by_game: Whether all games count the same; otherwise all moves do.
        symmetries: Whether each board is transformed by a random symmetry.
        batch_size: Moves of a step of the optimizer.
        parts: Batches of boards of one size that a step is made of.
        learning_rate: At the beginning.
        warm_up: Steps in which the learning rate rises to it.
        final_rate: Share of the learning rate at the end; it falls along half a cosine.
        weight_decay: Of AdamW.
        smoothing: Share of the target that is spread over all legal actions.
        pass_weight: Weight of an entry in which the player passed; moves have 1.
        value_weight: Weight of the loss of the value.
        gamma: Discount of a turn: the value of an entry is ``gamma ** turns left`` times 1 or -1.
        averaging: Decay of the averaged weights a step, smaller in the first steps.
        max_gradient: Maximum norm of a gradient.
        channels: Features per tile of the network.
        blocks: Residual blocks of the network.
        value_bins: Bins of the value, 0 for one number.
        layout: Layout of the observations.
        bfloat16: Whether the network computes in bfloat16; weights stay float32. None: where the processor has
            instructions for it, and on GPUs.
        device: Device of torch.
        seed: Seed of everything.
    """

    hold_out: float = 0.1
    by_game: bool = True
    symmetries: bool = True
    batch_size: int = 512
    parts: int = 4
    learning_rate: float = 2e-3
    warm_up: int = 100
    final_rate: float = 0.02
    weight_decay: float = 0.01
    smoothing: float = 0.02
    pass_weight: float = 1.0
    value_weight: float = 0.25
    gamma: float = 0.995
    averaging: float = 0.998
    max_gradient: float = 1.0
    channels: int = 48
    blocks: int = 4
    value_bins: int = 0
    layout: str = "full"
    bfloat16: bool | None = None
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is invalid.
        """
        check_integer("parts", self.parts, 1, 2**16)
        check_integer("batch_size", self.batch_size, self.parts, 2**24)
        check_integer("warm_up", self.warm_up, 0, 2**31)
        check_integer("seed", self.seed, 0, 2**62)
        for name in ("by_game", "symmetries", *(() if self.bfloat16 is None else ("bfloat16",))):
            check_flag(name, getattr(self, name))
        for name, (low, high) in RANGES.items():
            check_number(name, getattr(self, name), low, high)
