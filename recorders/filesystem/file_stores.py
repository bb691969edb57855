"""Stores files in a folder, on S3, or at another URL that fsspec supports; files appear whole or not at all."""

from __future__ import annotations

import datetime as dt
import errno
import logging
import os
import random
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

from generals_env.arguments import as_config
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file, unfinished_file
from generals_env.recorders.filesystem.disk_space import free_bytes
from generals_env.recorders.filesystem.file_lock import FileLock
from generals_env.recorders.filesystem.leftovers import leftovers_in, remove
from generals_env.recorders.filesystem.retry import Retry

__all__ = ["FileStore", "LocalStore", "RemoteStore", "Stored", "is_hidden", "is_url", "local_path", "open_store"]

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Seconds that a change of a file waits for changes by other processes.
PATIENCE = 30.0

#: Age from which a multipart upload counts as left over.
UPLOAD_AGE = dt.timedelta(days=1)

#: Between the key and the id of an upload.
UPLOAD = "?uploadId="

CHANGE_TRIES = 20  # of a file that other processes change at the same time

#: Seconds before the second try, and the maximum before later ones; a random share of it is waited, so that writers which met
#: once do not meet again.
CHANGE_WAIT, MAX_CHANGE_WAIT = 0.05, 1.0


class Stored(NamedTuple):
    """A file in a store."""

    name: str  # with ``/`` between folders
    size: int  # bytes


class FileStore(Protocol):
    """Interface of ``LocalStore`` and ``RemoteStore``. Names of files are relative, with ``/`` between folders.

    All methods raise ``StorageError`` when the disk or the network fails. A file is hidden if its name, or the name of one of
    its folders, begins with a dot.
    """

    url: str
    has_safe_change: bool  # whether ``change`` notices other processes

    def files(self, under: str = "", hidden: bool = False) -> Iterator[Stored]:
        """Yield all files below folder ``under``, in the order of their names; with ``hidden`` also hidden ones."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the content of a file, or bytes ``start`` to ``stop`` of it; ``FileNotFoundError`` if there is none."""

    def size(self, name: str) -> int:
        """Return the bytes of a file; ``FileNotFoundError`` if there is none."""

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, safe from a crash when this returns; ``FileExistsError`` if there is one of that name."""

    def change(self, name: str, function: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a file by what ``function`` returns for its content, None if there is no file; returning None deletes it.

        If another process changes it at the same time, one of them waits, or ``function`` is called again with the new content.
        """

    def replace(self, name: str, content: bytes) -> None:
        """Write or replace a file that no other process writes, safe from a crash when this returns."""

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""

    def free_bytes(self) -> int | None:
        """Return how many bytes can still be written, None if it is unknown."""

    def leftovers(self) -> list[str]:
        """Return the unfinished files and uploads that killed processes left: paths, or keys and ids of uploads."""

    def clear(self, leftovers: Iterable[str]) -> None:
        """Remove what ``leftovers`` returned; failures are logged."""


def is_hidden(name: str) -> bool:
    """Return whether the name of a file, or of one of its folders, begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def is_url(place: str) -> bool:
    """Return whether a string is a URL; ``C:/games`` is not."""
    return "://" in place


def open_store(place: str | Path, create: bool = False, retry: Retry | None = None, timeout: float = 30.0) -> FileStore:
    """Return the store at a path or URL.

    Args:
        place: A folder, ``file:///...``, ``s3://bucket/prefix``, or another URL that fsspec supports. Credentials come from the
            environment (``AWS_ACCESS_KEY_ID`` and so on; ``AWS_ENDPOINT_URL`` for another S3 server).
        create: Whether to make the folder, and check that it can be written.
        retry: How often requests over the network are tried.
        timeout: Seconds to wait for an answer of S3.

    Raises:
        ConfigError: If the URL is malformed, or holds a password.
        ImportError: Without the libraries that a URL needs (``pip install "generals_env[storage]"``).
        StorageError: If the place cannot be reached, or not be written.
    """
    place = local_path(place)
    if isinstance(place, str) and is_url(place):
        return RemoteStore(place, create, retry, timeout)
    return LocalStore(place, create)


def local_path(place: str | Path) -> str | Path:
    """Return the path of a ``file://`` URL; return other paths and URLs unchanged."""
    if not isinstance(place, str) or not place.startswith("file://"):
        return place
    path = place.removeprefix("file://")
    return path[1:] if sys.platform == "win32" and path[2:3] == ":" else path


