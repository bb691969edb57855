"""Plays by a program that speaks the line protocol of the competition, over pipes."""

from __future__ import annotations

import selectors
import time

from generals_env.bridge.competition_actions import to_index
from generals_env.bridge.match.limits import Limits
from generals_env.bridge.match.program import Program, program_arguments
from generals_env.bridge.stdio_protocol import encode_frame, encode_handshake, parse_reply
from generals_env.errors import ActionError, StateError
from generals_env.play.situation import Situation

__all__ = ["ProgramAgent"]

#: Seconds for a reply: a person waits for no limit of a match, but a program that hangs must not keep the game.
PATIENCE = 25.0


class ProgramAgent:
    """Starts the program anew for each game, and shows it what its seat sees.

    A reply that is no action counts as a pass, as in a match, until there are too many of them.
    """

    def __init__(self, command: str, limits: Limits | None = None) -> None:
        """Play by a command; nothing is started yet.

        Raises:
            ConfigError: If the command has no words, or names a built-in policy that there is not.
        """
        self._arguments = program_arguments(command)
        self._limits = Limits() if limits is None else limits
        self._program: Program | None = None
        self._greeted = False
        self._faults = 0

    def begin(self, seed: int) -> None:
        """End the program of the game before, and start a new one."""
        self.close()
        self._program = Program(self._arguments)
        self._greeted, self._faults = False, 0

    def choose(self, situation: Situation) -> int:
        """Return the program's action.

        Raises:
            StateError: If the program ended, hangs, or gave too many replies that are no action.
        """
        if self._program is None:
            raise StateError("program: expected begin() before, got a question")
        boards, player = situation.boards, situation.player
        game = boards.games[0]
        if not self._greeted:
            self._program.send(encode_handshake(player, int(game["rows"]), int(game["columns"])))
            self._greeted = True
        self._program.send(encode_frame(boards, 0, player))
        height, width = int(game["height"]), int(game["width"])
        try:
            return to_index(parse_reply(self._reply(self._program)), height, width)
        except ActionError as error:
            self._faults += 1
            if self._faults >= self._limits.faults:
                raise StateError(f"program: expected actions, got {self._faults} other replies, the last: {error}") from error
            return 8 * height * width

    @staticmethod
    def _reply(program: Program) -> bytes:
        """Return the next line of a program."""
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            program.watch(selector)
            program.want_writes(selector)
            while (line := program.take_line()) is None:
                left = deadline - time.monotonic()
                if program.failure or left <= 0:
                    reason = program.describe_end() if program.failure else f"gave no reply for {PATIENCE:.0f} s"
                    raise StateError(f"program: {reason} {program.errors()[-200:]}".strip())
                for key, _ in selector.select(left):
                    program.on_ready(key.fd, selector)
        return line

    def close(self) -> None:
        """End the program and all that it started."""
        if self._program is not None:
            self._program.close(time.monotonic() + self._limits.ending)
            self._program = None
