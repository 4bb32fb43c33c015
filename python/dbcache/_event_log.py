"""The log of a database, for those who need nothing else of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Optional, Union

from dbcache._manager import CacheManager
from dbcache.types import Event, ReplayReport, VerifyReport

Database = Union[str, bytes, os.PathLike, None]


def history(subject: str = "", *, database: Database = None, **query: Any) -> list[Event]:
    """``CacheManager.history`` of a database."""
    return CacheManager(database=database).history(subject, **query)


def replay(*, database: Database = None, check: bool = False) -> ReplayReport:
    """``CacheManager.replay`` of a database."""
    return CacheManager(database=database).replay(check=check)


def verify(head: Optional[str] = None, *, database: Database = None) -> VerifyReport:
    """``CacheManager.verify`` of a database."""
    return CacheManager(database=database).verify(head)


def watch(
    from_position: Optional[int] = None,
    *,
    database: Database = None,
    timeout: Optional[float] = None,
) -> Iterator[Event]:
    """``CacheManager.watch`` of a database."""
    return CacheManager(database=database).watch(from_position, timeout=timeout)
