"""The log of events of a database, for callers that need no other operation on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Optional, Union

from dbcache._manager import CacheManager
from dbcache.types import Event, ReplayReport, VerifyReport

Database = Union[str, bytes, os.PathLike, None]


def history(subject: str = "", *, database: Database = None, **query: Any) -> list[Event]:
    """``CacheManager(database=database).history(subject, **query)``: the events of a cluster, a
    configuration or a run."""
    return CacheManager(database=database).history(subject, **query)


def replay(*, database: Database = None, check: bool = False) -> ReplayReport:
    """``CacheManager(database=database).replay(check=check)``: rebuilds the tables from the log, or
    only compares them with it."""
    return CacheManager(database=database).replay(check=check)


def verify(head: Optional[str] = None, *, database: Database = None) -> VerifyReport:
    """``CacheManager(database=database).verify(head)``: checks every hash of the log."""
    return CacheManager(database=database).verify(head)


def watch(
    from_position: Optional[int] = None,
    *,
    database: Database = None,
    timeout: Optional[float] = None,
) -> Iterator[Event]:
    """``CacheManager(database=database).watch(from_position, timeout=timeout)``: the events as they
    are committed. ``timeout`` is in seconds."""
    return CacheManager(database=database).watch(from_position, timeout=timeout)
