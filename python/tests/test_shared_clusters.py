"""Leases in Python: context managers, asyncio, what callbacks raise, and Ctrl-C."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

import dbcache
from conftest import only_sqlite

CONFIG = {"cluster_name": "test-cluster", "num_workers": 1}


def create(config, creation):
    creation.started("c-1")
    return "c-1"


def test_a_lease_is_a_context_manager(shared):
    given = {}

    def create_and_look(config, creation):
        given.update(config=config, token=creation.idempotency_token, creation=creation)
        assert creation.deadline > time.monotonic()
        assert creation.cancelled is False
        assert creation.started_cluster_id is None
        return create(config, creation)

    with shared.acquire(CONFIG, create_and_look) as lease:
        assert lease.cluster_id == "c-1"
        assert lease.created_here is True
        assert lease.config_hash == dbcache.config_hash(CONFIG)
        assert lease.lost is False
        [held] = shared.leases()["leases"]
        assert (held["lease"], held["holder"]["pid"]) == (lease.fencing_token, os.getpid())

    assert given["config"] == CONFIG
    assert 0 < len(given["token"]) <= 64
    with pytest.raises(dbcache.LeaseLost):
        given["creation"].started("c-2")  # it has ended
    assert shared.leases()["leases"] == []
    with shared.acquire(CONFIG, create) as lease:
        assert lease.created_here is False


def test_a_lease_may_be_waited_for_and_released_by_hand(shared):
    lease = shared.acquire(CONFIG, create).wait()
    report = lease.release()
    assert (report["was_held"], report["was_last"]) == (True, True)
    assert lease.release()["was_held"] is False


def test_threads_share_one_cluster(shared):
    created = []

    def create_slowly(config, creation):
        created.append(threading.get_ident())
        time.sleep(0.3)
        return "c-1"

    def use():
        with shared.acquire(CONFIG, create_slowly) as lease:
            assert lease.cluster_id == "c-1"

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(created) == 1


def test_the_last_lease_hands_back(shared):
    terminated = []
    with shared.acquire(CONFIG, create, terminate=terminated.append, policy="hand_back"):
        with shared.acquire(CONFIG, create, terminate=terminated.append, policy="hand_back"):
            pass
        assert terminated == []
    assert [termination.cluster_id for termination in terminated] == ["c-1"]
    assert shared.owed() == []


def test_a_termination_that_fails_stays_owed_and_is_logged(shared, caplog):
    def fail(termination):
        raise OSError("out of reach")

    with shared.acquire(CONFIG, create, terminate=fail, policy="hand_back"):
        pass

    [owed] = shared.owed()
    assert (owed["cluster_id"], owed["error"]) == ("c-1", "OSError: out of reach")
    assert any("out of reach" in record.getMessage() for record in caplog.records)
    terminated = []
    assert shared.settle(terminated.append)["settled"] == ["c-1"]
    assert terminated[0].attempts == 2


def test_a_dead_cluster_is_created_anew(shared):
    with shared.acquire(CONFIG, create):
        pass
    asked = []

    def check(cluster_id):
        asked.append(cluster_id)
        return False

    with shared.acquire(CONFIG, lambda config, creation: "c-2", check) as lease:
        assert lease.cluster_id == "c-2"
        assert lease.report_dead() is True
        assert lease.lost is True
    assert asked == ["c-1", "c-2"]


def test_what_create_raises_arrives_as_it_is_and_is_told(shared, manager):
    class NoQuota(Exception):
        pass

    def fail(config, creation):
        raise NoQuota("no quota")

    with pytest.raises(NoQuota, match="no quota") as raised:
        with shared.acquire(CONFIG, fail):
            pass
    assert "fail" in [entry.name for entry in raised.traceback]
    entry = manager.get_shared_cluster_info(dbcache.config_hash(CONFIG))
    assert (entry["status"], entry["error_message"]) == ("failed", "NoQuota: no quota")


def test_a_create_that_returns_no_id_is_told_so(shared):
    with pytest.raises(TypeError, match="what create returned"):
        shared.acquire(CONFIG, lambda config, creation: None).wait()


def test_waiting_longer_than_allowed_times_out(shared):
    with shared.acquire(CONFIG, create):
        began, finish, told = threading.Event(), threading.Event(), []

        def create_other(config, creation):
            began.set()
            finish.wait(60)
            return "c-2"

        other = {"cluster_name": "other"}
        thread = threading.Thread(target=lambda: shared.acquire(other, create_other).wait().release())
        thread.start()
        began.wait(30)
        with pytest.raises(dbcache.Timeout) as raised:
            shared.acquire(other, create_other, timeout=0.2, on_wait=told.append).wait()
        finish.set()
        assert isinstance(raised.value, TimeoutError)
        assert told[0]["waits_for"] == "creator"
        assert told[0]["holder"]["pid"] == os.getpid()
        thread.join(30)


def test_async_with_leaves_the_loop_free(shared):
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


def test_a_cancelled_task_leaves_nothing_behind(shared):
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
                await asyncio.sleep(0.1)  # its clean-up takes part in the creation still
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


def test_async_functions_run_for_a_lease_that_was_awaited(shared):
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
            lease.report_dead()  # the loop waits for it
        assert await asyncio.to_thread(lease.report_dead) is True
        await asyncio.to_thread(lease.release)

    lease = None
    asyncio.run(main())
    assert shared.leases()["leases"] == []


def test_a_release_where_the_loop_stands_still_owes_instead_of_waiting_for_it(shared):
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


def test_a_cancelled_acquire_is_undone_by_an_async_terminate_too(shared):
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


def test_a_loop_that_is_closed_over_an_async_create_keeps_no_thread(shared):
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


def test_a_loop_that_is_left_stopped_over_an_async_create_keeps_no_process(shared, place):
    program = [sys.executable, "-c", STOPPED, *place.values()]
    subprocess.run(program, check=True, timeout=60, capture_output=True)
    assert shared.leases()["leases"] == []


def test_what_a_creation_is_told_while_it_ends_is_told_in_time(shared):
    """Another thread's started() may be under way when create() returns."""
    for number in range(20):
        helpers = []

        def create_with_help(config, creation, number=number, helpers=helpers):
            def help():
                try:
                    creation.started(f"c-{number}")
                except dbcache.LeaseLost:
                    pass  # create() had returned before it began

            helpers.append(threading.Thread(target=help))
            helpers[0].start()
            return f"c-{number}"

        with shared.acquire({"cluster_name": f"n-{number}"}, create_with_help) as lease:
            assert lease.cluster_id == f"c-{number}"
        helpers[0].join()
    assert shared.owed() == []


