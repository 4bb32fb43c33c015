"""The dictionaries that the calls return. Times are UTC, as ISO text."""

from __future__ import annotations

from typing import Any, Optional, TypedDict


class Cluster(TypedDict, total=False):
    """A row of ``clusters``; the keys are the documented columns. ``{}`` if there is no cluster."""

    #: The position in the log of the event that made the row; 0 for a cluster of the environment.
    id: int
    cluster_id: str
    cluster_name: Optional[str]
    host: Optional[str]
    num_workers: Optional[int]
    status: str
    created_at: str
    expiry_time: str
    last_accessed: str
    access_count: int
    is_active: int  #: 0 or 1.
    is_shared: int  #: 0 or 1.


class ClusterInfo(Cluster, total=False):
    """The active cluster, as the command ``status`` shows it."""

    is_valid: bool  #: Active and not expired.
    remaining: float  #: Seconds until it expires; 0 once it has.
    from_environment: bool  #: ``DATABRICKS_CLUSTER_ID`` names it; there is no row.


class Statistics(TypedDict):
    """Counts over ``clusters``. ``cache_file_size`` is in bytes, without the WAL."""

    total_clusters: int
    active_clusters: int
    expired_clusters: int
    total_accesses: int
    shared_clusters: int
    cache_file_size: int


class RegistryEntry(TypedDict):
    """A row of ``shared_cluster_registry``; the keys are the documented columns. ``status`` is
    ``"creating"``, ``"ready"`` or ``"failed"``."""

    id: int
    config_hash: str
    cluster_id: Optional[str]
    status: str
    worker_pid: Optional[int]
    creation_time: str
    usage_count: int
    error_message: Optional[str]


class DatabaseInfo(TypedDict):
    """Where the database is, and its sizes in bytes. ``events`` is the number of events in the log.
    ``closed`` says why the database takes no changes; ``None`` if it takes them."""

    path: str
    schema: str
    exists: bool
    database_size: int
    wal_exists: bool
    wal_size: int
    shm_exists: bool
    shm_size: int
    schema_version: int
    events: int
    last_position: int
    closed: Optional[str]


class Event(TypedDict):
    """An event of the log, and what it changed."""

    position: int  #: In the log, from 1.
    stream: str  #: ``cluster-<cluster_id>``, ``registry-<config_hash>`` or ``run-<name>``.
    version: int  #: In its stream, from 1.
    type: str
    recorded_at: str
    metadata: Any  #: Host, pid, user, program and label of the process that recorded it.
    payload: Any
    command_id: str  #: 32 hex digits; the events of one command share it.
    hash: str  #: 64 hex digits.
    effect: str  #: What it did to its row: ``none``, ``made``, ``changed`` or ``removed``.
    changes: dict[str, dict[str, Any]]  #: ``before`` and ``after`` of each column that changed.


class ReplayReport(TypedDict):
    """The result of ``replay``."""

    events: int  #: How many events it read.
    clusters: int  #: How many rows the log makes in ``clusters``.
    registry_entries: int  #: How many rows it makes in ``shared_cluster_registry``.
    #: Where the tables differed from the log before anything was written: ``table``, ``key``,
    #: ``kind`` (``missing``, ``unexpected`` or ``changed``), ``column``, ``expected``, ``found``.
    differences: list[dict[str, Any]]
    rebuilt: bool  #: Whether the tables were written anew.


class VerifyReport(TypedDict):
    """The result of ``verify``."""

    ok: bool  #: Whether there are no problems.
    head: str  #: ``NUMBER:HASH`` of the log. Keep it elsewhere, and give it to a later ``verify``.
    streams: int  #: How many streams the log has.
    problems: list[dict[str, Any]]  #: ``position``, ``stream``, ``version`` and ``what`` of each.


class ReleaseReport(TypedDict):
    """The result of a release."""

    of_surrounding_run: bool  #: The lease belongs to the ``dbcache run`` around this process.
    was_held: bool  #: This call ended the lease. ``False`` if it had ended before.
    was_last: bool  #: No process holds the cluster any more.
    usage_count: int  #: The entry's count after the release.
    owed: Optional[str]  #: The cluster id whose termination this release made due.
    settled: bool  #: Whether that termination is done.
    error: Optional[str]  #: Why it is not.
    #: Of a lease that had ended before, released by its name: ``"released"``, ``"deadline"``,
    #: ``"died"``, ``"cluster_lost"`` or ``"forced"``.
    ended: Optional[str]
    cluster_id: Optional[str]  #: Of that lease.
    #: What became of that cluster: ``"in_use"``, ``"cached"``, ``"termination_pending"`` or
    #: ``"gone"``.
    cluster_is: Optional[str]


class SettleReport(TypedDict):
    """The result of ``settle``. Each text is the ``subject`` of a pending termination."""

    settled: list[str]
    failed: list[dict[str, str]]  #: ``subject`` and ``error`` of each.
    left: list[str]  #: Other processes hold or settle these.


class LeaseReport(TypedDict):
    """The result of ``leases``. A ``holder`` has ``host``, ``pid``, ``label``, ``until`` (the
    deadline of a lease that has one) and ``alive``."""

    #: Oldest first: ``lease`` (the fencing token), ``kind`` (``lease``, ``creation`` or ``check``),
    #: ``config_hash``, ``cluster_id``, ``holder``, ``since``, ``policy``, ``run``.
    leases: list[dict[str, Any]]
    #: Uses by ``increment_shared_cluster_usage``: ``config_hash``, ``cluster_id``, ``count``.
    documented_uses: list[dict[str, Any]]
    #: Participants of runs: ``id``, ``run``, ``kind``, ``name``, ``holder``, ``since``.
    participants: list[dict[str, Any]]


class WaitProgress(TypedDict):
    """What an acquire waits for."""

    waits_for: str  #: ``"creator"``, ``"checker"``, or ``"cluster"`` while the call creates one.
    #: The process that creates or checks: ``host``, ``pid``, ``label``, ``until``, ``alive``.
    holder: dict[str, Any]
    since: str  #: When the creation began: UTC, as ISO text.
    waited: float  #: How long the call has waited, in seconds.
    doing: str  #: What the cluster is doing, as its creator told last; empty if that is not known.
