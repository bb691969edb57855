"""Defines the recipe of observations and masks: steps of the package's wrappers and rules, so that boards can be expanded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from generals_env.arguments import is_number
from generals_env.engine.boards import COMPETITION_VERSION, LIVE_VERSION
from generals_env.engine.observations.fog_memory import FULL_MEMORY, MEMORY
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.rules.action_space import action_count
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
    """How observations, action masks and rewards are derived from boards.

    Attributes:
        layout: ``"standard"`` (9 channels) or ``"full"`` (21).
        memory: Whether each frame also has the planes of ``wrappers.FogMemory``.
        frames: How many frames are stacked, as by ``wrappers.FrameStack``.
        shaping: Arguments of each ``wrappers.PotentialShaping``, from the innermost wrapper to the outermost.
        builds: Whether the rules are those of the competition, by which players build castles: there are then 9*H*W + 1
            actions instead of 8*H*W + 1.
    """

    layout: str = "standard"
    memory: bool = False
    frames: int = 1
    shaping: tuple[Shaping, ...] = ()
    builds: bool = False

    @property
    def channels(self) -> int:
        """Channels of one frame."""
        planes = len(FULL_MEMORY if self.layout == "full" else MEMORY) if self.memory else 0
        return len(LAYOUTS[self.layout]) + planes

    def actions(self, shape: tuple[int, int]) -> int:
        """Return the number of action indices on boards of H x W, padding included."""
        return action_count(COMPETITION_VERSION if self.builds else LIVE_VERSION, shape[0] * shape[1])

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON values; ``builds`` is left out if False, as files of earlier versions have none."""
        fields = asdict(self)
        if not self.builds:
            del fields["builds"]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Recipe:
        """Return the recipe that ``to_dict`` made a dictionary of.

        Raises:
            ConfigError: If the fields are not those of a recipe.
        """
        try:
            shaping = tuple(Shaping(**terms) for terms in fields["shaping"])
            recipe = cls(fields["layout"], fields["memory"], fields["frames"], shaping, fields.get("builds", False))
            numbers = [number for terms in shaping for number in asdict(terms).values()]
            fits = recipe.layout in LAYOUTS and isinstance(recipe.memory, bool) and all(map(is_number, numbers))
            fits = fits and isinstance(recipe.builds, bool)
            fits = fits and type(recipe.frames) is int and 1 <= recipe.frames <= 1024
        except (KeyError, TypeError):
            fits = False
        if not fits:
            raise ConfigError(f"recipe: expected layout, memory, frames and shaping, got {fields!r:.200}: use Recipe.to_dict")
        return recipe
