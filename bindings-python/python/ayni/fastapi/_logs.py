"""The log of a service: one JSON object a line, no payloads."""

from __future__ import annotations

import json
import logging
import sys
import time

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class Seldom(logging.Filter):
    """Lets the same message through a few times a minute: strangers cause some, and would fill the disk."""

    MOST, SECONDS = 10, 60.0

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        about = (record.name, str(record.msg)[:200])
        since, count = self._counts.get(about, (record.created, 0))
        if record.created - since > self.SECONDS:
            since, count = record.created, 0
        if len(self._counts) > 1000:
            self._counts.clear()
        self._counts[about] = (since, count + 1)
        return count < self.MOST


class _Text(logging.Formatter):
    """A line for people, with the fields of ``extra`` at its end."""

    def format(self, record: logging.LogRecord) -> str:
        more = " ".join(f"{name}={value}" for name, value in vars(record).items() if name not in _OWN)
        return f"{record.levelname.lower():7} {record.name}: {record.getMessage()} {more}".rstrip()


def show_logs(form: str | None) -> None:
    """Writes ayni's log to standard error, unless the application has set up logging itself."""
    logger = logging.getLogger("ayni")
    if form is None or logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else _Text())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
