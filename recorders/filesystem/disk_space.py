"""What is to be known of the disk under a folder: how much is free, and whether it is a disk or a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from generals_env.errors import StorageError

__all__ = ["free_bytes", "network_kind"]

#: File systems whose files lie on other machines, as Linux and macOS call them. FUSE puts its own name before.
NETWORK_KINDS = frozenset(
    ("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "davfs2", "gcsfuse", "glusterfs", "gpfs", "lustre", "moosefs")
    + ("ncpfs", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "rclone", "s3fs", "smb3", "smbfs", "sshfs", "webdav", "wekafs")
)

DRIVE_REMOTE = 4  # of GetDriveTypeW in Windows


def free_bytes(path: str | Path) -> int:
    """Return how many bytes can still be written to the disk of ``path``.

    Raises:
        StorageError: If there is no such place.
    """
    try:
        return shutil.disk_usage(path).free
    except OSError as error:
        raise StorageError(f"path: expected a place on a disk, got {str(path)!r} ({error})") from error


def network_kind(path: str | Path) -> str | None:
    """Return the kind of network file system that ``path`` lies on, such as ``nfs4``; None for a disk, and where none can tell.

    Args:
        path: A place that is there.
    """
    place = Path(path).resolve()
    if sys.platform == "win32":
        import ctypes

        remote = place.drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(place.anchor) == DRIVE_REMOTE
        return "a network drive" if remote else None
    if sys.platform == "darwin":
        told = subprocess.run(["/sbin/mount"], capture_output=True, check=True).stdout
        return network_kind_of(place, mac_mounts(told))
    mounts = Path("/proc/self/mountinfo")
    return network_kind_of(place, linux_mounts(mounts.read_bytes())) if mounts.exists() else None


def network_kind_of(path: PurePath, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Return the kind of what is mounted where ``path`` lies, if that is a network.

    Args:
        path: An absolute path without links.
        mounts: Where something is mounted and its kind, in the order of mounting: what comes later hides what lies below.
    """
    found, depth = "", -1
    for place, kind in mounts:
        parts = len(PurePosixPath(place).parts)
        if parts >= depth and path.is_relative_to(place):
            found, depth = kind, parts
    return found if found.removeprefix("fuse.").removeprefix("macfuse.") in NETWORK_KINDS else None


def linux_mounts(text: bytes) -> list[tuple[str, str]]:
    """Return the mounts in the text of ``/proc/self/mountinfo`` (see proc_pid_mountinfo(5))."""
    mounts = []
    for line in text.decode(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after:
            place = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
            mounts.append((place, after.split(" ")[0]))
    return mounts


def mac_mounts(text: bytes) -> list[tuple[str, str]]:
    """Return the mounts in what ``mount`` prints on macOS."""
    return re.findall(r"^.+? on (/.*) \((\w+)[,)]", text.decode(errors="surrogateescape"), re.MULTILINE)
