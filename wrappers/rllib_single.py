"""Makes games of one learner against a built-in opponent for RLlib: many at once, stepped as one batch, with RLlib's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.vector.utils import batch_space

from generals_env.errors import ConfigError
from generals_env.pickling import CopiedWhole
from generals_env.seeding import mixed_seed
from generals_env.single import GeneralsSingle, GeneralsSingleVector
from generals_env.vector_base import Array, Observations

__all__ = ["RLlibSingle", "RLlibSingleVector", "make_single", "rllib_observations", "rllib_space", "runner_index", "wrapped"]


class RLlibSingle(CopiedWhole, gymnasium.Wrapper[Any, Any, Any, Any]):
    """One game of one learner, with observations under RLlib's names; see ``make_single``."""

    def __init__(self, env: gymnasium.Env[Any, Any], runner: int = 0) -> None:
        """Wrap a ``GeneralsSingle``, recorded or not, in the environment runner with the index ``runner``."""
        super().__init__(env)
        self._runner = runner
        self.observation_space = rllib_space(env.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Begin a new game; see ``GeneralsSingle.reset``. The seed is mixed with the index of the environment runner."""
        observations, infos = self.env.reset(seed=mixed_seed(seed, self._runner), options=options)
        return rllib_observations(observations), infos

    def step(self, action: Any) -> tuple[Observations, Any, bool, bool, dict[str, Any]]:
        """Play one turn; see ``GeneralsSingle.step``."""
        observations, *others = self.env.step(action)
        return (rllib_observations(observations), *others)  # type: ignore[return-value]  # four values


class RLlibSingleVector(CopiedWhole, VectorWrapper):
    """B games of one learner each, with observations under RLlib's names; see ``make_single``."""

    def __init__(self, env: Any, runner: int = 0) -> None:
        """Wrap a ``GeneralsSingleVector``, recorded or not, in the environment runner with the index ``runner``."""
        super().__init__(env)
        self._runner = runner
        self.single_observation_space = rllib_space(env.single_observation_space)
        self.observation_space = batch_space(self.single_observation_space, env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Observations, dict[str, Any]]:
        """Begin new games; see ``GeneralsSingleVector.reset``. A seed is mixed with the index of the environment runner."""
        observations, infos = self.env.reset(seed=mixed_seed(seed, self._runner), options=options)
        return rllib_observations(observations), infos

    def step(self, actions: Any) -> tuple[Observations, Array, Array, Array, dict[str, Any]]:
        """Play one turn of each game; see ``GeneralsSingleVector.step``."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        return rllib_observations(observations), rewards, terminated, truncated, infos


def make_single(config: Mapping[str, Any]) -> RLlibSingle | RLlibSingleVector:
    """Return games of one learner for RLlib's runners of single agents.

    With ``gym_env_vectorize_mode="vector_entry_point"`` RLlib asks for all games of a runner at once: they are then one batch.

    Args:
        config: RLlib's ``env_config``: the options of ``gymnasium.make("generals_env/Generals-v0", ...)``, and ``wrap``, a
            function that is given the games and returns them wrapped or recorded. RLlib adds ``num_envs`` where it asks for
            many.

    Raises:
        ConfigError: If the value of an option is invalid.
        OptionError: If an option is unknown.
        MapError: If ``map`` does not describe a board.
    """
    options = dict(config)
    wrap, runner = options.pop("wrap", None), runner_index(config)
    if "autoreset_mode" in options:
        raise ConfigError(f"autoreset_mode: expected none, as RLlib sets it, got {options['autoreset_mode']!r}: leave it out")
    many = "num_envs" in options
    # RLlib's runners take the first step after the end of a game for its reset.
    games: Any = GeneralsSingleVector(autoreset_mode=AutoresetMode.NEXT_STEP, **options) if many else GeneralsSingle(**options)
    games = wrapped(games, wrap)
    return RLlibSingleVector(games, runner) if many else RLlibSingle(games, runner)


def wrapped(games: Any, wrap: Any) -> Any:
    """Return ``wrap(games)``, or the games if ``wrap`` is None.

    Raises:
        ConfigError: If ``wrap`` is no function, or does not return these games in wrappers.
    """
    if wrap is None:
        return games
    result = wrap(games) if callable(wrap) else None
    if getattr(result, "unwrapped", None) is not games:
        raise ConfigError(
            f"wrap: expected a function that returns the games in wrappers, got {wrap!r:.200}"
            + (f", which returned {result!r:.200}" if callable(wrap) else "")
        )
    return result


def rllib_observations(observations: Mapping[str, Any]) -> dict[str, Any]:
    """Return observations under the names that RLlib's modules with masks expect; the arrays are shared."""
    return {"observations": observations["observation"], "action_mask": observations["action_mask"]}


def rllib_space(space: Any, seat: int | None = None) -> spaces.Dict:
    """Return the space of ``rllib_observations``; with a seat, of one player, where arrays begin with an axis of players."""
    boxes = rllib_observations(space)
    if seat is not None:
        boxes = {name: spaces.Box(box.low[seat], box.high[seat], dtype=box.dtype.type) for name, box in boxes.items()}
    return spaces.Dict(boxes)


def runner_index(config: Any) -> int:
    """Return the index of the environment runner that ``config`` comes from, 0 outside RLlib and in its local runner."""
    return int(getattr(config, "worker_index", 0) or 0)
