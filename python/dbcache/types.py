"""What the calls give: dictionaries whose keys are the documented columns."""

from __future__ import annotations

from typing import Any, Optional, TypedDict


class Cluster(TypedDict, total=False):
    """A row of ``clusters``. All keys are there, or none where there is no cluster."""

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
    is_active: int
    is_shared: int


class ClusterInfo(Cluster, total=False):
    """What ``status`` shows of the active cluster."""

    is_valid: bool
    remaining: float
    from_environment: bool


class Statistics(TypedDict):
    """Figures over ``clusters``; the file's size is in bytes."""

    total_clusters: int
    active_clusters: int
    expired_clusters: int
    total_accesses: int
    shared_clusters: int
    cache_file_size: int


class RegistryEntry(TypedDict):
    """A row of ``shared_cluster_registry``."""

    id: int
    config_hash: str
    cluster_id: Optional[str]
    status: str
    worker_pid: Optional[int]
    creation_time: str
    usage_count: int
    error_message: Optional[str]


class DatabaseInfo(TypedDict):
    """Where the database is, and how large; sizes are in bytes."""

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
    """An event as the log holds it, and what it changed."""

    position: int
    stream: str
    version: int
    type: str
    recorded_at: str
    metadata: Any
    payload: Any
    command_id: str
    hash: str
    effect: str
    changes: dict[str, dict[str, Any]]


class ReplayReport(TypedDict):
    events: int
    clusters: int
    registry_entries: int
    differences: list[dict[str, Any]]
    rebuilt: bool


class VerifyReport(TypedDict):
    ok: bool
    head: str
    streams: int
    problems: list[dict[str, Any]]


class ReleaseReport(TypedDict):
    """What the end of a lease came to."""

    of_surrounding_run: bool
    was_held: bool
    was_last: bool
    usage_count: int
    owed: Optional[str]
    settled: bool
    error: Optional[str]


class SettleReport(TypedDict):
    settled: list[str]
    failed: list[dict[str, str]]
    left: list[str]


class LeaseReport(TypedDict):
    leases: list[dict[str, Any]]
    documented_uses: list[dict[str, Any]]
    participants: list[dict[str, Any]]
