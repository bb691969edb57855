"""Makes boards of what one seat sees, from an observation or another description: policies with a memory play on boards.

Such a policy reads a tile only where the seat's code shows it, and else the totals of the scoreboard. So any board that agrees
with what is seen and with the totals serves: the enemy's land and army out of sight are put on tiles in fog.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import (
    CITY,
    COMPETITION_VERSION,
    GENERAL,
    LIVE_VERSION,
    MOUNTAIN,
    NEUTRAL,
    OWNER_MOUNTAIN,
    PLAIN,
    TOUCH_SHIFT,
    Boards,
    empty_boards,
)
from generals_env.engine.observations.reference import ARMY_SCALE, SCOREBOARD, TOTAL_SCALE, TURN_SCALE, visible_to
from generals_env.engine.observations.tile_codes import (
    BLANK,
    BUILT_AT,
    FOG,
    FOG_AT,
    FOG_OBSTACLE,
    SEEN_ENEMY,
    SEEN_MOUNTAIN,
    SEEN_NEUTRAL,
    SEEN_OWN,
)
from generals_env.engine.rules.map_generator import CITY_ARMY

__all__ = ["SeenBoard", "board_of_codes", "codes_of_board", "seen_in_observation"]

#: Turns after which the phase of an observation begins anew.
ROUND = 50

#: Numbers of the seat that sees and of its enemy, on a board made of what is seen.
SEAT, ENEMY = 0, 1


class SeenBoard(NamedTuple):
    """A board that agrees with what a seat sees.

    Attributes:
        boards: One board.
        codes: (H*W,) uint8, see ``observations.tile_codes``.
        seat: The seat.
    """

    boards: Boards
    codes: npt.NDArray[np.uint8]
    seat: int


def codes_of_board(boards: Boards, b: int, player: int) -> npt.NDArray[np.uint8]:
    """Return the code of each tile of a board as a player sees it, (H*W,) uint8."""
    owner, terrain, players = boards.owner[b], boards.terrain[b], boards.players[b]
    shown = np.empty(owner.shape, np.uint32)
    visible_to(boards, b, shown)
    seen = (shown >> np.uint32(player)) & np.uint32(1) != 0
    friends = players["team"] == players["team"][player]
    held = np.where(friends[np.maximum(owner, 0)], SEEN_OWN, SEEN_ENEMY)
    codes = np.select([owner >= 0, owner == NEUTRAL], [held, SEEN_NEUTRAL], SEEN_MOUNTAIN) + BUILT_AT[terrain]
    return np.where(seen, codes, FOG_AT[terrain]).astype(np.uint8)


def board_of_codes(
    codes: npt.NDArray[np.uint8],
    army: npt.NDArray[np.int32],
    shape: tuple[int, int],
    turn: int,
    general: int,
    touch_turn: int | None,
    land_out_of_sight: int,
    army_out_of_sight: int,
) -> SeenBoard:
    """Return a board of two players that agrees with what the seat 0 sees.

    Args:
        codes: (H*W,) uint8, see ``observations.tile_codes``.
        army: (H*W,) int32, armies on the tiles in sight, elsewhere 0.
        shape: H, W.
        turn: Turns played so far.
        general: Tile of the seat's general, -1 if it has none.
        touch_turn: Turn from which a touch wins, by the rules of the competition; None: by the live rules.
        land_out_of_sight: Tiles of the enemy that the seat does not see.
        army_out_of_sight: Armies on them.
    """
    version, modifiers = (LIVE_VERSION, 0) if touch_turn is None else (COMPETITION_VERSION, touch_turn << TOUCH_SHIFT)
    boards = empty_boards(1, *shape, 2, version, modifiers)
    seen = codes >= SEEN_NEUTRAL
    kind = np.where(seen, (codes - SEEN_NEUTRAL) % 3, 0)
    wall = (codes == SEEN_MOUNTAIN) | (codes == FOG_OBSTACLE)
    boards.terrain[0] = np.select([wall, kind == 1, kind == 2], [MOUNTAIN, CITY, GENERAL], PLAIN)
    holders = np.array([NEUTRAL, SEAT, ENEMY])
    boards.owner[0] = np.where(wall, OWNER_MOUNTAIN, np.where(seen, holders[(codes - SEEN_NEUTRAL) // 3 % 3], NEUTRAL))
    boards.army[0] = army
    hidden = np.flatnonzero(codes == FOG)[: max(land_out_of_sight, 0)]
    boards.owner[0, hidden] = ENEMY
    boards.army[0, hidden] = 1
    if len(hidden):
        boards.army[0, hidden[0]] += army_out_of_sight - len(hidden)
    boards.players["general"][0, SEAT] = general
    boards.games["turn"] = turn
    return SeenBoard(boards, codes, SEAT)


def seen_in_observation(tensor: npt.NDArray[np.float32], turn: int, general: int, touch_turn: int | None) -> SeenBoard:
    """Return a board that agrees with an observation.

    Armies above 1,000 are shown as 1,000, and of several enemies it is not known which one holds a tile. The layout standard
    shows neither totals nor turn nor kinds of buildings: an enemy's building counts as a general, neutral cities have the
    largest army that the generator draws, and what is out of sight is not there.

    Args:
        tensor: (9, H, W) or (21, H, W) float32.
        turn: Turns that were played so far as the caller counts them: the layout full tells at least the last two digits.
        general: Tile of the own general, if the caller knows it; -1 otherwise.
        touch_turn: See ``board_of_codes``.
    """
    height, width = tensor.shape[1:]
    planes = tensor.reshape(len(tensor), height * width)
    full = len(planes) > SCOREBOARD
    own, enemy, neutral, built, mountain, seen, fog = (planes[k] > 0 for k in range(2, 9))
    if full:
        kind = 1 * (planes[10] > 0) + 2 * (built & ~(planes[10] > 0))
        homes = np.flatnonzero(planes[11] > 0).tolist()  # those of team-mates, too
        general = general if general in homes else (homes or [-1])[0]
    else:
        kind = np.where(built, np.where(enemy, 2, 1), 0)
        if general >= 0 and own[general]:
            kind[general] = 2
    codes = np.full(len(own), BLANK, np.uint8)
    for tiles, code in ((fog, FOG), (seen & mountain, SEEN_MOUNTAIN)):
        codes[tiles] = code
    if full:
        codes[planes[13] > 0] = FOG_OBSTACLE
    for tiles, code in ((neutral, SEEN_NEUTRAL), (own, SEEN_OWN), (enemy, SEEN_ENEMY)):
        codes[tiles] = (code + kind)[tiles]
    shown = np.maximum(planes[0], planes[1])
    shown = np.maximum(shown, planes[9] if full else (neutral & built) * (np.float32(CITY_ARMY[1]) / ARMY_SCALE))
    army = np.rint(shown * ARMY_SCALE).astype(np.int32)
    land_left, army_left = 0, 0
    if full:
        land, total, turn = totals_of(planes[SCOREBOARD:, 0], int(own.sum()), turn)
        land_left, army_left = land - int(enemy.sum()), total - int(army[enemy].sum())
    return board_of_codes(codes, army, (height, width), turn, general, touch_turn, land_left, army_left)


def totals_of(scores: npt.NDArray[np.float32], own_land: int, turn: int) -> tuple[int, int, int]:
    """Return the enemies' land and army and the turn, from the channels of the layout full that are the same on every tile.

    Args:
        scores: (7,) float32, one tile of these channels.
        own_land: Tiles of the own land: they tell how large the board is without padding.
        turn: Turns as the caller counts them.
    """
    own_share, share, _, army, _, phase, late = scores.tolist()
    land = round(share * own_land / own_share) if own_share > 0 else 0
    near = round(late * float(TURN_SCALE)) if late < 1 else turn
    exact = near + (round(phase * ROUND) - near + ROUND // 2) % ROUND - ROUND // 2  # a coarse dtype rounds the turn
    return land, round(army * float(TOTAL_SCALE)), exact
