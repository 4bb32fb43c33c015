"""Shared clusters by lease."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import dataclasses
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Optional, TypeVar, Union

from dbcache import _dbcache
from dbcache._logging import logger
from dbcache._manager import CacheManager
from dbcache._values import to_json, to_microseconds, to_milliseconds
from dbcache.errors import Cancelled
from dbcache.types import LeaseReport, ReleaseReport, SettleReport

Creation = _dbcache.Creation
Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Termination:
    """A termination to be carried out: of ``cluster_id``, or where that is not known of whatever a
    creation with ``idempotency_token`` left."""

    subject: str
    cluster_id: Optional[str]
    idempotency_token: Optional[str]
    config_hash: Optional[str]
    host: Optional[str]
    reason: str
    owed_at: str
    attempts: int
    error: Optional[str]
    terminator: Optional[dict[str, Any]]
    #: A program that inherits it (pass_fds) keeps others from terminating the same cluster.
    lock_descriptor: int = -1


Create = Callable[[dict[str, Any], Creation], Any]
Check = Callable[[str], Any]
Terminate = Callable[[Termination], Any]


class _Call:
    """The users' functions, and the calls of the library's that call them. Those take any failure of
    a terminate for one of the termination; Ctrl-C is none: nothing more is begun then, and it is
    raised once the call came back."""

    def __init__(self, loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        self._loop = loop
        self._thread = threading.get_ident()  # which runs the loop
        self._task: Optional[asyncio.Task] = None
        self._interrupt: Optional[BaseException] = None
        self._stopped = False
        self._source = _dbcache.StopSource()

    def wrap(self, function: Optional[Callable[..., Any]]) -> Optional[Callable[..., Any]]:
        if function is None:
            return None
        wrapped = function

        def call(*arguments: Any) -> Any:
            __tracebackhide__ = True  # of pytest's
            try:
                result = wrapped(*arguments)
                return self._finish(result) if inspect.isawaitable(result) else result
            except BaseException as error:
                if not isinstance(error, Exception):
                    self._interrupt = error
                    self._source.request_stop()
                raise

        return call

    def _finish(self, awaitable: Any) -> Any:
        """Has the caller's event loop run what an ``async def`` function gave, to its end."""
        try:
            return self._run_on_loop(awaitable)
        except asyncio.CancelledError:
            raise Cancelled("it was cancelled") from None
        finally:
            never_begun = (
                inspect.iscoroutine(awaitable)
                and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED
            )
            if never_begun:
                awaitable.close()

    def _run_on_loop(self, awaitable: Any) -> Any:
        if self._loop is None:
            raise TypeError("a function that is async needs `async with`")
        if threading.get_ident() == self._thread:
            raise TypeError(
                "an async function cannot run while its event loop waits for it: use `async with`, "
                "or await asyncio.to_thread(lease.release)"
            )
        loop = self._loop
        ended = threading.Event()

        async def finish() -> Any:
            return await awaitable

        def begin() -> None:
            self._task = loop.create_task(finish())
            self._task.add_done_callback(lambda task: ended.set())
            if self._stopped:
                self._task.cancel()

        try:
            loop.call_soon_threadsafe(begin)
        except RuntimeError as error:
            raise Cancelled("the event loop was closed") from error
        while not ended.wait(timeout=1):
            # Nobody runs a loop that stands once the main thread has ended: that waits for this one.
            if loop.is_closed() or not (
                loop.is_running() or threading.main_thread().is_alive()
            ):
                raise Cancelled("the event loop was closed")
        task, self._task = self._task, None
        assert task is not None
        return task.result()

    def stop(self) -> None:
        """On the loop's thread: cancels what runs, and what would begin."""
        self._stopped = True
        self._source.request_stop()
        if self._task is not None:
            self._task.cancel()

    def undo(self, lease: Lease) -> None:
        """Gives back what a call came to that was stopped."""
        self._stopped = False
        lease.release()

    def run(self, function: Callable[[_dbcache.StopSource], Result]) -> Result:
        __tracebackhide__ = True
        try:
            result = function(self._source)
        except BaseException as error:
            if self._interrupt is not None and error is not self._interrupt:
                raise self._interrupt from error
            raise
        finally:
            interrupt, self._interrupt = self._interrupt, None
            self._source = _dbcache.StopSource()
        if interrupt is None:
            return result
        if isinstance(result, Lease):  # which nobody gets
            self._source.request_stop()
            try:
                result.release()
            except Exception as error:
                raise interrupt from error
        del result  # the exception's frames keep what they have
        raise interrupt