@pytest.fixture
def interrupted():
    """A terminate that Ctrl-C ends, and what it was asked for."""
    asked = []

    def terminate(termination):
        asked.append(termination.cluster_id)
        raise KeyboardInterrupt

    terminate.asked = asked
    return terminate


def take(shared, name, **options):
    config = {"cluster_name": name}
    return shared.acquire(config, lambda *_: f"c-{name}", **options).wait()


def test_ctrl_c_in_a_terminate_on_the_way_to_a_lease_leaves_none(shared, interrupted):
    for name in ("1", "2"):
        take(shared, name, policy="hand_back").release()

    with pytest.raises(KeyboardInterrupt):
        take(shared, "3", terminate=interrupted)

    assert interrupted.asked == ["c-1"]
    assert shared.leases()["leases"] == []
    assert [owed["cluster_id"] for owed in shared.owed()] == ["c-1", "c-2"]


@only_sqlite
@pytest.mark.parametrize(
    "settle",
    [
        lambda shared, terminate: shared.settle(terminate),
        lambda shared, terminate: take(shared, "2", terminate=terminate),
    ],
    ids=["of its own", "on the way to a lease"],
)
def test_ctrl_c_in_a_terminate_is_raised_though_the_database_is_locked_then(place, settle):
    shared = dbcache.SharedClusters(dbcache.CacheManager(busy_timeout=0.1, **place))
    take(shared, "1", policy="hand_back").release()

    with contextlib.closing(sqlite3.connect(place["database"], isolation_level=None)) as other:

        def terminate(termination):
            other.execute("BEGIN IMMEDIATE")
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as raised:
            settle(shared, terminate)

    assert isinstance(raised.value.__cause__, dbcache.Busy)


