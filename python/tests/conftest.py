"""Fixtures: a new database for each test, and no environment variables that change its behaviour.
The tests run on SQLite, and once more on PostgreSQL if ctest gives them a server."""

import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

import dbcache
from plugin_project import Project

# A shell starts background jobs with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

VARIABLES = [
    "DATABRICKS_CLUSTER_ID",
    "DATABRICKS_HOST",
    "DATABRICKS_TOKEN",
    "DBCACHE_DATABASE",
    "DBCACHE_LABEL",
    "DBCACHE_LEASE",
    "DBCACHE_RUN_LEASE",
    "DBCACHE_SCHEMA",
]


def postgres_url():
    """The URL of the server of this ctest run, from a file named after the pid of ctest."""
    directory = pathlib.Path(os.environ["DBCACHE_TEST_POSTGRES"])
    pid = os.getppid()
    while pid > 0:
        if (directory / str(pid)).exists():
            return (directory / str(pid)).read_text().splitlines()[0]
        pid = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    raise RuntimeError("DBCACHE_TEST_ENGINE=postgres needs a server, which ctest starts: run ctest")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def place(tmp_path):
    """The keyword arguments of a CacheManager of a new database."""
    if os.environ.get("DBCACHE_TEST_ENGINE") != "postgres":
        yield {"database": str(tmp_path / "cache.db")}
        return
    schema = f"test_{uuid.uuid4().hex}"
    url = postgres_url()
    yield {"database": url, "schema": schema}
    subprocess.run(
        ["psql", "-q", url, "-c", f"DROP SCHEMA IF EXISTS {schema} CASCADE"],
        check=False,  # the session of a killed process may block it; the server ends soon anyway
        env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
    )


@pytest.fixture
def manager(place):
    return dbcache.CacheManager(**place)


@pytest.fixture
def shared(manager):
    return dbcache.SharedClusters(manager)


@pytest.fixture
def project(tmp_path, place):
    return Project(tmp_path / "project", place)


@pytest.fixture
def run_python(tmp_path):
    """A function that runs Python source in a new interpreter."""

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
