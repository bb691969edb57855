"""Starts Ray for the tests of a module: on loopback, without dashboard and statistics of use, in a folder of its own."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator

import pytest

__all__ = ["ray_session"]

# Read when ray is imported. Without it Ray listens on every interface: findings/ray_leaves_loopback.sh
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """Run Ray; its processes are gone afterwards."""
    ray = pytest.importorskip("ray", reason='ray is not installed: pip install "generals_env[ray]"')
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ray") as folder:  # short: sockets lie in it
        patch.setenv("HOME", folder)  # it writes a token there
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(
                num_cpus=8,  # more actors than cores: they mostly wait
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                object_store_memory=200_000_000,
                log_to_driver=False,
                logging_level="error",
                _temp_dir=folder,
            )
        assert ray.nodes()[0]["NodeManagerAddress"] == "127.0.0.1"
        yield
        ray.shutdown()
