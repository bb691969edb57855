"""Writes the figures of a training to CSV and TensorBoard: ``TrainingLog``."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from generals_env.arguments import check_flag
from generals_env.errors import ConfigError, StorageError
from generals_env.recorders.filesystem.atomic_files import make_folder, replace_file

__all__ = ["TrainingLog"]

#: The column by which rows are ordered, and the step of TensorBoard.
STEP = "samples"


class TrainingLog:
    """Appends a row for each iteration to ``progress.csv`` in a folder, and writes events for TensorBoard beside it.

    Figures may appear later, such as those of an opponent of the next stage of a curriculum: the file is then written anew with
    one more column, which is empty in the rows before. A training that goes on from a checkpoint passes its samples as
    ``since``: rows after them, of the time between the checkpoint and the end of the process, are dropped, as they come again.

    Attributes:
        path: The CSV file.
        columns: Names of the figures.
    """

    def __init__(self, folder: str | Path, since: float | None = None, tensorboard: bool | None = None) -> None:
        """Open the log.

        Args:
            folder: Folder of the files; it is made.
            since: Samples of the checkpoint from which the training goes on; None begins a new file.
            tensorboard: Whether to write events; None: if tensorboard is installed.

        Raises:
            ConfigError: If an argument is invalid, or tensorboard is wanted and not installed.
            StorageError: If the folder or the file cannot be written, or the file of before is no log.
        """
        installed = importlib.util.find_spec("tensorboard") is not None
        if tensorboard is not None and check_flag("tensorboard", tensorboard) and not installed:
            raise ConfigError("tensorboard: expected an installed tensorboard, got none: pip install tensorboard")
        self.path = Path(folder) / "progress.csv"
        self.columns: list[str] = []
        try:
            make_folder(self.path.parent)
            if since is not None and self.path.exists():
                self._continue(since)
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from error
        self._events: Any = None
        if installed if tensorboard is None else tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(folder), purge_step=None if since is None else int(since) + 1)

    def write(self, figures: Mapping[str, float]) -> None:
        """Append a row.

        Args:
            figures: Numbers by their names, ``"samples"`` among them.

        Raises:
            ConfigError: If there are no samples.
            StorageError: If the file cannot be written.
        """
        if STEP not in figures:
            raise ConfigError(
                f"figures: expected {STEP!r} among them, got {sorted(figures)!r:.200}: the rows are ordered by it"
            )
        new = [name for name in figures if name not in self.columns]
        try:
            if new:
                rows = self._rows()
                self.columns += new
                self._rewrite([*rows, {name: number(value) for name, value in figures.items()}])
            else:
                with self.path.open("a", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerow([number(figures[name]) if name in figures else "" for name in self.columns])
        except OSError as error:
            raise self._failed(error) from error
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(name, value, int(figures[STEP]))

    def close(self) -> None:
        """Write the events that wait; calling it twice is allowed."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> Self:
        """Return the log."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close it."""
        self.close()

    def _rows(self) -> list[dict[str, str]]:
        """Return the rows of the file; a last one that a killed process left unfinished is dropped."""
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        return list(csv.DictReader(io.StringIO("".join(whole))))

    def _continue(self, since: float) -> None:
        rows = self._rows()
        try:
            kept = [row for row in rows if float(row[STEP]) <= since]
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"folder: expected a log of a training, got {str(self.path)!r} ({error!r:.100}): pass another folder"
            ) from error
        self.columns = list(rows[0]) if rows else []
        if self.columns:
            self._rewrite(kept)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        replace_file(self.path, lambda file: file.write(text.getvalue().encode()))

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"folder: expected a writable folder, got {str(self.path.parent)!r} ({error}): pass another one")


def number(value: float) -> str:
    """Return a number as text that gives the same number."""
    return str(value) if isinstance(value, int) else repr(float(value))
