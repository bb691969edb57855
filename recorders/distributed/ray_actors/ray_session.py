"""Joins the Ray of a program, or starts one on this machine that ends with its session."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from generals_env.concurrency.process_owner import Owner
from generals_env.concurrency.thread_pool import available_cores
from generals_env.errors import StateError

__all__ = ["NAMESPACE", "RaySession", "cause_of", "import_ray", "running_ray"]

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


def running_ray(name: str) -> Any:
    """Return the module ``ray``; Ray itself would start another cluster with the first call after its end.

    Args:
        name: What is called, for the message.

    Raises:
        StateError: If Ray does not run in this process.
    """
    ray = import_ray()
    if not ray.is_initialized():
        raise StateError(f"{name}: expected the Ray in which it was made, got one that has ended: make a new one")
    return ray


class RaySession:
    """A use of Ray by this process: of the one that runs already, or else of one that is started, on loopback only.

    The Ray that is started has no dashboard and sends no statistics of use. ``close`` ends it; a Ray that ran before stays.

    Attributes:
        started: Whether the session started Ray.
    """

    def __init__(
        self,
        min_cpus: int = 1,
        object_store_bytes: int = OBJECT_STORE,
        *,
        folder: str | Path | None = None,
        log_to_driver: bool = True,
    ) -> None:
        """Join or start Ray.

        Args:
            min_cpus: Minimum number of CPUs that a Ray is started with, if its actors hold more than there are cores. By
                default actors hold none while they run.
            object_store_bytes: Memory of the object store, in a Ray that is started.
            folder: Where a Ray that is started keeps its logs and sockets, with a short path; by default ``/tmp/ray``.
            log_to_driver: Whether a Ray that is started prints here what its workers print.

        Raises:
            ImportError: If Ray is not installed.
        """
        ray = import_ray()
        self._owner = Owner()
        self.started = not ray.is_initialized()
        if self.started:
            with on_loopback(ray), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Ray warns of changes of its own settings to come, and of its open log files
                ray.init(
                    address="local",
                    num_cpus=max(available_cores(), min_cpus),
                    object_store_memory=object_store_bytes,
                    include_dashboard=False,
                    namespace=NAMESPACE,
                    log_to_driver=log_to_driver,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=None if folder is None else str(folder),
                )

    def close(self) -> None:
        """End the Ray that the session started."""
        if self.started and self._owner.is_here:
            self.started = False
            ray = import_ray()
            processes = [info.process for infos in ray._private.worker._global_node.all_processes.values() for info in infos]
            ray.shutdown()
            for process in processes:  # Ray kills them without waiting; Python warns of objects of processes that may still run
                process.wait()

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(self, *details: object) -> None:
        """Close the session."""
        self.close()


@contextmanager
def on_loopback(ray: Any) -> Iterator[None]:
    """Let Ray start on the loopback interface in the block, without statistics of use.

    On Linux, Ray replaces 127.0.0.1 by an address that other machines reach, and its servers listen on all interfaces, unless
    it believes to be on a system on which it supports no clusters. It reads both switches from the environment when it is
    imported, and so do its processes.
    """
    switches = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    before = {name: os.environ.get(name) for name in switches}
    constants = ray._private.ray_constants
    clusters = constants.ENABLE_RAY_CLUSTER
    os.environ.update(switches)
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = clusters
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def cause_of(error: Any) -> BaseException:
    """Return the exception that a method of an actor raised, from the one that Ray raised for it here."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
