"""Lines of the library, and of this package, in Python's logging."""

from __future__ import annotations

import atexit
import logging
import os

from dbcache import _dbcache

logger = logging.getLogger("dbcache")


def _receive(level: int, text: str, created: float) -> None:
    """Takes a line that the library logged, at the time when it did."""
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(logger.name, level, "(dbcache)", 0, "%s", (text,), None)
    record.created = created
    record.msecs = (created - int(created)) * 1000
    started: float = logging._startTime  # type: ignore[attr-defined]
    record.relativeCreated = (created - started) * 1000
    logger.handle(record)


_dbcache.receive_log(_receive)
# What the parent has not delivered yet, it will.
os.register_at_fork(after_in_child=_dbcache.forget_log)
atexit.register(_dbcache.deliver_log)
