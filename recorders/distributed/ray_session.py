"""Joins the Ray of a program, or starts one on this machine that ends with its session."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from generals_env.concurrency.process_owner import Owner
from generals_env.concurrency.thread_pool import available_cores

__all__ = ["NAMESPACE", "RaySession", "cause_of", "import_ray"]

#: Namespace of Ray in which buffers have their names.
NAMESPACE = "generals_env"

#: Bytes of the object store of a Ray that a session starts: some batches of each worker. Ray itself wants 75 MiB.
OBJECT_STORE = 512 * 2**20


def import_ray() -> Any:
    """Return the module ``ray``.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ImportError(f'ray: expected ray, got {error}: pip install "generals_env[ray]"') from None
    return ray


class RaySession:
    """A use of Ray by this process: of the one that runs already, or else of one that is started, on loopback only.

    The Ray that is started has no dashboard and sends no statistics of use. ``close`` ends it; a Ray that ran before stays.

    Attributes:
        started: Whether the session started Ray.
    """

    def __init__(self, actors: int = 1, object_store_bytes: int = OBJECT_STORE) -> None:
        """Join or start Ray.

        Args:
            actors: How many actors have to have room, in a Ray that is started: they may outnumber the cores.
            object_store_bytes: Memory of the object store, in a Ray that is started.

        Raises:
            ImportError: If Ray is not installed.
        """
        ray = import_ray()
        self._owner = Owner()
        self.started = not ray.is_initialized()
        if self.started:
            with without_statistics(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray warns of changes of its own settings to come, and of its open log files
                ray.init(
                    address="local",
                    num_cpus=max(available_cores(), actors + 1),
                    object_store_memory=object_store_bytes,
                    include_dashboard=False,
                    namespace=NAMESPACE,
                    logging_level=logging.WARNING,
                    _node_ip_address="127.0.0.1",
                )

    def close(self) -> None:
        """End the Ray that the session started."""
        if self.started and self._owner.is_here:
            self.started = False
            import_ray().shutdown()

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close the session."""
        self.close()


@contextmanager
def without_statistics() -> Iterator[None]:
    """Switch Ray's statistics of use off in the block: it reads the switch from the environment when it starts."""
    name = "RAY_USAGE_STATS_ENABLED"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def cause_of(error: Any) -> BaseException:
    """Return the exception that a method of an actor raised, from the one that Ray raised for it here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
