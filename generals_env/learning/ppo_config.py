"""Options of the PPO learner: ``PPOConfig``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generals_env.arguments import as_config, check_flag, check_integer, check_number
from generals_env.config import RewardConfig
from generals_env.errors import ConfigError
from generals_env.learning.rollouts.opponent_mix import parse_opponents
from generals_env.learning.self_play.curriculum_stages import stages_of
from generals_env.learning.self_play.pool import PoolOptions
from generals_env.opponents import POLICIES, remembers

__all__ = ["PPOConfig"]

#: Rewards of the learner. Gaining land is an early sign of a victory; it counts more than losing land, which is often due to
#: the enemy. A victory counts more than all the land that a longer game could bring.
REWARD = RewardConfig(
    territory_gained=0.05 / 3, territory_lost=-0.01, win_game=1.0, lose_game=-1 / 3, city_captured=0.0, city_lost=0.0
)

#: Teacher by default of a network with random weights.
FIRST_TEACHER = "expander"

#: Minimum and maximum of each number.
RANGES = {
    "learning_rate": (0, 1),
    "final_rate": (0, 1),
    "gamma": (0, 1),
    "gae_lambda": (0, 1),
    "clip": (0, 10),
    "value_weight": (0, 100),
    "entropy": (0, 10),
    "final_entropy": (0, 10),
    "top_advantages": (0, 1),
    "averaging": (0, 1),
    "max_gradient": (0, 1e9),
    "shaping_land": (-100, 100),
    "shaping_army": (-100, 100),
    "shaping_until": (0, 1),
    "teacher_weight": (0, 1e6),
    "teacher_until": (0, 1),
}


@dataclass(frozen=True)
class PPOConfig:
    """Options of the learner. Schedules fall linearly over the share of the training that has passed.

    Attributes:
        board: Rows and columns of the board.
        max_turns: Turns after which a game is cut off.
        reward: Rewards, a ``RewardConfig`` or a dict of its fields; None for ``REWARD``, the outcome and land.
        opponents: Opponents with weights, see ``parse_opponents``: built-in policies, ``self``, and ``pool``, past selves.
        curriculum: Stages that set games and opponents one after another, see ``stages_of``; None for none.
        pool: Options of the pool of past selves, ``PoolOptions`` or a dict of them.
        games: Games played at once.
        steps: Turns of a rollout.
        epochs: Passes over the entries of a rollout.
        batch_size: Entries of a minibatch.
        learning_rate: At the beginning.
        final_rate: Share of the learning rate at the end.
        gamma: Discount of a turn.
        gae_lambda: Share of longer returns in the advantages.
        clip: Range of the ratio of probabilities around 1.
        value_weight: Weight of the loss of the value.
        entropy: Weight of the entropy at the beginning.
        final_entropy: At the end.
        top_advantages: Share of the entries that are learned from, those with the largest absolute advantages.
        averaging: Decay of the averaged weights a step; 0 for none.
        max_gradient: Maximum norm of a gradient.
        shaping_land: Weight of the share of land in the potential at the beginning.
        shaping_army: Weight of the share of armies.
        shaping_until: Share of the training after which the shaping has faded out.
        teacher: Built-in policy without a memory, whose moves in the states of the learner are imitated at the beginning;
            ``"auto"`` for ``"expander"`` if the weights are random, and for none with ``initial``; None for none.
        teacher_weight: Weight of the cross entropy of the teacher's moves at the beginning.
        teacher_until: Share of the training after which it has fallen to 0.
        symmetries: Whether the policy sees each state transformed by a random symmetry.
        initial: File of a policy network to begin from, such as a clone of people or an agent; its size takes the place of
            ``channels``, ``blocks`` and ``value_bins``. None: from random weights.
        channels: Features per tile of the network.
        blocks: Residual blocks of the network.
        value_bins: Bins of the value, 0 for one number.
        layout: Layout of the observations.
        bfloat16: Whether the network computes in bfloat16; weights stay float32. None: where the processor has
            instructions for it, and on GPUs.
        device: Device of torch.
        seed: Seed of everything.
    """

    board: int = 8
    max_turns: int = 500
    reward: Any = None
    opponents: Any = "expander=7,random=1"
    curriculum: Any = None
    pool: Any = None
    games: int = 256
    steps: int = 32
    epochs: int = 4
    batch_size: int = 256
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    gamma: float = 0.995
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_weight: float = 0.5
    entropy: float = 0.01
    final_entropy: float = 0.002
    top_advantages: float = 0.5
    averaging: float = 0.995
    max_gradient: float = 0.5
    shaping_land: float = 0.0
    shaping_army: float = 0.0
    shaping_until: float = 0.8
    teacher: str | None = "auto"
    teacher_weight: float = 1.0
    teacher_until: float = 0.06
    symmetries: bool = False
    initial: str | None = None
    channels: int = 32
    blocks: int = 1
    value_bins: int = 0
    layout: str = "full"
    bfloat16: bool | None = None
    device: str = "cpu"
    seed: int = 0
    game: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is invalid.
        """
        for name, low in (("games", 2), ("steps", 1), ("epochs", 1), ("batch_size", 1)):
            check_integer(name, getattr(self, name), low, 2**24)
        check_integer("seed", self.seed, 0, 2**62)
        check_flag("symmetries", self.symmetries)
        if self.initial is not None and not isinstance(self.initial, (str, Path)):
            raise ConfigError(f"initial: expected the path of a file or None, got {self.initial!r:.80}")
        object.__setattr__(self, "initial", None if self.initial is None else str(self.initial))
        if self.bfloat16 is not None:
            check_flag("bfloat16", self.bfloat16)
        for name, (low, high) in RANGES.items():
            check_number(name, getattr(self, name), low, high)
        if self.teacher == "auto":
            object.__setattr__(self, "teacher", FIRST_TEACHER if self.initial is None else None)
        if self.teacher is not None and (self.teacher not in POLICIES or remembers(self.teacher)):
            known = ", ".join(repr(name) for name in POLICIES if not remembers(name))
            raise ConfigError(f"teacher: expected {known}, 'auto' or None, got {self.teacher!r:.80}: it must have no memory")
        object.__setattr__(self, "opponents", parse_opponents(self.opponents))
        object.__setattr__(self, "reward", as_config("reward", RewardConfig, self.reward, REWARD))
        if self.reward.win_game == self.reward.lose_game:
            raise ConfigError(
                f"reward: expected different rewards of a victory and a defeat, got {self.reward.win_game:g} for both: "
                "change win_game or lose_game"
            )
        object.__setattr__(self, "pool", as_config("pool", PoolOptions, self.pool, PoolOptions()))
        if self.curriculum is not None:
            object.__setattr__(self, "curriculum", stages_of(self.curriculum, self.board))

    def game_options(self) -> dict[str, Any]:
        """Return the options of the games."""
        size = {"height": self.board, "width": self.board}
        return {**size, "max_turns": self.max_turns, "observation": self.layout, "reward": self.reward, **self.game}
