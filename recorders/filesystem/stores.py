"""Places for whole files: a folder, or S3 and whatever else fsspec reaches. Nothing appears in them before it is whole."""

from __future__ import annotations

import datetime as dt
import errno
import logging
import os
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

#: How long a change of one file waits for those of others, in seconds.
PATIENCE = 30.0

#: Age of an upload in parts that its process does not go on with; between key and id of an upload.
UPLOAD_AGE = dt.timedelta(days=1)
UPLOAD = "?uploadId="

CHANGE_TRIES = 20  # of a file that many change at once


class Stored(NamedTuple):
    """A file in a store."""

    name: str  # with ``/`` between folders
    size: int  # bytes


class FileStore(Protocol):
    """What ``LocalStore`` and ``RemoteStore`` have in common. Names are relative, with ``/`` between folders.

    All raise ``StorageError`` when the place fails. Files are hidden whose names, or whose folders' names, begin with a dot.
    """

    url: str

    def files(self, under: str = "", hidden: bool = False) -> Iterator[Stored]:
        """Yield all files below folder ``under``, in the order of their names; ``hidden`` files, too, if that is True."""

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return the content of a file, or bytes ``start`` to ``stop`` of it; ``FileNotFoundError`` if there is none."""

    def size(self, name: str) -> int:
        """Return the bytes of a file; ``FileNotFoundError`` if there is none."""

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, safe from a crash when this returns; ``FileExistsError`` if there is one of that name."""

    def change(self, name: str, function: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a file, of which there may be none, by what ``function`` makes of its content; None deletes it.

        Others who change it at the same time wait, or ``function`` is called once more with what they wrote.
        """

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""

    def free_bytes(self) -> int | None:
        """Return how much room there is, None if nobody knows."""

    def leftovers(self) -> list[str]:
        """Return what killed processes have left unfinished: paths, or keys and numbers of uploads."""

    def clear(self, leftovers: Iterable[str]) -> None:
        """Remove what ``leftovers`` gave; what cannot be removed is logged."""


def is_hidden(name: str) -> bool:
    """Return whether the name of a file, or of one of its folders, begins with a dot."""
    return any(part.startswith(".") for part in name.split("/"))


def is_url(place: str) -> bool:
    """Return whether a place is a URL: ``C:/games`` is none."""
    return "://" in place


def open_store(place: str | Path, create: bool = False, retry: Retry | None = None, timeout: float = 30.0) -> FileStore:
    """Return the store at a path or URL.

    Args:
        place: A folder, ``file:///...``, ``s3://bucket/prefix``, or another URL that fsspec knows. Whoever may read or write is
            known from the environment (``AWS_ACCESS_KEY_ID`` and so on; ``AWS_ENDPOINT_URL`` for another server of S3).
        create: Whether to make it, and make sure that it can be written.
        retry: For what goes over the network.
        timeout: Seconds to wait for an answer of S3.

    Raises:
        ConfigError: If the URL is none, or holds a password.
        ImportError: Without what a URL needs (``pip install "generals_env[storage]"``).
        StorageError: If the place cannot be reached, or not be written.
    """
    place = local_path(place)
    if isinstance(place, str) and is_url(place):
        return RemoteStore(place, create, retry, timeout)
    return LocalStore(place, create)


def local_path(place: str | Path) -> str | Path:
    """Return the path that a URL ``file://`` tells; other places stay as they are."""
    if not isinstance(place, str) or not place.startswith("file://"):
        return place
    path = place.removeprefix("file://")
    return path[1:] if sys.platform == "win32" and path[2:3] == ":" else path


class LocalStore:
    """A folder.

    Attributes:
        url: The folder, as text.
        folder: The folder.
    """

    def __init__(self, folder: str | Path, create: bool = False) -> None:
        """Use ``folder``; arguments and errors as in ``open_store``."""
        try:
            self.folder = Path(folder)
            self.url = str(folder)
            if create:
                make_folder(self.folder)
                with unfinished_file(self.folder, lambda file: file.write(b"")):
                    pass  # it can be written
        except (OSError, ValueError, TypeError) as error:  # a null byte is a ValueError
            raise StorageError(f"sink: expected a folder that can be written, got {str(folder)!r} ({error})") from error

    def files(self, under: str = "", hidden: bool = False) -> Iterator[Stored]:
        """Yield files below folder ``under``; see ``FileStore.files``."""
        with self._telling(under):
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
        with self._telling(name), (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read() if stop is None else file.read(stop - start)

    def size(self, name: str) -> int:
        """Return the bytes of a file; ``FileNotFoundError`` if there is none."""
        with self._telling(name):
            return (self.folder / name).stat().st_size

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, safe from a crash when this returns; ``FileExistsError`` if there is one of that name."""
        path = self.folder / name
        with self._telling(name):
            self._make_room_for(path)
            with unfinished_file(path.parent, lambda file: file.write(content)) as unfinished:
                unfinished.create(path)

    def change(self, name: str, function: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a file; see ``FileStore.change``."""
        path = self.folder / name
        with self._telling(name):
            self._make_room_for(path)
            with FileLock(path.with_name(f".{path.name}.lock"), PATIENCE):
                new = function(path.read_bytes() if path.exists() else None)
                if new is None:
                    path.unlink(missing_ok=True)
                    return
                replace_file(path, lambda file: file.write(new))

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""
        with self._telling(name):
            (self.folder / name).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        return free_bytes(self.folder)

    def leftovers(self) -> list[str]:
        """Return the unfinished files and folders that no process owns."""
        return [str(path) for path in leftovers_in(self.folder)]

    def clear(self, leftovers: Iterable[str]) -> None:
        """Remove files and folders that ``leftovers`` gave."""
        remove(map(Path, leftovers))

    def _make_room_for(self, path: Path) -> None:
        """Make the folders of a file, but not the store's own: where that is gone, a disk may be."""
        if not self.folder.is_dir():
            raise StorageError(f"sink: expected to write to {self.url!r}, got a folder that is gone")
        try:
            make_folder(path.parent)
        except FileExistsError as error:  # which would tell callers that there is a file of the name that they chose
            raise StorageError(f"sink: expected a folder, got {str(path.parent)!r}, which is none") from error

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Make a ``StorageError`` of what the file system raises."""
        try:
            yield
        except (FileExistsError, FileNotFoundError, StorageError):
            raise
        except (OSError, ValueError) as error:  # a null byte is a ValueError
            raise StorageError(f"{self.folder / name}: expected a place that can be read and written, got {error}") from error


def size_of(path: Path) -> int | None:
    """Return the bytes of a file, None if there is no such file, or no longer."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


class RemoteStore:
    """A place that fsspec reaches. Files are sent whole, which is what makes them appear whole.

    Attributes:
        url: Its URL.
        retry: How often what fails is tried.
    """

    def __init__(self, url: str, create: bool = False, retry: Retry | None = None, timeout: float = 30.0) -> None:
        """Use the place at ``url``; arguments and errors as in ``open_store``."""
        parts = urlsplit(url)
        if "@" in parts.netloc:
            raise ConfigError("sink: expected a URL without a password: who may write is known from the environment")
        self.url = url.rstrip("/")
        self.retry = as_config("retry", Retry, retry, Retry())
        self.timeout = timeout
        self._s3 = parts.scheme == "s3"
        self._connection: tuple[int, Any] = (-1, None)
        self.root = self._try("", lambda: self._fs._strip_protocol(self.url))
        if create:
            self._try("", self._reach)

    def __getstate__(self) -> dict[str, Any]:
        """Return what to pickle: no connection."""
        return {**self.__dict__, "_connection": (-1, None)}

    @property
    def _fs(self) -> Any:
        """The file system: one a process, as connections do not outlive a fork."""
        if self._connection[0] != os.getpid():
            try:
                import fsspec

                options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
                if self._s3:
                    # Waiting and trying again is ours.
                    timeouts = {"connect_timeout": self.timeout, "read_timeout": self.timeout}
                    options["config_kwargs"] = {**timeouts, "retries": {"total_max_attempts": 1}}
                fs = fsspec.filesystem(urlsplit(self.url).scheme, **options)
            except ImportError as error:
                raise ImportError(
                    f'sink: expected what {self.url!r} needs, got {error}: pip install "generals_env[storage]"'
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
        part = {} if whole else {"start": start, "end": stop}
        return bytes(self._try(name, lambda: self._fs.cat_file(self._path(name), **part)))

    def size(self, name: str) -> int:
        """Return the bytes of a file; ``FileNotFoundError`` if there is none."""
        return int(self._try(name, lambda: self._fs.info(self._path(name)))["size"])

    def create(self, name: str, content: bytes) -> None:
        """Write a new file, safe from a crash when this returns; ``FileExistsError`` if there is one of that name."""

        def send() -> None:
            try:
                self._send(name, content)
            except FileExistsError:
                # It may be ours: that of a try whose answer was lost, of which libraries do not always tell.
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
        """Replace a file; see ``FileStore.change``. Stores other than S3 do not notice another writer at the same moment."""
        path = self._path(name)
        for _ in range(CHANGE_TRIES):
            if self._try(name, lambda: self._changed(path, function)):
                return
        raise StorageError(f"{self.url}/{name}: expected to replace it within {CHANGE_TRIES} tries, got others who do the same")

    def _changed(self, path: str, function: Callable[[bytes | None], bytes | None]) -> bool:
        """Replace a file, unless somebody else did so in the meantime: then return False."""
        tag, old = None, None
        if self._fs.exists(path):
            tag = self._fs.info(path).get("ETag")
            old = self._fs.cat_file(path)
        new = function(old)
        if new is None:
            if old is not None:
                self._fs.rm_file(path)
            return True
        if not self._s3:
            self._fs.pipe_file(path, new)
            return True
        bucket, _, key = path.partition("/")
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        try:
            self._fs.call_s3("put_object", Bucket=bucket, Key=key, Body=new, **condition)
        except OSError as error:  # 412: the file is another one by now
            if isinstance(error, FileExistsError) or error.errno == errno.EINVAL:
                return False
            raise
        return True

    def delete(self, name: str) -> None:
        """Delete a file; do nothing if there is none."""
        try:
            self._try(name, lambda: self._fs.rm_file(self._path(name)))
        except FileNotFoundError:
            return

    def free_bytes(self) -> None:
        """Return None: nobody knows."""

    def leftovers(self) -> list[str]:
        """Return the keys and ids of uploads in parts that were begun a day ago or earlier and not ended; none but on S3."""
        if not self._s3:
            return []
        bucket, _, prefix = str(self.root).partition("/")
        found: list[str] = []
        marker: dict[str, str] = {}
        while True:
            asked = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else "", **marker}
            try:
                page = self._try("", partial(self._fs.call_s3, "list_multipart_uploads", **asked))
            except StorageError as error:  # to list them is a permission of its own
                logger.warning("uploads that were not ended are not told of: %s", error)
                return []
            before = dt.datetime.now(dt.UTC) - UPLOAD_AGE
            uploads = page.get("Uploads", [])
            found += [f"{bucket}/{one['Key']}{UPLOAD}{one['UploadId']}" for one in uploads if one["Initiated"] <= before]
            if not page.get("IsTruncated"):
                return found
            marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def clear(self, leftovers: Iterable[str]) -> None:
        """End uploads that ``leftovers`` gave: S3 deletes their parts, which cost as much as files."""
        for one in leftovers:
            path, _, upload = one.rpartition(UPLOAD)
            bucket, _, key = path.partition("/")
            try:
                self._try(key, partial(self._fs.call_s3, "abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload))
            except (StorageError, FileNotFoundError) as error:
                logger.warning("%s: left over, and could not be ended: %s", one, error)

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}" if name else str(self.root)

    def _try(self, name: str, function: Callable[[], Result]) -> Result:
        """Call a function, again if need be, and make a ``StorageError`` of what it raises at last."""
        place = f"{self.url}/{name}" if name else self.url
        try:
            return self.retry.call(place, function)
        except (FileExistsError, FileNotFoundError) as error:
            if name:
                raise
            raise StorageError(f"{place}: expected a place that is there, got {error}") from error
        except (ImportError, ConfigError, StorageError):
            raise
        except Exception as error:
            # Libraries of the network raise what they like.
            raise StorageError(f"{place}: expected to be reached, got {type(error).__name__}: {error}") from error
