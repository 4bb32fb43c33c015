"""Failures raise errors: a fixture must not take a broken database for an empty cache."""

import datetime
import math
import os
import pickle

import pytest

import dbcache
from conftest import only_sqlite


@only_sqlite
def test_a_damaged_database_is_not_an_empty_cache(place):
    with open(place["database"], "wb") as file:
        file.write(b"this is no database, and it is long enough to be read as one" * 100)
    manager = dbcache.CacheManager(**place)
    for call in [
        manager.load_cluster_cache,
        manager.get_all_clusters,
        manager.get_cache_statistics,
        manager.get_all_shared_clusters,
        lambda: manager.update_cluster_access("c"),
        lambda: manager.can_join_shared_cluster_creation("hash"),
    ]:
        with pytest.raises(dbcache.CorruptDatabase, match="cache.db"):
            call()


@only_sqlite
def test_a_directory_in_place_of_the_database_is_a_storage_failure(place):
    os.mkdir(place["database"])
    with pytest.raises(dbcache.StorageFailure) as raised:
        dbcache.CacheManager(**place).cache_new_cluster("c")
    assert raised.value.outcome == "not_committed"
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.outcome) == (str(raised.value), "not_committed")


@pytest.mark.parametrize(
    "call",
    [
        lambda manager: manager.cache_new_cluster(""),
        lambda manager: manager.cache_new_cluster("c\0"),
        lambda manager: manager.cache_new_cluster("\ud800"),
        lambda manager: manager.cache_new_cluster("c" * 256),
        lambda manager: manager.cache_new_cluster("c", {"num_workers": -1}),
        lambda manager: manager.cache_new_cluster("c", {"num_workers": math.nan}),
        lambda manager: manager.cache_new_cluster("c", {"created_at": "yesterday"}),
        lambda manager: manager.cache_new_cluster("c", {"what": object()}),
        lambda manager: manager.cache_new_cluster("c", {"what": {1, 2}}),
        lambda manager: manager.cache_new_cluster("c", ["cluster_name"]),
        lambda manager: manager.cache_new_cluster("c", {"name": "\ud800"}),
        lambda manager: manager.save_cluster_cache({}),
        lambda manager: manager.is_cluster_cache_valid({"cluster_id": 7}),
        lambda manager: manager.register_shared_cluster_creation("hash", 0),
        lambda manager: manager.update_shared_cluster_status("hash", "done"),
        lambda manager: manager.history(types=["NoSuchEvent"]),
        lambda manager: manager.verify("no head"),
    ],
)
def test_an_argument_that_breaks_a_rule_is_an_invalid_argument(call, manager):
    with pytest.raises(dbcache.InvalidArgument) as raised:
        call(manager)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, dbcache.Error)
    assert manager.history() == []


@pytest.mark.parametrize("hours", [-1, math.nan, math.inf, 1e300, "many", None])
def test_an_expiry_outside_0_to_100_years_is_refused(hours, place):
    with pytest.raises(dbcache.InvalidArgument):
        dbcache.CacheManager(default_expiry_hours=hours, **place)


@pytest.mark.parametrize("options", [{"durability": "some"}, {"busy_timeout": -1}])
def test_impossible_options_are_refused(options, place):
    with pytest.raises(dbcache.InvalidArgument):
        dbcache.CacheManager(**options, **place)


def test_an_unknown_entry_is_not_found(manager):
    with pytest.raises(dbcache.NotFound, match="hash"):
        manager.update_shared_cluster_status("hash", "failed")


@only_sqlite
def test_a_locked_database_is_busy(place):
    import sqlite3

    manager = dbcache.CacheManager(busy_timeout=0.1, **place)
    manager.cache_new_cluster("c")
    holder = sqlite3.connect(place["database"], isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(dbcache.Busy):
        manager.cache_new_cluster("d")
    holder.execute("ROLLBACK")
    manager.cache_new_cluster("d")


def test_reading_creates_no_database(manager, place):
    assert manager.load_cluster_cache() == {}
    assert manager.get_all_clusters() == []
    assert manager.get_database_info()["exists"] is False


def test_the_log_keeps_extra_keys_and_times_but_no_secrets(manager):
    at = datetime.datetime(2026, 1, 15, 12, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    manager.cache_new_cluster(
        "c", {"created_at": at, "node_type_id": "m5.large", "tags": {"a": [1, None]}, "token": "x"}
    )
    manager.save_cluster_cache({**manager.load_cluster_cache(), "notebook": "n", "api_key": "y"})

    assert manager.load_cluster_cache()["created_at"] == "2026-01-15T10:00:00.000000"
    first, second = [event["payload"]["configuration"] for event in manager.history("c")]
    assert first["node_type_id"] == "m5.large"
    assert first["tags"] == {"a": [1, None]}
    assert first["token"] != "x"
    assert second["notebook"] == "n"
    assert second["api_key"] != "y"


def test_the_expiry_may_be_a_fraction_of_an_hour(place):
    manager = dbcache.CacheManager(default_expiry_hours=0.25, **place)
    assert manager.expiry_time == datetime.timedelta(minutes=15)
    manager.cache_new_cluster("c")
    row = manager.load_cluster_cache()
    lasts = datetime.datetime.fromisoformat(row["expiry_time"]) - datetime.datetime.fromisoformat(
        row["last_accessed"]
    )
    assert lasts == datetime.timedelta(minutes=15)


@only_sqlite
def test_a_change_of_directory_does_not_change_the_database(tmp_path, monkeypatch):
    manager = dbcache.CacheManager()
    monkeypatch.chdir("/")
    manager.cache_new_cluster("c")
    path = tmp_path / "Environment" / "Databricks" / "cluster_cache.db"
    assert manager.db_path == path
    assert path.exists()


@only_sqlite
def test_the_environment_names_the_database(tmp_path, monkeypatch):
    monkeypatch.setenv("DBCACHE_DATABASE", str(tmp_path / "shared.db"))
    assert dbcache.CacheManager().db_path == tmp_path / "shared.db"


@only_sqlite
def test_a_path_may_hold_any_bytes(tmp_path):
    path = os.fsencode(tmp_path) + b"/\xff.db"
    manager = dbcache.CacheManager(database=path)
    manager.cache_new_cluster("c")
    assert os.path.exists(path)
    assert os.fsencode(manager.db_path) == path
    assert pickle.loads(pickle.dumps(manager)).load_cluster_cache()["cluster_id"] == "c"


def test_the_cluster_of_the_environment_stands_in_for_a_missing_one(manager, monkeypatch):
    monkeypatch.setenv("DATABRICKS_CLUSTER_ID", "0115-103000-abc123")
    row = manager.load_cluster_cache()
    assert (row["id"], row["cluster_id"]) == (0, "0115-103000-abc123")
    assert manager.get_cached_cluster_info()["from_environment"] is True
