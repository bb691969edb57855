"""Adapts games to RLlib (new API stack): its class of multi-agent environments, and names for its configuration."""

from __future__ import annotations

from typing import Any

from generals_env.wrappers.rllib_multi import MultiAgentGame
from generals_env.wrappers.rllib_single import make_single

try:
    from ray.rllib.env.multi_agent_env import MultiAgentEnv
    from ray.tune import register_env
except ImportError as error:  # Ray may be there without RLlib's own libraries
    raise ImportError(f'RLlibEnv: expected ray[rllib], got {error}: pip install "generals_env[rllib]"') from None

__all__ = ["ENV_NAME", "SINGLE_NAME", "RLlibEnv", "register"]

#: Names under which ``register`` registers the environments.
ENV_NAME, SINGLE_NAME = "generals", "generals-single"

#: RLlib's class without its types: it allows any hashable object as the name of an agent, here they are strings.
BaseEnv: Any = MultiAgentEnv


class RLlibEnv(MultiAgentGame, BaseEnv):  # type: ignore[misc]  # as said above
    """One game as RLlib's multi-agent environment; see ``MultiAgentGame`` for its options and methods."""


def register() -> None:
    """Register the environments with Ray, under the names that ``config.environment(name, env_config={...})`` takes.

    ``"generals"`` (``ENV_NAME``) is ``RLlibEnv``, with one or more agents. ``"generals-single"`` (``SINGLE_NAME``) makes games
    of one learner against a built-in opponent, see ``rllib_single.make_single``: RLlib steps these as one batch.
    """
    register_env(ENV_NAME, RLlibEnv)
    register_env(SINGLE_NAME, make_single)
