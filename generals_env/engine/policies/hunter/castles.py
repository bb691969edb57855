"""Decides where to build castles, with the rules of the competition."""

from __future__ import annotations

from generals_env.engine.jit import subroutine
from generals_env.engine.policies.hunter.facts import ENEMY_ARMY, OWN_ARMY, PLAYER_NUMBER, TOUCH_TURN_FACT, TURN, WIDTH
from generals_env.engine.policies.hunter.memory import ENEMY_HOME, LAST_BUILD
from generals_env.engine.policies.hunter.seat import Seat, army_at
from generals_env.engine.rules.castle_prices import BASE_PRICE, PRICE_REACH, SURCHARGE, SURCHARGE_STEP

__all__ = ["build_now"]

OWN_PLAIN, OWN_CITY, OWN_GENERAL = 7, 8, 9  # codes of ``observations.tile_codes``
FIRST_BUILD = 116  # turn from which castles are built
BUILD_TURNS = 50  # between two of them
MAX_PRICE = 39


@subroutine
def price_at(seat: Seat, tile: int) -> int:
    """Return the price of a castle: own castles and generals within ``PRICE_REACH`` steps add to it."""
    player = seat.facts[PLAYER_NUMBER]
    width = seat.facts[WIDTH]
    row = tile // width
    column = tile - row * width
    price = BASE_PRICE
    for near in range(seat.codes.shape[0]):
        if seat.codes[near] == OWN_CITY or seat.codes[near] == OWN_GENERAL:
            if seat.owner[near] == player:
                steps = abs(near // width - row) + abs(near % width - column)
                if steps <= PRICE_REACH:
                    price += SURCHARGE - SURCHARGE_STEP * steps
    return price


@subroutine
def build_now(seat: Seat, tile: int) -> bool:
    """Return whether to build a castle on ``tile``, where the largest army stands.

    Once in 50 turns from turn 116 on, where it costs little, while the own army is larger than the enemy's by the price and the
    enemy's general has not been found.
    """
    turn = seat.facts[TURN]
    if seat.facts[TOUCH_TURN_FACT] < 0 or turn < FIRST_BUILD or turn < seat.words[LAST_BUILD] + BUILD_TURNS:
        return False
    if seat.words[ENEMY_HOME] >= 0 or tile < 0 or seat.codes[tile] != OWN_PLAIN:
        return False
    if seat.owner[tile] != seat.facts[PLAYER_NUMBER] or seat.army[tile] < BASE_PRICE:
        return False
    price = price_at(seat, tile)
    if price > MAX_PRICE or army_at(seat, tile) < price:
        return False
    if seat.facts[ENEMY_ARMY] >= 0 and seat.facts[OWN_ARMY] < seat.facts[ENEMY_ARMY] + price:
        return False
    seat.words[LAST_BUILD] = turn
    return True
