"""Keeps the ``spec`` of Gymnasium's environments such that JSON takes it and ``gymnasium.make`` gives the same environment."""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from generals_env.arguments import plain

__all__ = ["LEFT_OUT", "JsonSpec", "json_value"]

#: Fields of ``GameConfig`` that metadata of recorded experience tell elsewhere, or that make no difference to a game.
LEFT_OUT = ("reward", "render_mode", "render_player")


class JsonSpec:
    """An environment whose ``spec`` has keyword arguments that JSON takes, but for an opponent that is no name."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium made the environment; None if it did not."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = copy.copy(spec)
        if self._spec is not None:
            kwargs = self._spec.kwargs.items()  # an opponent may be a dataclass, or a mapping that plays
            self._spec.kwargs = {name: value if name == "opponent" else json_value(value) for name, value in kwargs}


def json_value(value: Any) -> Any:
    """Return configurations and mappings as dicts, tuples and arrays as lists, enums and numpy's scalars by their values.

    Anything else is returned as it is.
    """
    if isinstance(value, np.ndarray) and value.ndim:
        return json_value(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_value(one) for one in value]
    if isinstance(value, Mapping):
        return {name: json_value(one) for name, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return json_value(value.value) if isinstance(value, enum.Enum) else plain(value)
