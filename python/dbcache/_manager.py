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

#: The longest wait in the library, in seconds, before Python looks for Ctrl-C again.
_LOOK_FOR_SIGNALS_S = 0.25


class CacheManager:
    """The documented operations over one database.

    Every change is an event in the log. The event and the rows that it changes are committed in one
    transaction, and the change is on disk when the call returns. Several threads may use one
    manager at once; after a fork, parent and child may both go on using it.

    A call that fails raises a ``dbcache.Error`` (``dbcache.errors`` lists those that any call may
    raise); an empty answer means that there is nothing. Times in answers are UTC, as ISO text. A
    cluster id or a config hash is a ``str`` of 1 to 255 bytes of UTF-8 without NUL; any other
    ``str`` raises ``InvalidArgument``, and any other type ``TypeError``.

    - ``default_expiry_hours``: how long a newly cached cluster is valid, in hours, 0 to 100 years;
      a fraction is allowed.
    - ``database``: the path of an SQLite database, or the URL of a PostgreSQL database. By default
      ``$DBCACHE_DATABASE``, else ``Environment/Databricks/cluster_cache.db`` under the current
      directory. The first change creates the database; reading never does.
    - ``schema``: the schema of a PostgreSQL database; by default ``$DBCACHE_SCHEMA``, else
      ``dbcache``.
    - ``durability``: with ``"full"``, a change is on disk when the call returns. With
      ``"relaxed"``, a power loss may undo the last changes, but never registrations, status
      changes, leases and terminations.
    - ``busy_timeout``: how long a call waits for a locked database, in seconds, before it raises
      ``Busy``.
    - ``label``: the caller's name in the log (a test, a CI job); by default ``$DBCACHE_LABEL``,
      else ``$PYTEST_CURRENT_TEST``.
    - ``adoption_timezone``: the zone of times without an offset in a database of the documented
      Python system (``"Europe/Berlin"``, ``"+02:00"``); by default this machine's.

    Raises ``InvalidArgument`` for options that no database could have.
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
            raise InvalidArgument("database is empty; give a path or a URL, or leave it out")
        self._open(name)

    def _open(self, name: bytes) -> None:
        self._opened: Optional[_dbcache.Manager] = _dbcache.Manager(
            database=name, **self._arguments
        )
        self._path, self._name, self._schema = self._opened.database_location()

    @property
    def _native(self) -> _dbcache.Manager:
        if self._opened is None:
            raise Error("this CacheManager is closed; make another one")
        return self._opened

    def close(self) -> None:
        """Closes the manager. Safe to call twice; after it, every other call raises
        ``dbcache.Error``."""
        self._opened = None

    def __enter__(self) -> CacheManager:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<dbcache.CacheManager of {self._path}>"

    # A pickled manager opens the same database again in the process that loads it.
    def __getstate__(self) -> dict[str, Any]:
        arguments = dict(self._arguments, schema=self._schema)
        return {"name": os.fsencode(self._name), "arguments": arguments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._arguments = state["arguments"]
        self._open(state["name"])

    @property
    def db_path(self) -> Union[pathlib.Path, str]:
        """Where the database is: an absolute ``Path``, or the URL of a PostgreSQL database, without
        its password."""
        return self._path if self._schema else pathlib.Path(self._path)

    @property
    def expiry_time(self) -> timedelta:
        """How long a newly cached cluster is valid."""
        return timedelta(microseconds=self._arguments["default_expiry_microseconds"])

    # ---- The cached clusters

    def load_cluster_cache(self) -> Cluster:
        """The newest active cluster that has not expired, or ``{}``. If there is none and
        ``DATABRICKS_CLUSTER_ID`` is set, a row with id 0 stands in for that cluster."""
        return self._native.load_cluster_cache()

    def get_cached_cluster_info(self) -> ClusterInfo:
        """The cluster that ``load_cluster_cache`` gives, else the newest active one although it has
        expired, or ``{}``. Adds ``is_valid``, the seconds ``remaining`` until it expires (0 once it
        has), and ``from_environment``."""
        return self._native.get_cached_cluster_info()

    def is_cluster_cache_valid(self, cache_data: Optional[Mapping[str, Any]]) -> bool:
        """Whether the dictionary has a ``cluster_id``, is active, and has an expiry in the future.
        Does not read the database. ``{}`` and ``None`` are not valid. Raises ``InvalidArgument``
        for a column of the wrong kind."""
        return self._native.is_cluster_cache_valid(to_json(cache_data, "cache_data"))

    def cache_new_cluster(
        self, cluster_id: str, cluster_config: Optional[Mapping[str, Any]] = None
    ) -> bool:
        """Caches a cluster as the active one, valid for the default expiry, and deactivates all
        others. The log keeps every key of the configuration except secrets. Returns ``True``.
        Raises ``InvalidArgument`` for a configuration over 1 MiB, and for a key of the wrong
        kind."""
        self._native.cache_new_cluster(cluster_id, to_json(cluster_config, "cluster_config"))
        logger.info("cached cluster %s", cluster_id)
        return True

    def save_cluster_cache(self, cache_data: Mapping[str, Any]) -> bool:
        """Caches a cluster with the given columns, and deactivates all others if it is active. A
        missing ``expiry_time`` means now plus the default expiry; another missing time means now.
        The log keeps all other keys except secrets. Returns ``True``. Raises ``InvalidArgument``
        for a missing ``cluster_id``, and as ``cache_new_cluster`` does."""
        self._native.save_cluster_cache(to_json(cache_data, "cache_data"))
        logger.info("cached cluster %s", cache_data["cluster_id"])
        return True

    def update_cluster_access(self, cluster_id: str) -> bool:
        """Counts an access to an active cluster. Returns ``False``, and changes nothing, for any
        other cluster."""
        return self._native.update_cluster_access(cluster_id)

    def get_all_clusters(self, where_clause: Optional[str] = None) -> list[Cluster]:
        """The cached clusters, newest first: all, or those that fit an SQL condition over the
        columns (``"is_active = 1 AND cluster_name LIKE 'test%'"``). The condition is in SQLite's
        SQL on every engine, and sees only a copy of ``clusters``. Raises ``InvalidArgument`` if it
        is not one expression, reads another table, calls a function that does more than compute, or
        takes too long."""
        if where_clause is None or where_clause == "":
            return self._native.get_all_clusters()
        return self._native.get_clusters_where(where_clause)

    def get_cache_statistics(self) -> Statistics:
        """Counts over the cached clusters, and the size of the database file in bytes."""
        return self._native.get_cache_statistics()

    def cleanup_expired_clusters(self, *, force: bool = False) -> int:
        """Removes the expired clusters, except those that a live lease holds; with ``force`` those
        too, and their leases are lost. A removed cluster that ``acquire`` created gets a pending
        termination. Returns how many were removed."""
        return self._removed(self._native.cleanup_expired_clusters(force), "expired clusters")

    def remove_terminated_cluster(self, cluster_id: str) -> bool:
        """Removes a cluster that was terminated, and cancels its pending termination. Returns
        ``False`` if it is neither cached nor has a pending termination."""
        return self._native.remove_terminated_cluster(cluster_id)

    def clear_cluster_cache(self, *, force: bool = False) -> int:
        """Removes every cached cluster, except those that a live lease holds; with ``force`` those
        too, and their leases are lost. A removed cluster that ``acquire`` created gets a pending
        termination. The registry and the log stay. Returns how many were removed."""
        return self._removed(self._native.clear_cluster_cache(force), "clusters")

    # ---- The shared clusters

    def register_shared_cluster_creation(self, config_hash: str, worker_pid: int) -> bool:
        """Registers a creation, or joins one. Returns ``True`` if this call made the entry or the
        entry is creating or ready, ``False`` if its creation failed. To learn which caller must
        create the cluster, use ``register_or_join_shared_cluster``. Raises ``InvalidArgument`` for
        a pid below 1."""
        return self._native.register_or_join_shared_cluster(config_hash, worker_pid)[1]

    def register_or_join_shared_cluster(
        self, config_hash: str, worker_pid: int
    ) -> tuple[bool, bool, RegistryEntry]:
        """Registers a creation, or joins one. Returns ``(created, joinable, entry)``. ``created``
        is ``True`` for one caller only, over all processes: that caller must create the cluster.
        ``joinable`` says whether the entry is creating or ready. Raises ``InvalidArgument`` for a
        pid below 1."""
        return self._native.register_or_join_shared_cluster(config_hash, worker_pid)

    def can_join_shared_cluster_creation(self, config_hash: str) -> bool:
        """Whether the configuration has an entry that is creating or ready."""
        return self._native.can_join_shared_cluster_creation(config_hash)

    def update_shared_cluster_status(
        self,
        config_hash: str,
        status: str,
        cluster_id: Optional[str] = None,
        error_message: Optional[str] = None,
    ) -> bool:
        """Sets an entry's status: ``"creating"``, ``"ready"`` or ``"failed"``. Without
        ``cluster_id`` the entry keeps the one that it has; without ``error_message`` that is
        cleared. Returns ``True``. Raises ``NotFound`` for an unknown hash, ``InvalidArgument`` for
        another status and for ``"ready"`` without a known cluster id, and ``Busy`` while a live
        lease or creator holds the entry."""
        self._native.update_shared_cluster_status(config_hash, status, cluster_id, error_message)
        logger.info("marked %s %s", config_hash, status)
        return True

    def get_shared_cluster_info(self, config_hash: str) -> Optional[RegistryEntry]:
        """The entry of a configuration, or ``None``."""
        return self._native.get_shared_cluster_info(config_hash)

    def increment_shared_cluster_usage(self, config_hash: str) -> int:
        """Counts one more use. Returns the new count; 0 for an unknown hash."""
        return self._native.increment_shared_cluster_usage(config_hash)

    def decrement_shared_cluster_usage(self, config_hash: str) -> int:
        """Counts one use less, and never takes away that of a lease. Returns the new count, which
        is never below 0; 0 for an unknown hash."""
        return self._native.decrement_shared_cluster_usage(config_hash)

    def cleanup_shared_cluster_registry(self, config_hash: str, *, force: bool = False) -> bool:
        """Removes the entry. Returns ``True`` also if there was none, so that teardown can run
        twice, and ``False`` if a live lease or creator holds it. With ``force`` the entry goes even
        then, and its leases are lost. If ``acquire`` created its cluster, the cluster gets a
        pending termination."""
        removal = self._native.cleanup_shared_cluster_registry(config_hash, force)
        return not removal["held"]

    def clear_shared_cluster_registry(self, *, force: bool = False) -> int:
        """Removes every entry, except those that a live lease or creator holds; with ``force``
        those too, and their leases are lost. Returns how many were removed."""
        return self._removed(self._native.clear_shared_cluster_registry(force), "entries")

    def get_all_shared_clusters(self) -> list[RegistryEntry]:
        """All entries of the registry, newest first."""
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
        """The events of ``subject``, with what each changed.

        ``subject`` is a cluster id, a config hash or the name of a run; ``""`` means the whole log.
        ``types`` names event types; none means all. ``since`` (inclusive) and ``until`` (exclusive)
        are ``datetime`` objects or ISO text; without an offset they are UTC. ``limit`` is the
        largest number of events to return. Raises ``InvalidArgument`` for an unknown type or a
        malformed time."""
        if isinstance(types, str):
            types = [types]
        return self._native.history(
            subject, list(types), to_moment(since), to_moment(until), limit, newest_first
        )

    def watch(
        self, from_position: Optional[int] = None, *, timeout: Optional[float] = None
    ) -> Iterator[Event]:
        """The events from ``from_position`` on, as they are committed; by default those that come
        after this call. Between events it sleeps. Ends after ``timeout`` seconds without an event;
        without a ``timeout`` only Ctrl-C ends it. The ``changes`` of these events are empty;
        ``history`` fills them in. Iterating raises ``InvalidArgument`` for a position below 1."""
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
        """Rebuilds the tables from the log in one transaction; with ``check`` it only compares them
        with the log. The report lists the differences that it found. Raises ``CorruptDatabase`` for
        a log whose hashes do not fit."""
        return self._native.replay(check)

    def verify(self, head: Optional[str] = None) -> VerifyReport:
        """Checks every hash of the log; with ``head``, also that the log still begins with it. A
        ``head`` is the text ``NUMBER:HASH`` of an earlier report. The report lists the problems
        that it found. Raises ``InvalidArgument`` for a malformed ``head``."""
        return self._native.verify(head)

    # ---- The database

    def create_database(self) -> None:
        """Creates the database, or migrates it to this version's schema. Any change does that by
        itself."""
        self._native.create_database()

    def optimize_database(self, *, vacuum: bool = False) -> bool:
        """Moves the WAL into the database file and refreshes the query planner's statistics.
        ``vacuum`` also rewrites the file without its free pages, and blocks writers meanwhile.
        Returns ``True``."""
        self._native.optimize_database(vacuum)
        logger.info("optimized %s", self._path)
        return True

    def get_database_info(self) -> DatabaseInfo:
        """Where the database is, the sizes of its files in bytes, and the number of its events."""
        return self._native.get_database_info()

    def adoption(self) -> Optional[dict[str, Any]]:
        """What this manager imported when it opened a database of the documented Python system, or
        ``None`` if it imported nothing: ``clusters`` and ``registry_entries`` (how many), the
        ``timezone`` in which it read times, and ``notes`` on rows that it had to change."""
        return self._native.adoption()

    @staticmethod
    def _removed(removal: Mapping[str, Any], what: str) -> int:
        if removal["held"]:
            logger.warning("kept %s that are in use: %s", what, ", ".join(removal["held"]))
        logger.info("removed %d %s", removal["removed"], what)
        return removal["removed"]


def config_hash(config: Mapping[str, Any], leave_out: Sequence[str] = ()) -> str:
    """The name of a configuration: SHA-256 as 64 lower-case hex digits. The hash covers every key
    except ``cluster_id``, ``created_at``, ``expiry_time``, ``status`` and ``is_shared``, secrets,
    and the keys in ``leave_out``. A missing ``host`` is taken from ``DATABRICKS_HOST``. Raises
    ``InvalidArgument`` for a configuration that JSON cannot hold."""
    return _dbcache.config_hash(to_json(config, "config"), list(leave_out))
