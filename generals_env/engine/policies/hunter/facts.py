"""Names the entries of the facts that the hunter gets each turn beside what it sees on the board."""

from __future__ import annotations

__all__ = [
    "ENEMY_ARMY",
    "ENEMY_LAND",
    "FACTS",
    "GENERAL_TILE",
    "OWN_ARMY",
    "OWN_LAND",
    "PLAYER_NUMBER",
    "RIVALS",
    "TOUCH_TURN_FACT",
    "TURN",
    "WIDTH",
]

#: Entries of the facts, int64. Land and army are totals of the scoreboard, -1 where they are unknown; those of the enemy are
#: the sums over all living players of other teams. The touch turn is -1 without the rules of the competition.
(
    TURN,
    WIDTH,
    PLAYER_NUMBER,
    GENERAL_TILE,
    TOUCH_TURN_FACT,
    OWN_LAND,
    OWN_ARMY,
    ENEMY_LAND,
    ENEMY_ARMY,
    RIVALS,
) = range(10)

#: Number of entries.
FACTS = 10
