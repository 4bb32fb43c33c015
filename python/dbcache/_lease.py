"""What an acquire gives, and membership in a run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Optional, Union

from dbcache import _dbcache
from dbcache._calls import Call, on_a_thread
from dbcache._logging import logger
from dbcache._values import to_microseconds
from dbcache.errors import LeaseLost
from dbcache.types import ReleaseReport


class Lease:
    """The right to use a configuration's cluster, held by this process until ``release``. A
    ``with`` block releases the lease at its end. If the process dies, other processes notice at
    once. In a forked child the lease holds nothing.

    In a coroutine, use ``async with``, or ``await asyncio.to_thread(lease.release)``: a release may
    take as long as a termination. A lease that is garbage-collected is released too, but only once
    the objects that ``check`` and ``terminate`` refer to are collected.

    Several threads may use one lease at once."""

    def __init__(self, native: _dbcache.Lease, call: Call) -> None:
        self._native = native
        self._call = call
        self._lock = threading.RLock()
        self._ended = False

    @property
    def cluster_id(self) -> str:
        """The id of the leased cluster."""
        return self._native.cluster_id

    @property
    def config_hash(self) -> str:
        """The hash of the leased configuration."""
        return self._native.config_hash

    @property
    def created_here(self) -> bool:
        """Whether this acquire called ``create``."""
        return self._native.created_here

    @property
    def fencing_token(self) -> int:
        """The lease's number. It is larger than that of any earlier lease of the configuration, so
        a service can refuse a holder whose lease has ended."""
        return self._native.fencing_token

    @property
    def name(self) -> str:
        """The lease's name: its number, ``-`` and 16 hex digits that no lease of another log has.
        Keep it, and not the number, for ``SharedClusters.release_lease`` and ``renew_lease``."""
        return self._native.name

    @property
    def lock_descriptor(self) -> int:
        """The file descriptor of the lease's lock, or -1. A program that inherits it (``pass_fds``)
        holds the lease too."""
        return self._native.lock_descriptor

    @property
    def lost(self) -> bool:
        """Whether the lease ended without a ``release``: the cluster was found dead, the lease was
        taken away, or the database no longer has its log. Reads the database."""
        return self._native.lost()

    def note_use(self, by: str) -> None:
        """Records in the log that ``by`` (a test's name, at most 1 KiB of it) uses the cluster, so
        that the cluster's history names it. Raises ``LeaseLost`` if the lease has ended."""
        # Without the lock: the event loop may call this while report_dead waits for its check.
        self._native.note_use(by)

    def report_dead(self) -> bool:
        """Reports that the cluster does not answer. If the acquire was given a ``check`` and that
        says that the cluster runs, returns ``False``, and nothing changes. Otherwise returns
        ``True``: every lease on the cluster is lost, and the next acquire creates another cluster.
        Raises whatever ``check`` raises."""
        with self._lock:
            return self._call.run(lambda stop: self._native.report_dead())

    def release(self) -> ReleaseReport:
        """Ends the lease. Safe to call twice. If it was the last lease and its policy is
        ``"hand_back"``, calls ``terminate`` before it returns. Then it may settle other pending
        terminations on the same host: about once a second one of all processes does so, and leaves
        out those that failed a short time ago. A ``terminate`` that raises leaves its termination
        pending; the report's ``error`` says why. Raises ``LeaseLost`` if the database no longer has
        the log that the lease stands in: it was wiped, restored or exchanged. A ``with`` block logs
        that as a warning instead."""
        with self._lock:
            self._ended = True
            report = self._call.run(self._native.release)
        if report["error"] is not None:
            logger.warning(
                "the termination of %s failed and is still pending: %s",
                report["owed"],
                report["error"],
            )
        return report

    def hold_for(self, ttl: Union[float, timedelta]) -> None:
        """Makes the lease outlive this process. It ends by ``SharedClusters.release_lease``, or
        after ``ttl``: more than 0 and at most 1 year, in seconds or as a ``timedelta``. This object
        then holds nothing. Raises ``InvalidArgument`` for another ``ttl``, and ``LeaseLost`` if the
        lease has ended."""
        with self._lock:
            self._native.hold_for(to_microseconds(ttl, "ttl"))
            self._ended = True

    def release_at_exit(self) -> None:
        """``release`` at the end of a block: what was done in it is done, so a lease that had ended
        with its log is told to the log of the program, and raises nothing."""
        try:
            self.release()
        except LeaseLost as error:
            logger.warning("%s", error)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release_at_exit()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await on_a_thread(self.release_at_exit)

    def __repr__(self) -> str:
        return f"<dbcache.Lease {self.name} of {self.cluster_id}>"


class Acquisition:
    """What ``SharedClusters.acquire`` returns. The acquire begins when this is used: by ``with`` or
    ``async with``, which release the lease at their end, by ``wait()``, or by ``await``."""

    def __init__(
        self, start: Callable[[Call, _dbcache.StopSource], _dbcache.Lease]
    ) -> None:
        self._start = start
        self._lease: Optional[Lease] = None

    def wait(self) -> Lease:
        """Acquires, and returns the lease; the caller releases it. Ctrl-C ends the wait. Raises
        what ``SharedClusters.acquire`` lists."""
        __tracebackhide__ = True
        return self._run(Call())

    def __enter__(self) -> Lease:
        self._lease = self.wait()
        return self._lease

    def __exit__(self, *exception: object) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release_at_exit()

    def _run(self, call: Call) -> Lease:
        __tracebackhide__ = True
        return call.run(lambda stop: Lease(self._start(call, stop), call), discard=Lease.release)

    async def _wait(self) -> Lease:
        call = Call(asyncio.get_running_loop())

        def undo(lease: Lease) -> None:
            call.allow()
            lease.release()

        return await on_a_thread(lambda: self._run(call), call.stop, undo)

    def __await__(self):
        return self._wait().__await__()

    async def __aenter__(self) -> Lease:
        self._lease = await self._wait()
        return self._lease

    async def __aexit__(self, *exception: object) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await on_a_thread(lease.release_at_exit)


class RunMembership:
    """A participant's membership in a run. While any participant of a run lives, no cluster that
    the run used is handed back. A ``with`` block leaves the run at its end."""

    def __init__(self, native: _dbcache.Membership) -> None:
        self._native = native
        self._lock = threading.RLock()

    @property
    def id(self) -> int:
        """The participant's number: the position in the log where it joined."""
        return self._native.id

    @property
    def name(self) -> str:
        """The participant's name: its number, ``-`` and 16 hex digits that no other log has."""
        return self._native.name

    @property
    def run(self) -> str:
        """The name of the run."""
        return self._native.run

    def leave(self) -> list[str]:
        """Leaves the run. Safe to call twice. Returns the ids of the clusters whose termination
        this made due."""
        with self._lock:
            return self._native.leave()

    def __enter__(self) -> RunMembership:
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()
