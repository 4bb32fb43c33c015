"""docs/python-migration.md: its files and commands work as shown."""

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

pytestmark = only_sqlite  # the page is about an SQLite file

PAGE = (pathlib.Path(__file__).resolve().parents[2] / "docs/python-migration.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def old_project(tmp_path):
    """A directory with the page's files, and a database that the old system left."""
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


def run(old_project, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=old_project, capture_output=True, text=True, timeout=60
    )


def test_every_python_block_parses():
    for block in blocks("python"):
        ast.parse(block)


def test_the_shims_are_one_line_each_and_use_the_old_database(old_project):
    for name in ["Fixtures/Databricks/cache_manager.py", "Environment/Databricks/cli.py"]:
        assert len((old_project / name).read_text().splitlines()) == 2  # the name, and the line

    status = run(old_project, "Environment/Databricks/cli.py", "status")
    assert status.returncode == 0, status.stderr
    assert "cluster-2" in status.stdout

    fixture = run(
        old_project,
        "-c",
        "from Fixtures.Databricks.cache_manager import CacheManager\n"
        "print(CacheManager().load_cluster_cache()['cluster_name'])",
    )
    assert fixture.stdout == "second\n"
    history = run(old_project, "-m", "dbcache", "history").stdout
    assert history.count("ClusterImported") == 2
    assert history.count("EntryImported") == 1


def test_the_commands_of_the_page_run(old_project):
    [copy] = next(block for block in blocks("bash") if "backup" in block).splitlines()
    subprocess.run(copy, shell=True, check=True, cwd=old_project)
    assert (old_project / "cluster_cache.backup.db").stat().st_size > 0
    for command in next(block for block in blocks("bash") if "replay" in block).splitlines():
        done = run(old_project, *command.split()[1:])
        assert done.returncode == 0, done.stderr
    assert "The tables match the log." in done.stdout


def test_the_zone_of_the_old_times_can_be_named(old_project):
    path = old_project / "Environment/Databricks/cluster_cache.db"
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE clusters SET created_at = '2026-01-15T10:30:00'")
    named = re.search(r"python -m dbcache\s+(--adopt-timezone \S+ list)", PAGE).group(1)

    assert run(old_project, "-m", "dbcache", *named.split()).returncode == 0

    [times] = {cluster["created_at"] for cluster in dbcache.CacheManager().get_all_clusters()}
    assert times == "2026-01-15T09:30:00.000000"


def test_replay_finds_a_later_write_of_the_old_system(old_project):
    assert run(old_project, "-m", "dbcache", "list").returncode == 0
    documented_model.CacheManager().update_cluster_access("cluster-2")
    check = run(old_project, "-m", "dbcache", "replay", "--check")
    assert check.returncode != 0
    assert "access_count" in check.stdout


def test_the_comparisons_of_times_give_the_results_of_the_page(old_project, monkeypatch):
    cache_manager = dbcache.CacheManager()
    cache_data = cache_manager.load_cluster_cache()
    old, new = (block for block in blocks("python") if "valid =" in block)

    for zone, seems_valid in [("UTC0", True), ("EAST-9", False), ("WEST9", True)]:
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        seen = {
            "datetime": datetime.datetime,
            "timezone": datetime.timezone,
            "cache_data": cache_data,
        }
        exec(old, seen)
        assert seen["valid"] is seems_valid
        seen["cache_manager"] = cache_manager
        for line in new.splitlines():
            exec(line, seen)
            assert seen["valid"] is True
    monkeypatch.undo()
    time.tzset()


def test_the_exceptions_of_the_table_exist():
    named = set(re.findall(r"`dbcache\.([A-Z]\w+)`", PAGE))
    assert {"CorruptDatabase", "StorageFailure", "Busy", "NotFound", "InvalidArgument"} <= named
    for name in named:
        assert issubclass(getattr(dbcache, name), dbcache.Error)