async def _on_a_thread(
    function: Callable[[], Result],
    stop: Callable[[], None] = lambda: None,
    undo: Callable[[Result], object] = lambda result: None,
) -> Result:
    """Runs what blocks on a thread of its own: in a pool, calls that wait for each other could take
    up all threads. Where the task is cancelled, it is stopped, waited for, and undone."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    outcome: concurrent.futures.Future = concurrent.futures.Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as error:  # handed on
            outcome.set_exception(error)
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:  # the loop was closed without waiting for its tasks
            if outcome.exception() is None:
                undo(outcome.result())

    threading.Thread(target=work, name="dbcache").start()
    cancelled: Optional[asyncio.CancelledError] = None
    while not done.is_set():
        try:
            await done.wait()
        except asyncio.CancelledError as error:
            cancelled = error
            stop()
    if cancelled is not None:
        if outcome.exception() is None:
            await _on_a_thread(lambda: undo(outcome.result()))
        raise cancelled
    return outcome.result()


class Lease:
    """The right to use a configuration's cluster, held by this process until it is released. As a
    context manager it releases itself. If the process dies, the others notice at once. In a forked
    child it holds nothing.

    In a coroutine release it by ``async with``, or ``await asyncio.to_thread(lease.release)``: a
    release may take as long as a termination. One that is dropped is released too, but not before
    what ``check`` and ``terminate`` belong to is dropped as well."""

    def __init__(self, native: _dbcache.Lease, call: _Call) -> None:
        self._native = native
        self._call = call
        self._lock = threading.RLock()
        self._ended = False

    @property
    def cluster_id(self) -> str:
        return self._native.cluster_id

    @property
    def config_hash(self) -> str:
        return self._native.config_hash

    @property
    def created_here(self) -> bool:
        """Whether this acquire called ``create``."""
        return self._native.created_here

    @property
    def fencing_token(self) -> int:
        """The lease's number; it only grows for a configuration."""
        return self._native.fencing_token

    @property
    def lock_descriptor(self) -> int:
        """A program that inherits it (``pass_fds``) holds the lease too; -1 where there is none."""
        return self._native.lock_descriptor

    @property
    def lost(self) -> bool:
        """Whether the lease ended without being released. Looks into the database."""
        return self._native.lost()

    def note_use(self, by: str) -> None:
        """Writes into the log that something uses the cluster under this lease: a test's name, so
        that the cluster's history names the tests. Raises ``LeaseLost`` when the lease has ended."""
        # Without the lock: the event loop may say so while a report_dead waits for its check.
        self._native.note_use(by)

    def report_dead(self) -> bool:
        """Says that the cluster does not answer. ``False`` where ``check`` says that it does; else
        every lease on it is lost, and the next acquire creates another."""
        with self._lock:
            return self._call.run(lambda stop: self._native.report_dead())

    def release(self) -> ReleaseReport:
        """Ends the lease. Safe to call twice. Where it was the last and its cluster is to be handed
        back, ``terminate`` is called before this returns."""
        with self._lock:
            self._ended = True
            report = self._call.run(self._native.release)
        if report["error"] is not None:
            logger.warning("%s is still owed: %s", report["owed"], report["error"])
        return report

    def hold_for(self, ttl: Union[float, timedelta]) -> None:
        """Makes the lease outlive this process: it ends by ``release_lease``, or so many seconds
        from now."""
        with self._lock:
            self._native.hold_for(to_microseconds(ttl, "ttl"))
            self._ended = True

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await _on_a_thread(self.release)

    def __repr__(self) -> str:
        return f"<dbcache.Lease {self.fencing_token} of {self.cluster_id}>"


class Acquisition:
    """An acquire that begins where it is used: by ``with`` and ``async with``, which release the
    lease at their end, by ``wait()``, or by ``await``."""

    def __init__(
        self, start: Callable[[_Call, _dbcache.StopSource], _dbcache.Lease]
    ) -> None:
        self._start = start
        self._lease: Optional[Lease] = None

    def wait(self) -> Lease:
        """Waits for the cluster, and gives the lease. Ctrl-C ends the wait."""
        __tracebackhide__ = True
        return self._run(_Call())

    def __enter__(self) -> Lease:
        self._lease = self.wait()
        return self._lease

    def __exit__(self, *exception: object) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    def _run(self, call: _Call) -> Lease:
        __tracebackhide__ = True
        return call.run(lambda stop: Lease(self._start(call, stop), call))

    async def _wait(self) -> Lease:
        call = _Call(asyncio.get_running_loop())
        return await _on_a_thread(lambda: self._run(call), call.stop, call.undo)

    def __await__(self):
        return self._wait().__await__()

    async def __aenter__(self) -> Lease:
        self._lease = await self._wait()
        return self._lease

    async def __aexit__(self, *exception: object) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await _on_a_thread(lease.release)


class RunMembership:
    """Part in a run: while any participant of a run lives, no cluster that the run used is handed
    back. As a context manager it leaves by itself."""

    def __init__(self, native: _dbcache.Membership) -> None:
        self._native = native
        self._lock = threading.RLock()

    @property
    def id(self) -> int:
        return self._native.id

    @property
    def run(self) -> str:
        return self._native.run

    def leave(self) -> list[str]:
        """Ends it. Safe to call twice. Returns the clusters that became owed by it."""
        with self._lock:
            return self._native.leave()

    def __enter__(self) -> RunMembership:
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()


