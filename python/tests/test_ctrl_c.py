"""Ctrl-C while a call waits, and in a terminate that the library calls."""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import dbcache
from conftest import only_sqlite


@pytest.fixture
def interrupted():
    """A terminate that raises Ctrl-C. Its `asked` lists the clusters that it was called for."""
    asked = []

    def terminate(termination):
        asked.append(termination.cluster_id)
        raise KeyboardInterrupt

    terminate.asked = asked
    return terminate


def take(shared, name, **options):
    config = {"cluster_name": name}
    return shared.acquire(config, lambda *_: f"c-{name}", **options).wait()


def take_until_it_settles(shared, name, terminate):
    """The first call of a second settles what others have left."""
    taken = []  # a lease that nobody refers to any more would call terminate, too
    while True:
        taken.append(take(shared, name, terminate=terminate))
        shared.release_lease(taken[-1].name)
        time.sleep(1.05)


def test_ctrl_c_in_a_terminate_of_an_acquire_leaves_no_lease(shared, interrupted):
    for name in ("1", "2"):
        take(shared, name, policy="hand_back").release()

    with pytest.raises(KeyboardInterrupt):
        take_until_it_settles(shared, "3", interrupted)

    assert interrupted.asked == ["c-1"]
    assert shared.leases()["leases"] == []
    assert [owed["cluster_id"] for owed in shared.owed()] == ["c-1", "c-2"]


@only_sqlite
@pytest.mark.parametrize(
    "settle",
    [
        lambda shared, terminate: shared.settle(terminate),
        lambda shared, terminate: take_until_it_settles(shared, "2", terminate),
    ],
    ids=["of settle", "of acquire"],
)
def test_ctrl_c_in_a_terminate_is_raised_even_if_the_database_is_then_locked(place, settle):
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
def test_after_ctrl_c_in_a_terminate_a_release_begins_no_other(how, shared, interrupted):
    lease = take(shared, "own", terminate=interrupted, policy="hand_back")
    take(shared, "1", policy="hand_back").release()

    with pytest.raises(KeyboardInterrupt):
        if how == "with":
            with lease:
                pass
        elif how == "release":
            lease.release()
        else:
            shared.release_lease(lease.name, interrupted)

    assert interrupted.asked == ["c-own"]
    assert shared.leases()["leases"] == []
    assert {owed["cluster_id"] for owed in shared.owed()} == {"c-own", "c-1"}


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
