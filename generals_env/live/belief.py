"""Keeps the board of a live game as its server tells it, and observes it as an environment would."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.bridge.live_map import FOG, OBSTACLE, patch_map
from generals_env.engine.boards import (
    CITY,
    DESERT,
    GENERAL,
    LOOKOUT,
    MAX_PLAYERS,
    MOUNTAIN,
    NEUTRAL,
    OBSERVATORY,
    OWNER_LOOKOUT,
    OWNER_MOUNTAIN,
    OWNER_OBSERVATORY,
    PLAIN,
    SWAMP,
    Boards,
    empty_boards,
)
from generals_env.engine.observations.fog_memory import FULL_MEMORY, MEMORY, remember
from generals_env.engine.observations.reference import (
    LAYOUTS,
    SCOREBOARD,
    TOTAL_SCALE,
    TURN_SCALE,
    action_mask,
    observe,
)
from generals_env.errors import StateError
from generals_env.live.messages import MAX_SIDE, GameStart, GameUpdate
from generals_env.recorders.experience.recipe import Recipe

__all__ = ["BeliefBoard"]

#: Codes of a map that are no player and not fog: owner and terrain of the tile.
GROUND = {OWNER_MOUNTAIN: MOUNTAIN, OWNER_LOOKOUT: LOOKOUT, OWNER_OBSERVATORY: OBSERVATORY}

MAX_MAP = 2 + 2 * MAX_SIDE**2


class BeliefBoard:
    """The board of one game as one player is sent it.

    Attributes:
        start: How the game began.
        height: H, 0 before the first update.
        width: W.
        turn: Turn of the last update.
        attack_index: The highest index of own moves that the server has processed.
        boards: One board: what is visible now, and obstacles in fog as mountains.
        visible: (H*W,) uint32, all bits set where the player sees the tile.
        alive: (P,) bool.
    """

    def __init__(self, start: GameStart, recipe: Recipe | None = None) -> None:
        """Begin with an empty map.

        Args:
            start: The beginning of the game.
            recipe: How the policy's observations are made; None for the layout standard.
        """
        self.start = start
        self.recipe = recipe or Recipe()
        self.height = self.width = 0
        self.turn = 0
        self.attack_index = 0
        self.boards = empty_boards(1, 0, 0, start.players)
        self.visible = np.zeros(0, np.uint32)
        self.alive = np.ones(start.players, np.bool_)
        self._map: list[int] = []
        self._cities: list[int] = []
        self._deserts: list[int] = []
        self._last: GameUpdate | None = None
        self._frames: npt.NDArray[np.float32] = np.zeros(0, np.float32)  # stacked, oldest first
        self._memory = np.zeros((0, 0, 0), np.float32)

    def take(self, update: GameUpdate) -> None:
        """Apply the update of a turn.

        Raises:
            StateError: If it does not fit the game so far.
        """
        if self._last is not None and update.turn <= self.turn:
            raise StateError(f"game_update: turn: expected one after {self.turn}, got {update.turn}")
        if update.attack_index < self.attack_index:
            raise StateError(f"game_update: attackIndex: expected at least {self.attack_index}, got {update.attack_index}")
        self._map = patch_map(self._map, update.map_diff, MAX_MAP)
        self._check_map()
        tiles = self.height * self.width
        self._cities = patch_map(self._cities, update.cities_diff, tiles)
        self._deserts = patch_map(self._deserts, update.deserts_diff, tiles)
        for name, values in (("cities", self._cities), ("deserts", self._deserts), ("generals", update.generals)):
            first_tile = -1 if name == "generals" else 0
            if wrong := [tile for tile in values if not first_tile <= tile < tiles]:
                raise StateError(f"game_update: {name}: expected tiles below {tiles}, got {wrong[0]}")
        first = self._last is None
        self.turn, self.attack_index, self._last = update.turn, update.attack_index, update
        self._write()
        self._observe(first)

    def _check_map(self) -> None:
        """Check the size of the map against its two first numbers, and its codes."""
        width, height = self._map[:2] if len(self._map) > 1 else (0, 0)
        known = (self.width, self.height) if self._last is not None else (width, height)
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or (width, height) != known:
            raise StateError(f"map: expected width and height from 1 to {MAX_SIDE} that never change, got {width} and {height}")
        if len(self._map) != 2 + 2 * width * height:
            raise StateError(f"map: expected {2 + 2 * width * height} numbers for {width}x{height}, got {len(self._map)}")
        codes = self._map[2 + width * height :]
        if not all(OWNER_OBSERVATORY <= code < self.start.players for code in codes):
            raise StateError(f"map: expected codes from {OWNER_OBSERVATORY} to {self.start.players - 1}, got {max(codes)}")
        if not all(abs(army) < 2**31 for army in self._map[2 : 2 + width * height]):
            raise StateError("map: expected armies of 32 bits, got a larger number")
        self.width, self.height = width, height

    def _write(self) -> None:
        """Write the board from the map, the cities and the generals."""
        update, start = self._last, self.start
        if update is None:
            return
        tiles = self.height * self.width
        modifiers = sum(1 << number for number in start.modifiers)
        boards = empty_boards(1, self.height, self.width, start.players, modifiers=modifiers)
        codes = np.array(self._map[2 + tiles :], np.int64)
        fog, obstacle = codes == FOG, codes == OBSTACLE
        terrain = np.full(tiles, PLAIN, np.int8)
        terrain[[tile for tile in start.swamps if tile < tiles]] = SWAMP
        terrain[self._deserts] = DESERT
        for owner, kind in GROUND.items():
            terrain[codes == owner] = kind
        terrain[obstacle] = MOUNTAIN
        cities = np.array(self._cities, np.int64)
        terrain[cities[~(fog | obstacle)[cities]] if len(cities) else cities] = CITY
        homes = np.array(update.generals, np.int64)
        terrain[homes[homes >= 0]] = GENERAL
        boards.terrain[0] = terrain
        boards.owner[0] = np.where(fog, NEUTRAL, np.where(obstacle, OWNER_MOUNTAIN, codes))
        boards.army[0] = np.array(self._map[2 : 2 + tiles], np.int64)
        self.alive = np.array([not score.dead for score in update.scores], np.bool_)
        boards.players["general"][0] = homes
        boards.players["team"][0] = start.teams
        boards.players["alive"][0] = self.alive
        boards.games["turn"] = update.turn
        self.boards = boards
        self.visible = np.where(fog | obstacle, 0, 2**MAX_PLAYERS - 1).astype(np.uint32)

    def _observe(self, first: bool) -> None:
        """Take the observation of this turn into the memory and the stack of frames."""
        channels = len(LAYOUTS[self.recipe.layout])
        tensor = np.empty((channels, self.height * self.width), np.float32)
        observe(self.boards, 0, self.start.player, self.visible, tensor)
        if channels > SCOREBOARD:
            tensor[SCOREBOARD:] = self._scoreboard()[:, None]
        if self.recipe.memory:
            planes = len(FULL_MEMORY if channels > SCOREBOARD else MEMORY)
            if first:
                self._memory = np.zeros((1, channels + planes, tensor.shape[1]), np.float32)
            remember(tensor[None], np.array([first]), self._memory)
            tensor = self._memory[0].copy()
        kept = [tensor] * (self.recipe.frames - 1) if first else [self._frames[len(tensor) :]]
        self._frames = np.concatenate([*kept, tensor])

    def _scoreboard(self) -> npt.NDArray[np.float32]:
        """Return the channels of the layout full that are the same on every tile, from what the server tells of all players."""
        update, teams = self._last, self.start.teams
        if update is None:
            return np.zeros(0, np.float32)
        own = [team == teams[self.start.player] for team in teams]
        land, army = [0, 0], [0, 0]
        for mine, score in zip(own, update.scores, strict=True):
            land[mine] += max(score.land, 0)
            army[mine] += max(score.army, 0)
        enemies = own.count(False)
        living = sum(not mine and not score.dead for mine, score in zip(own, update.scores, strict=True))
        one, area = np.float32(1), np.float32(self.height * self.width)
        return np.array(
            [
                np.float32(land[1]) / area,
                np.float32(land[0]) / area,
                min(np.float32(army[1]) / TOTAL_SCALE, one),
                min(np.float32(army[0]) / TOTAL_SCALE, one),
                np.float32(living) / np.float32(max(enemies, 1)),
                np.float32(self.turn % 50) / np.float32(50),
                min(np.float32(self.turn) / TURN_SCALE, one),
            ],
            np.float32,
        )

    def observation(self) -> dict[str, npt.NDArray[np.float32 | np.int8]]:
        """Return the observation of this turn: ``"observation"`` (C, H, W) float32 and ``"action_mask"`` (8*H*W + 1,) int8."""
        tiles = self.height * self.width
        mask = np.empty(8 * tiles + 1, np.int8)
        action_mask(self.boards, 0, self.start.player, mask)
        return {"observation": self._frames.reshape(-1, self.height, self.width).copy(), "action_mask": mask}

    def board(self) -> Boards:
        """Return the board of this turn (one board); it is not changed by later updates."""
        return self.boards
