"""Checks that a call raises an error of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from generals_env import GeneralsError


@contextmanager
def refused(kind: type[GeneralsError], start: str) -> Iterator[None]:
    """Check that the block raises ``kind`` with a text that begins with ``start`` and contains the given value."""
    with pytest.raises(Exception, match=r"(?s)expected .*got .*") as caught:
        yield
    assert type(caught.value) is kind
    assert str(caught.value).startswith(start)
