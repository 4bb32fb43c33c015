"""The documented operations."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Optional, Union

from dbcache import _dbcache
from dbcache._logging import logger
from dbcache._values import (
    Moment,
    to_json,
    to_milliseconds,
    to_moment,
    to_units,
)
from dbcache.errors import Error, InvalidArgument
from dbcache.types import (
    Cluster,
    ClusterInfo,
    DatabaseInfo,
    Event,
    RegistryEntry,
    ReplayReport,
    Statistics,
    VerifyReport,
)

#: How long a wait lasts at most before Ctrl-C is looked for.
_LOOK_FOR_SIGNALS_S = 0.25


class CacheManager:
    """The documented operations over one database.

    Every change is an event in the log, committed together with the rows that it changes; a call
    that returned is on disk. Usable from several threads at once, and on both sides of a fork. What
    goes wrong is raised as a ``dbcache.Error``: an empty answer means that there is nothing. Times
    are UTC.

    ``default_expiry_hours`` may be a fraction. The database is ``database`` (a path, or the URL of a
    PostgreSQL), else ``$DBCACHE_DATABASE``, else ``Environment/Databricks/cluster_cache.db`` under
    the directory that is current now; it is made by the first change.
    """

    def __init__(
        self,
        default_expiry_hours: float = 1,
        *,
        database: Union[str, bytes, os.PathLike, None] = None,
        schema: str = "",
        durability: Literal["full", "relaxed"] = "full",
        busy_timeout: float = 30.0,
        label: str = "",
        adoption_timezone: str = "",
    ) -> None:
        expiry = to_units(default_expiry_hours, 3_600_000_000, "default_expiry_hours")
        self._arguments: dict[str, Any] = {
            "schema": schema,
            "default_expiry_microseconds": expiry,
            "durability": durability,
            "busy_timeout_milliseconds": to_milliseconds(busy_timeout, "busy_timeout"),
            "label": label,
            "adoption_timezone": adoption_timezone,
        }
        name = b"" if database is None else os.fsencode(database)
        if database is not None and not name:
            raise InvalidArgument("the database's path is empty; give one, or none at all")
        self._open(name)

    def _open(self, name: bytes) -> None:
        self._opened: Optional[_dbcache.Manager] = _dbcache.Manager(
            database=name, **self._arguments
        )
        self._path, self._name, self._schema = self._opened.database_location()

    @property
    def _native(self) -> _dbcache.Manager:
        if self._opened is None:
            raise Error("this cache manager was closed; make another")
        return self._opened

    def close(self) -> None:
        """Lets go of the database. Safe to call twice; other calls raise afterwards."""
        self._opened = None

    def __enter__(self) -> CacheManager:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dbcache.CacheManager of {self._path}>"

    # What a process that is spawned gets: a manager of its own, of the same database.
    def __getstate__(self) -> dict[str, Any]:
        arguments = dict(self._arguments, schema=self._schema)
        return {"name": os.fsencode(self._name), "arguments": arguments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._arguments = state["arguments"]
        self._open(state["name"])

    @property
    def db_path(self) -> Union[pathlib.Path, str]:
        """Where the database is: an absolute path, or a PostgreSQL's URL without its password."""
        return self._path if self._schema else pathlib.Path(self._path)

    @property
    def expiry_time(self) -> timedelta:
        """How long a cluster that is cached stays valid."""
        return timedelta(microseconds=self._arguments["default_expiry_microseconds"])

    # ---- The cached clusters

    def load_cluster_cache(self) -> Cluster:
        """The newest active cluster that has not expired, or ``{}``. Where there is none and
        ``DATABRICKS_CLUSTER_ID`` is set, a stand-in for that one, with id 0."""
        return self._native.load_cluster_cache()

    def get_cached_cluster_info(self) -> ClusterInfo:
        """What ``status`` shows: that cluster, else the newest active one although it has expired,
        with ``is_valid`` and the seconds that are ``remaining``; or ``{}``."""
        return self._native.get_cached_cluster_info()

    def is_cluster_cache_valid(self, cache_data: Optional[Mapping[str, Any]]) -> bool:
        """Whether it is named, active, and expires after the present. Asks the dictionary, not the
        database; ``{}`` is not valid."""
        return self._native.is_cluster_cache_valid(to_json(cache_data, "cache_data"))

    def cache_new_cluster(
        self, cluster_id: str, cluster_config: Optional[Mapping[str, Any]] = None
    ) -> bool:
        """Caches a cluster as the active one, valid for the default expiry; the others are
        deactivated. Keys beside the documented ones are kept in the log, secrets are not."""
        self._native.cache_new_cluster(cluster_id, to_json(cluster_config, "cluster_config"))
        logger.info("cached cluster %s", cluster_id)
        return True

    def save_cluster_cache(self, cache_data: Mapping[str, Any]) -> bool:
        """Caches a cluster with the columns given. Times left out mean now, and for the expiry now
        plus the default. Other keys are kept in the log."""
        self._native.save_cluster_cache(to_json(cache_data, "cache_data"))
        logger.info("cached cluster %s", cache_data["cluster_id"])
        return True

    def update_cluster_access(self, cluster_id: str) -> bool:
        """Counts an access to an active cluster; ``False`` for any other."""
        return self._native.update_cluster_access(cluster_id)

    def get_all_clusters(self, where_clause: Optional[str] = None) -> list[Cluster]:
        """The cached clusters, newest first: all, or those for which an SQL condition over the
        columns holds (``"is_active = 1 AND cluster_name LIKE 'test%'"``). It is SQLite's SQL on
        every engine, and sees a copy of ``clusters`` and nothing else; ``InvalidArgument`` for what
        is no condition, or wants more."""
        if where_clause is None or where_clause == "":
            return self._native.get_all_clusters()
        return self._native.get_clusters_where(where_clause)

    def get_cache_statistics(self) -> Statistics:
        """Figures over the cached clusters, and the size of the database's file."""
        return self._native.get_cache_statistics()

    def cleanup_expired_clusters(self, *, force: bool = False) -> int:
        """Removes the clusters past their expiry, but those that a live lease holds (``force``
        removes these too). Returns how many."""
        return self._removed(self._native.cleanup_expired_clusters(force), "expired clusters")

    def remove_terminated_cluster(self, cluster_id: str) -> bool:
        """Removes a cluster that was terminated. ``False`` when it is not known."""
        return self._native.remove_terminated_cluster(cluster_id)

    def clear_cluster_cache(self, *, force: bool = False) -> int:
        """Removes every cached cluster, but those that a live lease holds (``force`` removes these
        too). Returns how many. The registry and the log stay."""
        return self._removed(self._native.clear_cluster_cache(force), "clusters")

    # ---- The shared clusters

    def register_shared_cluster_creation(self, config_hash: str, worker_pid: int) -> bool:
        """``True`` when this call made the entry, or when there is one to join; ``False`` when its
        creation failed. Who is to create is told by ``register_or_join_shared_cluster``."""
        return self._native.register_or_join_shared_cluster(config_hash, worker_pid)[1]

    def register_or_join_shared_cluster(
        self, config_hash: str, worker_pid: int
    ) -> tuple[bool, bool, RegistryEntry]:
        """The same as ``(created, joinable, entry)``: only one caller over all processes learns
        that it created the entry."""
        return self._native.register_or_join_shared_cluster(config_hash, worker_pid)

    def can_join_shared_cluster_creation(self, config_hash: str) -> bool:
        """Whether there is an entry that is creating or ready."""
        return self._native.can_join_shared_cluster_creation(config_hash)

    def update_shared_cluster_status(
        self,
        config_hash: str,
        status: str,
        cluster_id: Optional[str] = None,
        error_message: Optional[str] = None,
    ) -> bool:
        """Changes an entry's status: ``creating``, ``ready`` or ``failed``. ``NotFound`` for an
        unknown hash, ``InvalidArgument`` for ``ready`` with no cluster known, ``Busy`` while a live
        lease or creator holds the entry."""
        self._native.update_shared_cluster_status(config_hash, status, cluster_id, error_message)
        logger.info("marked %s %s", config_hash, status)
        return True

    def get_shared_cluster_info(self, config_hash: str) -> Optional[RegistryEntry]:
        """The entry, or ``None``."""
        return self._native.get_shared_cluster_info(config_hash)

    def increment_shared_cluster_usage(self, config_hash: str) -> int:
        """Returns the new count; 0 for an unknown hash."""
        return self._native.increment_shared_cluster_usage(config_hash)

    def decrement_shared_cluster_usage(self, config_hash: str) -> int:
        """Returns the new count, which is never below 0; 0 for an unknown hash."""
        return self._native.decrement_shared_cluster_usage(config_hash)

    def cleanup_shared_cluster_registry(self, config_hash: str, *, force: bool = False) -> bool:
        """Removes the entry. ``True`` also when there was none, so that teardown can run twice;
        ``False`` when a live lease or creator holds it."""
        removal = self._native.cleanup_shared_cluster_registry(config_hash, force)
        return not removal["held"]

    def clear_shared_cluster_registry(self, *, force: bool = False) -> int:
        """Removes every entry that nobody alive holds. Returns how many."""
        return self._removed(self._native.clear_shared_cluster_registry(force), "entries")

    def get_all_shared_clusters(self) -> list[RegistryEntry]:
        """The entries, newest first."""
        return self._native.get_all_shared_clusters()

    # ---- The log

    def history(
        self,
        subject: str = "",
        *,
        types: Sequence[str] = (),
        since: Optional[Moment] = None,
        until: Optional[Moment] = None,
        limit: Optional[int] = None,
        newest_first: bool = False,
    ) -> list[Event]:
        """The events of a cluster id, a config hash or a run (of everything, where none is named),
        with what each changed: recorded at or after ``since``, before ``until``."""
        if isinstance(types, str):
            types = [types]
        return self._native.history(
            subject, list(types), to_moment(since), to_moment(until), limit, newest_first
        )

    def watch(
        self, from_position: Optional[int] = None, *, timeout: Optional[float] = None
    ) -> Iterator[Event]:
        """The events from a position on (by default, those to come), as they are committed. Waits
        for the next one, asleep; Ctrl-C ends the wait, and so does ``timeout`` (seconds without an
        event)."""
        native = self._native
        position = from_position
        if position is None:
            position = native.get_database_info()["last_position"] + 1
        return self._follow(native, position, timeout)

    @staticmethod
    def _follow(
        native: _dbcache.Manager, position: int, timeout: Optional[float]
    ) -> Iterator[Event]:
        heard = time.monotonic()
        while True:
            left = _LOOK_FOR_SIGNALS_S
            if timeout is not None:
                left = min(left, max(0.0, heard + timeout - time.monotonic()))
            events = native.wait_for_events(position, to_milliseconds(left, "timeout"))
            for event in events:
                position = event["position"] + 1
                yield event
            if events:
                heard = time.monotonic()
            elif timeout is not None and time.monotonic() >= heard + timeout:
                return

    def replay(self, *, check: bool = False) -> ReplayReport:
        """Rebuilds the tables from the log in one transaction; with ``check`` it only compares."""
        return self._native.replay(check)

    def verify(self, head: Optional[str] = None) -> VerifyReport:
        """Checks every hash of the log, and that it still begins with a ``head`` kept earlier."""
        return self._native.verify(head)

    # ---- The database

    def create_database(self) -> None:
        """Makes the database, or brings it to this version's schema. The first change does too."""
        self._native.create_database()

    def optimize_database(self, *, vacuum: bool = False) -> bool:
        """Moves the WAL into the database and refreshes the planner's statistics. ``vacuum`` writes
        the file anew, which stops writers meanwhile."""
        self._native.optimize_database(vacuum)
        logger.info("optimized %s", self._path)
        return True

    def get_database_info(self) -> DatabaseInfo:
        """Where the database is, how large its files are, and the log's size."""
        return self._native.get_database_info()

    def adoption(self) -> Optional[dict[str, Any]]:
        """What was taken over when a database of the documented Python system was opened."""
        return self._native.adoption()

    @staticmethod
    def _removed(removal: Mapping[str, Any], what: str) -> int:
        if removal["held"]:
            logger.warning("left %s that are in use: %s", what, ", ".join(removal["held"]))
        logger.info("removed %d %s", removal["removed"], what)
        return removal["removed"]


def config_hash(config: Mapping[str, Any], leave_out: Sequence[str] = ()) -> str:
    """The name of a configuration: a hash over every key but those that differ between two clusters
    of it (``cluster_id``, ``created_at``, ``expiry_time``, ``status``, ``is_shared``), secrets, and
    those to ``leave_out``."""
    return _dbcache.config_hash(to_json(config, "config"), list(leave_out))
