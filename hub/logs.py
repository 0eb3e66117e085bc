"""Logs: one JSON object a line, with the request's and the session's id. Knows no secret and logs none.

Bodies of requests are never logged, and no address with its query string.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from hub.schema.times import from_millis

request_id: ContextVar[int | None] = ContextVar("request_id", default=None)
session_id: ContextVar[str | None] = ContextVar("session_id", default=None)


@contextmanager
def naming(request: int | None, session: str | None) -> Iterator[None]:
    """Give these ids to what is logged inside, whatever was set before; afterwards that holds again."""
    requested, seated = request_id.set(request), session_id.set(session)
    try:
        yield
    finally:
        request_id.reset(requested)
        session_id.reset(seated)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "at": from_millis(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, variable in (("request", request_id), ("session", session_id)):
            value = variable.get()
            if value is not None:
                line[name] = value
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode("utf-8")


class TextFormatter(logging.Formatter):
    """A record as a line for a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S")


def configure(level: str, form: str) -> None:
    """Send all logs to stderr; `form` is json, text or auto."""
    as_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # uvicorn writes whole addresses, query strings included, at INFO.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets"):
        noisy = logging.getLogger(name)
        noisy.handlers[:] = []
        noisy.propagate = True
        noisy.setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
