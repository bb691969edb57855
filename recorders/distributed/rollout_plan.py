"""Divides a rollout into tasks that any process can play, with the same result however often and wherever they are played."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from generals_env.arguments import check_integer, plain_sequence, shown
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["RolloutPlan"]

RUN_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")


@pickled_as("generals_env.recorders.distributed")
@dataclass(frozen=True)
class RolloutPlan:
    """What a rollout plays, in tasks.

    Task ``n`` plays games ``n * num_envs`` to ``(n + 1) * num_envs - 1`` for ``turns`` turns; a game that ends is replaced.
    Game ``i`` begins with ``seed + i``, as game ``i`` of ``make_vec(total).reset(seed=seed)`` does. So the tasks of a plan
    together play what one environment with all games plays, and a task that is played again gives equal experiences, with
    equal ids and sequences: repeats are recognised by them.

    Attributes:
        num_envs: Games of a task, played at once.
        turns: Turns of each game.
        policies: One built-in policy a player.
        seed: Seed of game 0.
        run_id: Begins the ids of games, a random one by default: 1 to 128 letters of ASCII, digits, ``_``, ``.`` and ``-``.
            Task ``n`` records with the run id ``<run_id>-<n>``.
        env: Options of ``make_vec``.
    """

    num_envs: int = 1024
    turns: int = 512
    policies: Sequence[str] = ("expander", "random")
    seed: int = 0
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    env: Mapping[str, Any] = field(default_factory=dict, hash=False)  # its values may have no hash

    def __post_init__(self) -> None:
        """Validate all values.

        Raises:
            ConfigError: If one is invalid.
        """
        check_integer("num_envs", self.num_envs, 1, 2**24)
        check_integer("turns", self.turns, 1, 2**31)
        check_integer("seed", self.seed, 0, 2**62)
        if not isinstance(self.run_id, str) or not RUN_ID.fullmatch(self.run_id):
            raise ConfigError(
                f"run_id: expected text of 1 to 128 letters of ASCII, digits and the signs _ . -, got {shown(self.run_id)}: it "
                "becomes a part of names of files and keys; leave it out for a random one"
            )
        names = plain_sequence(self.policies)
        if not isinstance(names, (list, tuple)) or not names or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"policies: expected one for each player, got {self.policies!r:.200}: pass a list of names")
        if not isinstance(self.env, Mapping) or not all(isinstance(name, str) for name in self.env):
            raise ConfigError(f"env: expected options of make_vec, got {self.env!r:.200}: pass for example {{'height': 8}}")
        object.__setattr__(self, "policies", tuple(names))
        object.__setattr__(self, "env", dict(self.env))

    def run_of(self, number: int) -> str:
        """Return the run id of a task."""
        return f"{self.run_id}-{number:06d}"

    def seed_of(self, number: int) -> int:
        """Return the seed of a task's first game."""
        return self.seed + number * self.num_envs
