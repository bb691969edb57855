"""Lists the plans that a search compares: the fast policy's own move, walks of the largest armies, gathers, and strikes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import MOUNTAIN, Boards
from generals_env.engine.observations.tile_codes import SEEN_ENEMY, SEEN_NEUTRAL
from generals_env.engine.planner.plans import gather_plan, ground_of, steps_from, walk_plan
from generals_env.engine.planner.sight import Record, Sight

__all__ = ["PLAN_MOVES", "believed_homes", "list_plans"]

PLAN_MOVES = 40
GATHERS = (6, 14, 24)  # moves of gathers


def believed_homes(boards: Boards, player: int, count: int) -> list[int]:
    """Return the ``count`` tiles that most guesses have as the enemy's general, each some steps from the others."""
    width = int(boards.games["width"][0])
    tiles, numbers = np.unique(boards.players["general"][:, 1 - player], return_counts=True)
    near = np.abs(tiles[:, None] // width - tiles // width) + np.abs(tiles[:, None] % width - tiles % width)
    support = (np.exp(-near / 2.0) * numbers).sum(axis=1)
    chosen: list[int] = []
    for k in np.argsort(-support, kind="stable"):
        tile = int(tiles[k])
        if all(abs(tile // width - c // width) + abs(tile % width - c % width) > 4 for c in chosen):
            chosen.append(tile)
        if len(chosen) == count:
            break
    return chosen


class PlanList:
    """Plans under construction, each once."""

    def __init__(self, sight: Sight, record: Record) -> None:
        """Begin an empty list."""
        self.sight = sight
        self.plans: list[npt.NDArray[np.int64]] = []
        self.names: list[str] = []
        self._seen: set[bytes] = set()
        self._ground = ground_of(sight.codes, record.kind, MOUNTAIN)
        self._distances: dict[int, npt.NDArray[np.int32]] = {}

    def add(self, name: str, plan: npt.NDArray[np.int64]) -> None:
        """Add a plan that has a move and is not in the list."""
        if (plan[0] >= 0 or not self.plans) and plan.tobytes() not in self._seen:
            self._seen.add(plan.tobytes())
            self.plans.append(plan)
            self.names.append(name)

    def distance(self, target: int) -> npt.NDArray[np.int32]:
        """Return (T,) int32, the steps to ``target``, -1 where none lead."""
        if target not in self._distances:
            distance = np.empty(len(self._ground), np.int32)
            sight = self.sight
            steps_from(self._ground, target, sight.width, sight.rows, sight.columns, distance)
            self._distances[target] = distance
        return self._distances[target]

    def walk(self, name: str, start: int, target: int, gather: int = 0, keep: int = -1) -> None:
        """Add a walk from ``start`` to ``target``, after ``gather`` moves that bring armies to ``start``."""
        sight = self.sight
        plan = np.full(PLAN_MOVES, -1, np.int64)
        shape = (sight.width, sight.rows, sight.columns)
        first = 0
        if gather:
            first = gather_plan(sight.owner, sight.army, sight.player, start, gather, *shape, keep, plan)
            if first == 0:
                return
        if target >= 0 and target != start:
            walk_plan(self.distance(target), sight.owner, sight.army, sight.player, start, *shape, first, plan)
        self.add(name, plan)


def list_plans(
    sight: Sight,
    record: Record,
    boards: Boards,
    base: int,
    previous: npt.NDArray[np.int64] | None,
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return (n, K) int64 plans, the first one the fast policy's own move ``base``, and their names.

    Args:
        sight: What the seat sees.
        record: What it has seen.
        boards: Guesses of the board.
        base: Action of the fast policy.
        previous: The rest of the plan chosen in the last turn, None if there is none.
    """
    plans = PlanList(sight, record)
    own = np.full(PLAN_MOVES, -1, np.int64)
    own[0] = base
    plans.add("base", own)
    if previous is not None:
        plans.add("previous", previous)
    mine = sight.owner == sight.player
    mine &= sight.codes > SEEN_NEUTRAL
    armies = np.where(mine, sight.army, 0)
    stacks = [int(tile) for tile in np.argsort(-armies, kind="stable")[:2] if armies[tile] > 1]
    homes = believed_homes(boards, sight.player, 2)
    enemies = np.flatnonzero(sight.codes >= SEEN_ENEMY)
    targets = [("home", home) for home in homes]
    if len(enemies):
        threat = int(enemies[np.argmax(sight.army[enemies])])
        targets.append(("threat", threat))
        nearest = min(enemies.tolist(), key=lambda tile: (plans.distance(sight.general)[tile] % 10000, tile))
        targets.append(("nearest", int(nearest)))
    for k, stack in enumerate(stacks):
        for kind, target in targets if k == 0 else targets[:1]:
            plans.walk(f"walk {k} to {kind}", stack, target)
    if stacks and len(enemies):
        plans.walk("walk 0 to own general", stacks[0], sight.general)
    for moves in GATHERS:
        if stacks and homes:
            plans.walk(f"gather {moves}, strike", stacks[0], homes[0], moves)
    if len(enemies):
        plans.walk("gather at general", sight.general, -1, 8)
        if stacks:
            plans.walk("gather, meet threat", stacks[0], threat, 6)
    return np.array(plans.plans), plans.names
