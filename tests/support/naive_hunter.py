"""Implements the hunter once more, in plain Python, as ``docs/opponents.md`` describes it: slow, and easy to compare with it.

The numbers in the docstrings are those of its rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from generals_env.bridge.builtin_players import SplitMix

# What a tile looks like: its code, see ``engine.observations.tile_codes``.
FOG, FOG_OBSTACLE, MOUNTAIN, NEUTRAL, NEUTRAL_CITY = 1, 2, 3, 4, 5
OWN, OWN_CITY, OWN_GENERAL, ENEMY, ENEMY_GENERAL = 7, 8, 9, 10, 12

WAIT, NOTHING = -1, -2
QUEUE = 128


@dataclass
class Seen:
    """What a seat sees in a turn; lists have an entry for each tile."""

    codes: list[int]
    owner: list[int]
    army: list[int]
    width: int
    player: int
    general: int
    turn: int
    rivals: int
    touch: int = -1
    own_total: int = -1
    enemy_total: int = -1

    def around(self, tile: int) -> list[tuple[int, int]]:
        """Return directions and tiles of the neighbours: up, down, left, right."""
        row, column = divmod(tile, self.width)
        rows = len(self.codes) // self.width
        near = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        return [(k, r * self.width + c) for k, (r, c) in enumerate(near) if 0 <= r < rows and 0 <= c < self.width]

    def end(self, move: int) -> int:
        """Return the tile where a move ends, -1 off the board."""
        return dict(self.around(move // 4)).get(move % 4, -1)

    def mine(self, tile: int) -> bool:
        """Return whether the seat itself holds the tile."""
        return OWN <= self.codes[tile] < ENEMY and self.owner[tile] == self.player

    def open(self, tile: int) -> bool:
        """Return whether a walk may enter the tile."""
        return self.codes[tile] not in (FOG_OBSTACLE, MOUNTAIN, NEUTRAL_CITY)

    def walk(self, origins: Iterable[int], enters: Callable[[int], bool]) -> dict[int, int]:
        """Return the steps to all tiles that a walk reaches, in the order in which it does."""
        steps = dict.fromkeys(origins, 0)
        queue = deque(steps)
        while queue:
            tile = queue.popleft()
            for _, other in self.around(tile):
                if other not in steps and enters(other):
                    steps[other] = steps[tile] + 1
                    queue.append(other)
        return steps


@dataclass
class NaiveHunter:
    """One seat of the hunter at full strength."""

    begun: int = -1
    last_turn: int = -2
    last_action: int = 0
    queue: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    enemy_home: int = -1
    aim: int = -1
    stack: int = -1
    last_build: int = 0
    measured: int = -1
    home: dict[int, int] = field(default_factory=dict)

    def act(self, now: Seen, begun: int) -> int:
        """Return the action of this turn; ``begun`` counts the games (2)."""
        if self.begun == begun and self.last_turn == now.turn:
            return self.last_action
        if self.begun != begun or self.last_turn > now.turn:
            self.__init__(begun=begun)  # type: ignore[misc]
            self.measure_home(now)
            if now.turn == 0 and now.general >= 0:
                self.queue = Opening(now, self.home).plan()
        elif self.last_turn < now.turn - 1:
            self.queue = []
        self.last_turn = now.turn
        if self.measured != now.general:
            self.measure_home(now)
        self.remember(now)
        self.last_action = self.decide(now)
        return self.last_action

    def measure_home(self, now: Seen) -> None:
        self.measured = now.general
        self.home = now.walk([max(now.general, 0)], now.open)

    def remember(self, now: Seen) -> None:
        """Remember what is in sight (1)."""
        self.seen |= {tile for tile, code in enumerate(now.codes) if code >= MOUNTAIN}
        self.held |= {tile for tile, code in enumerate(now.codes) if code >= ENEMY}
        generals = [tile for tile, code in enumerate(now.codes) if code == ENEMY_GENERAL]
        if generals:
            self.enemy_home = generals[-1]
        elif self.enemy_home >= 0 and now.codes[self.enemy_home] >= MOUNTAIN:
            self.enemy_home = -1

    def decide(self, now: Seen) -> int:
        """Kill, defend, go on with the queue; then build or plan (2)."""
        move = NOTHING
        if self.enemy_home >= 0:
            move = self.kill(now)
        if move < 0 and any(code >= ENEMY for code in now.codes):
            threat, missing = self.threat(now)
            if threat >= 0:
                move = self.defend(now, threat, missing)
        if move == NOTHING or (move < 0 and self.enemy_home >= 0):
            move = self.next_move(now)
        if move == NOTHING:
            tile = self.stack if self.stack >= 0 else largest(now)
            if self.builds(now, tile):
                return 8 * len(now.codes) + 1 + tile
            self.plan(now)
            move = self.next_move(now)
        return move if move >= 0 else 8 * len(now.codes)

    def next_move(self, now: Seen) -> int:
        while self.queue:
            move = self.queue.pop(0)
            if move < 0:
                return WAIT
            tile, end = move // 4, now.end(move)
            if not now.mine(tile) or now.army[tile] < 2 or end < 0 or now.codes[end] == MOUNTAIN:
                continue
            if not OWN <= now.codes[end] < ENEMY and now.army[tile] - 1 <= now.army[end]:
                break
            return move
        self.queue = []
        return NOTHING

    def added(self, now: Seen, tile: int) -> int:
        """Return what entering a tile adds to an army (3)."""
        code = now.codes[tile]
        if code == FOG:
            return -2 if tile in self.held else -1
        if code < OWN:
            return -max(now.army[tile], 0) - 1
        if code >= ENEMY:
            return -now.army[tile] - 1
        return now.army[tile] - 1 if now.mine(tile) else 0

    def kill(self, now: Seen) -> int:
        """Return the move of the first army that takes the enemy's general with what it meets on its way (3)."""
        guard = max(now.army[self.enemy_home], 1) if now.codes[self.enemy_home] >= OWN else 8
        if 0 <= now.touch <= now.turn:
            guard = 0
        steps = now.walk([self.enemy_home], now.open)
        gain = {self.enemy_home: -guard - 1}
        for tile, distance in list(steps.items())[1:]:
            nearer = [(gain[other], -k) for k, other in now.around(tile) if steps.get(other, distance) < distance]
            most, direction = max(nearer)
            gain[tile] = most + self.added(now, tile)
            if now.mine(tile) and now.army[tile] >= 2 and gain[tile] >= distance // 2:
                return 4 * tile - direction
        return -1

    def threat(self, now: Seen) -> tuple[int, int]:
        """Return the nearest enemy army that would take the general, and what is missing there (4)."""
        if now.general < 0:
            return -1, 0
        touched = 0 <= now.touch <= now.turn
        found, missing, nearest = -1, 0, 17
        for tile, code in enumerate(now.codes):
            steps = self.home.get(tile, -1)
            if code < ENEMY or not 0 < steps < nearest:
                continue
            guard = 0 if touched else now.army[now.general] + steps // 2
            if now.army[tile] - 1 > guard:
                lacks = self.arriving(now, tile) - guard
                if lacks > 0:
                    found, missing, nearest = tile, lacks + 2, steps
        return found, missing

    def arriving(self, now: Seen, tile: int) -> int:
        """Return the army that reaches the general from an enemy's tile by the way that costs it the least (4)."""
        army = now.army[tile] - 1
        while self.home.get(tile, -1) > 1 and army > 0:
            costs = []
            for k, other in now.around(tile):
                if self.home.get(other, -1) == self.home[tile] - 1:
                    cost = 1
                    if now.codes[other] >= OWN:
                        cost = now.army[other] + 1 if now.codes[other] < ENEMY else 1 - now.army[other]
                    costs.append((cost, k, other))
            if not costs:
                break
            cost, _, tile = min(costs)
            army -= cost
        return army

    def defend(self, now: Seen, threat: int, missing: int) -> int:
        """Strike the threat, or gather at the general when it must be (4)."""
        beside = [(now.army[other], -k, other) for k, other in now.around(threat) if now.mine(other)]
        if beside and max(beside)[0] > now.army[threat] + 1:
            _, k, other = max(beside)
            return 4 * other + (-k ^ 1)
        steps = self.home[threat]
        _, moves = gathered(now, now.general, 64, steps - 1, missing, -1)
        if len(moves) + 1 < steps:
            return NOTHING
        self.queue = gathered(now, now.general, max(steps - 1, 1), steps - 1, missing, -1)[1][:QUEUE]
        return self.next_move(now)

    def builds(self, now: Seen, tile: int) -> bool:
        """Return whether to build a castle on the tile, by the rules of the competition."""
        if now.touch < 0 or now.turn < max(116, self.last_build + 50) or self.enemy_home >= 0 or tile < 0:
            return False
        if now.codes[tile] != OWN or now.owner[tile] != now.player or now.army[tile] < 35:
            return False
        row, column = divmod(tile, now.width)
        price = 35
        for near, code in enumerate(now.codes):
            if code in (OWN_CITY, OWN_GENERAL) and now.owner[near] == now.player:
                away = abs(near // now.width - row) + abs(near % now.width - column)
                price += max(14 - 2 * away, 0)
        if price > 39 or now.army[tile] < price or (now.enemy_total >= 0 and now.own_total < now.enemy_total + price):
            return False
        self.last_build = now.turn
        return True

    def plan(self, now: Seen) -> None:
        """Plan the next moves (7)."""
        target, stack = self.enemy_home, self.stack
        if stack >= 0 and (now.codes[stack] < OWN or now.owner[stack] != now.player or now.army[stack] < 3):
            stack = -1
        if target < 0 and stack >= 0 and self.aim >= 0 and now.codes[self.aim] == FOG and self.aim not in self.seen:
            target = self.aim
        if target < 0:
            target = self.believed(now, stack if stack >= 0 else now.general)
        self.aim = target
        if target < 0:
            self.expand(now, 0)
            return
        if stack >= 0 and self.push(now, stack, target):
            return
        self.stack = -1
        if now.turn >= 100 and now.turn % 50 >= 38 and self.expand(now, 1):
            return
        if self.attack(now, target):
            return
        stack = largest(now)
        if not (stack >= 0 and self.push(now, stack, target)):
            self.expand(now, 0)

    def believed(self, now: Seen, start: int) -> int:
        """Return where to look for the enemy's general (8)."""
        apart = int(0.75 * len(now.codes) ** 0.5) if now.rivals == 1 else 2
        places = [
            tile
            for tile, code in enumerate(now.codes)
            if code == FOG and tile not in self.seen and self.home.get(tile, -1) >= apart
        ]
        if not self.held:
            if not places:
                return -1
            row = sum(tile // now.width for tile in places) // len(places)
            column = sum(tile % now.width for tile in places) // len(places)
            return min(places, key=lambda tile: (abs(tile // now.width - row) + abs(tile % now.width - column), tile))
        depth = now.walk(sorted(self.seen), now.open)
        near = now.walk(sorted(self.held), now.open)
        away = now.walk(sorted(self.seen - self.held), now.open)
        reach = now.walk([start] if start >= 0 else [], now.open)
        scores = [
            (
                6 * min(depth.get(tile, 3), 3) + 4 * min(away.get(tile, 8), 8) - 4 * near[tile] - 2 * reach.get(tile, -1),
                -tile,
            )
            for tile in places
            if tile in near
        ]
        return -max(scores)[1] if scores else -1

    def push(self, now: Seen, start: int, target: int) -> bool:
        """Plan up to eight steps of an army to the target (9)."""
        steps = now.walk([target], now.open)
        if steps.get(start, 0) < 1:
            return False
        carry, place = now.army[start] - 1, start
        self.stack = start
        for _ in range(8):
            ways = []
            for k, other in now.around(place):
                added = self.added(now, other)
                if steps.get(other, -1) == steps[place] - 1 and carry + added >= 0:
                    ways.append((added + 1000 * (now.codes[other] >= ENEMY), -k, other))
            if not ways:
                break
            _, k, other = max(ways)
            self.add(4 * place - k)
            carry += self.added(now, other)
            self.stack = place = other
            if carry < 1 or place == target:
                break
        return place != start

    def attack(self, now: Seen, target: int) -> bool:
        """Gather to the root with the better ratio of army to turns (5, 7)."""
        steps = now.walk([target], now.open)
        own = [tile for tile in steps if now.mine(tile)]
        if not own:
            return False
        level = [tile for tile in own if steps[tile] == steps[own[0]]]
        roots = [max(level, key=lambda tile: now.army[tile])]
        if largest(now) in steps and largest(now) not in roots:
            roots.append(largest(now))
        best: tuple[int, int, int, list[int]] | None = None
        for root in roots:
            base, place = now.army[root] - 1, root
            while steps[place] > 0:
                nearer = [(self.added(now, o), -k, o) for k, o in now.around(place) if steps.get(o) == steps[place] - 1]
                added, _, place = max(nearer)
                base += added
            extra = steps[root] + 4
            total, moves = gathered(now, root, 40, 64, base, extra)
            if best is None or (base + total) * best[1] > best[0] * (extra + len(moves)):
                best = base + total, extra + len(moves), root, moves
        assert best is not None
        self.stack = best[2]
        for move in best[3]:
            self.add(move)
        return bool(self.queue)

    def expand(self, now: Seen, least: int) -> bool:
        """Plan the chain of captures with the largest worth a move, at least ``least``."""
        free = [tile for tile, code in enumerate(now.codes) if code in (FOG, NEUTRAL) or code >= ENEMY]
        steps = now.walk(free, lambda tile: now.codes[tile] >= OWN and now.owner[tile] == now.player)
        gain: dict[int, int] = {}
        ahead: dict[int, int] = {}
        best = (0, 1, -1)
        for tile in list(steps)[len(free) :]:
            gain[tile] = now.army[tile] - 1
            if steps[tile] > 1:
                nearer = [(gain[o], -k, o) for k, o in now.around(tile) if steps.get(o) == steps[tile] - 1]
                most, _, ahead[tile] = max(nearer)
                gain[tile] += most
            if now.army[tile] < 2:
                continue
            way = [tile]
            while steps[way[-1]] > 1:
                way.append(ahead[way[-1]])
            worth, _ = captures(now, way[-1], gain[tile])
            moves = steps[tile] - 1 + min(worth, 12)
            ratio = worth * best[1] - best[0] * moves
            if worth > 0 and (ratio > 0 or (ratio == 0 and worth > best[0])):
                best = worth, moves, tile
        worth, moves, tile = best
        if tile < 0 or worth < least * moves:
            return False
        place = tile
        while steps[place] > 1:
            direction = next(k for k, other in now.around(place) if other == ahead[place])
            self.add(4 * place + direction)
            place = ahead[place]
        for move in captures(now, place, gain[tile])[1]:
            self.add(move)
        return True

    def add(self, move: int) -> None:
        if len(self.queue) < QUEUE:
            self.queue.append(move)


def largest(now: Seen) -> int:
    """Return the own tile with the largest army of at least two, -1 if there is none."""
    own = [tile for tile in range(len(now.codes)) if now.mine(tile) and now.army[tile] > 1]
    return max(own, key=lambda tile: now.army[tile], default=-1)


def captures(now: Seen, place: int, carry: int) -> tuple[int, list[int]]:
    """Return worth and moves of a chain of captures: 1 for free land, 2 for an enemy's."""

    def price(tile: int) -> int:
        code = now.codes[tile]
        return 1 if code == FOG else (max(now.army[tile], 0) + 1 if code == NEUTRAL or code >= ENEMY else 1 << 30)

    worth, moves, taken = 0, [], set()
    while len(moves) < 12 and carry >= 1:
        choices = []
        for k, other in now.around(place):
            if other not in taken and price(other) <= carry:
                beyond = sum(after not in taken and price(after) <= 2 for _, after in now.around(other))
                choices.append((beyond + 64 * (now.codes[other] >= ENEMY), -k, other))
        if not choices:
            break
        _, k, other = max(choices)
        moves.append(4 * place - k)
        taken.add(other)
        carry -= price(other)
        worth += 2 if now.codes[other] >= ENEMY else 1
        place = other
    return worth, moves


def gathered(now: Seen, root: int, limit: int, depth: int, base: int, extra: int) -> tuple[int, list[int]]:
    """Return army and moves of the best pruned tree around the root (5)."""
    steps = {tile: far for tile, far in now.walk([root], now.mine).items() if far <= depth}
    tree = list(steps)[1:]
    parent = {}
    for tile in tree:
        nearer = [(now.army[o], -k, k) for k, o in now.around(tile) if steps.get(o) == steps[tile] - 1]
        parent[tile] = max(nearer)[2]
    kept = set(tree)
    best: tuple[int, set[int]] | None = None
    level = 0
    while kept and not (best and extra < 0):
        for tile in reversed(tree):
            leaf = tile in kept and all(now.end(4 * other + parent[other]) != tile for other in kept)
            value = max(now.army[tile] - 1, 0)
            if not leaf or value > level:
                continue
            total = sum(max(now.army[other] - 1, 0) for other in kept)
            if extra < 0 and level > 0 and total - value < base:
                best = total, set(kept)
                break
            if extra > 0 and level > 0 and len(kept) <= limit:
                if best is None or (base + total) * (extra + len(best[1])) > (base + best[0]) * (extra + len(kept)):
                    best = total, set(kept)
            kept.discard(tile)
        level += 1
    total, chosen = best or (0, set())
    return total, [4 * tile + parent[tile] for tile in reversed(tree) if tile in chosen]


class Opening:
    """The search for the first 50 moves (6)."""

    def __init__(self, now: Seen, home: dict[int, int]) -> None:
        self.now, self.home = now, home
        self.rng = SplitMix(now.general + 1)
        self.best = [0] * 50
        self.crossed: set[int] = set()  # own land that searches of this trial have crossed: they cross it once

    def plan(self) -> list[int]:
        land = 0
        for trial in range(80):
            result, moves = self.trial(land, trial < 15)
            if result >= land:
                land, self.best = result, moves
                if land >= 25:
                    break
        return list(self.best)

    def trial(self, land_before: int, fresh: bool) -> tuple[int, list[int]]:
        """Return land and moves of one opening."""
        bits = self.rng.bits()
        launch, least, bonus, rotation = 26 - (bits & 7), 1 + (bits >> 3 & 1), 4 * (bits >> 5 & 3), bits >> 8 & 3
        cut = 0 if fresh else 16 + (bits >> 16 & 31)
        taken, moves = {self.now.general}, list[int]()
        place, used, carry = self.now.general, 0, 0
        self.crossed = set()
        while len(moves) < 50:
            turn = len(moves)
            copies = turn < cut
            if carry == 0:
                place, ready = self.now.general, turn // 2 - used
                waits = turn < launch or ready < 1 or (ready < least and turn < 44)
                if self.best[turn] < 0 if copies else waits:
                    moves.append(-1)
                    continue
                if len(taken) + 50 - turn < land_before:
                    return 0, moves
                carry = ready
                used += carry
            direction = -1
            if copies:
                if self.best[turn] // 4 == place:
                    direction = self.best[turn] & 3
            else:
                direction = self.step(place, taken, carry, bonus)
                if direction < 0:
                    direction = self.leave(place, taken, rotation)
            if direction < 0:
                carry = 0
                continue
            moves.append(4 * place + direction)
            place = self.now.end(moves[-1])
            if place not in taken:
                taken.add(place)
                carry -= 1
        return len(taken), moves

    def step(self, place: int, taken: set[int], carry: int, bonus: int) -> int:
        """Return the direction of the fresh neighbour with the largest sum, -1 for none."""
        bits = self.rng.bits()
        scores = []
        for k, other in self.now.around(place):
            if self.now.open(other) and other not in taken:
                leads_on = any(self.now.open(after) and after not in taken for _, after in self.now.around(other))
                further = self.home.get(other, -1) > self.home.get(place, -1)
                scores.append(((bits >> 8 * k & 15) + 32 * (carry > 1 and leads_on) + bonus * further, -k))
        return -max(scores)[1] if scores else -1

    def leave(self, place: int, taken: set[int], rotation: int) -> int:
        """Return the direction of the shortest way over own land to a tile with a fresh neighbour."""
        first: dict[int, int] = {place: -1}
        self.crossed.add(place)
        queue = deque([place])
        while queue:
            tile = queue.popleft()
            near = dict(self.now.around(tile))
            for direction in [(turn + rotation) & 3 for turn in range(4)]:
                other = near.get(direction, -1)
                if other < 0 or not self.now.open(other):
                    continue
                way = direction if tile == place else first[tile]
                if other not in taken:
                    return way
                if other not in self.crossed:
                    self.crossed.add(other)
                    first[other] = way
                    queue.append(other)
        return -1
