"""Makes a ``RecordedGame`` from recorded turns: rows of experience and packed boards, as recorders and playback write them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards, put_boards
from generals_env.engine.packed.packing import PackedBoards, unpack
from generals_env.errors import ReplayError
from generals_env.replay.recorded_game import LEFT, SURRENDERED, UNKNOWN, RecordedGame

__all__ = ["MAX_BOARD_TILES", "check_size", "game_of_turns"]

#: Maximum number of tiles of all boards of a game: 200 MB as arrays. A game of 50,000 turns on 25 x 25 has fewer.
MAX_BOARD_TILES = 2**25


def check_size(turns: int, tiles: int) -> None:
    """Raise ``ReplayError`` if a game's boards would have more tiles than ``MAX_BOARD_TILES``."""
    if (turns + 1) * tiles > MAX_BOARD_TILES:
        raise ReplayError(
            f"game: expected at most {MAX_BOARD_TILES // tiles - 1} turns on a board of {tiles} tiles, got {turns}: "
            "play it turn by turn with Replay.play()"
        )


def game_of_turns(
    rows: npt.NDArray[np.void],
    packed: PackedBoards,
    game_id: str = "",
    names: tuple[str, ...] = (),
    details: Mapping[str, str] | None = None,
    start: Boards | None = None,
) -> RecordedGame:
    """Return the game that experiences and their boards record.

    Players without any experience have the action ``UNKNOWN`` and the reward NaN throughout, except those who are dead on the
    first board; a player has a pass and the reward 0 after his game has ended.

    Args:
        rows: (n,) records of ``EXPERIENCE`` of one game, of one turn each, in any order.
        packed: The boards to which their ``state_index`` and ``next_state_index`` point.
        game_id: Id of the game.
        names: One name a player.
        details: Further facts by name.
        start: The first board (one board) before players left in the first turn; None if it is that of the first turn.

    Raises:
        ReplayError: If there is no turn, a turn is missing, or the game is too long.
    """
    if not len(rows):
        raise ReplayError(f"game {game_id!r}: expected turns, got none")
    if (rows["steps"] != 1).any():
        raise ReplayError(f"game {game_id!r}: expected experiences of one turn, got several turns: use them before n_step")
    turn = packed.entries["turn"][rows["state_index"]].astype(np.int64)
    first, last = int(turn.min()), int(turn.max())
    count, (tiles, players) = last - first + 1, (packed.tiles.shape[1], packed.players.shape[1])
    before, after = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    before[turn - first], after[turn - first] = rows["state_index"], rows["next_state_index"]
    if missing := int((before < 0).sum()):
        gap = first + int(np.argmin(before))
        raise ReplayError(
            f"game {game_id!r}: expected all turns, got {missing} missing ones, the first is {gap}: read all its files"
        )
    check_size(count, tiles)
    boards = unpack(packed, np.concatenate([before[:1], after]))
    broken = np.flatnonzero(before != np.concatenate([[before[0] if start is None else -1], after[:-1]]))
    if start is not None:
        put_boards(boards, 0, start, 0)
    actions, rewards = columns_of(rows, turn - first, boards, count)
    return RecordedGame(
        boards=boards,
        actions=actions,
        id=game_id,
        names=names or tuple(f"player_{player}" for player in range(players)),
        rewards=rewards,
        details=dict(details or {}),
        events=events_between(boards, unpack(packed, before[broken]), broken, first),
    )


def columns_of(
    rows: npt.NDArray[np.void], turn: npt.NDArray[np.int64], boards: Boards, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return actions and rewards, (T, P) each."""
    tiles, players = boards.owner.shape[1], boards.players.shape[1]
    known = np.isin(np.arange(players), rows["player_id"]) | ~boards.players["alive"][0]
    actions = np.full((count, players), UNKNOWN, np.int64)
    rewards = np.full((count, players), np.nan, np.float32)
    actions[:, known], rewards[:, known] = 8 * tiles, 0
    actions[turn, rows["player_id"]], rewards[turn, rows["player_id"]] = rows["action"], rows["reward"]
    return actions, rewards


def events_between(boards: Boards, changed: Boards, at: npt.NDArray[np.int64], first: int) -> npt.NDArray[np.int32]:
    """Return the events that explain how boards ``at`` of ``boards`` became those in ``changed`` before their turns."""
    events: list[tuple[int, int, int]] = []
    old, new = boards.players[at], changed.players
    left = old["alive"] & ~new["alive"]
    turned = (old["general"] >= 0) & (new["general"] < 0)
    for k in np.flatnonzero((left | turned).any(axis=1)).tolist():
        turn = first + int(at[k])
        for player in np.flatnonzero(left[k]).tolist():
            kind = SURRENDERED if new["surrendered"][k, player] != old["surrendered"][k, player] else LEFT
            events.append((player, turn, kind))
        events += [(player, turn, LEFT) for player in np.flatnonzero(turned[k]).tolist()]
    return np.array(events, np.int32).reshape(-1, 3)
