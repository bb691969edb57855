"""Describes what one seat of one game sees in a turn, from the board or from an observation: what policies with a memory get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, LIVE_VERSION, NEUTRAL, OWNER_MOUNTAIN, TOUCH_SHIFT, Boards
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

__all__ = ["UNKNOWN", "SeatView", "view_of_board", "view_of_observation"]

#: A fact that is not known.
UNKNOWN = -1

#: Turns after which the phase of an observation begins anew.
ROUND = 50

#: The owner of enemy land whose owner is not known, for the seat 0.
ENEMY = 1


@dataclass(frozen=True)
class SeatView:
    """What one seat of a game sees in a turn.

    Attributes:
        codes: (H*W,) uint8, see ``observations.tile_codes``.
        owner: (H*W,) int8, the players that hold the tiles in sight, elsewhere ``NEUTRAL``.
        army: (H*W,) int32, the armies on the tiles in sight, elsewhere 0.
        player: Number of the seat.
        general: Tile of its general, -1 if it has none.
        turn: Turns played so far.
        width: Columns of the arrays, W.
        version: Version of the rules, see ``boards.GAME``.
        touch_turn: Turn from which a touch of the general wins, -1 without the rules of the competition.
        land: Tiles of the seat and of all living enemies together, -1 if they are not known.
        armies: Armies of both, likewise.
        rivals: Number of living enemies.
    """

    codes: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int8]
    army: npt.NDArray[np.int32]
    player: int
    general: int
    turn: int
    width: int
    version: int
    touch_turn: int
    land: tuple[int, int]
    armies: tuple[int, int]
    rivals: int


def view_of_board(boards: Boards, b: int, player: int) -> SeatView:
    """Return what a player sees of a board; what is out of its sight is left out."""
    game, players = boards.games[b], boards.players[b]
    owner, army = boards.owner[b], boards.army[b]
    shown = np.empty(owner.shape, np.uint32)
    visible_to(boards, b, shown)
    seen = (shown >> np.uint32(player)) & np.uint32(1) != 0
    friends = players["team"] == players["team"][player]
    held = np.where(friends[np.maximum(owner, 0)], SEEN_OWN, SEEN_ENEMY)
    codes = np.where(owner >= 0, held, np.where(owner == NEUTRAL, SEEN_NEUTRAL, SEEN_MOUNTAIN)) + BUILT_AT[boards.terrain[b]]
    enemies = ~friends & players["alive"]
    mine, theirs = owner == player, (owner >= 0) & enemies[np.maximum(owner, 0)]
    version = int(game["version"])
    return SeatView(
        codes=np.where(seen, codes, FOG_AT[boards.terrain[b]]).astype(np.uint8),
        owner=np.where(seen, owner, NEUTRAL).astype(np.int8),
        army=np.where(seen, army, 0).astype(np.int32),
        player=player,
        general=int(players["general"][player]),
        turn=int(game["turn"]),
        width=int(game["width"]),
        version=version,
        touch_turn=int(game["modifiers"]) >> TOUCH_SHIFT if version == COMPETITION_VERSION else UNKNOWN,
        land=(int(mine.sum()), int(theirs.sum())),
        armies=(int(army[mine].sum()), int(army[theirs].sum())),
        rivals=int(enemies.sum()),
    )


def view_of_observation(tensor: npt.NDArray[np.float32], actions: int, turn: int, general: int, touch_turn: int) -> SeatView:
    """Return what an observation shows, for the seat 0 against the seat 1.

    Armies above 1,000 are shown as 1,000, and of several enemies it is not known which one holds a tile. The layout standard
    shows neither totals nor turn nor kinds of buildings: an enemy's building counts as a general, neutral cities have the
    highest army that the generator draws.

    Args:
        tensor: (9, H, W) or (21, H, W) float32.
        actions: Length of the action mask: it tells the rules.
        turn: Turns that were played so far as the caller counts them: the layout full tells at least the last two digits.
        general: Tile of the own general, likewise; -1 if unknown.
        touch_turn: See ``SeatView``, if these are the rules of the competition.
    """
    height, width = tensor.shape[1:]
    planes = tensor.reshape(len(tensor), height * width)
    full = len(planes) > SCOREBOARD
    own, enemy, neutral, built, mountain, seen, fog = (planes[k] > 0 for k in range(2, 9))
    kind = np.where(built, np.where(planes[10] > 0, 1, 2) if full else np.where(neutral, 1, 2), 0)
    codes = np.full(len(own), BLANK, np.uint8)
    codes[fog] = FOG
    if full:
        codes[planes[13] > 0] = FOG_OBSTACLE
        own_general = np.flatnonzero(planes[11] > 0)
        if general < 0 and len(own_general):
            general = int(own_general[0])
    elif general >= 0:
        kind[built & own] = 1
        kind[general] = 2
    codes[seen & mountain] = SEEN_MOUNTAIN
    for tiles, code in ((neutral, SEEN_NEUTRAL), (own, SEEN_OWN), (enemy, SEEN_ENEMY)):
        codes[tiles] = (code + kind)[tiles]
    army = np.maximum(planes[0], planes[1])
    army = np.maximum(army, planes[9]) if full else np.where(neutral & built, np.float32(CITY_ARMY[1]) / ARMY_SCALE, army)
    competes = actions > 8 * height * width + 1
    land, armies, rivals = (UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN), 1
    if full:
        land, armies, turn = totals_of(planes[SCOREBOARD:, 0], int(own.sum()), turn)
    return SeatView(
        codes=codes,
        owner=np.select([own, enemy, seen & mountain], [0, ENEMY, OWNER_MOUNTAIN], NEUTRAL).astype(np.int8),
        army=np.rint(army * ARMY_SCALE).astype(np.int32),
        player=0,
        general=general,
        turn=turn,
        width=width,
        version=COMPETITION_VERSION if competes else LIVE_VERSION,
        touch_turn=touch_turn if competes else UNKNOWN,
        land=land,
        armies=armies,
        rivals=rivals,
    )


def totals_of(scores: npt.NDArray[np.float32], own_land: int, turn: int) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return land, armies and turn from the channels of the layout full that are the same on every tile.

    Args:
        scores: (7,) float32, one tile of these channels.
        own_land: Tiles of the own land: they tell how large the board is without padding.
        turn: Turns as the caller counts them.
    """
    own_share, share, own_army, army, _, phase, late = scores.tolist()
    enemy_land = round(share * own_land / own_share) if own_share > 0 else 0
    near = round(late * float(TURN_SCALE)) if late < 1 else turn
    turn = near + (round(phase * ROUND) - near + ROUND // 2) % ROUND - ROUND // 2  # a coarse dtype rounds the turn
    scale = float(TOTAL_SCALE)
    return (own_land, enemy_land), (round(own_army * scale), round(army * scale)), turn
