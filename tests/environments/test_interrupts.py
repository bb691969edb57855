"""Signals while something changes that must change whole."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from generals_env.concurrency import interrupts
from generals_env.concurrency.interrupts import deferred, raise_pending


class ToldError(Exception):
    """What the handler of a program raises."""


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Give the tests Python's handler of Ctrl-C, and put back what was there."""
    before = {number: signal.getsignal(number) for number in interrupts.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert interrupts.state.outermost is None


def test_interrupt_leaves_a_deferred_block_after_its_last_statement() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        done.append(1)
        signal.raise_signal(signal.SIGINT)
        done.append(2)
    assert done == [1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_inner_deferred_blocks_leave_signals_to_the_outermost() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        with deferred():
            signal.raise_signal(signal.SIGINT)
        done.append("after the inner block")
    assert done == ["after the inner block"]


def test_second_interrupt_of_a_block_that_does_not_end_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE", 0.0)
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
        signal.raise_signal(signal.SIGINT)
        done.append(2)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_in_quick_succession_leave_a_deferred_block_whole() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done == [1]


def test_raise_pending_raises_inside_a_deferred_block_what_was_noted() -> None:
    done = []
    raise_pending()  # outside it does nothing
    with pytest.raises(KeyboardInterrupt), deferred():
        raise_pending()
        signal.raise_signal(signal.SIGINT)
        done.append(1)
        raise_pending()
        done.append(2)
    assert done == [1]


def test_deferred_calls_every_handler_of_the_program_once() -> None:
    seen: list[int] = []

    def tell(number: int, frame: Any) -> None:
        seen.append(number)
        raise ToldError

    signal.signal(signal.SIGINT, tell)
    signal.signal(signal.SIGTERM, tell)
    with pytest.raises(ToldError), deferred():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert seen == []
    assert sorted(seen) == sorted([signal.SIGINT, signal.SIGTERM])
    assert signal.getsignal(signal.SIGINT) is signal.getsignal(signal.SIGTERM) is tell


def test_handler_that_raises_nothing_lets_the_program_go_on() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with deferred():
        signal.raise_signal(signal.SIGINT)
    assert seen == [signal.SIGINT]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_deferred_leaves_handlers_of_the_system_alone(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGTERM, handler)
    with deferred():
        assert signal.getsignal(signal.SIGTERM) is handler


def test_handler_set_inside_a_deferred_block_stays() -> None:
    def tell(number: int, frame: Any) -> None:
        """Do nothing."""

    with deferred():
        signal.signal(signal.SIGINT, tell)
    assert signal.getsignal(signal.SIGINT) is tell


def test_error_of_a_deferred_block_is_the_context_of_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, deferred():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("a sink failed")
    assert isinstance(caught.value.__context__, ValueError)


def test_deferred_does_nothing_in_other_threads() -> None:
    found = []

    def look() -> None:
        with deferred():
            found.append(signal.getsignal(signal.SIGINT))
            raise_pending()

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_signal_while_a_deferred_block_begins_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(number: int, frame: Any) -> None:
        raise ToldError

    replace = interrupts.set_handler

    def interrupted(number: int, handler: Any) -> Any:
        before = replace(number, handler)
        if number == signal.SIGINT and handler is not signal.default_int_handler:
            signal.raise_signal(signal.SIGTERM)  # whose handler is not replaced yet
        return before

    signal.signal(signal.SIGTERM, tell)
    monkeypatch.setattr(interrupts, "set_handler", interrupted)
    with pytest.raises(ToldError), deferred():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is tell


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_forked_in_a_deferred_block_does_not_get_its_parents_signal() -> None:
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        child = os.fork()
        if not child:
            try:
                raise_pending()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