class LocalStore:
    """Stores files in a folder.

    Attributes:
        url: The folder, as text.
        folder: The folder.
        has_safe_change: True: a lock keeps other processes from a file that is being changed.
    """

    has_safe_change = True

    def __init__(self, folder: str | Path, create: bool = False) -> None:
        """Use ``folder``; arguments and errors as of ``open_store``."""
        try:
            self.folder = Path(folder)
            self.url = str(folder)
            if create:
                make_folder(self.folder)
                with unfinished_file(self.folder, lambda file: file.write(b"")):
                    pass  # only to check that the folder can be written
        except (OSError, ValueError, TypeError) as error:  # a null byte is a ValueError
            raise StorageError(f"sink: expected a folder that can be written, got {str(folder)!r} ({error})") from error

    def files(self, under: str = "", hidden: bool = False) -> Iterator[Stored]:
        """Yield files below folder ``under``; see ``FileStore.files``."""
        with self._storage_errors(under):
            found = []
            for folder, folders, names in os.walk(self.folder / under, onerror=self._unless_absent):
                folders[:] = [name for name in folders if hidden or not name.startswith(".")]
                found += [Path(folder, name) for name in names if hidden or not name.startswith(".")]
            stored = [
                Stored(path.relative_to(self.folder).as_posix(), size) for path in found if (size := size_of(path)) is not None
            ]
        yield from sorted(stored)

    @staticmethod
    def _unless_absent(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the content of a file, or bytes ``start`` to ``stop`` of it; ``FileNotFoundError`` if there is none."""
        with self._storage_errors(name), (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)

    def size(self, name: str) -> int:
        """Return the bytes of a file; ``FileNotFoundError`` if there is none."""
        with self._storage_errors(name):
            return (self.folder / name).stat().st_size

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, safe from a crash when this returns; ``FileExistsError`` if there is one of that name."""
        path = self.folder / name
        with self._storage_errors(name):
            self._make_folders_of(path)
            with unfinished_file(path.parent, lambda file: file.write(content)) as unfinished:
                unfinished.create(path)

    def change(self, name: str, function: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a file; see ``FileStore.change``."""
        path = self.folder / name
        with self._storage_errors(name):
            self._make_folders_of(path)
            with FileLock(path.with_name(f".{path.name}.lock"), PATIENCE):
                new = function(path.read_bytes() if path.exists() else None)
                if new is None:
                    path.unlink(missing_ok=True)
                    return
                replace_file(path, lambda file: file.write(new))

    def replace(self, name: str, content: bytes) -> None:
        """Write or replace a file that no other process writes, safe from a crash when this returns."""
        self.change(name, lambda _: content)

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""
        with self._storage_errors(name):
            (self.folder / name).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return how many bytes can still be written to the disk."""
        return free_bytes(self.folder)

    def leftovers(self) -> list[str]:
        """Return the unfinished files and folders that no process owns."""
        return [str(path) for path in leftovers_in(self.folder)]

    def clear(self, leftovers: Iterable[str]) -> None:
        """Remove files and folders that ``leftovers`` returned."""
        remove(map(Path, leftovers))

    def _make_folders_of(self, path: Path) -> None:
        """Make the folders of a file, but not the store's own: if that is gone, its disk may be unmounted."""
        if not self.folder.is_dir():
            raise StorageError(
                f"sink: expected to write to {self.url!r}, got a folder that is gone: mount its disk, or make it again"
            )
        try:
            make_folder(path.parent)
        except FileExistsError as error:  # callers would take it for a file of the name that they chose
            shown = str(path.parent)
            raise StorageError(
                f"sink: expected a folder, got the file {shown!r}: remove it, or choose another folder"
            ) from error

    @contextmanager
    def _storage_errors(self, name: str) -> Iterator[None]:
        """Turn errors of the file system into ``StorageError``."""
        try:
            yield
        except (FileExistsError, FileNotFoundError, StorageError):
            raise
        except (OSError, ValueError) as error:  # a null byte is a ValueError
            raise StorageError(f"{self.folder / name}: expected a file that can be read and written, got {error}") from error


def size_of(path: Path) -> int | None:
    """Return the bytes of a file, None if there is no such file."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


class RemoteStore:
    """Stores files at a URL, by means of fsspec. Each file is one request, so it appears whole.

    Attributes:
        url: The URL.
        retry: How often requests are tried.
        has_safe_change: Whether the store has conditional writes: only on S3.
    """

    def __init__(self, url: str, create: bool = False, retry: Retry | None = None, timeout: float = 30.0) -> None:
        """Use ``url``; arguments and errors as of ``open_store``."""
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ConfigError(
                "sink: expected a URL without a password, got one: set AWS_ACCESS_KEY_ID and so on in the environment"
            )
        self.url = url.rstrip("/")
        self.retry = as_config("retry", Retry, retry, Retry())
        self.timeout = timeout
        self._s3 = self.has_safe_change = parts.scheme == "s3"
        self._connection: tuple[int, Any] = (-1, None)
        self.root = self._try("", lambda: self._fs._strip_protocol(self.url))
        if create:
            self._try("", self._reach)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without the connection."""
        return {**self.__dict__, "_connection": (-1, None)}

    @property
    def _fs(self) -> Any:
        """The file system of fsspec: one a process, as connections do not survive a fork."""
        if self._connection[0] != os.getpid():
            try:
                import fsspec

                options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
                if self._s3:
                    # ``retry`` waits and tries again, not botocore.
                    timeouts = {"connect_timeout": self.timeout, "read_timeout": self.timeout}
                    options["config_kwargs"] = {**timeouts, "retries": {"total_max_attempts": 1}}
                fs = fsspec.filesystem(urlsplit(self.url).scheme, **options)
            except ImportError as error:
                raise ImportError(
                    f'sink: expected the libraries that {self.url!r} needs, got {error}: pip install "generals_env[storage]"'
                ) from None
            if self._s3:
                fs.retries = 1
            self._connection = (os.getpid(), fs)
        return self._connection[1]

    def _reach(self) -> None:
        if self._s3:
            self._fs.call_s3("head_bucket", Bucket=self.root.split("/")[0])

    def files(self, under: str = "", hidden: bool = False) -> Iterator[Stored]:
        """Yield files below folder ``under``; see ``FileStore.files``."""
        found = self._try(under, lambda: self._fs.find(self._path(under), detail=True))
        for path, information in sorted(found.items()):
            name = path[len(self.root) :].lstrip("/")
            if hidden or not is_hidden(name):
                yield Stored(name, int(information["size"]))

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the content of a file, or bytes ``start`` to ``stop`` of it; ``FileNotFoundError`` if there is none."""
        whole = start == 0 and stop is None
        span = {} if whole else {"start": start, "end": stop}
        return bytes(self._try(name, lambda: self._fs.cat_file(self._path(name), **span)))

    def size(self, name: str) -> int:
        """Return the bytes of a file; ``FileNotFoundError`` if there is none."""
        return int(self._try(name, lambda: self._fs.info(self._path(name)))["size"])

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, safe from a crash when this returns; ``FileExistsError`` if there is one of that name."""

        def send() -> None:
            try:
                self._send(name, content)
            except FileExistsError:
                # A try before this one may have written it, if its answer was lost.
                if self._fs.cat_file(self._path(name)) != content:
                    raise

        self._try(name, send)

    def _send(self, name: str, content: bytes) -> None:
        if self._s3:
            self._fs.pipe_file(self._path(name), content, mode="create")
        elif self._fs.exists(self._path(name)):
            raise FileExistsError(errno.EEXIST, "expected no such file", name)
        else:
            self._fs.pipe_file(self._path(name), content)

    def change(self, name: str, function: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a file; see ``FileStore.change``. Only S3 notices another writer at the same moment."""
        path = self._path(name)
        for attempt in range(CHANGE_TRIES):
            if self._try(name, lambda: self._changed(path, function)):
                return
            wait = min(CHANGE_WAIT * 2**attempt, MAX_CHANGE_WAIT)
            self.retry.sleep(random.uniform(0, wait))  # noqa: S311 - no secret
        raise StorageError(
            f"{self.url}/{name}: expected to replace it within {CHANGE_TRIES} tries, got other writers each time: "
            "call again when fewer processes write there"
        )

    def _changed(self, path: str, function: Callable[[bytes | None], bytes | None]) -> bool:
        """Replace a file, and return True; return False if another writer replaced it in the meantime."""
        tag, old = None, None
        try:
            tag = self._fs.info(path).get("ETag")
            old = self._fs.cat_file(path)
        except FileNotFoundError:
            tag = None
        new = function(old)
        if new == old:
            return True
        if not self._s3:
            self._fs.rm_file(path) if new is None else self._fs.pipe_file(path, new)
            return True
        bucket, _, key = path.partition("/")
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            if new is None:
                self._fs.call_s3("delete_object", Bucket=bucket, Key=key, **condition)
            else:
                self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=new, **condition)
        except FileNotFoundError:  # 404: another writer has deleted the file
            if tag is None:  # there is no such bucket
                raise
            return False
        except OSError as error:  # 412: another writer has replaced the file
            if isinstance(error, FileExistsError) or error.errno == errno.EINVAL:
                return False
            raise
        return True

    def replace(self, name: str, content: bytes) -> None:
        """Write or replace a file that no other process writes, safe from a crash when this returns."""
        self._try(name, lambda: self._fs.pipe_file(self._path(name), content))

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""
        try:
            self._try(name, lambda: self._fs.rm_file(self._path(name)))
        except FileNotFoundError:
            return

    def free_bytes(self) -> None:
        """Return None: the free space is unknown."""

    def leftovers(self) -> list[str]:
        """Return the keys and ids of multipart uploads that began a day ago or earlier and are not completed; only on S3."""
        if not self._s3:
            return []
        bucket, _, prefix = str(self.root).partition("/")
        found: list[str] = []
        marker: dict[str, str] = {}
        while True:
            request = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", **marker}
            try:
                page = self._try("", partial(self._fs.call_s3, "list_multipart_uploads", **request))
            except StorageError as error:  # listing them needs a permission of its own
                logger.warning("unfinished uploads are not listed: %s", error)
                return []
            before = dt.datetime.now(dt.UTC) - UPLOAD_AGE
            uploads = page.get("Uploads", [])
            found += [f"{bucket}/{one['Key']}{UPLOAD}{one['UploadId']}" for one in uploads if one["Initiated"] <= before]
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def clear(self, leftovers: Iterable[str]) -> None:
        """Abort uploads that ``leftovers`` returned, so that S3 deletes their parts, which cost as much as files."""
        for one in leftovers:
            path, _, upload = one.rpartition(UPLOAD)
            bucket, _, key = path.partition("/")
            try:
                self._try(key, partial(self._fs.call_s3, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload))
            except (StorageError, FileNotFoundError) as error:
                logger.warning("%s: left over, and could not be aborted: %s", one, error)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else str(self.root)

    def _try(self, name: str, function: Callable[[], Result]) -> Result:
        """Call a function, with retries, and turn the last error into a ``StorageError``."""
        where = f"{self.url}/{name}" if name else self.url
        try:
            return self.retry.call(where, function)
        except (FileExistsError, FileNotFoundError) as error:
            if name:
                raise
            raise StorageError(f"{where}: expected a bucket and folder that exist, got {error}") from error
        except (ImportError, ConfigError, StorageError):
            raise
        except Exception as error:
            # The libraries below raise errors of many classes.
            raise StorageError(f"{where}: expected to be reached, got {type(error).__name__}: {error}") from error
