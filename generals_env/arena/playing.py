"""Plays a pair of players on a block of maps, both seats on each: ``play_block``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from generals_env.arena.game_kind import kind_name
from generals_env.arena.played_game import CUT_OFF, DRAW, WON, PlayedGame
from generals_env.arena.players import Player
from generals_env.arena.random_moves import draw, stir
from generals_env.arena.table import Table
from generals_env.config import GameConfig
from generals_env.errors import GeneralsError, StateError

__all__ = ["BlockGame", "choose", "play_block", "result"]


@dataclass(frozen=True, eq=False)
class BlockGame:
    """A game that was played.

    Attributes:
        played: Its result.
        moves: (T, 2) int32, the actions as executed, from which its replay can be made; None if they were not kept.
        failure: Why a program forfeited it, and the end of what it wrote to its standard error; empty if none did.
    """

    played: PlayedGame
    moves: npt.NDArray[np.int32] | None = None
    failure: str = ""


def play_block(
    config: GameConfig,
    pair: tuple[Player, Player],
    maps: Sequence[int],
    seed: int,
    stop: threading.Event,
    keeps: bool = False,
) -> list[BlockGame]:
    """Play two players on maps from both seats, and return the games in the order of maps and seats.

    Args:
        config: Options of the games.
        pair: The players; the first one has seat 0 in the first game of each map.
        maps: Numbers of the maps.
        seed: Seed of the run.
        stop: Ends the play when it is set.
        keeps: Whether to keep the actions.

    Raises:
        ConfigError: If a policy does not fit the games, or no fair map was found.
        StateError: If a policy fails, or ``stop`` was set.
    """
    one, two = pair
    tables = [Table(config, (one, two), maps, seed, keeps=keeps), Table(config, (two, one), maps, seed, True, keeps)]
    choosers = [player for player in pair if player.policy is not None]
    with drawing(choosers, seed, maps):
        while any(table.going.any() for table in tables):
            if stop.is_set():
                raise StateError("arena: expected no interruption, got one: the games were stopped")
            for player in choosers:
                choose(player, tables)
            for table in tables:
                table.step()
    return [result(table, i, seed) for i in range(len(maps)) for table in tables]


def choose(player: Player, tables: Sequence[Table]) -> None:
    """Ask a policy for its actions in all its games, as one batch."""
    places = [(table, table.players.index(player)) for table in tables]
    games = [np.flatnonzero(table.going) for table in tables]
    parts = [table.views(seat, rows) for (table, seat), rows in zip(places, games, strict=True) if len(rows)]
    if not parts or player.policy is None:
        return
    views = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    states = np.concatenate([table.draws[rows, seat] for (table, seat), rows in zip(places, games, strict=True)])
    number = 2 * tables[0].turn
    actions = checked(player, views, ask(player, views, states, number))
    if player.random_moves:
        actions = stir(actions, views["action_mask"], states, number + 1, player.random_moves)
    begin = 0
    for (table, seat), rows in zip(places, games, strict=True):
        table.batch.outcome.actions[rows, seat] = actions[begin : begin + len(rows)]
        begin += len(rows)


def ask(player: Player, views: dict[str, npt.NDArray[Any]], states: npt.NDArray[np.uint64], number: int) -> npt.NDArray[Any]:
    """Return what a policy answers; its own exceptions become a ``StateError`` that names it.

    Args:
        player: The player.
        views: What it sees in its games.
        states: (n,) uint64, a state of each game, from which actions are drawn if the policy tells their probabilities.
        number: Number of the draw within a game.
    """
    assert player.policy is not None  # noqa: S101 - only such players are asked
    try:
        shares = getattr(player.policy, "probabilities", None)
        answer = player.policy(views) if shares is None else draw(shares(views), views["action_mask"], states, number)
        return np.asarray(answer)  # fails for lists of unequal lengths
    except GeneralsError:
        raise
    except Exception as error:
        raise StateError(f"player {player.name!r}: expected actions, got {error!r:.300}: check its policy") from error


def checked(player: Player, views: dict[str, npt.NDArray[Any]], actions: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the actions (n,) of a policy; raise ``StateError`` unless they are indices of the action space."""
    count, limit = views["action_mask"].shape
    fits = actions.shape == (count,) and np.issubdtype(actions.dtype, np.integer)
    if not fits or actions.min(initial=0) < 0 or actions.max(initial=0) >= limit:
        raise StateError(
            f"player {player.name!r}: expected ({count},) integers from 0 to {limit - 1}, got {actions!r:.200}: "
            "return one action index for each observation"
        )
    return actions.astype(np.int64, copy=False)


@contextmanager
def drawing(players: Sequence[Player], seed: int, maps: Sequence[int]) -> Iterator[None]:
    """Seed the generator of torch for players that sample from it, and restore it afterwards."""
    torch: Any = sys.modules.get("torch")  # a callable that needs no torch need not wait for its import
    if torch is None or not any(player.samples for player in players):
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, *maps]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
        yield


def result(table: Table, game: int, seed: int) -> BlockGame:
    """Return a game of a table that has ended."""
    winner = table.winner(game)
    turns = table.turns(game)
    ended = WON if winner >= 0 else DRAW if table.drawn(game) else CUT_OFF
    played = PlayedGame(
        players=(table.players[0].name, table.players[1].name),
        winner=winner,
        ended=ended,
        turns=turns,
        board=kind_name(table.config),
        seed=seed,
        map=table.maps[game],
        figures=table.figures.of(game, winner, turns),
    )
    moves = np.stack([actions[game] for actions in table.actions[:turns]]) if table.actions else None
    return BlockGame(played, moves)
