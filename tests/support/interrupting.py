"""Ctrl-C at every place of a call: what tests of interrupted turns share."""

from __future__ import annotations

import opcode
import signal
import sys
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType
from typing import Any

#: Code that is not interrupted: compilers, which run once, and the tests themselves.
LEFT_OUT = ("numba", "llvmlite", "importlib", "/tests/", "\\tests\\")


#: Bytecodes before which, and after which, the interpreter runs handlers of signals.
BEFORE, AFTER = ("RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE"), ("CALL", "PRECALL")


class Interrupter:
    """Sends SIGINT to this process at the n-th place of a call at which Python looks for signals, in all that it calls.

    Attributes:
        sent: Whether the call was long enough.
    """

    def __init__(self, number: int) -> None:
        self.sent = False
        self._left = number
        self._last: dict[FrameType, str] = {}  # the bytecode that each frame came to last

    def __call__(self, call: Callable[[], Any]) -> bool:
        """Call, and return whether ``KeyboardInterrupt`` came out."""
        sys.settrace(self._enter)
        try:
            call()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(None)
            self._last.clear()
        return False

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        if any(part in frame.f_code.co_filename for part in LEFT_OUT):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event != "opcode" or self.sent:
            return None if self.sent else self._step
        last, now = self._last.get(frame, ""), opcode.opname[code_of(frame.f_code)[frame.f_lasti]]
        self._last[frame] = now
        if now.startswith(BEFORE) or (last.startswith(AFTER) and not now.startswith(AFTER)):
            self._left -= 1
            if self._left < 0:
                self.sent = True
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return self._step


@cache
def code_of(code: CodeType) -> bytes:
    """Return the bytecodes of a function."""
    return code.co_code
