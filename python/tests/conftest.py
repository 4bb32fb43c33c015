"""What the tests share: a new database for each, without what the surroundings may set. They run over
SQLite, and once more over PostgreSQL where ctest gives them a server."""

import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

import dbcache

# A shell has its background jobs ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

SET_BY_SURROUNDINGS = [
    "DATABRICKS_CLUSTER_ID",
    "DATABRICKS_HOST",
    "DATABRICKS_TOKEN",
    "DBCACHE_DATABASE",
    "DBCACHE_LABEL",
    "DBCACHE_LEASE",
    "DBCACHE_SCHEMA",
]


def postgres_url():
    """Of the server that this run of ctest has: its word is in a file named after ctest."""
    directory = pathlib.Path(os.environ["DBCACHE_TEST_POSTGRES"])
    pid = os.getppid()
    while pid > 0:
        if (directory / str(pid)).exists():
            return (directory / str(pid)).read_text().splitlines()[0]
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    raise RuntimeError("no ctest with a PostgreSQL server runs this")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for variable in SET_BY_SURROUNDINGS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def place(tmp_path):
    """Keywords that name a new database."""
    if os.environ.get("DBCACHE_TEST_ENGINE") != "postgres":
        yield {"database": str(tmp_path / "cache.db")}
        return
    schema = f"test_{uuid.uuid4().hex}"
    url = postgres_url()
    yield {"database": url, "schema": schema}
    subprocess.run(
        ["psql", "-q", url, "-c", f"DROP SCHEMA IF EXISTS {schema} CASCADE"],
        check=False,  # a session that was killed may still stand in its way; the server goes anyway
        env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
    )


@pytest.fixture
def manager(place):
    return dbcache.CacheManager(**place)


@pytest.fixture
def shared(manager):
    return dbcache.SharedClusters(manager)


@pytest.fixture
def run_python(tmp_path):
    """Runs a program in an interpreter of its own."""

    def run(source, *arguments, **options):
        return subprocess.run(
            [sys.executable, "-c", source, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )

    return run


only_sqlite = pytest.mark.skipif(
    os.environ.get("DBCACHE_TEST_ENGINE") == "postgres", reason="about SQLite's files"
)
