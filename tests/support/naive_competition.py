"""A second implementation of the rules of the bot competition, slow and obvious, in plain Python: the oracle of the kernels.

Written from the numbered rules of docs/rules.md ("rule Cn" in the comments); it shares no code with the engine and imports none
of it. ``Position.from_boards`` and ``Position.write`` translate from and to one board of the engine's ``Boards``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MOUNTAIN, NEUTRAL = -2, -1
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right

Place = tuple[int, int]


class Order(NamedTuple):
    """What a player asks for: ``"pass"``, ``"build"`` or ``"move"`` at a place."""

    kind: str
    place: Place = (0, 0)
    direction: int = 0
    half: bool = False


PASS = Order("pass")


@dataclass
class Position:
    """A game of two players on a board without padding."""

    height: int
    width: int
    touch_turn: int
    time: int
    owner: dict[Place, int]
    army: dict[Place, int]
    castles: set[Place]
    generals: tuple[Place, Place]
    fog: bool = True
    over: bool = False
    winner: int = -1  # also of a draw
    happened: Counter[str] = field(default_factory=Counter, compare=False)  # counts of rare events

    # --- From and to the engine's arrays ------------------------------------------------------------------------------

    @classmethod
    def from_boards(cls, boards: Any, b: int) -> Position:
        """Return a copy of board ``b``, which has no padding and a running game."""
        game = boards.games[b]
        height, width = int(game["height"]), int(game["width"])
        places = [(row, column) for row in range(height) for column in range(width)]
        homes = [divmod(int(tile), width) for tile in boards.players[b]["general"]]
        return cls(
            height,
            width,
            touch_turn=int(game["modifiers"]) // 2**32,
            time=int(game["turn"]),
            owner=dict(zip(places, boards.owner[b].tolist(), strict=True)),
            army=dict(zip(places, boards.army[b].tolist(), strict=True)),
            castles={place for place, kind in zip(places, boards.terrain[b].tolist(), strict=True) if kind == 2},
            generals=(homes[0], homes[1]),
            fog=bool(game["fog"]),
        )

    def flat(self) -> tuple[list[int], list[int], list[bool]]:
        """Return owners, armies and castles, row by row."""
        places = sorted(self.owner)
        return [self.owner[at] for at in places], [self.army[at] for at in places], [at in self.castles for at in places]

    def alive(self) -> list[bool]:
        """Return who is in the game: both until it ends, then the winner, or no player."""
        return [not self.over or self.winner == player for player in (0, 1)]

    # --- Actions ------------------------------------------------------------------------------------------------------

    def order(self, index: int) -> Order:
        """Return what an action index asks for."""
        tiles = self.height * self.width
        if index == 8 * tiles:
            return PASS
        if index > 8 * tiles:
            return Order("build", divmod(index - 8 * tiles - 1, self.width))
        half, index = divmod(index, 4 * tiles)
        tile, direction = divmod(index, 4)
        return Order("move", divmod(tile, self.width), direction, half == 1)

    def price(self, player: int, place: Place) -> int:
        """Return what a castle costs a player there (rule C8)."""
        price = 35
        for built in self.castles | set(self.generals):
            if self.owner[built] == player:
                price += max(0, 14 - 2 * (abs(built[0] - place[0]) + abs(built[1] - place[1])))
        return price

    def buildable(self, player: int, place: Place) -> bool:
        """Return whether a build is accepted (rule C7)."""
        return (
            self.owner.get(place) == player
            and place not in self.castles
            and place not in self.generals
            and self.army[place] >= self.price(player, place)
        )

    def target(self, order: Order) -> Place:
        """Return where a move leads, perhaps off the board."""
        down, right = STEPS[order.direction]
        return order.place[0] + down, order.place[1] + right

    def units(self, order: Order) -> int:
        """Return how many units a move sends (rule C5)."""
        army = self.army[order.place]
        return max(0, min(army // 2 if order.half else army - 1, army - 1))

    def movable(self, player: int, order: Order) -> bool:
        """Return whether a move is valid now (rule C5)."""
        return (
            order.kind == "move"
            and self.owner.get(order.place) == player
            and self.owner.get(self.target(order), MOUNTAIN) != MOUNTAIN
            and self.units(order) > 0
        )

    def legal(self, player: int, index: int) -> bool:
        """Return whether the action mask allows an action."""
        order = self.order(index)
        if order.kind == "pass":
            return True
        if self.over:
            return self.winner == player and self.accepted(player, order)
        return self.accepted(player, order)

    def accepted(self, player: int, order: Order) -> bool:
        """Return whether a build or a move is accepted now."""
        return self.buildable(player, order.place) if order.kind == "build" else self.movable(player, order)

    # --- One turn -----------------------------------------------------------------------------------------------------

    def sorted_movers(self, orders: list[Order]) -> list[int]:
        """Return the players in the order in which they move (rule C9)."""
        keys = []
        for player in (0, 1):
            mine, other = orders[player], orders[1 - player]
            chases = self.target(mine) == other.place
            reinforces = self.owner[self.target(mine)] == player
            keys.append((not chases, not reinforces, self.army[mine.place], player))
        return [0, 1] if keys[0] < keys[1] else [1, 0]

    def play(self, indices: tuple[int, int]) -> None:
        """Play a turn (rules C7 to C19); actions that are not legal have no effect."""
        orders = [self.order(index) for index in indices]
        bills = [self.price(player, orders[player].place) for player in (0, 1)]
        accepted = [orders[p].kind == "build" and self.buildable(p, orders[p].place) for p in (0, 1)]
        for player in (0, 1):
            if orders[player].kind == "build":
                if accepted[player]:
                    self.army[orders[player].place] -= bills[player]
                    self.castles.add(orders[player].place)
                    self.happened["a castle is built"] += 1
                orders[player] = PASS
        movers = [player for player in (0, 1) if self.movable(player, orders[player])]
        if len(movers) == 2:
            movers = self.sorted_movers(orders)
            if movers == [1, 0]:
                self.happened["player 1 moves first"] += 1
        touched, captors = set(), []
        for player in movers:
            if not self.movable(player, orders[player]):  # rule C10
                self.happened["a move is stopped by the other's"] += 1
                continue
            if self.time >= self.touch_turn and self.target(orders[player]) == self.generals[1 - player]:
                touched.add(player)
            if self.execute(player, orders[player]):
                captors.append(player)
        self.time += 1
        if captors:  # rule C14
            self.give_all(captors[-1])
        else:
            self.grow()
        self.end(touched, captors)

    def execute(self, player: int, order: Order) -> bool:
        """Execute a valid move; return whether it captured a general (rules C11 and C12)."""
        target, sent = self.target(order), self.units(order)
        self.army[order.place] -= sent
        if self.owner[target] == player:
            self.army[target] += sent
            return False
        if sent <= self.army[target]:
            self.army[target] -= sent
            return False
        self.army[target] = sent - self.army[target]
        self.owner[target] = player
        if target in self.castles:
            self.happened["a castle is captured"] += 1
        return target in self.generals

    def grow(self) -> None:
        """Grow land, castles and generals (rule C14)."""
        for place, owner in self.owner.items():
            if owner >= 0:
                if self.time % 50 == 0:
                    self.army[place] += 1
                if self.time % 2 == 0 and (place in self.castles or place in self.generals):
                    self.army[place] += 1

    def give_all(self, player: int) -> None:
        """Give all land to a player."""
        for place, owner in self.owner.items():
            if owner >= 0:
                self.owner[place] = player

    def end(self, touched: set[int], captors: list[int]) -> None:
        """End the game if the turn decided it (rules C17 to C19)."""
        if len(touched) == 2 or len(captors) == 2:
            self.over = True
            self.happened["a draw with a capture" if captors else "a draw"] += 1
        elif touched:
            (self.winner,) = touched
            self.over = True
            self.happened["a touch wins"] += 1
            if not captors:
                self.give_all(self.winner)
        elif captors:
            self.winner = captors[0]
            self.over = True
            self.happened["a capture wins"] += 1

    # --- What a player sees -------------------------------------------------------------------------------------------

    def sees(self, player: int, place: Place) -> bool:
        """Return whether a player sees a tile: one in the 3x3 tiles around it is his (rule C23)."""
        near = [(place[0] + down, place[1] + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        return not self.fog or any(self.owner.get(at) == player for at in near)

    def shows_obstacle(self, player: int, place: Place) -> bool:
        """Return whether a tile out of sight looks like an obstacle: a mountain or a castle (rule C25)."""
        return not self.sees(player, place) and (self.owner[place] == MOUNTAIN or place in self.castles)
