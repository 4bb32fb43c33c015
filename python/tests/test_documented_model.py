"""Fixtures written for the documented system give the same results with this package as with a
plain sqlite3 model of that system."""

import re
import sqlite3

import pytest

import dbcache
import documented_fixtures
import documented_model
from conftest import only_sqlite

CREATED_AT = documented_fixtures.CONFIG["created_at"]


def comparable(result):
    """The result without times, row ids and file sizes, which differ from run to run."""
    if isinstance(result, list):
        return [comparable(each) for each in result]
    if not isinstance(result, dict):
        return type(result).__name__, result
    seen = {}
    for key, value in result.items():
        if key == "cache_file_size":
            assert value > 0
        elif key == "remaining":
            seen[key] = round(value, -1)
        elif key == "id":
            assert isinstance(value, int)
        elif key in ("created_at", "expiry_time", "last_accessed", "creation_time"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", value)
            seen[key] = value == CREATED_AT
        else:
            seen[key] = type(value).__name__, value
    return seen


@pytest.fixture
def model(tmp_path):
    return lambda **options: documented_model.CacheManager(
        database=str(tmp_path / "model" / "cache.db"), **options
    )


@pytest.fixture
def package(place):
    return lambda **options: dbcache.CacheManager(**options, **place)


def results(make, fixtures):
    if fixtures is documented_fixtures.expiry:
        calls = fixtures(make(), make(default_expiry_hours=0.00001))
    else:
        calls = fixtures(make())
    return [comparable(result) for result in calls]


@pytest.mark.parametrize("name", ["cached_cluster", "conditions", "expiry", "shared_cluster"])
def test_the_package_and_the_model_give_the_same_results(name, package, model):
    fixtures = getattr(documented_fixtures, name)
    assert results(package, fixtures) == results(model, fixtures)


@only_sqlite
def test_the_package_and_the_model_agree_about_the_database(package, model):
    fixtures = documented_fixtures.database
    assert results(package, fixtures) == results(model, fixtures)


def test_the_fixtures_call_every_documented_method():
    """Each method also has the same argument names in the package and in the model."""
    import inspect

    source = inspect.getsource(documented_fixtures)
    methods = [
        name
        for name, function in vars(documented_model.CacheManager).items()
        if inspect.isfunction(function)
        and not name.startswith("_")
        and name not in ("rows", "change", "put")
    ]
    assert len(methods) == 21
    for name in methods:
        assert re.search(rf"\.{name}\(", source), name
        documented = inspect.signature(getattr(documented_model.CacheManager, name)).parameters
        package = inspect.signature(getattr(dbcache.CacheManager, name)).parameters
        assert list(package)[: len(documented)] == list(documented), name
        assert all(
            parameter.default is not inspect.Parameter.empty
            for parameter in list(package.values())[len(documented) :]
        )


@only_sqlite
def test_rows_equal_those_of_sqlite3(manager):
    """They have the same keys in the same order, and values of the same types."""
    manager.cache_new_cluster("cluster-123", documented_fixtures.CONFIG)
    manager.register_shared_cluster_creation("hash", 1)
    with sqlite3.connect(manager.db_path) as connection:
        connection.row_factory = sqlite3.Row
        cluster = dict(connection.execute("SELECT * FROM clusters").fetchone())
        entry = dict(connection.execute("SELECT * FROM shared_cluster_registry").fetchone())

    for given, stored in [
        (manager.load_cluster_cache(), cluster),
        (manager.get_shared_cluster_info("hash"), entry),
    ]:
        assert list(given.items()) == list(stored.items())
        assert [type(value) for value in given.values()] == [
            type(value) for value in stored.values()
        ]
