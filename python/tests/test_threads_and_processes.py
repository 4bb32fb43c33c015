"""Threads run while another is in a call, and forked and spawned processes share a manager."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

import dbcache

COUNT = 50


def increment(manager, times=COUNT):
    for _ in range(times):
        manager.increment_shared_cluster_usage("hash")


def increment_after_parent_closed(manager, may_start, times=COUNT):
    may_start.wait()
    increment(manager, times)


def usage(manager):
    return manager.get_shared_cluster_info("hash")["usage_count"]


@pytest.fixture
def manager(place):
    manager = dbcache.CacheManager(**place)
    manager.register_shared_cluster_creation("hash", os.getpid())
    return manager


def test_increments_on_parallel_threads_are_all_counted(manager):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(increment, manager) for _ in range(8)]:
            future.result(timeout=120)

    assert usage(manager) == 1 + 8 * COUNT


def busy_turns(until):
    """How often a computing thread runs, and the longest time in seconds that it does not."""
    turns, longest, last = 0, 0.0, time.monotonic()
    while not until.is_set():
        now = time.monotonic()
        longest = max(longest, now - last)
        last = now
        turns += 1
    return turns, longest


@pytest.mark.skipif(
    os.environ.get("DBCACHE_TEST_ENGINE") == "postgres", reason="locks SQLite's database"
)
def test_a_thread_runs_while_a_change_waits_on_another(manager, place):
    begins = threading.Event()

    def change():
        begins.set()
        return manager.increment_shared_cluster_usage("hash")

    with contextlib.closing(sqlite3.connect(place["database"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(change)
            begins.wait()
            # If the call kept the GIL, this thread could not commit, and the call would never end.
            assert not concurrent.futures.wait([waiting], timeout=1).done
            other.execute("COMMIT")
            waiting.result(timeout=120)

    assert usage(manager) == 2


def test_a_busy_thread_keeps_running_beside_a_wait(manager):
    last = manager.get_database_info()["last_position"]
    done = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        busy = pool.submit(busy_turns, done)
        began = time.monotonic()
        # One call of the library, which sleeps for 5 seconds.
        assert manager._native.wait_for_events(last + 1, 5000) == []
        assert time.monotonic() - began >= 5
        done.set()

    turns, longest = busy.result()
    assert turns > 10_000
    assert longest < 2.5  # 5 if the call kept the GIL


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_increments_in_several_processes_are_all_counted(method, manager):
    context = multiprocessing.get_context(method)
    children = [context.Process(target=increment, args=(manager,)) for _ in range(4)]
    for child in children:
        child.start()
    increment(manager)
    for child in children:
        child.join(120)

    assert [child.exitcode for child in children] == [0] * 4
    assert usage(manager) == 1 + 5 * COUNT
    assert manager.replay(check=True)["differences"] == []


def test_a_forked_child_can_use_a_manager_that_the_parent_closed(manager, place):
    context = multiprocessing.get_context("fork")
    increment(manager)  # the manager now has open connections
    closed = context.Event()
    children = [
        context.Process(target=increment_after_parent_closed, args=(manager, closed))
        for _ in range(2)
    ]
    for child in children:
        child.start()
    manager.close()
    closed.set()
    other = dbcache.CacheManager(**place)
    increment(other)
    for child in children:
        child.join(120)

    assert [child.exitcode for child in children] == [0, 0]
    assert usage(other) == 1 + 4 * COUNT
    assert len(other.history(types=["UsageIncremented"])) == 4 * COUNT


def test_forks_beside_writing_threads_lose_no_increment(manager):
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(increment, manager) for _ in range(2)]
        children = []
        for _ in range(4):
            children.append(context.Process(target=increment, args=(manager, 10)))
            children[-1].start()
        for child in children:
            child.join(120)
        for thread in threads:
            thread.result(timeout=120)

    assert [child.exitcode for child in children] == [0] * 4
    assert usage(manager) == 1 + 2 * COUNT + 40


def test_a_call_on_a_closed_manager_raises(manager):
    manager.close()
    manager.close()
    with pytest.raises(dbcache.Error, match="closed"):
        manager.load_cluster_cache()


ENDS_BESIDE_THREADS = """
import sys, threading, time
import dbcache
place = dict(zip(("database", "schema"), sys.argv[1:]))
manager = dbcache.CacheManager(**place)
manager.register_shared_cluster_creation("hash", 1)
shared = dbcache.SharedClusters(manager)
def create(config, creation):
    time.sleep(60)
def change():
    while True:
        manager.increment_shared_cluster_usage("hash")
def watch():
    for event in manager.watch(1):
        pass
def acquire():
    shared.acquire({"cluster_name": "x"}, create).wait()
for work in [change, change, watch, acquire, acquire]:
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
kept = shared.acquire({"cluster_name": "y"}, lambda config, creation: "c-1", policy="hand_back",
                      terminate=lambda termination: print("terminated", flush=True)).wait()
"""


def test_a_program_exits_cleanly_beside_daemon_threads(run_python, place):
    for _ in range(10):
        run = run_python(ENDS_BESIDE_THREADS, *place.values())
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout in ("terminated\n", "")


DAEMON = """
import os, stat, sys, dbcache
place = dict(zip(("database", "schema"), sys.argv[1:]))
closed = [int(number) for number in os.environ["CLOSED"]]
for number in closed:
    os.close(number)
membership = dbcache.SharedClusters(**place).join_run("r")
dbcache.CacheManager(**place).cache_new_cluster("c")
taken = []
for number in closed:
    try:
        os.write(number, b"a line for the terminal")
        taken += [number] * (not stat.S_ISCHR(os.fstat(number).st_mode))
    except OSError:
        pass
membership.leave()
sound = not dbcache.CacheManager(**place).verify()["problems"]
os._exit(0 if sound and not taken else 1)
"""


@pytest.mark.parametrize("closed", ["012", "12", "0", "1", "2"])
def test_what_a_program_prints_to_closed_descriptors_lands_nowhere(place, tmp_path, closed):
    environment = {**os.environ, "CLOSED": closed}

    command = [sys.executable, "-c", DAEMON, *place.values()]
    done = subprocess.run(command, env=environment, cwd=tmp_path, check=False)

    assert done.returncode == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"a line for" in path.read_bytes()]