@pytest.mark.parametrize("how", ["with", "release", "release_lease"])
def test_ctrl_c_in_a_terminate_of_a_release_begins_no_other(how, shared, interrupted):
    lease = take(shared, "own", terminate=interrupted, policy="hand_back")
    take(shared, "1", policy="hand_back").release()

    with pytest.raises(KeyboardInterrupt):
        if how == "with":
            with lease:
                pass
        elif how == "release":
            lease.release()
        else:
            shared.release_lease(lease.fencing_token, interrupted)

    assert interrupted.asked == ["c-own"]
    assert shared.leases()["leases"] == []
    assert {owed["cluster_id"] for owed in shared.owed()} == {"c-own", "c-1"}


def test_what_a_check_raised_is_not_raised_again(shared):
    def exits(cluster_id):
        raise SystemExit(3)

    with pytest.raises(ZeroDivisionError):
        with shared.acquire(CONFIG, create, exits) as lease:
            with pytest.raises(SystemExit):
                lease.report_dead()
            raise ZeroDivisionError


def test_a_manager_and_its_leases_arrive_in_a_spawned_process(shared, place):
    import pickle

    again = pickle.loads(pickle.dumps(shared))
    with shared.acquire(CONFIG, create) as lease:
        assert again.leases()["leases"][0]["lease"] == lease.fencing_token


def test_an_async_create_needs_async_with(shared):
    async def create_async(config, creation):
        return "c-1"

    with pytest.raises(TypeError, match="async with"):
        shared.acquire(CONFIG, create_async).wait()


def test_a_run_keeps_its_clusters(shared):
    terminated = []
    with shared.join_run("nightly", "worker", "gw0"):
        with shared.acquire(
            CONFIG, create, terminate=terminated.append, policy="hand_back", run="nightly"
        ):
            pass
        assert shared.leases()["participants"][0]["name"] == "gw0"
        assert (terminated, shared.owed()) == ([], [])
    assert [owed["cluster_id"] for owed in shared.owed()] == ["c-1"]


def test_a_lease_may_outlive_its_object(shared):
    lease = shared.acquire(CONFIG, create).wait()
    number = lease.fencing_token
    lease.hold_for(60)
    shared.renew_lease(number, 120)
    assert shared.release_lease(number)["was_held"] is True


def test_a_lease_that_is_dropped_is_released(shared):
    shared.acquire(CONFIG, create).wait()
    assert shared.leases()["leases"] == []


INTERRUPTED = """
import sys, threading, time
import dbcache
place = dict(zip(("database", "schema"), sys.argv[1:]))
manager = dbcache.CacheManager(**place)
shared = dbcache.SharedClusters(manager)
began = threading.Event()
def create_slowly(config, creation):
    began.set()
    time.sleep(60)
def hold():
    shared.acquire({"cluster_name": "x"}, create_slowly).wait()
def acquire():
    threading.Thread(target=hold, daemon=True).start()
    began.wait()
    print("waits", flush=True)
    shared.acquire({"cluster_name": "x"}, create_slowly).wait()
def create():
    print("waits", flush=True)
    shared.acquire({"cluster_name": "y"}, create_slowly).wait()
def watch():
    manager.create_database()
    print("waits", flush=True)
    next(manager.watch())
def terminate():
    def slowly(termination):
        print("waits", flush=True)
        time.sleep(60)
    with shared.acquire({"cluster_name": "z"}, lambda config, creation: "c-1",
                        terminate=slowly, policy="hand_back"):
        pass
import os
try:
    CALL()
except KeyboardInterrupt:
    print("interrupted", len(shared.leases()["leases"]), flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("call", ["acquire", "create", "watch", "terminate"])
def test_ctrl_c_ends_a_wait(call, place):
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("CALL", call), *place.values()],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout.readline() == "waits\n"
    time.sleep(0.3)
    program.send_signal(signal.SIGINT)
    began = time.monotonic()
    answer, _ = program.communicate(timeout=30)
    assert answer.startswith("interrupted"), answer
    assert time.monotonic() - began < 30
