"""Makes the ``spec`` of Gymnasium environments serialisable to JSON, so that ``gymnasium.make`` can recreate them."""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from generals_env.arguments import plain
from generals_env.engine.boards import Boards
from generals_env.starts.board_codec import StartBoards

__all__ = ["LEFT_OUT", "JsonSpec", "json_value"]

#: Fields of ``GameConfig`` that the metadata of recorded experience stores elsewhere, or that do not affect a game.
LEFT_OUT = ("reward", "render_mode", "render_player")


class JsonSpec:
    """Mixin of environments whose ``spec`` has JSON-serialisable arguments; only an opponent that is not a name stays as is."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """Specification with which Gymnasium made the environment, or None."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = copy.copy(spec)
        if self._spec is not None:
            kwargs = self._spec.kwargs.items()  # an opponent may be an object of any class
            self._spec.kwargs = {name: value if name == "opponent" else json_value(value) for name, value in kwargs}


def json_value(value: Any) -> Any:
    """Return dataclasses and mappings as dicts, tuples and arrays as lists, enums and numpy scalars as their values.

    Boards become the text of ``StartBoards``, and anything else is returned as is.
    """
    if isinstance(value, Boards):
        return str(StartBoards.of(value))
    if isinstance(value, np.ndarray) and value.ndim:
        return json_value(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_value(one) for one in value]
    if isinstance(value, Mapping):
        return {name: json_value(one) for name, one in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: json_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    return json_value(value.value) if isinstance(value, enum.Enum) else plain(value)
