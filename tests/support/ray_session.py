"""Starts Ray for the tests of a module: on loopback, without dashboard and statistics of use, in a folder of its own."""

from __future__ import annotations

import atexit
import functools
import tempfile
from collections.abc import Iterator

import pytest

__all__ = ["ray_session"]


@functools.cache
def home() -> str:
    """Return a folder for Ray's token: one for all sessions, as a process reads the token only once."""
    folder = tempfile.TemporaryDirectory(prefix="ray")
    atexit.register(folder.cleanup)
    return folder.name


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """Run Ray; its processes are gone afterwards."""
    ray = pytest.importorskip("ray", reason='ray is not installed: pip install "generals_env[ray]"')
    from generals_env.recorders.distributed.ray_actors.ray_session import RaySession

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray") as folder:  # short: sockets lie in it
        patch.setenv("HOME", home())
        with RaySession(4, 200_000_000, folder=folder, log_to_driver=False) as session:
            assert session.started
            assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"  # it does not follow from the address given
            yield
        assert not ray.is_initialized()
