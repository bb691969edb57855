"""Defines the recipe of observations: the steps of the package's wrappers, so that boards can be expanded again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from generals_env.arguments import is_number
from generals_env.engine.observations.fog_memory import FULL_MEMORY, MEMORY
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.errors import ConfigError
from generals_env.pickling import pickled_as

__all__ = ["Recipe", "Shaping"]


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Shaping:
    """Arguments of ``wrappers.PotentialShaping``."""

    gamma: float
    land: float = 0.0
    army: float = 0.0
    cities: float = 0.0


@pickled_as("generals_env.recorders")
@dataclass(frozen=True)
class Recipe:
    """How observations and rewards are derived from boards.

    Attributes:
        layout: ``"standard"`` (9 channels) or ``"full"`` (21).
        memory: Whether each frame also has the planes of ``wrappers.FogMemory``.
        frames: How many frames are stacked, as by ``wrappers.FrameStack``.
        shaping: Arguments of each ``wrappers.PotentialShaping``, from the innermost wrapper to the outermost.
    """

    layout: str = "standard"
    memory: bool = False
    frames: int = 1
    shaping: tuple[Shaping, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of one frame."""
        planes = len(FULL_MEMORY if self.layout == "full" else MEMORY) if self.memory else 0
        return len(LAYOUTS[self.layout]) + planes

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``to_dict`` made a dictionary of.

        Raises:
            ConfigError: If the fields are not those of a recipe.
        """
        try:
            shaping = tuple(Shaping(**terms) for terms in fields["shaping"])
            recipe = cls(fields["layout"], fields["memory"], fields["frames"], shaping)
            numbers = [number for terms in shaping for number in asdict(terms).values()]
            fits = recipe.layout in LAYOUTS and isinstance(recipe.memory, bool) and all(map(is_number, numbers))
            fits = fits and type(recipe.frames) is int and 1 <= recipe.frames <= 1024
        except (KeyError, TypeError):
            fits = False
        if not fits:
            raise ConfigError(f"recipe: expected layout, memory, frames and shaping, got {fields!r:.200}: use Recipe.to_dict")
        return recipe