class SharedClusters:
    """Shared clusters by lease: one worker creates, the rest wait and are woken, whoever dies is
    noticed at once, and a cluster nobody needs is handed back.

    Over a ``CacheManager``, or over the database that the same keywords name. Usable from several
    threads at once, and on both sides of a fork.
    """

    def __init__(self, manager: Optional[CacheManager] = None, **options: Any) -> None:
        if manager is not None and options:
            raise TypeError("give a manager, or the options for one")
        self._manager = CacheManager(**options) if manager is None else manager
        self._native = _dbcache.Shared(self._manager._native)

    def __reduce__(self):
        return type(self), (self._manager,)

    @property
    def manager(self) -> CacheManager:
        """The documented operations over the same database."""
        return self._manager

    def acquire(
        self,
        config: Mapping[str, Any],
        create: Create,
        check: Optional[Check] = None,
        terminate: Optional[Terminate] = None,
        *,
        timeout: Union[float, timedelta] = 1800.0,
        policy: Literal["keep", "hand_back"] = "keep",
        on_create_failure: Literal["try_again", "fail"] = "try_again",
        run: Optional[str] = None,
        leave_out: Sequence[str] = (),
        on_wait: Optional[Callable[[dict[str, Any]], None]] = None,
    ) -> Acquisition:
        """Leases the configuration's cluster: joins one that is ready, waits for one that is being
        created, or creates it::

            with shared.acquire(config, create) as lease: ...
            async with shared.acquire(config, create) as lease: ...

        ``create(config, creation)`` starts a cluster and returns its id once it can be used;
        ``creation`` has an ``idempotency_token`` for Databricks and takes ``started(id)`` meanwhile.
        ``check(cluster_id)`` tells whether a cluster that nobody holds still runs.
        ``terminate(termination)`` terminates one, and must do no harm where there is none. Under
        ``async with`` they may be ``async def``.

        ``timeout`` is in seconds. ``run`` names the run that uses the cluster, ``leave_out`` keys
        that do not count as configuration; ``on_wait`` is told about once a second for whom it
        waits. Raises ``Timeout``, ``Cancelled``, ``CreationFailed``, and what the functions raise.
        """
        given = dict(config)
        text = to_json(config, "config")
        timeout_milliseconds = to_milliseconds(timeout, "timeout")

        def start(call: _Call, stop: _dbcache.StopSource) -> _dbcache.Lease:
            return self._native.acquire(
                config=text,
                create=call.wrap(lambda creation: create(dict(given), creation)),
                check=call.wrap(check),
                terminate=call.wrap(_terminator(terminate)),
                timeout_milliseconds=timeout_milliseconds,
                policy=policy,
                on_create_failure=on_create_failure,
                run=run,
                leave_out=list(leave_out),
                stop=stop,
                on_wait=on_wait,
            )

        return Acquisition(start)

    def join_run(
        self, run: str, kind: str = "process", name: Optional[str] = None
    ) -> RunMembership:
        """Takes part in a run, as something (``kind``) with a name."""
        return RunMembership(self._native.join_run(run, kind, name))

    def leases(self) -> LeaseReport:
        """Who holds what, the dead whom nobody has noticed yet too."""
        return self._native.leases()

    def owed(self) -> list[dict[str, Any]]:
        """The terminations that are due, oldest first."""
        return self._native.owed()

    def settle(self, terminate: Terminate, host: Optional[str] = None) -> SettleReport:
        """Carries out what is owed, on every host or one; ``""`` stands for the debts that name
        none. Each is tried once."""
        call = _Call()
        carry_out: Any = call.wrap(_terminator(terminate))
        return call.run(lambda stop: self._native.settle(carry_out, host, stop))

    def renew_lease(self, lease: int, ttl: Union[float, timedelta]) -> None:
        """Prolongs a lease that holds by a deadline: it ends so many seconds from now."""
        self._native.renew_lease(lease, to_microseconds(ttl, "ttl"))

    def release_lease(self, lease: int, terminate: Optional[Terminate] = None) -> ReleaseReport:
        """Ends a lease by its number, whoever holds it."""
        call = _Call()
        carry_out = call.wrap(_terminator(terminate))
        return call.run(lambda stop: self._native.release_lease(lease, carry_out, stop))

    def creation_started(self, config_hash: str, fencing_token: int, cluster_id: str) -> None:
        """``Creation.started`` for a creation known by its configuration and fencing token."""
        self._native.creation_started(config_hash, fencing_token, cluster_id)


def _terminator(terminate: Optional[Terminate]) -> Optional[Callable[[dict[str, Any]], Any]]:
    if terminate is None:
        return None
    carry_out = terminate
    return lambda told: carry_out(Termination(**told))
