"""Holds the moves of people as packed boards, players and actions: ``MoveStore``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from generals_env.arguments import check_flag, check_integer, is_number
from generals_env.engine.packed.packing import PackedBoards
from generals_env.errors import ConfigError
from generals_env.learning.cloning.people_games import PeopleGame, SkippedGame
from generals_env.observations.packed import PackedObservations
from generals_env.recorders.experience import ExperienceBatch
from generals_env.recorders.people.human_replays import reason_of

__all__ = ["GameFacts", "MoveStore", "SizeGroup", "StoreOptions"]


@dataclass(frozen=True)
class StoreOptions:
    """Which moves are kept.

    Attributes:
        players: Number of players of the games, 0 for any.
        winners_only: Whether to keep only the moves of players who won.
        min_stars: Least rank of a player in stars; players of unknown rank are left out unless it is 0.
        max_games: Number of games to read, 0 for all.
    """

    players: int = 0
    winners_only: bool = False
    min_stars: float = 0.0
    max_games: int = 0

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ConfigError: If one is invalid.
        """
        check_integer("players", self.players, 0, 16)
        check_integer("max_games", self.max_games, 0, 2**31)
        check_flag("winners_only", self.winners_only)
        if not is_number(self.min_stars) or not 0 <= self.min_stars < 1e6:
            raise ConfigError(f"min_stars: expected a number from 0 to a million, got {self.min_stars!r:.80}")


class GameFacts(NamedTuple):
    """A game of a store: its id, the keys and ranks of its players, who won; see ``PeopleGame``."""

    id: str
    keys: npt.NDArray[np.uint64]
    named: bool
    stars: tuple[float, ...]
    winners: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SizeGroup:
    """N moves of games with one number of players, whose boards are padded to one square.

    A square has all eight symmetries. The boards of a game stand in the order of its turns.

    Attributes:
        side: Rows and columns of the boards; what lies around a smaller board is mountain, as in the environment.
        boards: The packed boards.
        board: (N,) int32, row of the board on which the move was chosen.
        player: (N,) int8.
        action: (N,) int32, on the padded board.
        game: (N,) int32, number of the game in ``MoveStore.games``.
        left: (N,) int32, turns until the end of the recording.
        outcome: (N,) float32, 1 if the player won, -1 if he lost, NaN if the recording does not tell.
        rows: First row of ``boards`` of each game, and one more than the last, by its number.
    """

    side: int
    boards: PackedBoards
    board: npt.NDArray[np.int32]
    player: npt.NDArray[np.int8]
    action: npt.NDArray[np.int32]
    game: npt.NDArray[np.int32]
    left: npt.NDArray[np.int32]
    outcome: npt.NDArray[np.float32]
    rows: dict[int, tuple[int, int]]

    def __len__(self) -> int:
        """Return the number of moves."""
        return len(self.board)

    @property
    def passing(self) -> int:
        """Index of the pass."""
        return 8 * self.side * self.side

    @property
    def passes(self) -> npt.NDArray[np.bool_]:
        """(N,) bool, whether the player passed."""
        passed: npt.NDArray[np.bool_] = self.action == self.passing
        return passed

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.board, self.player, self.action, self.game, self.left, self.outcome)
        return sum(array.nbytes for array in (*self.boards, *arrays))

    def views(self, entries: npt.NDArray[np.integer], layout: str) -> PackedObservations:
        """Return what the players saw when they chose moves ``entries`` (n,)."""
        shown = np.ones(len(entries), np.bool_)
        shape = (self.side, self.side)
        return PackedObservations(self.boards, self.board[entries], self.player[entries], shown, shape, layout)


