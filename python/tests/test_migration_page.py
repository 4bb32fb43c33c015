"""What docs/python-migration.md shows is so."""

import ast
import datetime
import pathlib
import re
import sqlite3
import subprocess
import sys
import time

import pytest

import dbcache
import documented_model
from conftest import only_sqlite

pytestmark = only_sqlite  # about the documented file

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs/python-migration.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def project(tmp_path):
    """With the page's files, and a database that the old system left."""
    for block in blocks("python"):
        if name := re.match(r"# (\S+/\S+)\n", block):
            path = tmp_path / name.group(1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
    old = documented_model.CacheManager(default_expiry_hours=5)
    old.cache_new_cluster("cluster-1", {"cluster_name": "first", "num_workers": 2})
    old.cache_new_cluster("cluster-2", {"cluster_name": "second"})
    old.register_shared_cluster_creation("hash", 1)
    old.connection.close()
    return tmp_path


def run(project, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=project, capture_output=True, text=True, timeout=60
    )


def test_every_block_of_python_is_python():
    for block in blocks("python"):
        ast.parse(block)


def test_the_shims_are_one_line_each_and_go_on_with_the_old_database(project):
    for name in ["Fixtures/Databricks/cache_manager.py", "Environment/Databricks/cli.py"]:
        assert len((project / name).read_text().splitlines()) == 2  # the name, and the line

    status = run(project, "Environment/Databricks/cli.py", "status")
    assert status.returncode == 0, status.stderr
    assert "cluster-2" in status.stdout

    fixture = run(
        project,
        "-c",
        "from Fixtures.Databricks.cache_manager import CacheManager\n"
        "print(CacheManager().load_cluster_cache()['cluster_name'])",
    )
    assert fixture.stdout == "second\n"
    history = run(project, "-m", "dbcache", "history").stdout
    assert history.count("ClusterImported") == 2
    assert history.count("EntryImported") == 1


def test_the_commands_of_the_page_run(project):
    [copy] = next(block for block in blocks("bash") if "backup" in block).splitlines()
    subprocess.run(copy, shell=True, check=True, cwd=project)
    assert (project / "cluster_cache.backup.db").stat().st_size > 0
    for command in next(block for block in blocks("bash") if "replay" in block).splitlines():
        done = run(project, *command.split()[1:])
        assert done.returncode == 0, done.stderr
    assert "The tables match the log." in done.stdout


def test_the_zone_of_the_old_times_may_be_named(project):
    path = project / "Environment/Databricks/cluster_cache.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE clusters SET created_at = '2026-01-15T10:30:00'")
    named = re.search(r"python -m dbcache\s+(--adopt-timezone \S+ list)", PAGE).group(1)

    assert run(project, "-m", "dbcache", *named.split()).returncode == 0

    [times] = {cluster["created_at"] for cluster in dbcache.CacheManager().get_all_clusters()}
    assert times == "2026-01-15T09:30:00.000000"


def test_a_write_of_the_old_system_afterwards_is_found(project):
    assert run(project, "-m", "dbcache", "list").returncode == 0
    documented_model.CacheManager().update_cluster_access("cluster-2")
    check = run(project, "-m", "dbcache", "replay", "--check")
    assert check.returncode != 0
    assert "access_count" in check.stdout


def test_the_comparisons_of_times_are_as_said(project, monkeypatch):
    cache_manager = dbcache.CacheManager()
    cache_data = cache_manager.load_cluster_cache()
    old, new = (block for block in blocks("python") if "valid =" in block)

    for zone, seems_valid in [("UTC0", True), ("EAST-9", False), ("WEST9", True)]:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        seen = {"datetime": datetime.datetime, "timezone": datetime.timezone, "cache_data": cache_data}
        exec(old, seen)
        assert seen["valid"] is seems_valid
        seen["cache_manager"] = cache_manager
        for line in new.splitlines():
            exec(line, seen)
            assert seen["valid"] is True
    monkeypatch.undo()
    time.tzset()


def test_the_exceptions_are_those_of_the_table():
    named = set(re.findall(r"`dbcache\.([A-Z]\w+)`", PAGE))
    assert {"CorruptDatabase", "StorageFailure", "Busy", "NotFound", "InvalidArgument"} <= named
    for name in named:
        assert issubclass(getattr(dbcache, name), dbcache.Error)
