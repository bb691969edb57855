"""Runs recording, buffers and learning on more processes and machines: Redis, Ray, object storage.

All names are imported on first use: they need the extras ``redis`` or ``ray``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generals_env.recorders.distributed.policy_player import ActingPolicy, PolicyPlayer
    from generals_env.recorders.distributed.ray_actors.ray_buffer import RayBuffer, RayBufferStats
    from generals_env.recorders.distributed.ray_actors.rollouts import Rollout, RolloutCounts, rollout
    from generals_env.recorders.distributed.redis_sink import RedisSink
    from generals_env.recorders.distributed.redis_source import RedisSource
    from generals_env.recorders.distributed.rollout_plan import RolloutPlan
    from generals_env.recorders.distributed.shared_policy import SharedPolicy
    from generals_env.recorders.distributed.task_player import TaskPlayer, TaskResult

__all__ = [
    "ActingPolicy",
    "PolicyPlayer",
    "RayBuffer",
    "RayBufferStats",
    "RedisSink",
    "RedisSource",
    "Rollout",
    "RolloutCounts",
    "RolloutPlan",
    "SharedPolicy",
    "TaskPlayer",
    "TaskResult",
    "rollout",
]

HOMES = {
    "ActingPolicy": "policy_player",
    "PolicyPlayer": "policy_player",
    "RayBuffer": "ray_actors.ray_buffer",
    "RayBufferStats": "ray_actors.ray_buffer",
    "RedisSink": "redis_sink",
    "RedisSource": "redis_source",
    "Rollout": "ray_actors.rollouts",
    "RolloutCounts": "ray_actors.rollouts",
    "RolloutPlan": "rollout_plan",
    "SharedPolicy": "shared_policy",
    "TaskPlayer": "task_player",
    "TaskResult": "task_player",
    "rollout": "ray_actors.rollouts",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