@dataclass(frozen=True, eq=False)
class MoveStore:
    """Moves of people: two bytes a tile of each board, which all players of a game share, and 17 bytes a move.

    Attributes:
        groups: The moves by the size of the board and the number of players.
        games: The games.
        left_out: How many entries were left out, and why.
        skipped: How many games were skipped, and why.
    """

    groups: tuple[SizeGroup, ...]
    games: tuple[GameFacts, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        games: Iterable[PeopleGame | SkippedGame],
        options: StoreOptions | None = None,
        on_game: Callable[[int], object] | None = None,
    ) -> Self:
        """Return the store of games.

        An entry is a turn of a player who may move. Two kinds of passes are left out: those of players without a legal move,
        and those after a player's last move, when he had given up, left, or only watched.

        Args:
            games: As ``games_of_replays`` and ``games_of_batches`` yield them.
            options: Which moves are kept.
            on_game: Called after each game with how many were read.

        Raises:
            ConfigError: If no move is left.
        """
        options = options or StoreOptions()
        kept: list[GameFacts] = []
        groups: dict[tuple[int, int], list[tuple[int, ExperienceBatch, npt.NDArray[np.int64]]]] = {}
        left_out: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        for number, game in enumerate(games):
            if isinstance(game, SkippedGame):
                skipped[reason_of(game.reason)] += 1
            elif options.players not in (0, game.batch.players):
                skipped["another number of players"] += 1
            else:
                batch = game.batch.padded(max(game.batch.shape), max(game.batch.shape))
                entries = chosen_entries(game, batch, options, left_out)
                if len(entries):
                    groups.setdefault((batch.shape[0], batch.players), []).append((len(kept), batch, entries))
                    kept.append(GameFacts(game.id, game.keys, game.named, game.stars, game.winners))
                else:
                    skipped["no move that is kept"] += 1
            if on_game is not None:
                on_game(number + 1)
            if len(kept) == options.max_games > 0:
                break
        if not kept:
            raise ConfigError(f"games: expected one or more with moves to learn from, got none ({dict(skipped)}): pass others")
        return cls(tuple(joined(groups[key], kept) for key in sorted(groups)), tuple(kept), dict(left_out), dict(skipped))

    def __len__(self) -> int:
        """Return the number of moves."""
        return sum(map(len, self.groups))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(group.nbytes for group in self.groups)


def chosen_entries(
    game: PeopleGame, batch: ExperienceBatch, options: StoreOptions, left_out: Counter[str]
) -> npt.NDArray[np.int64]:
    """Return the rows of a game's batch that are entries, and count the others by the reason."""
    players = np.zeros(batch.players, np.bool_)
    players[list(game.winners) if options.winners_only else slice(None)] = True
    if options.min_stars:
        ranks = np.array(game.stars or [0.0] * batch.players)
        players &= ranks >= options.min_stars
    wanted = players[batch.player_id]
    left_out["of other players"] += int((~wanted).sum())
    passing = 8 * batch.shape[0] * batch.shape[1]
    moved = batch.action != passing
    for player in range(batch.players):
        own = np.flatnonzero(batch.player_id == player)
        last = int(np.flatnonzero(moved[own])[-1]) + 1 if moved[own].any() else 0
        left_out["passes after the last move"] += int(wanted[own[last:]].sum())
        wanted[own[last:]] = False
    masks = batch.action_masks()
    may_move = masks[:, :passing].any(axis=1)
    left_out["passes without a legal move"] += int((wanted & ~may_move).sum())
    wanted &= may_move
    legal = masks[np.arange(len(batch)), batch.action] != 0
    left_out["actions that are not legal here"] += int((wanted & ~legal).sum())
    return np.flatnonzero(wanted & legal)


def joined(parts: list[tuple[int, ExperienceBatch, npt.NDArray[np.int64]]], games: list[GameFacts]) -> SizeGroup:
    """Return the group of games of one size; each part is a game's number, batch and entries."""
    rows: dict[int, tuple[int, int]] = {}
    columns: list[tuple[npt.NDArray[np.integer], ...]] = []
    outcomes = []
    first = 0
    for number, batch, entries in parts:
        count = len(batch.boards.tiles)
        rows[number] = (first, first + count)
        player = batch.player_id[entries]
        left = batch.boards.entries["turn"].max() - batch.turn[entries]
        game = np.full(len(entries), number, np.int32)
        columns.append((batch.state_index[entries] + np.int32(first), player, batch.action[entries], game, left))
        won = np.isin(player, games[number].winners)
        outcomes.append(np.where(won, 1, -1 if games[number].winners else np.nan).astype(np.float32))
        first += count
    whole = ExperienceBatch.concat([batch for _, batch, _ in parts])
    board, player, action, game, left = (np.concatenate(column) for column in zip(*columns, strict=True))
    return SizeGroup(
        side=whole.shape[0],
        boards=whole.boards,
        board=board.astype(np.int32),
        player=player.astype(np.int8),
        action=action.astype(np.int32),
        game=game,
        left=left.astype(np.int32),
        outcome=np.concatenate(outcomes),
        rows=rows,
    )
