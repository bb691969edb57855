"""A starting point for an agent in Python: the best capture next to own land, else the largest army to the enemy.

It speaks the line protocol of the competition and needs the standard library only. Change ``choose``.
"""

from __future__ import annotations

import sys
from collections import deque

STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right
PASS = (1, 0, 0, 0, 0)
FOG, PLAIN, MOUNTAIN, CASTLE, GENERAL, FOG_OBSTACLE = range(6)
NEUTRAL, OWN, ENEMY = range(3)

Rows = list[list[int]]
Reply = tuple[int, int, int, int, int]


def choose(kind: Rows, owner: Rows, army: Rows, height: int, width: int) -> Reply:
    """Return pass, row, column, direction, split: 0 moves, 1 skips, 2 builds a castle."""
    best = 0, 0  # value, army
    reply: Reply | None = None
    strongest: tuple[int, int] | None = None
    for row in range(height):
        for column in range(width):
            if owner[row][column] != OWN or army[row][column] < 2:
                continue
            if strongest is None or army[row][column] > army[strongest[0]][strongest[1]]:
                strongest = row, column
            for direction, (down, right) in enumerate(STEPS):
                r, c = row + down, column + right
                if not (0 <= r < height and 0 <= c < width) or kind[r][c] == MOUNTAIN or owner[r][c] == OWN:
                    continue
                if army[row][column] - 1 <= army[r][c]:
                    continue
                kind_value = 1 if owner[r][c] == NEUTRAL else 3 if kind[r][c] in (CASTLE, GENERAL) else 2
                value = kind_value, army[row][column]
                if value > best:
                    best, reply = value, (0, row, column, direction, 0)
    if reply is None and strongest is not None:
        reply = walk(kind, owner, strongest, height, width)
    return reply or PASS


def walk(kind: Rows, owner: Rows, start: tuple[int, int], height: int, width: int) -> Reply | None:
    """Return the first step of the shortest way over own land to the enemy, else to neutral land."""
    first = {start: -1}
    waiting = deque([start])
    nearest: Reply | None = None
    while waiting:
        row, column = waiting.popleft()
        for direction, (down, right) in enumerate(STEPS):
            tile = r, c = row + down, column + right
            if not (0 <= r < height and 0 <= c < width) or tile in first or kind[r][c] in (MOUNTAIN, FOG_OBSTACLE):
                continue
            first[tile] = direction if (row, column) == start else first[row, column]
            if owner[r][c] == ENEMY:
                return 0, *start, first[tile], 0
            if owner[r][c] == NEUTRAL:
                nearest = nearest or (0, *start, first[tile], 0)
                continue
            waiting.append(tile)
    return nearest


def main() -> None:
    """Answer frames until the input ends."""
    lines = sys.stdin
    _, height, width = map(int, lines.readline().split())
    while lines.readline():  # time, own land and army, the other's land and army
        kind, owner, army = ([list(map(int, lines.readline().split())) for _ in range(height)] for _ in range(3))
        sys.stdout.write(" ".join(map(str, choose(kind, owner, army, height, width))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
