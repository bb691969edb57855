"""Lets an agent think in a thread of its own, so that the clock of the game goes on."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress

from generals_env.errors import StateError
from generals_env.play.agents import Agent
from generals_env.play.situation import Situation

__all__ = ["Thinker"]

CLOSED = 0  # in place of the number of a question


class Thinker:
    """Asks one agent at a time for one action; the thread ends with the process, also if the agent never answers.

    Attributes:
        name: Name of the agent.
    """

    def __init__(self, name: str, agent: Agent) -> None:
        """Start the thread."""
        self.name = name
        self._agent = agent
        self._asked: queue.SimpleQueue[tuple[int, Situation | int] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[int, int | Exception]] = queue.SimpleQueue()
        self._number = 0  # of the last question
        self._since: float | None = None  # when it was asked; None: its answer was taken
        self._answer: int | Exception | None = None
        threading.Thread(target=self._think, name=f"agent {name}", daemon=True).start()

    @property
    def waited(self) -> float:
        """Seconds since the question that is open; 0 without one."""
        return 0.0 if self._since is None else time.monotonic() - self._since

    def begin(self, seed: int) -> None:
        """Begin a new game: an answer to an earlier question is not waited for."""
        self._number += 1
        self._since = self._answer = None
        self._asked.put((self._number, seed))

    def ask(self, situation: Situation) -> None:
        """Ask for an action, unless the agent still thinks about an earlier situation."""
        if self._since is None:
            self._number += 1
            self._since = time.monotonic()
            self._asked.put((self._number, situation))

    def wait(self, seconds: float) -> bool:
        """Wait until the question is answered; return whether it is."""
        deadline = time.monotonic() + seconds
        while self._since is not None and self._answer is None:
            try:
                number, answer = self._answers.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                return False
            if number in (self._number, CLOSED):  # not of a game before
                self._answer = answer
        return True

    def answer(self) -> int | None:
        """Return the action, or None if the agent still thinks or was not asked; an exception of the agent is raised here."""
        self.wait(0.0)
        answer, self._answer = self._answer, None
        if answer is None:
            return None
        self._since = None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Close the agent once it has answered; a method that waits for it returns."""
        self._asked.put(None)
        self._answers.put((CLOSED, StateError("the game was closed while the agent thought")))

    def _think(self) -> None:
        """Answer questions until closed."""
        failure: Exception | None = None
        while (question := self._asked.get()) is not None:
            number, about = question
            try:
                if isinstance(about, int):
                    failure = None
                    self._agent.begin(about)
                elif failure is not None:
                    self._answers.put((number, failure))
                else:
                    self._answers.put((number, self._agent.choose(about)))
            except Exception as error:  # whatever an agent raises is shown on the page
                failure = error
                if not isinstance(about, int):
                    self._answers.put((number, error))
        with suppress(Exception):  # the game is over, and the page gone
            self._agent.close()
