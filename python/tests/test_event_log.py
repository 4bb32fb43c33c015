"""The log of events: history, verify, replay and watch."""

import datetime
import os
import threading
import time

import dbcache
from conftest import only_sqlite


def test_history_shows_what_an_event_changed(manager):
    manager.register_shared_cluster_creation("hash", os.getpid())
    manager.increment_shared_cluster_usage("hash")
    manager.increment_shared_cluster_usage("hash")

    events = manager.history("hash", types=["UsageIncremented"], newest_first=True, limit=1)

    assert events[0]["changes"] == {"usage_count": {"before": 2, "after": 3}}
    assert events[0]["metadata"]["pid"] == os.getpid()
    now = datetime.datetime.now(datetime.timezone.utc)
    assert manager.history(since=now + datetime.timedelta(hours=1)) == []
    assert len(manager.history(until=now + datetime.timedelta(hours=1))) == 3


def test_the_label_names_the_caller(place):
    dbcache.CacheManager(label="job 7", **place).cache_new_cluster("c")
    assert dbcache.CacheManager(**place).history()[0]["metadata"]["label"] == "job 7"


def test_the_running_test_is_the_default_label(manager):
    manager.cache_new_cluster("c")
    assert "test_the_running_test_is_the_default_label" in manager.history()[0]["metadata"]["label"]


@only_sqlite
def test_the_functions_read_the_log_of_a_named_database(place):
    import sqlite3

    dbcache.CacheManager(**place).cache_new_cluster("c")
    path = place["database"]
    assert [event["type"] for event in dbcache.history("c", database=path)] == ["ClusterCached"]
    report = dbcache.verify(database=path)
    assert report["ok"] is True
    assert dbcache.verify(report["head"], database=path)["ok"] is True

    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE clusters SET host = 'elsewhere'")
    drift = dbcache.replay(database=path, check=True)
    assert [each["column"] for each in drift["differences"]] == ["host"]
    assert dbcache.replay(database=path)["rebuilt"] is True
    assert dbcache.replay(database=path, check=True)["differences"] == []


def test_watch_follows_the_log(manager):
    manager.cache_new_cluster("c-1")

    def change():
        time.sleep(0.1)
        manager.cache_new_cluster("c-2")

    thread = threading.Thread(target=change)
    events = manager.watch()  # the events after this call
    thread.start()
    assert next(events)["stream"] == "cluster-c-2" or next(events)["stream"] == "cluster-c-2"
    thread.join()
    assert len(list(manager.watch(1, timeout=0.1))) == len(manager.history())
