"""The part of one process in a pytest session: its leases, its membership in the session's run, and
the summary at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, Optional

import pytest

import dbcache
from dbcache._logging import logger
from dbcache._pytest_lifecycle import Lifecycle
from dbcache.types import Cluster, Event


def is_over(lease: dbcache.Lease) -> bool:
    """Whether the lease's cluster was found dead, or a test released the lease."""
    try:
        return lease._ended or lease.lost
    except dbcache.Error as error:
        logger.warning("cannot look up whether %r is lost: %s", lease, error)
        return False


Policy = Literal["hand_back", "keep"]


@dataclasses.dataclass(frozen=True)
class Place:
    """What all processes of a session have in common. pytest-xdist sends it to the workers."""

    run: str  #: The name of the session's run.
    database: Optional[str]
    schema: str
    default_config: Optional[str]  #: JSON, if a file gives it.

    @staticmethod
    def of_new_session(default_config: Optional[str]) -> Place:
        return Place(f"pytest-{uuid.uuid4().hex[:12]}", None, "", default_config)

    def to_send(self) -> dict[str, Any]:
        """The fields in a form that pytest-xdist can send: not a ``str`` with bytes that are not
        UTF-8, which a path may have."""
        database = None if self.database is None else os.fsencode(self.database)
        return {**dataclasses.asdict(self), "database": database}

    @staticmethod
    def sent(fields: Mapping[str, Any]) -> Place:
        """The other side of ``to_send``."""
        database = fields["database"]
        return Place(
            fields["run"],
            None if database is None else os.fsdecode(database),
            fields["schema"],
            fields["default_config"],
        )


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a session did with clusters."""

    created: int  #: Leases whose acquire created the cluster.
    joined: int  #: The other leases.
    saved: timedelta  #: How long the joined clusters took to start, counted once for each lease.
    cached: list[Cluster]  #: The clusters that were used and are still cached.
    held: list[dict[str, Any]]  #: The leases that still hold one of the clusters that were used.
    owed: list[dict[str, Any]]  #: The session's pending terminations.
    failed: int = 0  #: Creations that failed or ended early.

    def lines(self) -> list[str]:
        minutes = self.saved.total_seconds() / 60
        lines = [
            f"{_count(self.created, 'cluster')} created, {self.joined} joined, "
            f"{minutes:.1f} minutes of start-up saved, {len(self.held)} still held, "
            f"{len(self.owed)} owed"
        ]
        if self.failed > 0:
            lines.append(f"{_count(self.failed, 'creation')} failed or ended early")
        held = {each["cluster_id"] for each in self.held}
        lines += [
            f"{each['cluster_id']} is held by process {each['holder']['pid']} on "
            f"{each['holder']['host']}"
            for each in self.held
        ]
        lines += [
            f"{each['cluster_id']} is kept until {each['expiry_time'][:19]} UTC"
            for each in self.cached
            if each["cluster_id"] not in held
        ]
        lines += [
            f"{each['subject']} has a pending termination"
            + (f": {each['error']}" if each["error"] else "")
            for each in self.owed
        ]
        return lines


def _process(holder: Mapping[str, Any]) -> tuple[str, Any]:
    return holder["host"], holder["process"]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class Run:
    """This process's membership in the session's run. Joins when made, leaves by ``leave``."""

    def __init__(self, config: pytest.Config, place: Place, policy: Policy) -> None:
        self._config = config
        self._policy = policy
        self._lifecycle = Lifecycle(config)
        self._lock = threading.RLock()  # a create may lease another cluster on the same thread
        self._leases: dict[str, dbcache.Lease] = {}
        #: Of each lease whose log was gone: what to do with its cluster.
        self.lost: list[str] = []
        self.manager = dbcache.CacheManager(database=place.database, schema=place.schema)
        # An absolute name: a worker may start in another directory, or change its directory later.
        _, name, schema = self.manager._native.database_location()
        self.place = dataclasses.replace(place, database=name, schema=schema)
        self._shared = dbcache.SharedClusters(self.manager)
        worker = getattr(config, "workerinput", {}).get("workerid")
        self._is_worker = worker is not None
        self._membership = self._shared.join_run(
            place.run, "pytest worker" if self._is_worker else "pytest", worker
        )

    # ---- Clusters

    def default_config(self) -> Mapping[str, Any]:
        if self.place.default_config is not None:
            return json.loads(self.place.default_config)
        config = self._config.hook.pytest_dbcache_config(config=self._config)
        if config is None:
            pytest.fail(
                "dbcache has no default configuration: implement pytest_dbcache_config in "
                "conftest.py, or name a JSON file by --dbcache-config or by dbcache_config in "
                "pytest.ini",
                pytrace=False,
            )
        return config

    def lease_of(self, cluster_config: Mapping[str, Any]) -> dbcache.Lease:
        """This process's lease of a configuration. Acquires a new lease if there is none, or if its
        cluster was found dead."""
        __tracebackhide__ = True
        key = dbcache.config_hash(cluster_config)
        with self._lock:
            lease = self._leases.get(key)
            if lease is None or is_over(lease):
                if lease is not None and not lease._ended:
                    self._release(lease)  # says where its log is gone
                lease = self._acquire(cluster_config)
                self._leases[key] = lease
            return lease

    def _acquire(self, cluster_config: Mapping[str, Any]) -> dbcache.Lease:
        __tracebackhide__ = True
        functions = self._lifecycle.of(cluster_config)
        waits_for: dict[str, Any] = {}

        def on_wait(progress: dict[str, Any]) -> None:
            nonlocal waits_for
            if progress["holder"] != waits_for:
                waits_for = progress["holder"]
                logger.info(
                    "waiting for the %s: process %d on %s",
                    progress["waits_for"], waits_for["pid"], waits_for["host"],
                )  # fmt: skip

        return self._shared.acquire(
            cluster_config,
            functions.create,
            functions.check,
            functions.terminate,
            policy=self._policy,
            run=self.place.run,
            on_wait=on_wait,
            workspace=functions.workspace,
        ).wait()

    # ---- The end

    def release_leases(self) -> None:
        with self._lock:
            while self._leases:
                self._release(self._leases.popitem()[1])

    def _release(self, lease: dbcache.Lease) -> None:
        try:
            lease.release()
        except dbcache.LeaseLost as error:
            self.lost.append(str(error))
            logger.warning("%s", error)
        except dbcache.Error as error:  # this process no longer holds it even so
            logger.warning("cannot record the release of %r in the log: %s", lease, error)

    def leave(self) -> None:
        """Releases the leases, leaves the run, and carries out the session's pending
        terminations."""
        self.release_leases()
        self._membership.leave()
        if not self._lifecycle.can_terminate:
            return
        # The session's hooks cannot terminate clusters of hosts that the session does not know.
        for host in sorted({owed["host"] or "" for owed in self._owed()}):
            self._shared.settle(self._lifecycle.terminate_of(host), host)

    def _owed(self) -> list[dict[str, Any]]:
        """The pending terminations of configurations that this session used."""
        used = {each["config_hash"] for each in [*self._creations().values(), *self._grants()]}
        return [owed for owed in self._shared.owed() if owed["config_hash"] in used]

    def _creations(self) -> dict[int, dict[str, Any]]:
        """The creations that processes of this session began, by fencing token."""
        members = []
        creations = {}
        for event in self._events():
            payload = event["payload"]
            if event["type"] == "RunJoined" and payload["run"] == self.place.run:
                members.append(_process(payload["holder"]))
            elif event["type"] == "CreationStarted" and _process(payload["holder"]) in members:
                creations[event["position"]] = payload
        return creations

    def _grants(self) -> list[dict[str, Any]]:
        """The leases of this session."""
        return [
            event["payload"]
            for event in self._events()
            if event["type"] == "LeaseGranted" and event["payload"]["run"] == self.place.run
        ]

    def _events(self) -> Iterator[Event]:
        """The events since this process joined the run."""
        return self.manager.watch(self._membership.id, timeout=0)

    def summary(self) -> Summary:
        """The session's summary, from the log. Only the process that joined first can give it: it
        reads the log from where this process joined."""
        grants = self._grants()
        start_ups = self._start_ups({grant["config_hash"] for grant in grants})
        joined = [grant for grant in grants if not grant["created_here"]]
        finished = {
            event["payload"]["creation"]
            for event in self._events()
            if event["type"] == "LeaseGranted"
        }
        used = {grant["cluster_id"] for grant in grants}
        return Summary(
            created=len(grants) - len(joined),
            joined=len(joined),
            saved=sum(
                (start_ups.get(each["cluster_id"], timedelta()) for each in joined), timedelta()
            ),
            cached=[each for each in self.manager.get_all_clusters() if each["cluster_id"] in used],
            held=[each for each in self._shared.leases()["leases"] if each["cluster_id"] in used],
            owed=self._owed(),
            failed=len(self._creations().keys() - finished),
        )

    def _start_ups(self, hashes: set[str]) -> dict[str, timedelta]:
        """How long each cluster of the given configurations took to start, by cluster id."""
        took = {}
        for config_hash in hashes:
            begun: dict[int, str] = {}
            types = ["CreationStarted", "LeaseGranted"]
            for event in self.manager.history(config_hash, types=types):
                if event["type"] == "CreationStarted":
                    begun[event["position"]] = event["recorded_at"]
                elif event["payload"]["created_here"] and event["payload"]["creation"] in begun:
                    at = [begun[event["payload"]["creation"]], event["recorded_at"]]
                    start, end = map(datetime.fromisoformat, at)
                    took[event["payload"]["cluster_id"]] = end - start
        return took
