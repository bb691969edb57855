"""The game a second time: slow, obvious, in lists and sets of plain Python. The kernels are compared with it.

Written from the numbered specification ("rule n" in the comments); it shares no code with the engine and imports none of
it. ``Game.from_boards`` and ``Game.write`` translate from and to one board of the engine's ``Boards``.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NEUTRAL = -1  # owner codes below it are mountains, lookouts and observatories
PLAIN, GENERAL, CITY, MOUNTAIN, SWAMP, DESERT, LOOKOUT, OBSERVATORY = range(8)
LEAPFROG, DEFENSELESS, TORUS, SLIPPERY = 0, 5, 7, 10
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # up, down, left, right


class Move(NamedTuple):
    """One player's move between two neighbouring tiles."""

    player: int
    start: int
    end: int
    half: bool


@dataclass
class Game:
    """One game. Tiles are numbered ``row * width + column``, padding included."""

    height: int
    width: int
    rows: int  # of the board without its padding
    columns: int
    version: int
    modifiers: set[int]
    fog: bool
    turn: int
    last_move: int  # turn of the last executed move
    owner: list[int]  # of each tile
    army: list[int]  # of each tile
    ground: list[int]  # terrain of each tile as if nothing were built on it
    cities: set[int]
    generals: list[int]  # of each player; -1 once lost
    teams: list[int]
    alive: list[bool]
    surrendered: list[int]  # turn, -1 if never
    happened: Counter[str] = field(default_factory=Counter, compare=False)  # what was rare enough to count

    # --- From and to the engine's arrays --------------------------------------------------------------------------

    @classmethod
    def from_boards(cls, boards: Any, b: int) -> Game:
        """Return a copy of board ``b``."""
        game, players = boards.games[b], boards.players[b]
        terrain = boards.terrain[b].tolist()
        return cls(
            height=int(game["height"]),
            width=int(game["width"]),
            rows=int(game["rows"]),
            columns=int(game["columns"]),
            version=int(game["version"]),
            modifiers={bit for bit in range(15) if int(game["modifiers"]) >> bit & 1},
            fog=bool(game["fog"]),
            turn=int(game["turn"]),
            last_move=int(game["last_move"]),
            owner=boards.owner[b].tolist(),
            army=boards.army[b].tolist(),
            ground=[PLAIN if kind in (GENERAL, CITY) else kind for kind in terrain],
            cities={tile for tile, kind in enumerate(terrain) if kind == CITY},
            generals=players["general"].tolist(),
            teams=players["team"].tolist(),
            alive=players["alive"].tolist(),
            surrendered=players["surrendered"].tolist(),
        )

    def write(self, boards: Any, b: int) -> None:
        """Write over board ``b``, which has the same height, width and number of players."""
        for name in ("height", "width", "rows", "columns", "version", "turn", "last_move", "fog"):
            boards.games[b][name] = getattr(self, name)
        boards.games[b]["modifiers"] = sum(1 << bit for bit in self.modifiers)
        boards.owner[b] = self.owner
        boards.army[b] = self.army
        boards.terrain[b] = self.terrain()
        boards.players[b]["general"] = self.generals
        boards.players[b]["team"] = self.teams
        boards.players[b]["alive"] = self.alive
        boards.players[b]["surrendered"] = self.surrendered

    def terrain(self) -> list[int]:
        """Return the terrain code of every tile."""
        built = {**dict.fromkeys(self.cities, CITY), **dict.fromkeys(self.generals, GENERAL)}
        return [built.get(tile, kind) for tile, kind in enumerate(self.ground)]

    # --- The board ------------------------------------------------------------------------------------------------

    def tile_at(self, row: int, column: int) -> int | None:
        """Return the tile there; beyond the edge there is none, or with Torus the other side."""
        if TORUS in self.modifiers:
            return row % self.rows * self.width + column % self.columns
        if 0 <= row < self.height and 0 <= column < self.width:
            return row * self.width + column
        return None

    def tiles_of(self, player: int) -> list[int]:
        """Return the tiles of ``player`` (or of the owner code)."""
        return [tile for tile, owner in enumerate(self.owner) if owner == player]

    def friendly(self, player: int, owner: int) -> bool:
        """Return whether ``owner`` is ``player`` or of his team (rule 25)."""
        return owner >= 0 and self.teams[owner] == self.teams[player]

    def is_general(self, tile: int) -> bool:
        """Return whether a general stands there, be its player alive or not."""
        return tile in self.generals

    def teams_alive(self) -> set[int]:
        """Return the teams that are still in the game; it is over with one or none (rule 28)."""
        return {team for team, alive in zip(self.teams, self.alive, strict=True) if alive}

    # --- One turn -------------------------------------------------------------------------------------------------

    def step(self, actions: Sequence[int]) -> tuple[list[int], list[bool]]:
        """Play one turn; return the actions executed (illegal ones become the pass) and which were illegal."""
        passing = 8 * self.height * self.width
        moves = [self.decode(player, action) for player, action in enumerate(actions)]
        executed = [passing if move is None else action for move, action in zip(moves, actions, strict=True)]
        illegal = [move is None and action != passing for move, action in zip(moves, actions, strict=True)]
        for player, turn in enumerate(self.surrendered):  # before the moves, not after (rule 5 rather than 22)
            if turn >= 0 and self.turn == turn + 50:
                self.neutralise(player)
        self.play([move for move in moves if move is not None])
        self.grow()
        self.end_if_idle()
        return executed, illegal

    def decode(self, player: int, action: int) -> Move | None:
        """Return the move that an action index stands for; None for the pass and for what is not legal."""
        tiles = self.height * self.width
        half, place = divmod(action, 4 * tiles)
        if half == 2:
            return None
        start, direction = divmod(place, 4)
        row, column = divmod(start, self.width)
        end = self.tile_at(row + STEPS[direction][0], column + STEPS[direction][1])
        if end is None or not self.valid(player, start, end):
            return None
        return Move(player, start, end, half == 1)

    def valid(self, player: int, start: int, end: int) -> bool:
        """Return whether ``player`` may move between these neighbours (rule 8)."""
        if not self.alive[player] or self.owner[start] != player or self.owner[end] < NEUTRAL:
            return False
        to_a_mate = self.friendly(player, self.owner[end]) and self.owner[end] != player
        return self.army[start] > 1 or (self.army[start] == 1 and to_a_mate)

    def play(self, moves: list[Move]) -> None:
        """Execute the moves of one turn one after another (rule 9)."""
        queue = self.order(moves)
        while queue:
            move = queue.pop(0)
            if self.owner[move.start] != move.player:
                self.happened["move dropped"] += 1
                continue
            answer = self.answer_to(move, queue)
            if answer is not None:
                queue.remove(answer)
                self.trade(move, answer)
                self.last_move = self.turn
            elif self.execute(move):
                self.last_move = self.turn
            else:
                self.happened["move failed"] += 1

    def order(self, moves: list[Move]) -> list[Move]:
        """Return the moves in the order of their execution (rules 15 to 18)."""
        players = list(range(len(self.alive)))
        if self.version == 3:
            players = [(k + self.turn) % len(players) for k in players]
        elif self.version == 4 or (self.version >= 5 and self.turn % 2 == 1):
            players.reverse()
        waiting = sorted(moves, key=lambda move: players.index(move.player))
        if self.version < 15:
            return waiting

        def urgency(move: Move) -> tuple[bool, bool, int]:
            attacks = not self.friendly(move.player, self.owner[move.end])
            return attacks, self.is_general(move.end), -self.army[move.start]

        waiting.sort(key=urgency)  # stable: the base order decides what is left
        ordered = []
        while waiting:
            free = [move for move in waiting if not any(self.depends(move, other) for other in waiting)]
            if not free:
                self.happened["cycle of moves"] += 1
            following = free[0] if free else waiting[0]
            waiting.remove(following)
            ordered.append(following)
        return ordered

    def depends(self, move: Move, other: Move) -> bool:
        """Return whether ``move`` waits until ``other`` is executed (rules 17 and 18)."""
        if other == move or (other.start == move.end and other.end == move.start):
            return False
        if SLIPPERY not in self.modifiers:
            return other.end == move.start
        attacked = self.owner[other.end]
        return other.start == move.end and not (attacked >= 0 and self.generals[attacked] == move.end)

    def sent(self, move: Move) -> int:
        """Return how many travel (rule 10): all but one, or half of them rounded down."""
        army = self.army[move.start]
        return army // 2 if move.half else army - 1

    def execute(self, move: Move) -> bool:
        """Execute a move and return whether anything came of it (rule 10)."""
        player, start, end, _ = move
        sent, holder = self.sent(move), self.owner[end]
        if self.army[start] == 0 or (sent <= 0 and not self.friendly(player, holder)):
            return False
        self.army[start] -= sent
        if self.friendly(player, holder):
            self.army[end] += sent
            if not self.is_general(end):
                self.owner[end] = player
                self.happened["tile of a team-mate taken over"] += holder != player
        elif DEFENSELESS in self.modifiers and holder >= 0 and self.is_general(end):
            self.happened["general taken without defence"] += self.army[end] >= sent
            self.army[end] = max(sent - self.army[end], 0)
            self.capture(player, end)
        elif self.army[end] >= sent:
            self.army[end] -= sent
        else:
            self.army[end] = sent - self.army[end]
            self.capture(player, end)
        return True

    def capture(self, player: int, tile: int) -> None:
        """Give ``tile`` to ``player``, and with a general all that its owner has (rules 11 and 19a)."""
        old = self.owner[tile]
        self.owner[tile] = player
        self.happened["city captured"] += tile in self.cities
        if old < 0 or self.generals[old] != tile:
            return
        self.happened["general captured"] += 1
        self.happened["general of a dead player captured"] += not self.alive[old]
        for other in self.tiles_of(old):
            self.owner[other] = player
            self.army[other] = (self.army[other] + 1) // 2
        self.alive[old] = False
        self.generals[old] = -1
        if LEAPFROG in self.modifiers and self.generals[player] != -1:
            self.happened["leapfrog"] += 1
            self.cities.add(self.generals[player])
            self.generals[player] = tile
        else:
            self.cities.add(tile)

    def answer_to(self, move: Move, later: list[Move]) -> Move | None:
        """Return the later move that makes a trade of generals of ``move``, if there is one (rule 19)."""
        rival = self.owner[move.end]
        if rival < 0 or self.friendly(move.player, rival) or self.generals[rival] != move.end:
            return None
        for answer in later:
            returns = answer.player == rival and answer.end == self.generals[move.player]
            if returns and self.owner[answer.start] == rival:
                both = self.takes_general(move, answer) and self.takes_general(answer, move)
                return answer if both else None
        return None

    def takes_general(self, move: Move, answer: Move) -> bool:
        """Return whether ``move`` beats what stays on its target when the defender plays ``answer``."""
        guard = self.army[move.end]
        if answer.start == move.end:
            guard -= self.sent(answer)
        return self.sent(move) > (0 if DEFENSELESS in self.modifiers else guard)

    def trade(self, move: Move, answer: Move) -> None:
        """Let two players swap generals and land (rule 19)."""
        self.happened["trade"] += 1
        self.happened["trade without defence"] += DEFENSELESS in self.modifiers
        pair = ((move, answer, self.sent(move)), (answer, move, self.sent(answer)))
        land = {one.player: self.tiles_of(one.player) for one, _, _ in pair}
        for one, _, sent in pair:
            self.army[one.start] -= sent
        surplus = {one.end: max(sent - self.army[one.end], 0) for one, _, sent in pair}
        for one, other, _ in pair:
            for tile in land[other.player]:
                self.owner[tile] = one.player
                self.army[tile] = surplus[tile] if tile in surplus else (self.army[tile] + 1) // 2
            self.generals[one.player] = one.end

    def surrender(self, player: int) -> None:
        """Take ``player`` out of the game; his land stays his for 50 turns (rule 20)."""
        self.alive[player] = False
        self.surrendered[player] = self.turn

    def neutralise(self, player: int) -> None:
        """Turn the land of one who left over to his first living team-mate, or to nobody (rule 21)."""
        home = self.generals[player]
        if home == -1:
            return
        heirs = [mate for mate, alive in enumerate(self.alive) if alive and mate != player and self.friendly(player, mate)]
        self.happened["land inherited" if heirs else "land neutralised"] += 1
        for tile in self.tiles_of(player):
            self.owner[tile] = heirs[0] if heirs else NEUTRAL
        self.cities.add(home)
        self.generals[player] = -1

    def grow(self) -> None:
        """Count the turn and let armies grow (rules 12 and 13)."""
        self.turn += 1
        if self.turn % 2 == 0:
            for home in self.generals:
                if home != -1:
                    self.army[home] += 1
            for city in self.cities:
                owned = self.owner[city] >= 0
                if owned or (self.version < 6 and self.army[city] < 40):
                    self.army[city] += 1
                    self.happened["neutral city grew"] += not owned
            self.wear_down(SWAMP)
        if self.turn % 50 == 0:
            for tile, owner in enumerate(self.owner):
                if owner >= 0:
                    self.army[tile] += 1
            self.wear_down(DESERT)

    def wear_down(self, kind: int) -> None:
        """Take one from every owned tile of a kind; with nobody left it is nobody's."""
        for tile, owner in enumerate(self.owner):
            if self.ground[tile] == kind and owner >= 0:
                self.army[tile] -= 1
                if self.army[tile] <= 0:
                    self.owner[tile], self.army[tile] = NEUTRAL, 0
                    self.happened["swamp lost" if kind == SWAMP else "desert lost"] += 1

    def end_if_idle(self) -> None:
        """Let only the strongest live when nobody has moved for too long, or the game takes too long (rule 27)."""
        living = [player for player, alive in enumerate(self.alive) if alive]
        if living and (self.turn - self.last_move > 2000 or self.turn > 50000):

            def strength(player: int) -> tuple[int, int, int]:
                land = self.tiles_of(player)
                return sum(self.army[tile] for tile in land), len(land), -player

            strongest = max(living, key=strength)
            self.alive = [player == strongest for player in range(len(self.alive))]
            self.happened["idle game ended"] += 1

    # --- What players see and may do ------------------------------------------------------------------------------

    def visible(self, player: int) -> set[int]:
        """Return the tiles that ``player`` sees (rule 29)."""
        if not self.fog:
            return set(range(self.height * self.width))
        seen = set()
        for tile, owner in enumerate(self.owner):
            if self.friendly(player, owner):
                row, column = divmod(tile, self.width)
                seen |= {self.tile_at(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
        return {tile for tile in seen if tile is not None}

    def tensor(self, player: int) -> list[list[float]]:
        """Return the nine channels: own army, enemy army, own, enemy, neutral, city or general, mountain, visible, fog."""
        channels = [[0.0] * len(self.owner) for _ in range(9)]
        visible = self.visible(player)
        for tile, owner in enumerate(self.owner):
            if tile not in visible:
                channels[8][tile] = 1.0
                continue
            channels[7][tile] = 1.0
            if owner < NEUTRAL:
                channels[6][tile] = 1.0
                continue
            if tile in self.cities or self.is_general(tile):
                channels[5][tile] = 1.0
            if owner == NEUTRAL:
                channels[4][tile] = 1.0
            else:
                side = 0 if self.friendly(player, owner) else 1
                channels[side][tile] = min(self.army[tile] / 1000, 1.0)
                channels[2 + side][tile] = 1.0
        return channels

    def mask(self, player: int) -> list[int]:
        """Return 1 for every legal action index: all-but-one moves, half moves, the pass."""
        moves = 8 * self.height * self.width
        return [int(self.decode(player, action) is not None) for action in range(moves)] + [1]


def judge(game: Game, active: Sequence[bool]) -> tuple[list[bool], list[str]]:
    """Return whose game ended, and "win", "lose" or "" of each: a team wins and loses together.

    Args:
        game: After the turn.
        active: Whose game had not ended before.
    """
    standing = game.teams_alive()
    over = len(standing) <= 1
    ended = [was and (over or team not in standing) for was, team in zip(active, game.teams, strict=True)]
    results = []
    for end, team in zip(ended, game.teams, strict=True):
        decided = end and len(standing) > 0  # nobody alive: a draw
        results.append(("win" if team in standing else "lose") if decided else "")
    return ended, results


def reward(before: Game, after: Game, player: int, result: str, weights: Mapping[str, float]) -> float:
    """Return what a turn was worth to ``player``; ``weights`` are those of ``RewardConfig`` by name.

    What a tile counts as (general, city) is what stood on it before the turn.
    """
    if result:
        return weights["win_game"] if result == "win" else weights["lose_game"]

    def army_of(game: Game, owner: int) -> int:
        return sum(game.army[tile] for tile in game.tiles_of(owner))

    def by_sign(change: int, gained: str, lost: str) -> float:
        return weights[gained] * max(change, 0) + weights[lost] * max(-change, 0)

    old, new = set(before.tiles_of(player)), set(after.tiles_of(player))
    won = {tile for tile in new - old if not before.friendly(player, before.owner[tile])}
    lost = {tile for tile in old - new if not before.friendly(player, after.owner[tile])}
    generals = set(before.generals)
    own = army_of(after, player)
    enemy = sum(army_of(after, other) for other in range(len(after.teams)) if not after.friendly(player, other))
    total = by_sign(len(new) - len(old), "territory_gained", "territory_lost")
    total += by_sign(own - army_of(before, player), "army_gained", "army_lost")
    total += weights["enemy_general_captured"] * len(won & generals) + weights["own_general_lost"] * len(lost & generals)
    total += weights["city_captured"] * len(won & before.cities) + weights["city_lost"] * len(lost & before.cities)
    if own + enemy > 0:
        total += weights["army_advantage"] * (own - enemy) / (own + enemy)
    return total


def play_turn(
    game: Game, actions: Sequence[int], active: Sequence[bool], weights: Mapping[str, float], max_turns: int
) -> tuple[list[int], list[bool], list[bool], list[bool], list[float]]:
    """Play one turn; return executed actions, and for each player illegal, terminated, truncated and reward."""
    before = copy.deepcopy(game)
    executed, illegal = game.step(actions)
    terminated, results = judge(game, active)
    truncated = [was and not end and game.turn >= max_turns for was, end in zip(active, terminated, strict=True)]
    rewards = [reward(before, game, p, results[p], weights) if active[p] else 0.0 for p in range(len(results))]
    return executed, illegal, terminated, truncated, rewards
