"""Records turns as they are played: packs their boards and writes an experience for each player, for one game or many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from generals_env.engine.boards import Boards
from generals_env.engine.jit import inlined, kernel, subroutine
from generals_env.engine.packed.packing import PackedBoards, empty_packed, pack_row, write_tiles

__all__ = [
    "ALL_PLAYERS",
    "ENDED",
    "EXPERIENCE",
    "Flat",
    "Recording",
    "begin_game",
    "begin_games",
    "empty_recording",
    "flat",
    "record_board",
    "record_turn",
]

#: An experience: one turn of one player. See ``recorders.experience.ExperienceBatch``.
EXPERIENCE = np.dtype(
    [
        ("sequence", np.int64),
        ("collected_at", np.int64),
        ("game", np.int32),
        ("state_index", np.int32),
        ("next_state_index", np.int32),
        ("action", np.int32),
        ("reward", np.float32),
        ("steps", np.int16),
        ("player_id", np.int8),
        ("illegal", np.bool_),
        ("terminated", np.bool_),
        ("truncated", np.bool_),
    ],
    align=True,
)

#: In place of a player: record the experiences of all players.
ALL_PLAYERS = -1

#: In place of the number of a game in ``Recording.current``.
ENDED = -2

# Columns of ``Recording.counts``; the first two are those of ``pack_row``.
GROUNDS, WIDE, BOARDS, EXPERIENCES, GAMES = range(5)


class Recording(NamedTuple):
    """Room for turns of B games.

    Attributes:
        packed: The boards.
        experiences: (N,) records of ``EXPERIENCE``; ``game`` counts the games of this recording.
        counts: (5,) int64: grounds, rows of wide armies, boards, experiences, games.
        present: (B,) int32, row of each game's present board, -1 if it is not in ``packed``.
        current: (B,) int32, number of each game in this recording, -1 if it is not in it, ``ENDED`` after its end.
        places: (M,) int32, index among the B games of each game of the recording.
    """

    packed: PackedBoards
    experiences: npt.NDArray[np.void]
    counts: npt.NDArray[np.int64]
    present: npt.NDArray[np.int32]
    current: npt.NDArray[np.int32]
    places: npt.NDArray[np.int32]


#: The arrays of a recording as separate arguments of a kernel.
Flat = tuple[
    npt.NDArray[np.int16],
    npt.NDArray[np.void],
    npt.NDArray[np.int8],
    npt.NDArray[np.void],
    npt.NDArray[np.void],
    npt.NDArray[np.int32],
    npt.NDArray[np.uint16],
    npt.NDArray[np.void],
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
    npt.NDArray[np.int32],
]


def empty_recording(
    games: int, tiles: int, players: int, boards: int, experiences: int, begun: int, remembers: bool = False
) -> Recording:
    """Return room for ``boards`` boards and ``experiences`` experiences of ``begun`` games, ``games`` of them at once."""
    return Recording(
        # Each board may have a ground of its own. Memory pages that are never written take no memory.
        empty_packed(boards, tiles, players, boards, boards, remembers),
        np.zeros(experiences, EXPERIENCE),
        np.zeros(5, np.int64),
        np.full(games, -1, np.int32),
        np.full(games, -1, np.int32),
        np.zeros(begun, np.int32),
    )


@inlined
def add_board(recording: Recording, boards: Boards, b: int, game: int, previous: int, same: bool) -> None:
    """Pack board ``b`` as the present one of ``game``; with ``same``, its ground equals that of the previous one."""
    packed, counts = recording.packed, recording.counts
    row = counts[BOARDS]
    counts[BOARDS] += 1
    recording.present[game] = row
    if not same:
        ground = np.int64(packed.entries[previous]["ground"]) if previous >= 0 else counts[GROUNDS] - 1
        pack_row(boards, b, packed, row, ground, previous, counts)
        return
    packed.entries[row]["ground"] = packed.entries[previous]["ground"]
    packed.entries[row]["wide"] = -1
    packed.entries[row]["turn"] = boards.games[b]["turn"]
    packed.entries[row]["last_move"] = boards.games[b]["last_move"]
    packed.entries[row]["previous"] = previous
    if write_tiles(boards, b, packed, row):
        packed.entries[row]["wide"] = counts[WIDE]
        for tile in range(boards.army.shape[1]):
            packed.armies[counts[WIDE], tile] = boards.army[b, tile]
        counts[WIDE] += 1


@subroutine
def begin_game(recording: Recording, boards: Boards, b: int, game: int) -> None:
    """Record the board with which a game begins, or continues, in this recording."""
    if recording.current[game] < 0:
        recording.current[game] = recording.counts[GAMES]
        recording.places[recording.counts[GAMES]] = game
        recording.counts[GAMES] += 1
    add_board(recording, boards, b, game, -1, False)


@subroutine
def record_board(
    recording: Recording,
    boards: Boards,
    b: int,
    game: int,
    actions: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    illegal: npt.NDArray[np.bool_],
    rewards: npt.NDArray[np.float32],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    same: bool,
    seat: int,
    now: int,
) -> None:
    """Record a turn of ``game``, whose present board is in the recording, and which led to board ``b``.

    Args:
        recording: The recording, out.
        boards: The boards, after the turn.
        b: Row of the board.
        game: Index of the game.
        actions: (P,) int64, one for each player, as the next five.
        active: Whether the game had not ended for the player before the turn.
        illegal: Whether the action was illegal.
        rewards: Reward of the turn.
        terminated: Whether the game ended for the player with the turn.
        truncated: Whether the game was truncated after the turn.
        same: Whether the caller knows that the ground is that of the present board.
        seat: The only player whose experiences to record, or ``ALL_PLAYERS``.
        now: Nanoseconds UTC.
    """
    counts, rows = recording.counts, recording.experiences
    before = np.int64(recording.present[game])
    add_board(recording, boards, b, game, before, same)
    goes_on = False
    for player in range(boards.players.shape[1]):
        if not active[player]:
            continue
        goes_on = goes_on or not (terminated[player] or truncated[player])
        if seat >= 0 and player != seat:
            continue
        n = counts[EXPERIENCES]
        counts[EXPERIENCES] += 1
        rows[n]["collected_at"] = now
        rows[n]["game"] = recording.current[game]
        rows[n]["state_index"] = before
        rows[n]["next_state_index"] = recording.present[game]
        rows[n]["action"] = actions[player]
        rows[n]["reward"] = rewards[player]
        rows[n]["steps"] = 1
        rows[n]["player_id"] = player
        rows[n]["illegal"] = illegal[player]
        rows[n]["terminated"] = terminated[player]
        rows[n]["truncated"] = truncated[player]
    if not goes_on or (seat >= 0 and (terminated[seat] or truncated[seat])):
        recording.present[game] = -1
        recording.current[game] = ENDED


@kernel
def begin_games(recording: Recording, boards: Boards, which: npt.NDArray[np.bool_]) -> None:
    """Record the present boards of the games that ``which`` (B,) selects: their next turns begin with them."""
    for game in range(which.shape[0]):
        if which[game]:
            begin_game(recording, boards, game, game)


@kernel
def record_turn(
    tiles: npt.NDArray[np.int16],
    entries: npt.NDArray[np.void],
    grounds: npt.NDArray[np.int8],
    ground_players: npt.NDArray[np.void],
    ground_games: npt.NDArray[np.void],
    armies: npt.NDArray[np.int32],
    memory: npt.NDArray[np.uint16],
    experiences: npt.NDArray[np.void],
    counts: npt.NDArray[np.int64],
    present: npt.NDArray[np.int32],
    current: npt.NDArray[np.int32],
    places: npt.NDArray[np.int32],
    owner: npt.NDArray[np.int8],
    army: npt.NDArray[np.int32],
    terrain: npt.NDArray[np.int8],
    players: npt.NDArray[np.void],
    games: npt.NDArray[np.void],
    first: int,
    actions: npt.NDArray[np.int64],
    active: npt.NDArray[np.bool_],
    illegal: npt.NDArray[np.bool_],
    rewards: npt.NDArray[np.float32],
    terminated: npt.NDArray[np.bool_],
    truncated: npt.NDArray[np.bool_],
    seat: int,
    now: int,
) -> int:
    """Record a turn of every game with an active player (``seat``, unless it is ``ALL_PLAYERS``); see ``record_board``.

    Board ``first + i`` is that of game i. With ``first`` 1 there is one game with its boards before and after the turn, and if
    its present board is not in the recording, the board before is recorded first. With ``first`` 0 there are boards after the
    turn only, and a game whose present board is not in the recording is skipped.

    The arrays of the recording and of the boards are separate arguments, as in ``record_turn(*flat(recording), *boards, ...)``:
    numba takes twice as long to read a NamedTuple from Python.

    Returns:
        Number of boards in the recording.
    """
    packed = PackedBoards(tiles, entries, grounds, ground_players, ground_games, armies, memory)
    recording = Recording(packed, experiences, counts, present, current, places)
    boards = Boards(owner, army, terrain, players, games)
    for game in range(actions.shape[0]):
        played = False
        for player in range(actions.shape[1]):
            played = played or (active[game, player] and (seat < 0 or player == seat))
        if not played:
            continue
        if present[game] < 0:
            if first == 0:
                continue
            begin_game(recording, boards, game, game)
        record_board(
            recording,
            boards,
            first + game,
            game,
            actions[game],
            active[game],
            illegal[game],
            rewards[game],
            terminated[game],
            truncated[game],
            False,
            seat,
            now,
        )
    return int(counts[BOARDS])


def flat(recording: Recording) -> Flat:
    """Return the arrays of a recording as separate arguments."""
    return *recording.packed, *recording[1:]
