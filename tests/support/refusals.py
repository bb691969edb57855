"""Checks that a call raises an error of the package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from generals_env import (
    GeneralsError,
)


@contextmanager
def refused(kind: type[GeneralsError], start: str) -> Iterator[None]:
    """Check that what happens within raises ``kind``, and that its text begins with ``start`` and says what came."""
    with pytest.raises(Exception, match=r"(?s)expected .*got .*") as caught:
        yield
    assert type(caught.value) is kind
    assert str(caught.value).startswith(start)
