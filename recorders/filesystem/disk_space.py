"""Tells how much space is free on the disk of a folder, and whether it is a network file system."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from generals_env.errors import StorageError

__all__ = ["free_bytes", "network_kind"]

#: Network file systems, by their names on Linux and macOS. FUSE puts a prefix before them.
NETWORK_KINDS = frozenset(
    ("9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "davfs2", "gcsfuse", "glusterfs", "gpfs", "lustre", "moosefs")
    + ("ncpfs", "nfs", "nfs4", "orangefs", "panfs", "pvfs2", "rclone", "s3fs", "smb3", "smbfs", "sshfs", "webdav", "wekafs")
)

DRIVE_REMOTE = 4  # of GetDriveTypeW in Windows


def free_bytes(path: str | Path) -> int:
    """Return how many bytes can still be written to the disk of ``path``.

    Raises:
        StorageError: If there is no such path.
    """
    try:
        return shutil.disk_usage(path).free
    except OSError as error:
        raise StorageError(f"path: expected an existing folder or file, got {str(path)!r} ({error})") from error


def network_kind(path: str | Path) -> str | None:
    """Return the kind of network file system of ``path``, for example ``nfs4``; None on a disk, and where it is unknown.

    Args:
        path: An existing folder or file.
    """
    resolved = Path(path).resolve()
    if sys.platform == "win32":
        import ctypes

        remote = resolved.drive.startswith("\\\\") or ctypes.windll.kernel32.GetDriveTypeW(resolved.anchor) == DRIVE_REMOTE
        return "a network drive" if remote else None
    if sys.platform == "darwin":
        printed = subprocess.run(["/sbin/mount"], capture_output=True, check=True).stdout
        return network_kind_of(resolved, mac_mounts(printed))
    mounts = Path("/proc/self/mountinfo")
    return network_kind_of(resolved, linux_mounts(mounts.read_bytes())) if mounts.exists() else None


def network_kind_of(path: PurePath, mounts: Iterable[tuple[str, str]]) -> str | None:
    """Return the kind of the file system of ``path`` if it is a network file system, else None.

    Args:
        path: An absolute path without links.
        mounts: Mount points and kinds of file systems, in the order of mounting: later ones hide earlier ones.
    """
    found, depth = "", -1
    for mount_point, kind in mounts:
        parts = len(PurePosixPath(mount_point).parts)
        if parts >= depth and path.is_relative_to(mount_point):
            found, depth = kind, parts
    return found if found.removeprefix("fuse.").removeprefix("macfuse.") in NETWORK_KINDS else None


def linux_mounts(text: bytes) -> list[tuple[str, str]]:
    """Return the mounts in the text of ``/proc/self/mountinfo`` (see proc_pid_mountinfo(5))."""
    mounts = []
    for line in text.decode(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        if after:
            mount_point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split(" ")[4])
            mounts.append((mount_point, after.split(" ")[0]))
    return mounts


def mac_mounts(text: bytes) -> list[tuple[str, str]]:
    """Return the mounts in the text that ``mount`` prints on macOS."""
    return re.findall(r"^.+? on (/.*) \((\w+)[,)]", text.decode(errors="surrogateescape"), re.MULTILINE)
