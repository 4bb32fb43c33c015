"""Hands the lines that the C++ library logs to Python's logging, under the name ``dbcache``. The
package logs under the same name."""

from __future__ import annotations

import atexit
import logging
import os

from dbcache import _dbcache

logger = logging.getLogger("dbcache")


def _receive(level: int, text: str, created: float) -> None:
    """Logs a line of the library. ``created`` is when the library logged it, in seconds since
    1970."""
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(logger.name, level, "(dbcache)", 0, "%s", (text,), None)
    record.created = created
    record.msecs = (created - int(created)) * 1000
    started: float = logging._startTime  # type: ignore[attr-defined]
    record.relativeCreated = (created - started) * 1000
    logger.handle(record)


_dbcache.receive_log(_receive)
# The parent delivers the lines that it held at the fork; the child must not deliver them again.
os.register_at_fork(after_in_child=_dbcache.forget_log)
atexit.register(_dbcache.deliver_log)
