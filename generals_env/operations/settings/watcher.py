"""Watches the file of settings, and applies changes of the keys that need no restart.

Watched are the folders of the file and of all symbolic links on the way to it, so that a replaced file and a swapped link of a
Kubernetes ConfigMap are seen. The file is also read once a second, as network file systems report no changes. It is loaded when
it has been the same for a short time, since editors write in several steps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from generals_env.errors import ConfigError
from generals_env.operations.settings.keys import apply_live, changed_keys
from generals_env.operations.settings.models import Settings
from generals_env.operations.settings.yaml_reader import MAX_BYTES

try:
    import watchfiles
except ImportError as error:
    raise ImportError(f'settings: expected watchfiles, got {error}: pip install "generals_env[settings]"') from None

__all__ = ["OnChange", "SettingsWatcher"]

#: Called with the settings before and after, and the changed keys.
OnChange = Callable[[Settings, Settings, tuple[str, ...]], None]

POLL = 1.0  # seconds between readings of the file without an event
SETTLE = 0.2  # seconds for which the file must stay the same before it is loaded
GROUP = 50  # milliseconds without an event that end a group of them
MAX_GROUP = 400  # milliseconds of the longest group

#: Content, time of modification and inode of the file; None if it cannot be read.
State = tuple[bytes, int, int] | None


class SettingsWatcher:
    """Loads the settings again when their file changes.

    A change is loaded and validated. Keys that need no restart take effect: ``on_change`` gets the settings before and after.
    Changes of other keys are kept back and reported to ``on_restart``. If the file is invalid, half-written, empty or missing,
    the settings stay and ``on_error`` gets the error, once. All three are called by the thread of the watcher.

    Attributes:
        path: The file.
    """

    def __init__(
        self,
        path: str | Path,
        load: Callable[[], Settings],
        on_change: OnChange | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_restart: Callable[[tuple[str, ...]], None] | None = None,
        *,
        settings: Settings | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """Prepare a watcher; ``start`` starts its thread.

        Args:
            path: The file of settings.
            load: Loads and validates the settings, and raises ``ConfigError``; usually ``load_settings`` with its arguments.
            on_change: First callback for changes; ``subscribe`` adds more.
            on_error: Gets errors of loading, after which the settings stay as they are.
            on_restart: Gets the keys whose change needs a restart, when they are other ones than before.
            settings: Settings that are in effect; None loads them now.
            on_failure: Gets errors of watching, and those that callbacks raise; None passes them to ``on_error``.

        Raises:
            ConfigError: If ``settings`` is None and the settings are invalid.
        """
        self.path = Path(os.path.abspath(path))  # noqa: PTH100 - ``resolve`` would follow the links that are watched
        self._load = load
        self._callbacks = [] if on_change is None else [on_change]
        self._on_error, self._on_restart = on_error, on_restart
        self._on_failure = on_error if on_failure is None else on_failure
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="settings-watcher", daemon=True)
        # Read before loading: a change in between is loaded again, instead of being missed.
        self._state = self._read()
        self._settings = load() if settings is None else settings
        if settings is not None:
            self._state = None  # the file may have changed since they were loaded
        self._pending: tuple[str, ...] = ()
        self._refused = ""  # text of the last error of loading, until settings are valid
        self._watch_failed = False

    @property
    def settings(self) -> Settings:
        """The settings that are in effect."""
        with self._lock:
            return self._settings

    @property
    def pending(self) -> tuple[str, ...]:
        """Keys that differ in the file and need a restart."""
        with self._lock:
            return self._pending

    def subscribe(self, on_change: OnChange) -> None:
        """Add a callback for changes."""
        with self._lock:
            self._callbacks.append(on_change)

    def start(self) -> SettingsWatcher:
        """Start the thread, and return the watcher."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop the thread and wait for it; a callback may call this, too."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def __enter__(self) -> SettingsWatcher:
        """Start the thread."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop the thread."""
        self.stop()

    def _run(self) -> None:
        """Wait for events, and read the file after each and once a second, until asked to stop."""
        while not self._stop.is_set():
            try:
                self._watch()
                continue
            except FileNotFoundError:  # no folder to watch: that the file is missing is reported below
                pass
            except (OSError, RuntimeError) as error:  # for example the system has no watch left
                if not self._watch_failed:
                    self._watch_failed = True
                    text = f"{self.path}: expected to watch its folder, got {error}: it is read once a second"
                    report(self._on_failure, ConfigError(text))
            self._check()
            self._stop.wait(POLL)

    def _watch(self) -> None:
        """Read the file after events, until asked to stop or until the folders to watch are other ones."""
        folders = self.folders()
        events = watchfiles.watch(
            *folders,
            watch_filter=None,
            debounce=MAX_GROUP,
            step=GROUP,
            stop_event=self._stop,
            rust_timeout=int(POLL * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
        )
        self._check()  # the file may have changed before the watch began
        with closing(events):
            for _ in events:
                self._check()
                if self.folders() != folders:
                    return

    def folders(self) -> dict[str, int]:
        """Return the folders of the file and of the links on the way to it, with their inodes."""
        folders: set[Path] = set()
        waiting, seen = [self.path], set()
        while waiting:
            path = waiting.pop()
            if path in seen:  # also ends at links that form a circle
                continue
            seen.add(path)
            folders.add(path.parent)
            for link in (path, *path.parents):
                with suppress(OSError):  # it is no link, or was removed
                    target = link.parent / link.readlink()
                    folders.add(link.parent)
                    waiting.append(Path(os.path.normpath(target / path.relative_to(link))))
        found = {}
        for folder in folders:
            with suppress(OSError):
                found[str(folder)] = folder.stat().st_ino
        if not found:
            raise FileNotFoundError(f"no folder {self.path.parent}")
        return found

    def _read(self) -> State:
        """Return content, time and inode of the file, or None if it cannot be read."""
        try:
            if not self.path.is_file():  # opening a pipe would wait for a writer
                return None
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                return file.read(MAX_BYTES + 1), status.st_mtime_ns, status.st_ino
        except OSError:
            return None

    def _check(self) -> None:
        """Load the file if it is another one than at the last call and has settled."""
        state = self._read()
        if state == self._state:
            return
        while not self._stop.wait(SETTLE):
            before, state = state, self._read()
            if state == before:
                break
        else:
            return
        self._state = state
        if state is None or not state[0].strip():  # an empty file is one that is being written
            got = "none" if state is None else "an empty one"
            self._refuse(ConfigError(f"{self.path}: expected a file of settings, got {got}: write it again"))
            return
        try:
            wanted = self._load()
        except Exception as error:  # a fault in a check must not end the watch
            self._refuse(error)
            return
        self._refused = ""
        self._apply(wanted)

    def _apply(self, wanted: Settings) -> None:
        """Put the keys that need no restart into effect, and report the others."""
        with self._lock:
            old = self._settings
            new = self._settings = apply_live(old, wanted)
            before, pending = self._pending, changed_keys(new, wanted)
            self._pending = pending
            callbacks = list(self._callbacks)
        changed = changed_keys(old, new)
        if changed:
            for callback in callbacks:
                self._call(callback, old, new, changed)
        if pending and pending != before and self._on_restart is not None:
            self._call(self._on_restart, pending)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a callback, and report what it raises."""
        try:
            function(*arguments)
        except Exception as error:  # whatever it is, the other callbacks are called
            report(self._on_failure, error)

    def _refuse(self, error: Exception) -> None:
        """Report an error of loading, unless it is the same as the last one."""
        text = f"{type(error).__name__}: {error}"
        if text != self._refused:
            self._refused = text
            report(self._on_error, error)


def report(function: Callable[[Exception], None] | None, error: Exception) -> None:
    """Pass an error to the function that takes such errors, if there is one."""
    if function is not None:
        with suppress(Exception):  # reporting failed: there is no other place to report this
            function(error)
