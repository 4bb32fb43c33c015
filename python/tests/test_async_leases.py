"""Leases on an event loop: async with, async def functions, cancelled tasks."""

import asyncio
import subprocess
import sys
import threading
import time

import pytest

import dbcache

CONFIG = {"cluster_name": "test-cluster", "num_workers": 1}


def create(config, creation):
    creation.started("c-1")
    return "c-1"


def test_async_with_does_not_block_the_event_loop(shared):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())

        async def create_async(config, creation):
            seen = ticks
            while ticks < seen + 10:
                await asyncio.sleep(0.01)
            return "c-1"

        async def use():
            async with shared.acquire(CONFIG, create_async) as lease:
                return lease.created_here

        created = await asyncio.gather(*[use() for _ in range(5)])
        ticking.cancel()
        return created

    assert asyncio.run(main()).count(True) == 1


def test_a_cancelled_task_leaves_no_lease_behind(shared):
    async def main():
        began = threading.Event()

        def create_slowly(config, creation):
            began.set()
            while not creation.cancelled:
                time.sleep(0.01)
            raise dbcache.Cancelled("as asked")

        async def use():
            async with shared.acquire(CONFIG, create_slowly):
                raise AssertionError("there is no cluster")

        task = asyncio.create_task(use())
        await asyncio.to_thread(began.wait, 30)
        waiting = asyncio.create_task(use())
        await asyncio.sleep(0.1)
        for each in (waiting, task):
            each.cancel()
            with pytest.raises(asyncio.CancelledError):
                await each

    asyncio.run(main())
    assert shared.leases()["leases"] == []


def test_an_async_create_is_cancelled_with_its_task(shared):
    async def main():
        began, ended = asyncio.Event(), asyncio.Event()

        async def create_slowly(config, creation):
            began.set()
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.1)  # its clean-up still belongs to the creation
                await asyncio.to_thread(creation.started, "c-late")
                ended.set()

        async def use():
            async with shared.acquire(CONFIG, create_slowly):
                raise AssertionError("there is no cluster")

        task = asyncio.create_task(use())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(main())
    assert shared.leases()["leases"] == []


async def terminate_async(termination):
    await asyncio.sleep(0.01)
    ended_async.append(termination.cluster_id)


ended_async = []


def test_async_check_and_terminate_run_for_an_awaited_lease(shared):
    async def check_async(cluster_id):
        await asyncio.sleep(0.01)
        lease.note_use("a check")
        return False

    async def main():
        nonlocal lease
        ended_async.clear()
        async with await shared.acquire(
            CONFIG, create, terminate=terminate_async, policy="hand_back"
        ):
            pass
        assert ended_async == ["c-1"]

        lease = await shared.acquire(CONFIG, create, check_async)
        with pytest.raises(TypeError, match="to_thread"):
            lease.report_dead()  # it would block the loop that the check needs
        assert await asyncio.to_thread(lease.report_dead) is True
        await asyncio.to_thread(lease.release)

    lease = None
    asyncio.run(main())
    assert shared.leases()["leases"] == []


def test_a_release_on_a_stopped_loop_leaves_the_termination_pending(shared):
    loop = asyncio.new_event_loop()

    async def acquire():
        return await shared.acquire(
            CONFIG, create, terminate=terminate_async, policy="hand_back"
        )

    ended_async.clear()
    lease = loop.run_until_complete(acquire())
    report = lease.release()
    loop.close()
    assert (report["owed"], report["settled"]) == ("c-1", False)
    assert "to_thread" in report["error"]
    assert ended_async == []


def test_a_cancelled_acquire_calls_an_async_terminate(shared):
    async def main():
        ended_async.clear()
        began = threading.Event()

        def create_in_spite_of_it(config, creation):
            began.set()
            while not creation.cancelled:
                time.sleep(0.01)
            return "c-1"

        task = asyncio.create_task(
            shared.acquire(
                CONFIG, create_in_spite_of_it, terminate=terminate_async, policy="hand_back"
            )._wait()
        )
        await asyncio.to_thread(began.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended_async == ["c-1"]
    assert (shared.leases()["leases"], shared.owed()) == ([], [])


def test_closing_the_loop_under_an_async_create_ends_its_thread(shared):
    loop = asyncio.new_event_loop()
    began = asyncio.Event()

    async def create_slowly(config, creation):
        began.set()
        await asyncio.sleep(1000)

    async def use():
        async with shared.acquire(CONFIG, create_slowly):
            pass

    async def main():
        using.append(asyncio.ensure_future(use()))
        await began.wait()

    using = []
    loop.run_until_complete(main())
    loop.close()
    for thread in threading.enumerate():
        if thread.name == "dbcache":
            thread.join(timeout=60)
            assert not thread.is_alive()
    assert shared.leases()["leases"] == []


STOPPED = """
import asyncio, sys
import dbcache
place = dict(zip(("database", "schema"), sys.argv[1:]))
loop = asyncio.new_event_loop()
async def create(config, creation):
    loop.stop()
    await asyncio.sleep(1000)
async def use():
    async with dbcache.SharedClusters(**place).acquire({"cluster_name": "x"}, create):
        pass
using = loop.create_task(use())
loop.run_forever()
"""


def test_a_process_ends_though_its_loop_stopped_under_an_async_create(shared, place):
    program = [sys.executable, "-c", STOPPED, *place.values()]
    subprocess.run(program, check=True, timeout=60, capture_output=True)
    assert shared.leases()["leases"] == []


def test_an_async_create_needs_async_with(shared):
    async def create_async(config, creation):
        return "c-1"

    with pytest.raises(TypeError, match="async with"):
        shared.acquire(CONFIG, create_async).wait()
