"""Writes the log lines of all processes of a run to standard error: as text, or as one JSON object a line."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["configure_logs", "replay_record", "set_level"]

ROOT = "generals_env"

#: Attributes of every record; others were passed as ``extra``.
USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "worker"}


class JSONFormatter(logging.Formatter):
    """Formats a record as a JSON object with time (UTC, ISO 8601), level, worker, logger, message and extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "worker": getattr(record, "worker", "supervisor"),
            "logger": record.name,
            "message": text,
        }
        line |= {name: value for name, value in vars(record).items() if name not in USUAL and not name.startswith("_")}
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as time, level, worker and message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text, which has further lines for a traceback."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).strftime("%H:%M:%S")
        worker = getattr(record, "worker", "supervisor")
        text = f"{moment} {record.levelname.lower():7} {worker}: {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class LineHandler(logging.Handler):
    """Writes lines by a function, such as the one that prints above a live table."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Write by ``write``."""
        super().__init__()
        self._write = write

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a closed terminal loses it."""
        try:
            self._write(self.format(record))
        except (OSError, ValueError):
            self.handleError(record)


def configure_logs(level: str, form: str, write: Callable[[str], None] | None = None) -> None:
    """Write the records of the package, and warnings of others, in one form.

    Args:
        level: ``"debug"``, ``"info"``, ``"warning"`` or ``"error"``.
        form: ``"text"`` or ``"json"``.
        write: Writes a line; None writes to standard error.
    """
    handler = LineHandler(write or write_to_stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    for former in root.handlers[:]:
        if isinstance(former, LineHandler):
            root.removeHandler(former)
    root.addHandler(handler)
    logging.captureWarnings(True)
    set_level(level)


def set_level(level: str) -> None:
    """Set the lowest level that is written."""
    logging.getLogger(ROOT).setLevel(level.upper())


def replay_record(fields: Mapping[str, Any]) -> None:
    """Write the record that a worker sent; see ``ChannelHandler``."""
    record = logging.LogRecord(fields["name"], fields["level"], "", 0, fields["text"], None, None)
    record.created, record.worker = fields["time"], fields["worker"]
    logging.getLogger(fields["name"]).handle(record)


def write_to_stderr(line: str) -> None:
    """Write a line to standard error, if the process has one."""
    if sys.stderr is None:
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
