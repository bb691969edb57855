"""Decodes protobuf records into a batch: reconstructs boards that give the same tensors and masks.

Tiles that the player did not see become plain land. In the observation a general and a city look alike: both become cities.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from generals_env.config import MAX_SIZE, TOUCH_TURN
from generals_env.engine.boards import (
    CITY,
    COMPETITION_VERSION,
    LIVE_VERSION,
    MAX_PLAYERS,
    MOUNTAIN,
    NEUTRAL,
    OWNER_MOUNTAIN,
    PLAIN,
    TOUCH_SHIFT,
    Boards,
    empty_boards,
)
from generals_env.engine.observations.reference import LAYOUTS
from generals_env.engine.packed.packing import pack
from generals_env.errors import ConfigError
from generals_env.recorders.experience import EXPERIENCE, ExperienceBatch
from generals_env.recorders.experience.dense_observations import Dense
from generals_env.recorders.experience.recipe import Recipe
from generals_env.recorders.stream.protocol import experience_pb2 as pb
from generals_env.recorders.stream.protocol.record_rules import COMPETITION, action_of, flag_of, has_builds

__all__ = ["check_game_id", "decode_records"]

CHANNELS = len(LAYOUTS["standard"])

MAX_NAME = 256  # characters of a game id

MAX_SECONDS = 2**33  # since 1970: in nanoseconds still an int64

MAX_STEPS = 2**15 - 1  # turns of an experience: the column has 16 bits

Floats = npt.NDArray[np.float32]

Flags = npt.NDArray[np.bool_]


def decode_records(
    records: Sequence[pb.Experience], like: ExperienceBatch | None
) -> tuple[ExperienceBatch | None, list[int], dict[int, str]]:
    """Decode records into a batch.

    Args:
        records: The records, with actions and masks in the layout of the original or of the package.
        like: A batch whose number of players, board size, rules and observations the records must have; None for no
            requirement beyond those of the first valid record.
            Where reconstructed boards do not give the tensors of the records (the original sometimes shows more than it
            should), the tensors are stored beside the boards, unless ``like`` has no dense observations.

    Returns:
        The batch, None if no record is valid; the index of the record of each experience; and an error for each of the others.
    """
    reasons: dict[int, str] = {}
    kept: list[int] = []
    table = np.zeros(len(records), EXPERIENCE)
    tensors: list[tuple[Floats, Floats]] = []
    masks: list[tuple[Flags, Flags]] = []
    players = like.players if like else players_in(records)
    builds = like.recipe.builds if like else None
    for index, record in enumerate(records):
        try:
            state, following = parse_tensor("state", record.state), parse_tensor("next_state", record.next_state)
            if like is not None:
                check_size(like, state)
            shape = tensors[0][0].shape if tensors else state.shape
            check_shapes(shape, {"state": state, "next_state": following})
            check_rules(builds, record)
            fill_row(table[len(kept)], record, players, state.shape[1:])
            builds = has_builds(record)
        except ConfigError as error:
            reasons[index] = str(error)
            continue
        tensors.append((state, following))
        masks.append((np.array(record.action_mask, np.bool_), np.array(record.next_action_mask, np.bool_)))
        kept.append(index)
    if not kept:
        return None, kept, reasons
    names = list(dict.fromkeys(records[index].game_id for index in kept))
    table = table[: len(kept)]
    table["game"] = [names.index(records[index].game_id) for index in kept]
    table["state_index"], table["next_state_index"] = 2 * np.arange(len(kept)), 2 * np.arange(len(kept)) + 1
    turns = np.array([records[index].turn for index in kept])
    observations = np.array(tensors).reshape(2 * len(kept), *tensors[0][0].shape)
    board_turns = np.stack([turns, turns + table["steps"]], axis=1).ravel()
    recipe = Recipe(builds=bool(builds))
    boards = reconstruct_boards(observations, np.repeat(table["player_id"], 2), board_turns, players, recipe.builds)
    mark_dead(boards, masks, table)
    height, width = observations.shape[2:]
    batch = ExperienceBatch(tuple(names), table, pack(boards), (height, width), recipe)
    differing = [*differing_rows(batch.states(), observations[0::2]), *differing_rows(batch.next_states(), observations[1::2])]
    wrong = check_actions(batch, masks, [records[index].action for index in kept])
    if like is not None and like.dense is None:
        wrong |= dict.fromkeys(
            differing,
            "state, next_state: expected what a player can see on a board, got something else: send standard observations",
        )
    elif differing or like is not None:
        batch = replace(batch, dense=Dense(observations, table["state_index"].copy(), table["next_state_index"].copy()))
    reasons |= {kept[row]: reason for row, reason in wrong.items()}
    valid = [row for row in range(len(kept)) if row not in wrong]
    return (batch.select(np.array(valid, np.int64)) if valid else None), [kept[row] for row in valid], reasons


def players_in(records: Sequence[pb.Experience]) -> int:
    """Return the number of players of the game, at least 2, from the ids of the records."""
    return max([2, *(record.player_id + 1 for record in records if record.player_id < MAX_PLAYERS)])


def parse_tensor(name: str, state: pb.TensorState) -> Floats:
    """Convert a ``TensorState`` to an array, (9, H, W) float32."""
    shape = tuple(state.shape[:4])
    if len(shape) != 3 or shape[0] != CHANNELS or not all(1 <= side <= MAX_SIZE for side in shape[1:]):
        raise ConfigError(f"{name}: expected shape [{CHANNELS}, H, W] with sides up to {MAX_SIZE}, got {list(shape)}")
    if len(state.data) != shape[0] * shape[1] * shape[2]:
        raise ConfigError(f"{name}: expected {shape[0] * shape[1] * shape[2]} numbers, got {len(state.data)}")
    array = np.array(state.data, np.float32).reshape(shape)
    if not np.isfinite(array).all():
        raise ConfigError(f"{name}: expected finite numbers, got infinite ones or NaN")
    return array


def check_size(like: ExperienceBatch, state: Floats) -> None:
    """Raise ``ConfigError`` unless a tensor has the board size and the observation format of the source."""
    if state.shape[1:] != like.shape:
        (height, width), (own_height, own_width) = like.shape, state.shape[1:]
        raise ConfigError(
            f"state: expected boards of {height}x{width}, as the source has,"
            f" got {own_height}x{own_width}: use a server for each size"
        )
    if like.dense is not None:
        kept = like.dense.observations
        if kept.shape[1:] != state.shape or kept.dtype != np.float32:
            raise ConfigError(
                f"state: expected observations of {kept.dtype}, {list(kept.shape[1:])}, as the source has,"
                f" got float32, {list(state.shape)}: submit packed batches"
            )


def check_rules(builds: bool | None, record: pb.Experience) -> None:
    """Raise ``ConfigError`` unless the games of a record have builds, or none, as the source or the others of the call."""
    if builds is not None and has_builds(record) != builds:
        wanted = f"rules={COMPETITION}" if builds else "no rules"
        raise ConfigError(
            f"metadata: expected {wanted}, as the source or others of this call have, got another action space: use a server,"
            " and a call, for each"
        )


def check_shapes(shape: tuple[int, ...], tensors: dict[str, Floats]) -> None:
    """Raise ``ConfigError`` unless all tensors have this shape: a call is written as one batch."""
    for name, array in tensors.items():
        if array.shape != shape:
            raise ConfigError(f"{name}: expected shape {list(shape)}, as others of this call, got {list(array.shape)}")


def fill_row(row: np.void, record: pb.Experience, players: int, shape: tuple[int, int]) -> None:
    """Validate the columns of a record, then write them into a row of zeros."""
    check_game_id(record.game_id)
    if not 0 <= record.player_id < players:
        raise ConfigError(f"player_id: expected 0 to {players - 1}, got {record.player_id}")
    steps = steps_of(record)
    if record.turn < 0:
        raise ConfigError(f"turn: expected 0 or more, got {record.turn}")
    if record.turn + steps >= 2**31:
        raise ConfigError(f"turn: expected less than {2**31 - steps}, got {record.turn}")
    if not np.isfinite(record.reward):
        raise ConfigError(f"reward: expected a finite number, got {record.reward}")
    if not 0 <= record.collected_at.seconds < MAX_SECONDS or not 0 <= record.collected_at.nanos < 10**9:
        raise ConfigError(
            f"collected_at: expected a time after 1970, got {record.collected_at.seconds} s: leave it out for the current time"
        )
    if record.done != (record.terminated or record.truncated) and (record.terminated or record.truncated):
        raise ConfigError("done: expected it with terminated and truncated, got it without: set it")
    row["action"] = action_of(record, shape)
    row["player_id"], row["reward"] = record.player_id, record.reward
    row["truncated"] = record.truncated
    row["terminated"] = record.terminated or (record.done and not record.truncated)
    row["illegal"] = flag_of(record, "illegal")
    row["steps"] = steps
    nanoseconds = record.collected_at.seconds * 10**9 + record.collected_at.nanos
    row["collected_at"] = nanoseconds if record.HasField("collected_at") else time.time_ns()


def steps_of(record: pb.Experience) -> int:
    """Return how many turns a record spans, from its metadata; raise ``ConfigError`` for an invalid number."""
    value = record.metadata.get("steps", "1")
    if not (value.isascii() and value.isdigit() and len(value) <= len(str(MAX_STEPS)) and 1 <= int(value) <= MAX_STEPS):
        raise ConfigError(f"metadata: expected 'steps' from 1 to {MAX_STEPS}, got {value[:80]!r}")
    return int(value)


def check_game_id(name: str) -> None:
    """Raise ``ConfigError`` unless this is a valid game id."""
    if not 1 <= len(name) <= MAX_NAME or "\0" in name:
        raise ConfigError(f"game_id: expected 1 to {MAX_NAME} characters without null characters, got {name[:80]!r}")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"game_id: expected text that can be encoded as UTF-8, got {name[:80]!r}") from error


def reconstruct_boards(
    observations: Floats, player: npt.NDArray[np.int8], turn: npt.NDArray[np.int64], players: int, builds: bool
) -> Boards:
    """Reconstruct boards on which each player sees the given observation.

    Args:
        observations: (n, 9, H, W) float32, finite.
        player: (n,) int8.
        turn: (n,) int64.
        players: Number of players of a game.
        builds: Whether the rules are those of the competition.
    """
    count, _, height, width = observations.shape
    planes = observations.reshape(count, CHANNELS, height * width)
    # Records do not say from which turn a touch wins.
    rules = (COMPETITION_VERSION, TOUCH_TURN << TOUCH_SHIFT) if builds else (LIVE_VERSION, 0)
    boards = empty_boards(count, height, width, players, *rules)
    own, enemy, city, mountain = (planes[:, channel] == 1 for channel in (2, 3, 5, 6))
    boards.owner[:] = np.where(mountain, OWNER_MOUNTAIN, NEUTRAL)
    boards.owner[own] = np.broadcast_to(player[:, None], own.shape)[own]
    boards.owner[enemy] = np.broadcast_to((player[:, None] + 1) % players, enemy.shape)[enemy]
    boards.army[:] = np.rint(np.clip(planes[:, 0] + planes[:, 1], 0, 1) * 1000)
    boards.terrain[:] = np.where(mountain, MOUNTAIN, np.where(city, CITY, PLAIN))
    boards.games["turn"] = turn
    boards.games["rows"], boards.games["columns"] = height, width
    boards.games["fog"] = planes[:, 8].any(axis=1)
    return boards


def mark_dead(boards: Boards, masks: Sequence[tuple[Flags, Flags]], rows: npt.NDArray[np.void]) -> None:
    """Mark players without a legal move or build as dead, on the boards before and after each record: they surrendered."""
    passes = 8 * boards.owner.shape[1]
    for row, both in enumerate(masks):
        for after, mask in enumerate(both):
            builds_now = not after and rows["action"][row] > passes
            acts = not len(mask) or builds_now or mask[: passes // 2].any() or mask[passes + 1 :].any()
            boards.players[2 * row + after, rows["player_id"][row]]["alive"] = bool(acts)


def differing_rows(made: Floats, expected: Floats) -> list[int]:
    """Return the rows whose tensors differ."""
    differs = (made != expected).reshape(len(made), -1).any(axis=1)
    rows: list[int] = np.flatnonzero(differs).tolist()
    return rows


def check_actions(batch: ExperienceBatch, masks: Sequence[tuple[Flags, Flags]], actions: Sequence[int]) -> dict[int, str]:
    """Return an error for each experience whose mask differs from its record's, or whose action is not in the mask."""
    wrong: dict[int, str] = {}
    made = {"action_mask": batch.action_masks(), "next_action_mask": batch.next_action_masks()}
    legal = made["action_mask"]
    whole, moves = legal.shape[1], 4 * batch.shape[0] * batch.shape[1]
    for row, both in enumerate(masks):
        for (name, computed), mask in zip(made.items(), both, strict=True):
            if len(mask) not in (0, moves, whole):
                wrong.setdefault(row, f"{name}: expected {moves} or {whole} entries, got {len(mask)}")
            elif (computed[row, : len(mask)] != mask).any():
                wrong.setdefault(
                    row, f"{name}: expected that of the state, got another: compute it from the tensor, or leave it empty"
                )
        if not legal[row, batch.action[row]]:
            wrong.setdefault(row, f"action: expected one of the mask, got {actions[row]}: send -1 for a pass")
    return wrong
