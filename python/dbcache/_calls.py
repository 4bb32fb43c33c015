"""Runs blocking calls of the library, and the caller's functions that the library calls from them:
on an event loop, or on the calling thread, with Ctrl-C and cancellation."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import threading
from collections.abc import Callable
from typing import Any, Optional, TypeVar

from dbcache import _dbcache
from dbcache.errors import Cancelled

Result = TypeVar("Result")

_LOOP_ENDED = (
    "the event loop no longer runs, so the `async def` function on it cannot end; await the task "
    "before you stop or close the loop"
)


class Call:
    """Runs the library's calls for one acquire and its lease, and the caller's functions that the
    library calls from them.

    To the library, every exception of ``terminate`` is a failed termination, after which it goes
    on. Ctrl-C must end the call instead. So after one, this begins no further function, and raises
    the Ctrl-C again when the library returns."""

    def __init__(self, loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        self._loop = loop
        self._thread = threading.get_ident()  # the thread that runs the loop
        self._task: Optional[asyncio.Task] = None
        self._interrupt: Optional[BaseException] = None
        self._stopped = False
        self._source = _dbcache.StopSource()

    def wrap(self, function: Optional[Callable[..., Any]]) -> Optional[Callable[..., Any]]:
        if function is None:
            return None
        wrapped = function

        def call(*arguments: Any) -> Any:
            __tracebackhide__ = True  # pytest leaves this frame out of tracebacks
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
        """Runs the awaitable of an ``async def`` function to its end, on the caller's event
        loop."""
        try:
            return self._run_on_loop(awaitable)
        except asyncio.CancelledError:
            raise Cancelled("the task that acquires was cancelled") from None
        finally:
            never_begun = (
                inspect.iscoroutine(awaitable)
                and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED
            )
            if never_begun:
                awaitable.close()

    def _run_on_loop(self, awaitable: Any) -> Any:
        if self._loop is None:
            raise TypeError(
                "a create, check or terminate that is `async def` needs an event loop: "
                "acquire with `async with`"
            )
        if threading.get_ident() == self._thread:
            raise TypeError(
                "an `async def` function cannot run while this call blocks its event loop: use "
                "`async with`, or call it on another thread, as in "
                "`await asyncio.to_thread(lease.release)`"
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
            raise Cancelled(_LOOP_ENDED) from error
        while not ended.wait(timeout=1):
            # Once the main thread has ended, nothing runs a stopped loop again; and the interpreter
            # waits for this thread before it ends.
            if loop.is_closed() or not (
                loop.is_running() or threading.main_thread().is_alive()
            ):
                raise Cancelled(_LOOP_ENDED)
        task, self._task = self._task, None
        assert task is not None
        return task.result()

    def stop(self) -> None:
        """Cancels the running function, and any that would begin later. Called on the loop's
        thread."""
        self._stopped = True
        self._source.request_stop()
        if self._task is not None:
            self._task.cancel()

    def allow(self) -> None:
        """Undoes ``stop``, so that what the stopped call obtained can be released."""
        self._stopped = False

    def run(
        self,
        function: Callable[[_dbcache.StopSource], Result],
        discard: Optional[Callable[[Result], object]] = None,
    ) -> Result:
        """Calls the library by ``function``. If one of the caller's functions raised Ctrl-C, passes
        what ``function`` returned to ``discard``, and raises the Ctrl-C."""
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
        if discard is not None:
            self._source.request_stop()
            try:
                discard(result)
            except Exception as error:
                raise interrupt from error
        del result  # the traceback keeps this frame, which must not keep the lease
        raise interrupt


async def on_a_thread(
    function: Callable[[], Result],
    stop: Callable[[], None] = lambda: None,
    undo: Callable[[Result], object] = lambda result: None,
) -> Result:
    """Runs a blocking function on a new thread. (Not in a pool: calls that wait for each other
    could use up its threads.) If the task is cancelled, calls ``stop``, waits for the function to
    end, and calls ``undo`` on its result."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    outcome: concurrent.futures.Future = concurrent.futures.Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome.set_result(context.run(function))
        except BaseException as error:  # outcome.result() raises it
            outcome.set_exception(error)
        try:
            loop.call_soon_threadsafe(done.set)
        except RuntimeError:  # the loop was closed while its task was pending
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
            await on_a_thread(lambda: undo(outcome.result()))
        raise cancelled
    return outcome.result()
