"""Infers the actions of a game from its boards alone, by playing candidate moves and comparing what they lead to.

A turn is explained by the joint actions of all players that lead from the board before it to the recorded owners and armies.
Of several explanations the first one found counts: a move of all but one before a half move, which an army of 2 or 3 may not
tell apart, and a pass before a move without any effect, which boards cannot show. Players who leave are noticed when
their land turns over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import COMPETITION_VERSION, TORUS, Boards, copy_boards, put_boards
from generals_env.engine.rules.turn import advance
from generals_env.errors import ReplayError
from generals_env.replay.recorded_game import LEFT, UNKNOWN, RecordedGame
from generals_env.replay.recorded_turns import check_size
from generals_env.replay.resimulation import apply_events

__all__ = ["Inferred", "infer_actions"]

#: Turns that are played for one recorded turn before it counts as unexplained.
MAX_TRIALS = 3000

#: Number of differing tiles from which on a general must have been captured.
MANY = 60

BEFORE, TRIED = 0, 1


class Inferred(NamedTuple):
    """A game whose actions were inferred.

    Attributes:
        game: The game; actions of unexplained turns are ``UNKNOWN``, and the boards after them as recorded.
        unexplained: (n,) int64, number of each turn, from the first board on, for which no joint actions were found.
        ambiguous: (n,) int64, number of each turn in which a half move would lead to the same board as the move found.
    """

    game: RecordedGame
    unexplained: npt.NDArray[np.int64]
    ambiguous: npt.NDArray[np.int64]


def infer_actions(
    start: Boards, owner: npt.NDArray[np.int8], army: npt.NDArray[np.int32], names: Sequence[str] = (), game_id: str = ""
) -> Inferred:
    """Return a game with the actions that explain its boards.

    Args:
        start: The first board (one board), which tells terrain, generals, teams and rules.
        owner: (T + 1, H*W), owner codes at each turn, from the first board on.
        army: (T + 1, H*W), armies.
        names: One name a player.
        game_id: Id of the game.

    Raises:
        ReplayError: If the arrays do not fit the first board, or the game is too long.
    """
    players, tiles = start.players.shape[1], start.owner.shape[1]
    if owner.shape != army.shape or owner.ndim != 2 or owner.shape[1] != tiles or not len(owner):
        raise ReplayError(f"owner, army: expected boards of {tiles} tiles, got arrays of {owner.shape} and {army.shape}")
    if not np.array_equal(owner[0], start.owner[0]) or not np.array_equal(army[0], start.army[0]):
        raise ReplayError("owner, army: expected the first board at number 0, got another one: pass boards from it on")
    if owner.min() < -6 or owner.max() >= players:
        raise ReplayError(f"owner: expected codes from -6 to {players - 1}, got {owner.min()} to {owner.max()}")
    check_size(len(owner) - 1, tiles)
    search = Search(start)
    actions = np.full((len(owner) - 1, players), UNKNOWN, np.int64)
    boards, unexplained, ambiguous, events = [start], [], [], []
    for turn in range(len(actions)):
        found = search.explain(owner[turn + 1], army[turn + 1])
        if found is None and (left := search.leaving(owner[turn + 1])):
            events += left
            found = search.explain(owner[turn + 1], army[turn + 1])
        if found is None:
            unexplained.append(turn)
            search.accept([search.nothing] * players, owner[turn + 1], army[turn + 1])
        else:
            actions[turn] = found
            if search.has_half(found, owner[turn + 1], army[turn + 1]):
                ambiguous.append(turn)
            search.accept(found)
        boards.append(search.board())
    game = RecordedGame(
        boards=Boards._make(np.concatenate(arrays) for arrays in zip(*boards, strict=True)),
        actions=actions,
        id=game_id,
        names=tuple(names) or tuple(f"player_{player}" for player in range(players)),
        details={"actions": "inferred from boards", "unexplained turns": str(len(unexplained))},
        events=np.array(events, np.int32).reshape(-1, 3),
    )
    return Inferred(game, np.array(unexplained, np.int64), np.array(ambiguous, np.int64))


class Search:
    """Finds the joint actions of a turn.

    Attributes:
        nothing: Index of the pass.
    """

    def __init__(self, start: Boards) -> None:
        """Begin on a board (one board)."""
        self.two = copy_boards(start, np.array([0, 0]))
        self.players, self.tiles = start.players.shape[1], start.owner.shape[1]
        self.nothing = 8 * self.tiles
        self._illegal = np.zeros(self.players, np.bool_)
        self._trials, self._wide = 0, False
        game = start.games[0]
        self._width, self._rows, self._columns = int(game["width"]), int(game["rows"]), int(game["columns"])
        self._wraps = bool(int(game["modifiers"]) & TORUS)
        self._builds = int(game["version"]) == COMPETITION_VERSION

    def board(self) -> Boards:
        """Return the board before the next turn (one board)."""
        return copy_boards(self.two, slice(BEFORE, BEFORE + 1))

    def explain(self, owner: npt.NDArray[np.int8], army: npt.NDArray[np.int32]) -> list[int] | None:
        """Return an action for each player that together lead to ``owner`` and ``army``; None if none were found."""
        for self._wide in (False, True):
            self._trials = 0
            found = self._search([self.nothing] * self.players, frozenset(), owner, army)
            if found is not None:
                return found
        return None

    def leaving(self, owner: npt.NDArray[np.int8]) -> list[tuple[int, int, int]]:
        """Let players leave all whose land belongs to no player or to a team-mate in ``owner``; return the events."""
        events: list[tuple[int, int, int]] = []
        turn = int(self.two.games["turn"][BEFORE])
        for player in range(self.players):
            home = int(self.two.players["general"][BEFORE, player])
            if home >= 0 and not (owner == player).any() and not self._is_enemy(int(owner[home]), player):
                times = 2 if self.two.players["alive"][BEFORE, player] else 1
                events += [(player, turn, LEFT)] * times
        if events:
            apply_events(self.two, BEFORE, np.array(events, np.int32))
        return events

    def has_half(self, actions: list[int], owner: npt.NDArray[np.int8], army: npt.NDArray[np.int32]) -> bool:
        """Return whether another half of one of the moves leads to the same board."""
        for player, action in enumerate(actions):
            if action < 4 * self.tiles:
                other = [*actions[:player], action + 4 * self.tiles, *actions[player + 1 :]]
                if not len(self._play(other, owner, army)):
                    return True
        return False

    def accept(
        self, actions: list[int], owner: npt.NDArray[np.int8] | None = None, army: npt.NDArray[np.int32] | None = None
    ) -> None:
        """Play the turn, and take the recorded owners and armies if they are given."""
        advance(self.two, BEFORE, np.array(actions, np.int64), self._illegal)
        if owner is not None and army is not None:
            self.two.owner[BEFORE], self.two.army[BEFORE] = owner, army
            for player in range(self.players):
                home = int(self.two.players["general"][BEFORE, player])
                if home >= 0 and owner[home] != player and self._is_enemy(int(owner[home]), player) and not self._builds:
                    self.two.players["general"][BEFORE, player] = -1
                    self.two.players["alive"][BEFORE, player] = False

    def _is_enemy(self, holder: int, player: int) -> bool:
        teams = self.two.players["team"][BEFORE]
        return holder >= 0 and bool(teams[holder] != teams[player])

    def _play(self, actions: list[int], owner: npt.NDArray[np.int8], army: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """Play the turn on a copy, and return the tiles that differ from the recorded ones."""
        self._trials += 1
        put_boards(self.two, TRIED, self.two, BEFORE)
        advance(self.two, TRIED, np.array(actions, np.int64), self._illegal)
        return np.flatnonzero((self.two.owner[TRIED] != owner) | (self.two.army[TRIED] != army))

    def _search(
        self, actions: list[int], used: frozenset[int], owner: npt.NDArray[np.int8], army: npt.NDArray[np.int32]
    ) -> list[int] | None:
        """Return actions that explain the board, with those of the players in ``used`` given."""
        wrong = self._play(actions, owner, army)
        if not len(wrong):
            return actions
        if len(used) == self.players or self._trials > MAX_TRIALS:
            return None
        # A move changes the tile that it starts or ends on: so one of those that touch a wrong tile must have been made, unless
        # the tile is wrong because of another move, as where an attack weakened an army before it moved on.
        tried = []
        for player, action in self._candidates(wrong, used, owner):
            one = [*actions[:player], action, *actions[player + 1 :]]
            left = len(self._play(one, owner, army))
            if not left:
                return one
            tried.append((left, action >= 4 * self.tiles, player, one))
            if self._trials > MAX_TRIALS:
                break
        for _, _, player, one in sorted(tried, key=lambda item: item[:3]):
            found = self._search(one, used | {player}, owner, army)
            if found is not None or self._trials > MAX_TRIALS:
                return found
        return None

    def _candidates(
        self, wrong: npt.NDArray[np.int64], used: frozenset[int], owner: npt.NDArray[np.int8]
    ) -> Iterator[tuple[int, int]]:
        """Yield players and actions that touch the wrong tile with the fewest of them (in a wide search, any), or a general."""
        before = self.two.players["general"][BEFORE]
        homes = [int(home) for home in before if home >= 0 and owner[home] != self._owner(int(home))]
        captures = [pair for home in homes for pair in self._entering(home, used)]
        touching = [self._touching(int(tile), used) for tile in wrong] if len(wrong) <= MANY else []
        if self._wide:
            chosen = [pair for pairs in touching for pair in pairs]
        else:
            chosen = min((pairs for pairs in touching if pairs), key=len, default=[])
        yield from dict.fromkeys(captures + chosen)

    def _owner(self, tile: int) -> int:
        return int(self.two.owner[BEFORE, tile])

    def _touching(self, tile: int, used: frozenset[int]) -> list[tuple[int, int]]:
        """Return moves from and to a tile, and castles on it, of players who are not used."""
        pairs = self._entering(tile, used)
        player = self._owner(tile)
        if player >= 0 and player not in used:
            if self._can_leave(tile):
                pairs += [(player, 4 * tile + way + half) for half in (0, 4 * self.tiles) for way, _ in self._beside(tile)]
            if self._builds:
                pairs.append((player, 8 * self.tiles + 1 + tile))
        return pairs

    def _entering(self, tile: int, used: frozenset[int]) -> list[tuple[int, int]]:
        """Return moves to a tile of players who are not used."""
        pairs = []
        for way, other in self._beside(tile):
            player = self._owner(other)
            if player >= 0 and player not in used and self._can_leave(other):
                back = way ^ 1  # up and down, left and right
                pairs += [(player, 4 * other + back), (player, 4 * other + back + 4 * self.tiles)]
        return pairs

    def _can_leave(self, tile: int) -> bool:
        return bool(self.two.army[BEFORE, tile] > 0)

    def _beside(self, tile: int) -> Iterator[tuple[int, int]]:
        """Yield directions and the tiles there."""
        row, column = divmod(tile, self._width)
        for way, (down, right) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
            if self._wraps:
                yield way, (row + down) % self._rows * self._width + (column + right) % self._columns
            elif 0 <= row + down < self._rows and 0 <= column + right < self._columns:
                yield way, tile + down * self._width + right
