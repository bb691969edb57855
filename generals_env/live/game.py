"""Plays one live game: keeps the board, asks the policy for a move, and sends it with its index."""

from __future__ import annotations

import asyncio
from typing import Any

from generals_env.actions import decode_action
from generals_env.errors import StateError
from generals_env.live.agent import LivePolicy
from generals_env.live.belief import BeliefBoard
from generals_env.live.messages import GameUpdate
from generals_env.live.recording import LiveRecord

__all__ = ["LiveGame"]

STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))

#: Updates after which an unprocessed move is taken back: it waits behind others, or its army is gone.
PATIENCE = 2


class LiveGame:
    """A running game.

    The server queues moves and plays one a turn. This client keeps at most one waiting, chosen for the newest board: it sends
    no further move before the server has processed the last one, and clears the queue if that takes more than two updates.

    Attributes:
        belief: The board.
        record: Boards and moves.
        sent: Moves sent; the last one has this number as its index.
        surrendered: Whether this client gave up.
    """

    def __init__(self, client: Any, belief: BeliefBoard, policy: LivePolicy, max_turns: int) -> None:
        """Begin before the first update.

        Args:
            client: The connected Socket.IO client.
            belief: The board.
            policy: Chooses the moves.
            max_turns: Turn after which to surrender; 0 never does.
        """
        self.belief = belief
        self.record = LiveRecord()
        self.sent = 0
        self.surrendered = False
        self._client = client
        self._policy = policy
        self._max_turns = max_turns
        self._sent_at = 0
        self._cleared = 0  # index of the last move that was taken back
        self._thinking: asyncio.Task[None] | None = None

    def take(self, update: GameUpdate) -> None:
        """Apply an update.

        Raises:
            StateError: If it does not fit the game.
        """
        if update.attack_index > self.sent:
            raise StateError(
                f"game_update: attackIndex: expected at most {self.sent}, the last move sent, got {update.attack_index}"
            )
        self.belief.take(update)
        self.record.take(self.belief)

    async def act(self) -> None:
        """Send a move for the newest board, unless one waits or the policy is still choosing."""
        if self._thinking is not None and self._thinking.done():
            self._thinking.result()  # raise its exception
            self._thinking = None
        belief = self.belief
        if self.surrendered or not belief.alive[belief.start.player]:
            return
        if 0 < self._max_turns <= belief.turn:
            self.surrendered = True
            await self._client.emit("surrender")
            return
        if self._thinking is None and await self._may_send():
            self._thinking = asyncio.create_task(self._choose(belief.turn, belief.observation()))
            await asyncio.sleep(0)

    async def _may_send(self) -> bool:
        """Return whether no move waits on the server; take back one that waits for too long."""
        if max(self.belief.attack_index, self._cleared) >= self.sent:
            return True
        if self.belief.turn - self._sent_at <= PATIENCE:
            return False
        await self._client.emit("clear_moves")
        self._cleared = self.sent
        return True

    async def _choose(self, turn: int, observation: dict[str, Any]) -> None:
        """Ask the policy, in a thread so that the connection stays alive, and send its move.

        Raises:
            StateError: If the policy chose an action that does not exist.
        """
        action = await asyncio.to_thread(self._policy, observation)
        belief = self.belief
        tiles = belief.height * belief.width
        if not 0 <= action <= 8 * tiles:
            raise StateError(f"policy: expected an action from 0 to {8 * tiles}, got {action}: choose by the mask")
        move = decode_action(action, belief.height, belief.width)
        if move is None or not observation["action_mask"][action]:
            return
        down, right = STEPS[move.direction]
        end = (move.row + down) % belief.height * belief.width + (move.column + right) % belief.width
        self.sent += 1
        self._sent_at = turn
        await self._client.emit("attack", (move.row * belief.width + move.column, end, move.half, self.sent))

    async def stop(self) -> None:
        """Wait until the policy has chosen; its move is not sent any more."""
        if self._thinking is not None and not self._thinking.done():
            self._thinking.cancel()
            await asyncio.gather(self._thinking, return_exceptions=True)
