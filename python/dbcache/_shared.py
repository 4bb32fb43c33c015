"""Leases of shared clusters."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Optional, Union

from dbcache import _dbcache
from dbcache._calls import Call
from dbcache._lease import Acquisition, RunMembership
from dbcache._manager import CacheManager
from dbcache._values import to_json, to_microseconds, to_milliseconds
from dbcache.databricks import LazyWorkspace, Workspace
from dbcache.types import LeaseReport, ReleaseReport, SettleReport

Creation = _dbcache.Creation


@dataclasses.dataclass(frozen=True)
class Termination:
    """The argument of ``terminate``: one pending termination. It names the cluster by
    ``cluster_id``. If that is ``None``, terminate whatever the creation with ``idempotency_token``
    started."""

    #: The cluster id, else the idempotency token: the name of this termination in the log.
    subject: str
    cluster_id: Optional[str]
    idempotency_token: Optional[str]
    config_hash: Optional[str]
    #: The workspace of the cluster.
    host: Optional[str]
    #: Why the cluster must be terminated.
    reason: str
    #: When the termination became due: UTC, as ISO text.
    owed_at: str
    #: How many attempts there were, with this one.
    attempts: int
    #: Why the last attempt failed.
    error: Optional[str]
    #: The process that is terminating the cluster.
    terminator: Optional[dict[str, Any]]
    #: The present, by the clock of ``owed_at``.
    now: str = ""
    #: A program that inherits this descriptor (``pass_fds``) keeps other processes from terminating
    #: the same cluster. -1 if there is none.
    lock_descriptor: int = -1


# What ``acquire`` takes. Under ``async with`` they may return an awaitable of the result.
Create = Callable[[dict[str, Any], Creation], Any]
Check = Callable[[str], Any]
Terminate = Callable[[Termination], Any]


class SharedClusters:
    """Leases of shared clusters: one worker creates a cluster, the others wait for it, and the last
    one hands it back. Other processes notice at once when a holder or a creator dies.

    Takes a ``CacheManager``, or the keyword arguments of one. Several threads may use one object at
    once; after a fork, parent and child may both go on using it.
    """

    def __init__(self, manager: Optional[CacheManager] = None, **options: Any) -> None:
        if manager is not None and options:
            raise TypeError("give a CacheManager or the options of one, not both")
        self._manager = CacheManager(**options) if manager is None else manager
        self._native = _dbcache.Shared(self._manager._native)

    def __reduce__(self):
        return type(self), (self._manager,)

    @property
    def manager(self) -> CacheManager:
        """The ``CacheManager`` of the same database."""
        return self._manager

    def acquire(
        self,
        config: Mapping[str, Any],
        create: Optional[Create] = None,
        check: Optional[Check] = None,
        terminate: Optional[Terminate] = None,
        *,
        timeout: Union[float, timedelta] = 1800.0,
        policy: Literal["keep", "hand_back"] = "keep",
        on_create_failure: Literal["try_again", "fail"] = "try_again",
        run: Optional[str] = None,
        leave_out: Sequence[str] = (),
        on_wait: Optional[Callable[[dict[str, Any]], None]] = None,
        workspace: Union[Workspace, LazyWorkspace, None] = None,
    ) -> Acquisition:
        """Leases the configuration's cluster: joins one that is ready, waits for one that is being
        created, or creates it: ``with shared.acquire(config) as lease: ...``, or ``async with``.

        Without ``create``, the ``workspace`` has the functions that are not given; without
        ``workspace``, that is ``dbcache.databricks.Workspace.of(config)``. Functions may be ``async def`` under
        ``async with`` and ``await``:

        - ``create(config, creation)`` starts a cluster, waits until it can be used, and returns its
          id. Give Databricks ``creation.idempotency_token``; call ``creation.started(id)`` early.
        - ``check(cluster_id)`` returns whether a cluster that no process holds still runs. Without
          it, such a cluster is assumed to run.
        - ``terminate(termination)`` terminates the cluster of a ``Termination``, or finds it gone.

        - ``timeout``: how long to wait for the lease, in seconds or as a ``timedelta``.
        - ``policy``: what to do with the cluster after the last lease. ``"keep"`` leaves it cached
          until it expires; ``"hand_back"`` terminates it at once.
        - ``on_create_failure``: what a waiting caller does if the ``create`` that it waits for
          fails. ``"try_again"`` calls its own ``create``; ``"fail"`` raises ``CreationFailed``.
        - ``run``: the run that uses the cluster; it is kept while a participant of the run lives.
        - ``leave_out``: top-level keys of ``config`` that do not count for its hash.
        - ``on_wait(progress)``: called about once a second while it waits, or creates. ``progress``
          is a ``dbcache.types.WaitProgress``.
        - ``workspace``: a ``dbcache.databricks.Workspace``, of the cluster if ``config`` has no host.

        If ``DATABRICKS_CLUSTER_ID`` is set, leases that cluster, and never checks or ends it.

        Raises ``InvalidArgument`` for a ``config`` that JSON cannot hold. Using the acquisition
        raises ``Timeout``, ``Cancelled``, ``CreationFailed``, ``InvalidArgument``, and what
        ``create`` and ``check`` raise. It leaves a pending termination if ``create`` may have
        started a cluster.
        """
        given, text = dict(config), to_json(config, "config")
        functions = _Functions.of(given, workspace, create, check, terminate)
        timeout_milliseconds = to_milliseconds(timeout, "timeout")

        def start(call: Call, stop: _dbcache.StopSource) -> _dbcache.Lease:
            with functions.limited_checks(time.monotonic() + timeout_milliseconds / 1000, stop):
                return self._native.acquire(
                    config=text,
                    create=call.wrap(lambda creation: functions.create(dict(given), creation)),
                    check=call.wrap(functions.check),
                    terminate=call.wrap(_terminator(functions.terminate)),
                    timeout_milliseconds=timeout_milliseconds,
                    policy=policy,
                    on_create_failure=on_create_failure,
                    run=run,
                    leave_out=list(leave_out),
                    stop=stop,
                    on_wait=on_wait,
                    host=functions.host,
                    check_counts_for_milliseconds=functions.check_counts_for_milliseconds,
                )

        return Acquisition(start)

    def join_run(
        self, run: str, kind: str = "process", name: Optional[str] = None
    ) -> RunMembership:
        """Joins a run. ``run`` is its name; ``kind`` (``"worker"``, say) and ``name`` describe this
        participant in ``leases()`` and in the log. Raises ``InvalidArgument`` for an empty ``run``
        or ``kind``."""
        return RunMembership(self._native.join_run(run, kind, name))

    def leases(self) -> LeaseReport:
        """The leases, the creations and checks under way, the documented uses, and the participants
        of runs. Also lists holders that have died and whose leases have not been ended yet."""
        return self._native.leases()

    def owed(self) -> list[dict[str, Any]]:
        """The pending terminations, oldest first, with the fields of ``Termination`` except
        ``lock_descriptor``. Ends the leases of dead holders first."""
        return self._native.owed()

    def settle(self, terminate: Terminate, host: Optional[str] = None) -> SettleReport:
        """Carries out the pending terminations of every host, or of one ``host``; ``""`` means
        those that name no host. Calls ``terminate`` once for each, also for those that have just
        failed. A program that must leave nothing behind calls it before it exits. The report names
        those that succeeded, those that failed, and those that were left because others hold or
        settle them."""
        call = Call()
        carry_out: Any = call.wrap(_terminator(terminate))
        return call.run(lambda stop: self._native.settle(carry_out, host, stop))

    def renew_lease(self, lease: Union[str, int], ttl: Union[float, timedelta]) -> None:
        """Makes a lease that was given a deadline (``Lease.hold_for``) end ``ttl`` from now: more
        than 0 and at most 1 year, in seconds or as a ``timedelta``. ``lease`` is its ``name``; its
        number alone counts only if ``DATABRICKS_CLUSTER_ID`` names its cluster, since every
        database has leases of the same numbers. Raises ``NotFound`` if the lease has ended or is
        not of this database, and ``InvalidArgument`` for another ``ttl`` or if a process holds the
        lease."""
        self._native.renew_lease(lease, to_microseconds(ttl, "ttl"))

    def release_lease(
        self, lease: Union[str, int], terminate: Optional[Terminate] = None
    ) -> ReleaseReport:
        """Ends a lease by its name (``Lease.name``; a number as in ``renew_lease``), even if another
        process holds it; otherwise as ``Lease.release`` does. A lease of the ``dbcache run`` around
        this process stays. Raises ``NotFound`` for a lease that is not of this database."""
        call = Call()
        carry_out = call.wrap(_terminator(terminate))
        return call.run(lambda stop: self._native.release_lease(lease, carry_out, stop))

    def creation_started(
        self, config_hash: str, creation: Union[str, int], cluster_id: str
    ) -> None:
        """``Creation.started``, for a creation given by its configuration hash and its ``name``. Its
        fencing token alone counts only if ``DBCACHE_IDEMPOTENCY_TOKEN`` is that creation's, else
        ``InvalidArgument`` is raised. Raises ``NotFound`` if there is no such creation, and
        ``LeaseLost`` if another creator took over."""
        self._native.creation_started(config_hash, creation, cluster_id)


@dataclasses.dataclass(frozen=True)
class _Functions:
    """What an acquire calls: what was given, else the workspace's."""

    workspace: Optional[LazyWorkspace]
    create: Create
    check: Optional[Check]
    terminate: Optional[Terminate]

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        workspace: Union[Workspace, LazyWorkspace, None],
        create: Optional[Create],
        check: Optional[Check],
        terminate: Optional[Terminate],
    ) -> _Functions:
        owner = getattr(create, "__self__", None)
        if workspace is None and isinstance(owner, Workspace):
            workspace = owner  # whose method it is
        if workspace is None and create is None:
            workspace = LazyWorkspace(config)
        if workspace is None:
            assert create is not None
            return cls(None, create, check, terminate)
        lazy = LazyWorkspace(config, workspace) if isinstance(workspace, Workspace) else workspace

        def own(function: Any) -> bool:
            return function is None or getattr(function, "__self__", None) is workspace

        return cls(
            lazy,
            lazy.create if create is None or own(create) else create,
            lazy.check if own(check) else check,
            lazy.terminate if own(terminate) else terminate,
        )

    @property
    def host(self) -> str:
        return "" if self.workspace is None else self.workspace.host

    @property
    def check_counts_for_milliseconds(self) -> int:
        is_workspaces = self.workspace is not None and self.check == self.workspace.check
        return _dbcache.Workspace.check_counts_for_milliseconds() if is_workspaces else 0

    def limited_checks(
        self, deadline: float, stop: _dbcache.StopSource
    ) -> contextlib.AbstractContextManager[None]:
        if self.workspace is None:
            return contextlib.nullcontext()
        return self.workspace.limited_checks(deadline, stop)


def _terminator(terminate: Optional[Terminate]) -> Optional[Callable[[dict[str, Any]], Any]]:
    if terminate is None:
        return None
    carry_out = terminate
    return lambda fields: carry_out(Termination(**fields))
