"""Policies beside which the accuracy of a clone is read: the most common classes of actions, and built-in policies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from generals_env.engine.observations.reference import FULL_CHANNELS
from generals_env.engine.packed.packing import unpack
from generals_env.engine.policies.reference import expander_action
from generals_env.engine.simulation.seat_player import SeatPlayer
from generals_env.engine.simulation.seen_board import SeenBoard, codes_of_board
from generals_env.learning.cloning.accuracy import Ranks, action_ranks, chosen_ranks
from generals_env.learning.cloning.move_batches import MoveBatch, moves_in_order
from generals_env.learning.cloning.move_store import MoveStore, SizeGroup
from generals_env.opponents import policy_code
from generals_env.seeding import seed_state

try:
    import torch
except ModuleNotFoundError as error:
    raise ImportError(f'baselines: expected torch, got {error}: pip install "generals_env[torch]"') from None

__all__ = ["MajorityBaseline", "action_classes", "expander_ranks", "remembering_ranks"]

Index = npt.NDArray[np.int64]

#: Armies from this place on, counted from the largest, are of one class.
ARMIES = 32

#: Number of classes: each army by its place, direction and half, and the pass.
CLASSES = ARMIES * 8 + 1

CHUNK = 256  # moves that are expanded at once
OWN_ARMY = FULL_CHANNELS.index("own_army")


def action_classes(batch: MoveBatch) -> Index:
    """Return the class of each action of each board, (n, A) int64 from 0 to ``CLASSES - 1``.

    The class of a move is the place of its army among the player's armies that can move, from the largest on, the direction
    and whether half of it moves: "the largest army, up, all but one" is a class. Of equal armies the first tile comes first.
    The last class is the pass.
    """
    legal = batch.legal.cpu().numpy()
    count, actions = legal.shape
    tiles = (actions - 1) // 8
    army = batch.observations[:, OWN_ARMY].reshape(count, tiles).cpu().numpy()
    movable = legal[:, :-1].reshape(count, 2, tiles, 4).any(axis=(1, 3))
    order = np.argsort(np.where(movable, -army, np.inf), axis=1, kind="stable")
    places = np.empty((count, tiles), np.int64)
    np.put_along_axis(places, order, np.arange(tiles)[None], axis=1)
    places = np.minimum(places, ARMIES - 1)
    half, direction = np.arange(2)[:, None, None], np.arange(4)
    moves = (places[:, None, :, None] * 2 + half) * 4 + direction
    return np.concatenate([moves.reshape(count, -1), np.full((count, 1), CLASSES - 1)], axis=1)


class MajorityBaseline:
    """Orders legal actions by how often people took an action of their class in training.

    Attributes:
        counts: (CLASSES,) int64, how often.
    """

    def __init__(self) -> None:
        """Begin with no counts."""
        self.counts = np.zeros(CLASSES, np.int64)

    def count(self, store: MoveStore, entries: Sequence[Index]) -> None:
        """Count the classes of the actions of entries of a store, numbers of each group."""
        for _, _, batch in moves_in_order(store, entries, CHUNK):
            chosen = np.take_along_axis(action_classes(batch), batch.actions.numpy()[:, None], axis=1)
            self.counts += np.bincount(chosen[:, 0], minlength=CLASSES)

    def ranks(self, batch: MoveBatch) -> Ranks:
        """Return the places of people's actions."""
        scores = torch.from_numpy(self.counts[action_classes(batch)])
        return action_ranks(scores, batch.legal.cpu(), batch.actions.cpu())


def expander_ranks(group: SizeGroup, batch: MoveBatch, seed: int = 0) -> Ranks:
    """Return where the expander makes people's moves; it breaks ties at random, so its choice is one draw."""
    tensors = np.ascontiguousarray(batch.observations.numpy()).reshape(len(batch.actions), -1, group.side**2)
    masks = batch.legal.numpy().astype(np.int8)
    state = seed_state(seed)
    chosen = [expander_action(tensors[i], masks[i], group.side, group.side, state, 0) for i in range(len(tensors))]
    return chosen_ranks(np.array(chosen, np.int64), batch.actions.numpy(), group.passing)


def remembering_ranks(name: str, group: SizeGroup, entries: Index, seed: int = 0) -> Ranks:
    """Return where a policy with a memory, such as the hunter, makes people's moves.

    It follows each game from the seat of each player turn by turn, sees what the player saw, and is asked every turn.

    Args:
        name: Name of the policy, see ``generals_env.opponents``.
        group: Moves on boards of one size.
        entries: Numbers of moves, ascending.
        seed: Seed of its random numbers.
    """
    chosen = np.full(len(entries), group.passing, np.int64)
    code, state = policy_code(name), int(seed_state(seed)[0])
    places = {(int(group.board[e]), int(group.player[e])): k for k, e in enumerate(entries)}
    for number in np.unique(group.game[entries]).tolist():
        first, end = group.rows[number]
        boards = unpack(group.boards, np.arange(first, end))
        turns = boards.games["turn"]
        own = group.game[entries] == number
        for player in np.unique(group.player[entries[own]]).tolist():
            policy = SeatPlayer(code, state)
            for b in range(end - first):
                # A player left: the next row has the board of this turn on which the moves were chosen.
                if b + 1 < end - first and turns[b + 1] == turns[b]:
                    continue
                if not boards.players["alive"][b, player]:
                    break
                board = type(boards)._make(array[b : b + 1] for array in boards)
                action = policy.choose(SeenBoard(board, codes_of_board(boards, b, player), player))
                if (place := places.get((first + b, player))) is not None:
                    chosen[place] = action
    return chosen_ranks(chosen, group.action[entries].astype(np.int64), group.passing)
