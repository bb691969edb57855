"""Checks arguments of ``RayBuffer`` before its actor gets them, which would answer with errors of Ray and of Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from generals_env.arguments import check_options, keywords, shown
from generals_env.errors import ConfigError
from generals_env.recorders.buffers.prioritized import PrioritizedReplayBuffer
from generals_env.recorders.buffers.replay_buffer import ReplayBuffer
from generals_env.recorders.distributed.ray_actors.ray_session import NAMESPACE, import_ray
from generals_env.recorders.log.experience_log import ExperienceLog

__all__ = ["actor_of", "buffer_options", "check_name", "check_places", "sample_options"]


def buffer_options(prioritized: bool) -> list[str]:
    """Return the names of the options of a buffer."""
    return list(dict.fromkeys([*keywords(ReplayBuffer), *(keywords(PrioritizedReplayBuffer) if prioritized else ())]))


def sample_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of ``sample`` that the actor can take."""
    if "out" in options:
        raise ConfigError("out: expected no arrays to reuse, got some: samples come in arrays of their own")
    known = [name for name in keywords(PrioritizedReplayBuffer.sample) if name != "out"]  # the actor refuses beta if uniform
    check_options(ReplayBuffer.sample, options, known)
    return options


def check_name(argument: str, name: Any) -> str:
    """Return a name; raise ``ConfigError`` unless it is text."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{argument}: expected a name, got {shown(name)}: pass text")
    return name


def check_places(log: Any, log_options: Any, name: Any, ray_options: Any) -> None:
    """Raise ``ConfigError`` for arguments of ``RayBuffer`` of the wrong type, and ``OptionError`` for unknown log options."""
    if log is not None and (not isinstance(log, (str, Path)) or not str(log)):
        raise ConfigError(f"log: expected the path of a folder, got {shown(log)}")
    for argument, options in (("log_options", log_options), ("ray_options", ray_options)):
        if options is not None and (not isinstance(options, Mapping) or not all(isinstance(one, str) for one in options)):
            raise ConfigError(f"{argument}: expected a mapping of options, got {shown(options)}")
    for own in ("name", "namespace", "concurrency_groups"):
        if own in (ray_options or {}):
            raise ConfigError(f"ray_options: expected options that RayBuffer does not set itself, got {own!r}: leave it out")
    check_options(ExperienceLog, log_options or {}, [one for one in keywords(ExperienceLog) if one not in ("folder", "mode")])
    if name is not None:
        check_name("name", name)


def actor_of(name: str) -> Any:
    """Return the actor of the buffer of this name; None if there is none, or Ray does not run."""
    ray = import_ray()
    if not ray.is_initialized():
        return None
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None
