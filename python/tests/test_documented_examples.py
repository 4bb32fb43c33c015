"""Every Python example of the document runs as written, through the shim. The tests correct only two
slips of the document: a missing comma and a missing import."""

import pathlib
import sqlite3

import pytest

import documented_examples
from conftest import only_sqlite

pytestmark = only_sqlite  # the examples use the documented location

LACKS_COMMA = '"created_at": "2025-06-09T13:37:23.420000"\n'
ASSERTIONS = """
assert is_valid is True
assert success is True and can_join is True
assert info["status"] == "ready" and info["cluster_id"] == "cluster-456"
assert info["worker_pid"] == os.getpid()
assert (new_count, remaining_count) == (2, 1)
assert all_shared == []
"""


@pytest.fixture
def shim(tmp_path):
    package = tmp_path / "Fixtures" / "Databricks"
    package.mkdir(parents=True)
    (package / "cache_manager.py").write_text("from dbcache import CacheManager\n")
    (package / "cli.py").write_text("from dbcache.__main__ import main\nmain()\n")


def test_the_examples_run_as_written(shim, run_python, tmp_path):
    assert documented_examples.BASIC.count(LACKS_COMMA) == 1
    basic = documented_examples.BASIC.replace(LACKS_COMMA, LACKS_COMMA[:-1] + ",\n")
    shared = "import os\n" + documented_examples.SHARED

    run = run_python(basic + documented_examples.ADVANCED + shared + ASSERTIONS)

    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "Found cached cluster: cluster-123",
        "Active clusters: 1",
        "Total accesses: 2",
        "Cluster cluster-123: test_name",
        "Removed 0 expired clusters",
    ]
    assert run.stderr == ""
    assert (tmp_path / "Environment" / "Databricks" / "cluster_cache.db").exists()


def test_pythons_logging_shows_debug_information(shim, run_python):
    basic = documented_examples.BASIC.replace(LACKS_COMMA, LACKS_COMMA[:-1] + ",\n")

    run = run_python(documented_examples.DEBUG + basic)

    assert run.returncode == 0, run.stderr
    assert "DEBUG:dbcache:committed 1 events" in run.stderr
    assert "INFO:dbcache:cached cluster cluster-123" in run.stderr


def test_sqlite3_can_read_the_documented_tables(shim, run_python, tmp_path):
    run = run_python(
        "from Fixtures.Databricks.cache_manager import CacheManager\n"
        "CacheManager().cache_new_cluster('cluster-123', {})"
    )
    assert run.returncode == 0, run.stderr

    path = tmp_path / "Environment" / "Databricks" / "cluster_cache.db"
    with sqlite3.connect(path) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert {"clusters", "shared_cluster_registry"} <= tables
        assert connection.execute("SELECT cluster_id FROM clusters").fetchall() == [
            ("cluster-123",)
        ]


def test_the_shim_of_the_command_line_shows_the_status(shim, run_python, tmp_path):
    path = pathlib.Path("Fixtures/Databricks/cli.py")
    source = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"

    run = run_python(source, str(path), "status")

    assert run.returncode == 0, run.stderr
    assert "=== Cache Statistics ===" in run.stdout
