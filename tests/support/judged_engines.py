"""Engines to be judged by the conformance command: the oracles behind its protocol, and the same with one defect each."""

from __future__ import annotations

from collections import deque
from typing import Any

from generals_env.conformance import ReplayActions, Setup
from support import naive
from support.naive_competition import Position


class PlainReplayEngine:
    """Plays replays with the oracle of the rules."""

    def __init__(self, setup: Setup) -> None:
        terrain = setup.terrain.tolist()
        self.game = naive.Game(
            setup.height,
            setup.width,
            setup.height,
            setup.width,
            setup.version,
            set(setup.modifiers),
            fog=True,
            turn=setup.turn,
            last_move=0,
            owner=setup.owner.tolist(),
            army=setup.army.tolist(),
            ground=[0 if kind in (1, 2) else kind for kind in terrain],
            cities={tile for tile, kind in enumerate(terrain) if kind == 2},
            generals=list(setup.generals),
            teams=list(setup.teams),
            alive=[general >= 0 for general in setup.generals],
            surrendered=[-1] * setup.players,
        )
        self.queues: list[deque[naive.Move]] = [deque() for _ in range(setup.players)]

    def step(self, actions: ReplayActions) -> None:
        game = self.game
        for player in actions.left:
            if game.alive[player]:
                game.alive[player] = False
            else:
                game.neutralise(player)
        for player, start, end, half in actions.moves:
            self.queues[player].append(naive.Move(player, start, end, bool(half)))
        chosen = []
        for player, queue in enumerate(self.queues):
            while queue:
                move = queue.popleft()
                if game.valid(player, move.start, move.end):
                    chosen.append(move)
                    break
        game.play(chosen)
        self.grow()
        game.end_if_idle()

    def grow(self) -> None:
        self.game.grow()

    @property
    def owner(self) -> list[int]:
        return self.game.owner

    @property
    def army(self) -> list[int]:
        return self.game.army

    @property
    def alive(self) -> list[bool]:
        return self.game.alive

    @property
    def cities(self) -> set[int]:
        return self.game.cities

    @property
    def generals(self) -> list[int]:
        return self.game.generals

    @property
    def over(self) -> bool:
        return len(self.game.teams_alive()) == 1

    def visible(self, player: int) -> list[bool]:
        seen = self.game.visible(player)
        return [tile in seen for tile in range(len(self.game.owner))]


class ForgetfulReplayEngine(PlainReplayEngine):
    """Has one defect: land of player 1 does not grow at turn 100."""

    def grow(self) -> None:
        before = list(self.game.army)
        super().grow()
        if self.game.turn == 100:
            for tile, owner in enumerate(self.game.owner):
                if owner == 1 and tile not in self.game.generals:
                    self.game.army[tile] = before[tile]


class BareReplayEngine:
    """Tells owners and armies only."""

    def __init__(self, setup: Setup) -> None:
        self.inner = PlainReplayEngine(setup)

    def step(self, actions: ReplayActions) -> None:
        self.inner.step(actions)

    @property
    def owner(self) -> list[int]:
        return self.inner.owner

    @property
    def army(self) -> list[int]:
        return self.inner.army


class PlainCompetitionEngine:
    """Plays games of the competition with the oracle of its rules."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        places = [(row, column) for row in range(setup.height) for column in range(setup.width)]
        terrain = setup.terrain.tolist()
        homes = [places[tile] for tile in setup.generals]
        self.position = Position(
            setup.height,
            setup.width,
            setup.touch_turn,
            setup.turn,
            owner=dict(zip(places, setup.owner.tolist(), strict=True)),
            army=dict(zip(places, setup.army.tolist(), strict=True)),
            castles={place for place, kind in zip(places, terrain, strict=True) if kind == 2},
            generals=(homes[0], homes[1]),
        )

    def step(self, actions: Any) -> None:
        first, second = (self.index(action) for action in actions)
        self.position.play((first, second))

    def index(self, action: tuple[int, ...]) -> int:
        kind, row, column, direction, split = action
        tiles = self.setup.height * self.setup.width
        if kind == 1 or not (0 <= row < self.setup.height and 0 <= column < self.setup.width):
            return 8 * tiles
        tile = row * self.setup.width + column
        return 8 * tiles + 1 + tile if kind == 2 else 4 * tile + direction + (4 * tiles if split == 1 else 0)

    @property
    def owner(self) -> list[int]:
        return self.position.flat()[0]

    @property
    def army(self) -> list[int]:
        return self.position.flat()[1]

    @property
    def castle(self) -> list[bool]:
        return self.position.flat()[2]

    @property
    def over(self) -> bool:
        return self.position.over

    @property
    def winner(self) -> int:
        return self.position.winner

    @property
    def truncated(self) -> bool:
        return not self.position.over and self.position.time >= self.setup.max_turns


class CheapCompetitionEngine(PlainCompetitionEngine):
    """Has one defect: armies of 5 and more that move on own land lose a unit."""

    def step(self, actions: Any) -> None:
        before = sum(self.army)
        super().step(actions)
        place = max(self.position.army, key=lambda at: self.position.army[at])
        if self.position.army[place] >= 5 and sum(self.army) >= before:
            self.position.army[place] -= 1


class FailingEngine(PlainReplayEngine):
    """Raises an exception in its 11th step."""

    def step(self, actions: ReplayActions) -> None:
        if self.game.turn == 10:
            raise KeyError("tile")
        super().step(actions)


class WrongShapeEngine(PlainReplayEngine):
    """Tells the armies of too few tiles."""

    @property
    def army(self) -> list[int]:
        return self.game.army[1:]
